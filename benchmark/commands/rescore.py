"""`gengap rescore`: scores the predictions of records anew."""

import argparse
from pathlib import Path
from typing import Any

from benchmark.commands.common import add_command, add_zoo, count, note, show
from benchmark.commands.run import outcome

EPILOG = """\
A new version of gengap may define a score in another way, or add one. This command computes today's scores from the
predictions that the records hold, in seconds or minutes; no method runs. It needs the zoo that was scored: the same
weights. Where a score changes, it writes a new record; earlier ones stay in the folder as history.

  gengap rescore zoos/digits
"""


def add(commands: Any) -> None:
    help = "score the predictions of records anew, without running their methods"
    parser = add_command(commands, "rescore", _run, help, epilog=EPILOG)
    add_zoo(parser)
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="the folder of records (default: results)"
    )


def _run(options: argparse.Namespace) -> int:
    from benchmark.evaluation.rescoring import rescore
    from zoo_builder.store.zoo import Zoo

    records = rescore(
        Zoo.open(options.zoo), options.results, note=note, done=lambda record: note(f"  {outcome(record)}")
    )
    text = f"{count(len(records), 'new record')} in {options.results}"
    show(options, [record.to_json() for record in records], text)
    return 0
