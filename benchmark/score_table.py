"""`gengap score`: scores a table made elsewhere, one row per model (CSV or Parquet).

An empty (NaN) prediction is undefined for that model and costs coverage; everything else must be a finite number.
"""

import argparse
import dataclasses
import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_builder.errors import InputError, nearest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from benchmark.scoring.board import Standing
    from benchmark.scoring.floors import NoiseFloor

# pandas and the scores are imported where they are used: the command line reads this module to list its options.

MINIMUM_MODELS = 3


@dataclasses.dataclass(frozen=True)
class ScoredTable:
    """What `gengap score` shows.

    Attributes:
        models, configurations: rows, and distinct configurations among them.
        tie_fraction, tie_ceiling: of the target, see ``benchmark.scoring.kendall``.
        noise_floor: tau of random measures on the target.
        standings: by column, the ranked ones first, from the largest tau to the smallest.
    """

    path: Path
    target: str
    models: int
    configurations: int
    tie_fraction: float
    tie_ceiling: float
    noise_floor: "NoiseFloor"
    standings: "dict[str, Standing]"

    def to_json(self) -> dict[str, Any]:
        """Plain values, named as in a record."""
        return {
            "table": str(self.path),
            "target": self.target,
            "models": self.models,
            "configurations": self.configurations,
            "reference": {
                "tie_ceiling": self.tie_ceiling,
                "tie_fraction": self.tie_fraction,
                "noise_floor": dataclasses.asdict(self.noise_floor),
            },
            "rows": [_row(column, standing) for column, standing in self.standings.items()],
        }


def _row(column: str, standing: "Standing") -> dict[str, Any]:
    tau, interval = standing.tau, standing.interval
    return {
        "prediction": column,
        "place": standing.place,
        "coverage": standing.coverage,
        "tie_fraction": tau.prediction_ties if tau else None,
        "flags": list(tau.flags) if tau else [],
        "scores": {"tau": {"value": tau.value, "low": interval.low, "high": interval.high}} if tau and interval else {},
    }


def score_table(
    path: Path | str, target: str, predictions: Sequence[str], hyperparameters: Sequence[str] = ()
) -> ScoredTable:
    """Scores columns of the table at ``path`` against its column ``target``.

    Args:
        predictions: column names or wildcards ("measure.*"), oriented like the target: larger says larger.
        hyperparameters: column names or wildcards; rows that are equal in all of these are seeds of one configuration
            and are resampled together. Without any, every row is a configuration of its own.

    Raises:
        InputError: a file that cannot be read, a column that is not there, a value that is not a number, fewer than 3
            models, a target without variation, or a single configuration.
    """
    import numpy as np

    from benchmark.scoring.board import standings
    from benchmark.scoring.floors import noise_floor
    from benchmark.scoring.kendall import kendall_tau, tie_ceiling, tie_fraction

    path = Path(path)
    table = _read(path)
    if target not in table.columns:
        raise InputError(_no_column(target, table, path))
    columns = _columns(predictions, table, path, leave_out=target)
    if len(table) < MINIMUM_MODELS:
        raise InputError(f"{path} has {len(table)} rows; a score needs at least {MINIMUM_MODELS} models, one row each")
    truth = _numbers(table, target, path)
    if np.isnan(truth).any():
        row = np.flatnonzero(np.isnan(truth))[0] + 1
        raise InputError(f"{path}: {target} is empty in row {row}; leave out the models whose target is not known")
    if (truth == truth[0]).all():
        raise InputError(f"{path}: {target} is {truth[0]} in all {len(table)} rows, so there is no order to predict")
    values = np.stack([_numbers(table, column, path) for column in columns])
    clusters = _clusters(table, _columns(hyperparameters, table, path, leave_out=target), path)

    def by_tau(row: "tuple[str, Standing]") -> tuple[bool, float]:
        tau = row[1].tau
        return row[1].place == "unranked", -tau.value if tau else 1

    rows = zip(columns, standings(values, truth, clusters), strict=True)
    return ScoredTable(
        path=path,
        target=target,
        models=len(table),
        configurations=len(np.unique(clusters)),
        tie_fraction=tie_fraction(truth),
        tie_ceiling=tie_ceiling(truth),
        noise_floor=noise_floor(lambda measure: kendall_tau(measure, truth).value, len(truth)),
        standings=dict(sorted(rows, key=by_tau)),
    )


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers:
        raise InputError(f"{path}: a table is a .csv or a .parquet file; convert it to one of these")
    try:
        table = readers[path.suffix](path).rename(columns=str)
    # pyarrow and pandas answer a damaged file with many kinds of exception.
    except Exception as error:
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {error}; check the path and the file") from error
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise InputError(f"{path}: column {twice!r} appears more than once; rename one")
    return table


def _columns(patterns: Sequence[str], table: "pd.DataFrame", path: Path, leave_out: str) -> list[str]:
    """The columns that match, in the order of the patterns, each once. A wildcard never means the target."""
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern in table.columns:
            matches = [pattern]
        elif re.search(r"[*?\[]", pattern):
            matches = [name for name in table.columns if fnmatchcase(name, pattern) and name != leave_out]
            if not matches:
                raise InputError(f"{path}: no column matches {pattern!r}; it has: {', '.join(table.columns)}")
        else:
            raise InputError(_no_column(pattern, table, path))
        chosen.update(dict.fromkeys(matches))
    return list(chosen)


def _no_column(name: str, table: "pd.DataFrame", path: Path) -> str:
    return f"{path} has no column {name!r}{nearest(name, table.columns)}; it has: {', '.join(table.columns)}"


def _numbers(table: "pd.DataFrame", column: str, path: Path) -> "np.ndarray":
    """A column as float64, NaN where it is empty."""
    import numpy as np
    import pandas as pd

    given = table[column].astype(object)
    numbers = np.asarray(pd.to_numeric(given, errors="coerce"), dtype=np.float64)
    broken = np.flatnonzero((np.isnan(numbers) & given.notna().to_numpy()) | np.isinf(numbers))
    if len(broken):
        raise InputError(
            f"{path}: row {broken[0] + 1} of column {column} is {given.iloc[broken[0]]!r}, expected a finite number "
            f"(rows are counted from 1 below the header); leave it empty where the prediction is undefined"
        )
    return numbers


def _clusters(table: "pd.DataFrame", hyperparameters: list[str], path: Path) -> "np.ndarray":
    import numpy as np

    if not hyperparameters:
        return np.arange(len(table))
    clusters = table.groupby(hyperparameters, dropna=False, sort=False).ngroup().to_numpy()
    if (clusters == 0).all():
        raise InputError(
            f"{path}: all rows are equal in {', '.join(hyperparameters)}, so they are seeds of one configuration; name "
            f"hyperparameters that differ, or none, to take every row for a configuration of its own"
        )
    return clusters


def format_text(scored: ScoredTable) -> str:
    """One line per prediction, for a terminal."""
    floor = scored.noise_floor.p95
    width = max(len("prediction"), *map(len, scored.standings))
    lines = [
        f"{scored.path}: {scored.target} of {scored.models} models in {scored.configurations} configurations",
        f"tied pairs in {scored.target}: {scored.tie_fraction:.1%}; a prediction without ties reaches at most tau "
        f"{scored.tie_ceiling:.3f}",
        "",
        f"  {'prediction':<{width}}     tau   95 % interval    floor    ties  coverage",
    ]
    marks = {"best": "*", "tie": "=", "behind": " ", "unranked": "-"}
    for column, standing in scored.standings.items():
        tau, interval = standing.tau, standing.interval
        line = f"{marks[standing.place]} {column:<{width}}  "
        if tau and interval:
            line += f"{tau.value:6.3f}  [{interval.low:6.3f}, {interval.high:6.3f}]  {floor:6.3f}  "
            line += f"{tau.prediction_ties:6.1%}"
        else:
            line += f"{'undefined':<40}"
        lines.append(f"{line}    {standing.coverage:6.1%}  {' '.join(tau.flags) if tau else ''}".rstrip())
    lines += [
        "",
        "* best   = statistical tie with the best: the paired 95 % interval of the difference contains 0",
        "- unranked: defined for less than 95 % of the models   floor: 95 % of random measures score below it",
    ]
    return "\n".join(lines)


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
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    scored = score_table(args.table, args.target, args.prediction, args.hyperparameters)
    print(json.dumps(scored.to_json(), indent=2) if args.json else format_text(scored))
    return 0
