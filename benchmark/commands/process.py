"""The process of a command: its standard streams and its signals."""

import io
import os
import signal
import sys
from types import FrameType
from typing import Any

# Of Python's own making, only SIGINT is an exception; the others end a process without any cleaning up.
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 1  # seconds


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def prepare() -> None:
    """Makes streams that cannot be used harmless, and lets signals end the command as Ctrl-C does."""
    _fill_closed()
    # A signal may come while a pool of processes is made. Python's resource tracker, a process of its own, then frees
    # what is left over, and would warn of it below the last line of the command.
    filters = [os.environ.get("PYTHONWARNINGS"), "ignore:resource_tracker:UserWarning"]
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, filters))
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A letter that the terminal's encoding lacks is shown as its number.
        sys.stdout.reconfigure(errors="backslashreplace")
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = Notes(sys.stderr)
    for number in _STOPPING:
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup ignores SIGHUP
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    """Raises Stopped, and again until it is heard: Python loses an exception that is raised in a finalizer."""

    def again(alarm: int, frame: FrameType | None) -> None:
        error = sys.exc_info()[1]
        while error is not None:
            if isinstance(error, Stopped):  # the process is cleaning up
                return
            error = error.__context__
        raise Stopped(number)

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN, _AGAIN)
    raise Stopped(number)


def finish() -> None:
    """Lets signals end the process at once, now that there is nothing left to clean up."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in _STOPPING:
        if signal.getsignal(number) is _stop:
            signal.signal(number, signal.SIG_DFL)


def _fill_closed() -> None:
    """Opens the standard streams that are closed: else the next file that is opened would take their place.

    Nothing can be written to a stdout that was closed, so that lost output is noticed.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


class Notes(io.TextIOWrapper):
    """stderr, on which a line that cannot be written is lost: no run ends because nobody can read its progress."""

    def __init__(self, stream: io.TextIOWrapper):
        # Unbuffered, so that nothing is left over that Python would try to write again when it exits.
        raw: Any = open(stream.fileno(), "wb", buffering=0, closefd=False)  # noqa: SIM115
        super().__init__(raw, encoding=stream.encoding, errors="backslashreplace", write_through=True)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            return len(text)
