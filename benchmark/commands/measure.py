"""`gengap measure`: computes complexity measures of a zoo and stores them beside it."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from benchmark.commands.common import add_command, add_data, add_workers, add_zoo, columns, cores, note, show

if TYPE_CHECKING:
    import pandas as pd

EPILOG = """\
Values are stored in DIR/measures/part-*.parquet, one row per model and measure: value, error, status, reason, seconds.
`gengap run complexity` scores stored values without computing them again. Runs are resumable: rerun the command.

  gengap measure zoos/digits                            all that need at most one pass: minutes
  gengap measure zoos/digits --measures sharpness       one family
  gengap measure zoos/digits --measures all             perturbation searches too: hours for thousands of models
"""


def add(commands: Any) -> None:
    help = "compute complexity measures of a zoo and store them beside it"
    parser = add_command(commands, "measure", _run, help, epilog=EPILOG)
    add_zoo(parser)
    parser.add_argument(
        "--measures",
        nargs="+",
        default=["fast"],
        metavar="NAME",
        help="names, families, all, or fast: at most one pass over the training images (default: fast)",
    )
    add_data(parser)
    parser.add_argument(
        "--device", default="cpu", choices=["auto", "cpu", "cuda"], help="the device for passes (default: cpu)"
    )
    add_workers(parser)


def _run(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from benchmark.evaluation.measuring import measure, redundant, select
    from zoo_builder.engines.torch_engine import resolve_device
    from zoo_builder.store.zoo import Zoo

    zoo = Zoo.open(options.zoo)
    chosen = select(options.measures, redundant(zoo))
    with tqdm(unit=" values", dynamic_ncols=True) as bar:
        table = measure(
            zoo,
            chosen,
            data_root=options.data,
            workers=options.workers or cores(),
            device=resolve_device(options.device),
            start=bar.reset,
            progress=bar.update,
            note=lambda line: tqdm.write(line, file=sys.stderr),
        )
    by_measure = table.groupby("measure")
    summary = [_summary(row.name, by_measure.get_group(row.name)) for row in chosen]
    show(options, summary, _text(summary))
    failed = table[table["status"] == "failed"]
    for name, rows in failed.groupby("measure"):
        note(f"gengap: error: {name}: {rows['reason'].iloc[0]} ({len(rows)} models)")
    return 2 if len(failed) else 0


def _summary(name: str, rows: "pd.DataFrame") -> dict[str, Any]:
    return {
        "measure": name,
        "models": len(rows),
        "defined": int(rows["value"].notna().sum()),
        "median": float(rows["value"].median()) if rows["value"].notna().any() else None,
        "seconds": float(rows["seconds"].sum()),
        "reasons": {str(reason): int(times) for reason, times in rows["reason"].value_counts().items()},
    }


def _text(summary: list[dict[str, Any]]) -> str:
    lines = [("measure", "defined", "median", "s / model", "undefined because, or remark")]
    for row in summary:
        reasons = "; ".join(f"{reason} ({times})" for reason, times in row["reasons"].items())
        median = "" if row["median"] is None else f"{row['median']:.4g}"
        defined = f"{row['defined']}/{row['models']}"
        lines.append((row["measure"], defined, median, f"{row['seconds'] / row['models']:.3g}", reasons))
    return columns(lines)
