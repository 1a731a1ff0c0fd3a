"""The command `gengap`: thin verbs over the packages. Whatever is heavy is imported by the verb that needs it."""

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.commands import score
from benchmark.commands.common import DATA_HELP, filled, positive
from benchmark.commands.demo import _demo
from benchmark.commands.leaderboard import _leaderboard
from benchmark.commands.measure import (
    MEASURE_EPILOG,
    MEASURES_LEGEND,
    SIGNATURES_EPILOG,
    _measure,
    _measures,
    _signatures,
)
from benchmark.commands.run import _methods, _run, _tasks
from benchmark.commands.zoo import _zoo_build, _zoo_info, _zoo_plan, _zoo_verify
from benchmark.scoring import ScoreError
from zoo_builder.errors import InputError

if TYPE_CHECKING:
    pass

EPILOG = """\
a first round, on one machine and without any download:
  gengap zoo build digits --out zoos/digits        256 small CNNs
  gengap run all --zoo zoos/digits                 every built-in method on every task
  gengap leaderboard --zoo zoos/digits --html report.html

complexity measures of a whole zoo, kept beside it:
  gengap measure zoos/digits --measures all

your own method is one Python file:
  gengap run generalization-gap my_measure.py:my_measure --zoo zoos/digits

`gengap COMMAND --help` says more about each command; `gengap demo` does all of the above.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code: 0, or 2 for bad input, 130 for Ctrl-C."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        # Said by the command itself, whose usage is the one that helps.
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        code = options.run(options)
        print(end="", flush=True)  # where the output has no room, it is known here and not after the last line
        return code
    except (InputError, ScoreError) as error:
        print(f"gengap: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ngengap: interrupted; finished parts and records are kept, the same command goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output (`| head`) has left.
        _drop_output()
        return 0
    except OSError as error:
        if error.filename is None and error.errno == errno.ENOSPC:
            _drop_output()
            print("gengap: error: the output cannot be written: no space left; make room for it", file=sys.stderr)
            return 2
        if error.filename is None:
            raise
        # A folder without permission, a file in a folder's place: whichever verb meets it, the file says where.
        print(f"gengap: error: {error.filename} cannot be used: {error.strerror}", file=sys.stderr)
        return 2


def _drop_output() -> None:
    """Python flushes once more when it ends, and would complain once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="gengap",
        description="Build zoos of small networks, and score what predicts their generalization.",
        epilog=EPILOG,
        formatter_class=text,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(parent: Any, name: str, run: Any, help: str, **extra: Any) -> argparse.ArgumentParser:
        added = parent.add_parser(
            name, help=help, description=help[0].upper() + help[1:] + ".", formatter_class=text, **extra
        )
        added.set_defaults(run=run, parser=added)
        return added

    zoo = commands.add_parser("zoo", help="build, describe and verify zoos").add_subparsers(
        required=True, metavar="VERB"
    )
    build = command(zoo, "build", _zoo_build, "train the networks of a recipe; the same command resumes")
    plan = command(zoo, "plan", _zoo_plan, "say what a recipe comes to: models, parameters, time, bytes on disk")
    for added in (build, plan):
        added.add_argument("recipe", help="a built-in recipe, such as digits or cifar10-gs, or a .toml file")
        added.add_argument("--models", type=int, metavar="N", help="how many runs; a larger number extends a zoo")
        added.add_argument("--epochs", type=int, metavar="E", help="train no longer than this")
        added.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)
        added.add_argument("--workers", type=positive, metavar="N", help="processes on a CPU (default: one per core)")
    build.add_argument("--out", required=True, type=filled, metavar="DIR", help="the zoo's folder")
    build.add_argument("--seed", type=int, metavar="S", help="another population of the same recipe")
    build.add_argument(
        "--device", default="auto", choices=["auto", "cpu", "cuda"], help="default: a GPU if there is one"
    )
    for added in (build, plan):
        added.add_argument(
            "--engine",
            default="auto",
            choices=["auto", "native", "torch"],
            help="who computes: compiled code for this CPU, torch, or (default) compiled code where it is faster",
        )
    build.add_argument(
        "--runner", default="local", choices=["local", "ray"], help="processes of this machine, or a Ray cluster"
    )
    build.add_argument(
        "--address", type=filled, metavar="HOST:PORT", help="the head of the Ray cluster (default: one started here)"
    )
    build.add_argument("--yes", action="store_true", help="build however many models there are")
    info = command(zoo, "info", _zoo_info, "describe a zoo")
    verify = command(zoo, "verify", _zoo_verify, "check a zoo's files, rows, weights and a sample of its accuracies")
    verify.add_argument(
        "--sample", type=positive, default=20, metavar="N", help="models to evaluate again (default: 20)"
    )
    verify.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)
    for reader in (info, verify):
        reader.add_argument("zoo", type=Path, metavar="DIR")

    tasks = command(commands, "tasks", _tasks, "list the tasks")
    tasks.add_argument("--zoo", type=Path, metavar="DIR", help="also show the size of each split on this zoo")
    methods = command(commands, "methods", _methods, "list the built-in methods")

    measures = command(
        commands, "measures", _measures, "list the complexity measures, by family", epilog=MEASURES_LEGEND
    )
    measures.add_argument(
        "measures", nargs="*", default=["all"], metavar="NAME", help="names, families, fast, or all (the default)"
    )
    measure = command(
        commands,
        "measure",
        _measure,
        "compute complexity measures of a zoo and keep them beside it; the same command resumes",
        epilog=MEASURE_EPILOG,
    )
    measure.add_argument("zoo", type=Path, metavar="DIR")
    measure.add_argument(
        "--measures",
        nargs="+",
        default=["fast"],
        metavar="NAME",
        help="names, families, all, or fast: what takes one pass over the training images at most (default: fast)",
    )
    measure.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)
    measure.add_argument(
        "--device", default="cpu", choices=["auto", "cpu", "cuda"], help="who computes passes (default: cpu)"
    )
    measure.add_argument("--workers", type=positive, metavar="N", help="processes on a CPU (default: one per core)")

    signatures = command(
        commands,
        "signatures",
        _signatures,
        "say how much of a zoo's generalization gaps a linear regression on margin signatures explains",
        epilog=SIGNATURES_EPILOG,
    )
    signatures.add_argument("zoo", type=Path, metavar="DIR")
    signatures.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)

    run = command(commands, "run", _run, "run methods on a task and write a record of each")
    run.add_argument("task", help="test-accuracy, generalization-gap, complexity, unlabeled-accuracy, or all")
    run.add_argument(
        "methods",
        nargs="*",
        default=["all"],
        metavar="method",
        help="built-in names, fast or families of measures, path/to/file.py:Name, package.module:Name, or all (the "
        "default)",
    )
    run.add_argument("--zoo", required=True, type=Path, metavar="DIR")
    run.add_argument("--results", type=Path, default=Path("results"), metavar="DIR", help="default: results")
    run.add_argument("--data", type=Path, metavar="PATH", help=DATA_HELP)
    run.add_argument("--workers", type=positive, metavar="N", help="methods at a time (default: one per core)")
    run.add_argument("--timeout", type=float, default=3600, metavar="S", help="seconds for one method (default: 3600)")

    board = command(
        commands, "leaderboard", _leaderboard, "print the leaderboard of a results folder, or write it to files"
    )
    board.add_argument("results", nargs="?", type=Path, default=Path("results"), help="default: results")
    board.add_argument("--markdown", type=Path, metavar="FILE", help="write Markdown here instead of printing it")
    board.add_argument("--html", type=Path, metavar="FILE", help="write a self-contained page here")
    board.add_argument("--across", metavar="TASK", help="one task alone, its zoos side by side (Markdown)")
    board.add_argument("--zoo", type=Path, action="append", default=[], metavar="DIR", help="draw this zoo in the page")
    board.add_argument(
        "--check", type=Path, metavar="FILE", help="exit with 1 where this Markdown file is not up to date"
    )

    added_score = command(commands, "score", score.run, "score the columns of a table made elsewhere")
    score.add_arguments(added_score)

    demo = command(
        commands, "demo", _demo, "digits from end to end: zoo, methods, leaderboard and report, in 3 minutes"
    )
    demo.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    demo.add_argument("--workers", type=positive, metavar="N", help="processes (default: one per core)")

    for added in (build, plan, info, verify, tasks, methods, measures, measure, signatures, run, board, demo):
        added.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
