"""`gengap score`: scores a table made elsewhere."""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from zoo_builder.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, help="a .csv or .parquet file, one row per model")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="what should have been predicted")
    parser.add_argument(
        "--prediction",
        required=True,
        action="append",
        metavar="COLUMN",
        help="a column or a quoted wildcard such as 'measure.*', oriented like the target; may be repeated",
    )
    parser.add_argument(
        "--hyperparameters",
        action="append",
        default=[],
        metavar="COLUMN",
        help="columns or wildcards such as 'hp.*': rows equal in all of them are seeds of one configuration",
    )
    parser.add_argument(
        "--scores",
        default="tau",
        metavar="NAMES",
        help="some of tau,psi,k,pgdl,robust,partial,r2,mae (default: tau), or all: all but mae, which is of "
        "predictions on the target's scale; docs/scores.md explains them",
    )
    parser.add_argument("--seed", metavar="COLUMN", help="the column that tells the runs of one configuration apart")
    parser.add_argument(
        "--test-examples", type=int, metavar="N", help="how many examples the target was measured on, for robust"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a self-contained page with a picture")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    from benchmark.reports.table import score_table
    from benchmark.reports.table_text import format_text, to_json

    if args.html:
        # Scores may take minutes: what keeps the page from being written is said before.
        folder = args.html.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise InputError(f"--html {args.html}: {folder} is no folder that can be written to; make it first")
        if args.html.is_dir():
            raise InputError(f"--html {args.html} is a folder, expected the name of a file")
    scored = score_table(
        args.table, args.target, args.prediction, args.hyperparameters, args.scores, args.seed, args.test_examples
    )
    if args.html:
        from benchmark.reports.table_html import render_page
        from zoo_builder.files import write_atomically

        page = render_page(scored)
        write_atomically(args.html, lambda path: path.write_text(page, encoding="utf-8"))
        print(f"wrote {args.html}", file=sys.stderr)
    if args.json:
        print(json.dumps(to_json(scored), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print(format_text(scored, shutil.get_terminal_size((120, 55)).columns))
    return 0
