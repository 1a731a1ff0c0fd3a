"""`gengap score`: scores a table of predictions made elsewhere."""

import argparse
import shutil
from pathlib import Path
from typing import Any

from benchmark.commands.common import add_command, as_json, note, refuse_unwritable, say


def add(commands: Any) -> None:
    parser = add_command(commands, "score", _run, "score the columns of a table of predictions made elsewhere")
    parser.add_argument("table", type=Path, help="a .csv or .parquet file, one row per model")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="the values to be predicted")
    parser.add_argument(
        "--prediction",
        required=True,
        action="append",
        metavar="COLUMN",
        help="a column or a quoted wildcard such as 'measure.*', oriented like the target; repeatable",
    )
    parser.add_argument(
        "--hyperparameters",
        action="append",
        default=[],
        metavar="COLUMN",
        help="columns or wildcards such as 'hp.*'; rows that are equal in all of them are seeds of one configuration",
    )
    parser.add_argument(
        "--architecture",
        action="append",
        default=[],
        metavar="COLUMN",
        help="those of the hyperparameters that set the architecture, for tau-within and psi-within",
    )
    parser.add_argument(
        "--scores",
        default="tau",
        metavar="NAMES",
        help="tau (default), psi, tau-within, psi-within, k, pgdl, robust, partial, r2 and mae, separated by commas, "
        "or all: every score but mae, which needs predictions on the target's scale; docs/scores.md explains them",
    )
    parser.add_argument("--seed", metavar="COLUMN", help="the column that distinguishes the runs of a configuration")
    parser.add_argument(
        "--test-examples", type=int, metavar="N", help="number of examples the target was measured on, for robust"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a self-contained page with a plot")


def _run(options: argparse.Namespace) -> int:
    from benchmark.reports.table import score_table
    from benchmark.reports.table_json import to_json
    from benchmark.reports.table_text import format_text

    refuse_unwritable("--html", options.html)
    scored = score_table(
        options.table,
        options.target,
        options.prediction,
        options.hyperparameters,
        options.scores,
        options.seed,
        options.test_examples,
        options.architecture,
    )
    if options.html:
        from benchmark.reports.table_html import render_page
        from zoo_builder.files import write_atomically

        page = render_page(scored)
        write_atomically(options.html, lambda path: path.write_text(page, encoding="utf-8"))
        note(f"wrote {options.html}")
    if options.json:
        say(as_json(to_json(scored)))
    else:
        say(format_text(scored, shutil.get_terminal_size((120, 55)).columns))
    return 0
