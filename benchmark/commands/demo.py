"""`gengap demo`: a zoo, every method on it, a leaderboard and a report."""

import argparse
import time
from pathlib import Path
from typing import Any

from benchmark.commands.common import add_command, add_workers, cores, note, show
from benchmark.commands.run import run_methods
from benchmark.commands.zoo import progress_bar
from zoo_builder.errors import InputError

# What a demo writes; the zoo comes first.
FILES = ("zoo", "results", "LEADERBOARD.md", "report.html")


def add(commands: Any) -> None:
    help = "train a zoo on digits, run every method on it, and write a leaderboard and a report, in 3 to 4 minutes"
    parser = add_command(commands, "demo", _run, help)
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="the folder (default: demo)")
    add_workers(parser, "processes that train")


def _refuse_strangers(out: Path) -> None:
    """Raises InputError if ``out`` holds anything that no demo wrote: its files could be taken for the demo's own."""
    found = sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.is_dir() else []
    if strangers := [name for name in found if name not in FILES or "zoo" not in found]:
        raise InputError(f"{out} is not empty and not a demo (it holds {strangers[0]}): choose another `out`")


def _run(options: argparse.Namespace) -> int:
    from benchmark.records import read_records
    from benchmark.reports.board_markdown import render_markdown
    from benchmark.reports.boards import populations
    from benchmark.reports.report import write_html
    from zoo_builder import files
    from zoo_builder.building.build import build
    from zoo_builder.building.runner import Local
    from zoo_builder.recipes.recipe import load_recipe

    _refuse_strangers(options.out)
    started = time.perf_counter()
    root, results, report = options.out / "zoo", options.out / "results", options.out / "report.html"
    note(f"1/3 training the zoo {root}")
    with progress_bar() as progress:
        zoo = build(
            load_recipe("digits"), root, device="cpu", runner=Local(options.workers or cores()), progress=progress
        )
    note("2/3 running the built-in methods")
    # One process at a time: each imports torch, and the demo should stay below 2 GiB.
    records, _ = run_methods(zoo, "all", ["all"], results=results, workers=1, timeout=600)
    note("3/3 writing the leaderboard and the report")
    found = populations(read_records(results, note))
    text = render_markdown(found)
    files.write_atomically(options.out / "LEADERBOARD.md", lambda path: path.write_text(text, encoding="utf-8"))
    write_html(found, report, [zoo])
    seconds = time.perf_counter() - started
    closing = (
        f"{text}\nThe report is {report.resolve()}: open it in a browser.\n"
        f"The demo took {seconds:.0f} s. What to try next:\n"
        f"  gengap methods                                  list the methods that ran\n"
        f"  gengap run generalization-gap FILE.py:Name --zoo {root} --results {results}\n"
        f"  gengap zoo build cifar10-gs --models 300 --epochs 5 --out zoos/cifar10-gs"
    )
    facts = {"report": str(report), "seconds": seconds, "records": [record.to_json() for record in records]}
    show(options, facts, closing)
    return 2 if any(record.is_error for record in records) else 0
