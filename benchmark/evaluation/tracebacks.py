"""Tracebacks of errors in a user's code, without the frames of what called it."""

import os
from pathlib import Path
from traceback import FrameSummary, TracebackException

import benchmark

_OWN = [f"{Path(benchmark.__file__).parents[1] / name}{os.sep}" for name in ("zoo_builder", "baselines", "benchmark")]


def users_traceback(error: BaseException) -> str:
    """The traceback of ``error``, and of the errors it was raised from, each from the first frame of a user's code on.

    The frames above are gengap's and Python's import machinery. Where there are no others, all are kept, but for a file
    that cannot be parsed: its place is in the error itself.
    """
    found = TracebackException.from_exception(error)
    _cut(found)
    return "".join(found.format())


def _cut(error: TracebackException) -> None:
    frames = error.stack
    first = next((number for number, frame in enumerate(frames) if not _is_above(frame)), len(frames))
    if first < len(frames) or (error.exc_type is not None and issubclass(error.exc_type, SyntaxError)):
        del frames[:first]
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other is not None:
            _cut(other)


def _is_above(frame: FrameSummary) -> bool:
    # "<string>" is the program that starts a worker.
    return frame.filename.startswith(("<frozen importlib", "<string>", *_OWN))
