"""The command `gengap`. Every verb has a file of its own, and imports heavy packages only when it runs."""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence

from benchmark.commands import (
    demo,
    leaderboard,
    measure,
    measures,
    methods,
    process,
    rescore,
    run,
    score,
    signatures,
    tasks,
    zoo,
)
from benchmark.commands.common import OutputError, check_data, flush, note, with_flags
from benchmark.commands.faults import machine_fault
from benchmark.scoring import ScoreError
from zoo_builder.errors import InputError

EPILOG = """\
a first round, on one machine and without downloads:
  gengap zoo build digits --out zoos/digits        train 256 small CNNs
  gengap run all --zoo zoos/digits                 run every built-in method on every task
  gengap leaderboard --zoo zoos/digits --html report.html

complexity measures of a whole zoo, stored beside it:
  gengap measure zoos/digits --measures all

your own method, in one Python file:
  gengap run generalization-gap my_measure.py:my_measure --zoo zoos/digits

`gengap COMMAND --help` explains each command; `gengap demo` runs a first round for you.
"""
# In the order of the help.
VERBS = (zoo, tasks, methods, measures, measure, signatures, run, rescore, leaderboard, score, demo)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
        arguments: None for those of this process, whose streams and signals are then prepared.

    Returns:
        0, 1 if a check fails, 2 for an error, 130 for Ctrl-C, 128 + its number for another signal.
    """
    if arguments is None:
        process.prepare()
    # Processes that train or measure import nothing from the current folder, which may hold a user's random.py.
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        try:
            code = _run(arguments)
        except SystemExit:  # from argparse, after a help or a usage
            flush()
            raise
        flush()
        return code
    except (InputError, ScoreError) as error:
        return _error(with_flags(str(error)))
    except KeyboardInterrupt as error:
        number = error.number if isinstance(error, process.Stopped) else signal.SIGINT
        how = f"stopped by {signal.Signals(number).name}" if number != signal.SIGINT else "interrupted"
        note(f"\ngengap: {how}; finished parts and records are kept: rerun the command to continue")
        return 128 + number
    except OutputError as error:
        _drop_output()
        if error.errno == errno.EPIPE:  # the reader of the output (`| head`) is gone
            return 0
        if error.errno == errno.ENOSPC:
            return _error("the output cannot be written: no space left on the device; free some space")
        return _error(f"the output cannot be written: {error.strerror}; give it a file or a terminal")
    except Exception as error:
        fault = machine_fault(error)
        if fault is None:
            raise
        return _error(fault)
    finally:
        if arguments is None:
            process.finish()


def _run(arguments: Sequence[str] | None) -> int:
    _refuse_undecoded(sys.argv[1:] if arguments is None else arguments)
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # The command's own parser, because its usage is the one that helps.
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    check_data(options)
    return options.run(options)


def _refuse_undecoded(arguments: Sequence[str]) -> None:
    """Raises InputError for an argument with letters that the locale lacks: no file of that name could be written."""
    for argument in arguments:
        if not argument.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in argument):
            encoding = sys.getfilesystemencoding()
            raise InputError(
                f"{argument!r} is not text in {encoding}, the encoding of this locale: use other letters, or a locale "
                f"that has them, such as LC_ALL=C.UTF-8"
            )


def _error(message: str) -> int:
    note(f"gengap: error: {message}")
    return 2


def _drop_output() -> None:
    """Python flushes stdout once more when it exits, which would print another error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gengap",
        description="Build zoos of small networks, and score methods that predict their generalization.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for verb in VERBS:
        verb.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
