"""`gengap score`: scores a table made elsewhere, one row per model (CSV or Parquet).

An empty (NaN) prediction is undefined for that model and costs coverage; an empty hyperparameter is a value of its own,
"does not apply". Everything else must be a finite number, or a word where it is a hyperparameter. Rows that are equal
in all hyperparameters are seeds of one configuration.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.scoring.ranking import Ranking, ranking_of
from zoo_builder.errors import InputError, nearest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from benchmark.scoring.scorecard import Score

# pandas and the scores are imported where they are used: the command line reads this module to list its options.


@dataclass(frozen=True)
class ScoredTable:
    """What `gengap score` shows.

    Attributes:
        models, configurations: rows, and distinct configurations among them.
        tie_fraction, tie_ceiling: of the target, see ``benchmark.scoring.kendall``.
        predictions, hyperparameters: columns; scores and rankings name them by number.
        coverage: share of the models that each prediction is defined for.
        card, rankings: by score, in the order asked for.
        order: the predictions by the first score, the best first and the unranked last.
    """

    path: Path
    target: str
    models: int
    configurations: int
    tie_fraction: float
    tie_ceiling: float
    predictions: tuple[str, ...]
    hyperparameters: tuple[str, ...]
    test_examples: int | None
    coverage: tuple[float, ...]
    card: "dict[str, Score]"
    rankings: dict[str, Ranking]
    order: tuple[int, ...]

    def reason(self, undefined: str | None) -> str | None:
        """Why a score is undefined, in the words of the table and the command line."""
        from benchmark.scoring.grid import with_names

        return undefined and with_names(undefined, self.hyperparameters) + HINTS.get(undefined, "")

    def undefined(self, name: str) -> str | None:
        """Why no prediction has this score; None where one has it."""
        return self.reason(self.card[name].undefined)


# Errors and their squares are finite up to here.
LARGEST = 1e150
HINTS = {
    "no hyperparameters were given": " (--hyperparameters COLUMN)",
    "no number of test examples was given": " (--test-examples N)",
}


def score_table(
    path: Path | str,
    target: str,
    predictions: Sequence[str],
    hyperparameters: Sequence[str] = (),
    scores: str = "tau",
    seed: str | None = None,
    test_examples: int | None = None,
) -> ScoredTable:
    """Scores columns of the table at ``path`` against its column ``target``; a terminal sees how far it is.

    Args:
        predictions: column names or wildcards ("measure.*"), oriented like the target: larger says larger.
        hyperparameters: column names or wildcards; rows that are equal in all of these are seeds of one configuration
            and are resampled together. Without any, every row is a configuration of its own.
        scores: names from ``benchmark.scoring.scorecard.SCORES``, separated by commas, or "all", which is all but mae:
            of predictions that are not on the target's own scale, as measures are not, it is noise.
        seed: the column that tells the runs of one configuration apart. Without it, rows that are equal in
            hyperparameters, target and predictions count as one run given twice, which is an error.
        test_examples: how many examples the target was measured on; ``robust`` needs it.

    Raises:
        InputError: a file that cannot be read, a column or score that is not there, a value that is not a number, a
            run that is given twice.
        ScoreError: fewer than 3 models, or a target without variation.
    """
    import numpy as np
    from tqdm import tqdm

    from baselines.predictors.boosting import boosted_regression
    from benchmark.reports.words import TITLES
    from benchmark.scoring.kendall import tie_ceiling, tie_fraction
    from benchmark.scoring.scorecard import scorecard

    path = Path(path)
    names = _scores(scores)
    if test_examples is not None and test_examples < 1:
        raise InputError(f"--test-examples is {test_examples}, expected a whole number of at least 1")
    if seed is not None and not hyperparameters:
        raise InputError("--seed tells the runs of one configuration apart; name its --hyperparameters, too")
    table = _read(path)
    for column in [target] if seed is None else [target, seed]:
        if column not in table.columns:
            raise InputError(_no_column(column, table, path))
    columns = columns_of(predictions, table, path, leave_out={target})
    axes = columns_of(hyperparameters, table, path, leave_out={target, seed})
    truth = _numbers(table, target, path)
    if np.isnan(truth).any():
        row = np.flatnonzero(np.isnan(truth))[0] + 1
        raise InputError(f"{path}: {target} is empty in row {row}; leave out the models whose target is not known")
    values = np.stack([_numbers(table, column, path) for column in columns])
    settings = _settings(table, axes, path) if axes else None
    if axes:
        _refuse_repeated_runs(table, axes, [seed] if seed else [target, *columns], path)

    # With predictions that are undefined for some models, the ranked are scored once more on those that all have.
    steps = len(names) * len(columns) * (2 if np.isnan(values).any() else 1)
    with tqdm(total=steps, unit=" predictions", dynamic_ncols=True, leave=False, disable=None) as bar:

        def progress(name: str, done: int) -> None:
            bar.update(done)
            bar.set_description_str(TITLES[name])

        scorer = partial(
            scorecard,
            target=truth,
            hyperparameters=settings,
            test_examples=test_examples,
            regressor=boosted_regression,
            progress=progress,
        )
        card = scorer(values, scores=names)
        rankings = {name: ranking_of(score, values, scorer) for name, score in card.items()}
    first, places = card[names[0]], rankings[names[0]].places

    def from_best(e: int) -> tuple[bool, float]:
        value = first.entries[e].value
        return places[
            e
        ] == "unranked", np.inf if value is None else value if first.definition.lower_is_better else -value

    return ScoredTable(
        path=path,
        target=target,
        models=len(table),
        configurations=len(table[axes].drop_duplicates()) if axes else len(table),
        tie_fraction=tie_fraction(truth),
        tie_ceiling=tie_ceiling(truth),
        predictions=tuple(columns),
        hyperparameters=tuple(axes),
        test_examples=test_examples,
        coverage=tuple((~np.isnan(values)).mean(axis=1).tolist()),
        card=card,
        rankings=rankings,
        order=tuple(sorted(range(len(columns)), key=from_best)),
    )


def _scores(given: str) -> list[str]:
    from benchmark.scoring.scores import SCORES

    if given == "all":
        return [name for name, score in SCORES.items() if not score.on_target_scale]
    names = [name.strip() for name in given.split(",")]
    known = ", ".join(SCORES)
    if "all" in names:
        raise InputError(f"--scores {given}: give all alone (all but mae), or names of {known}")
    for name in names:
        if name not in SCORES:
            raise InputError(f"there is no score {name!r}{nearest(name, SCORES)}; give all, or some of {known}")
    return list(dict.fromkeys(names))


def _read(path: Path) -> "pd.DataFrame":
    import pandas as pd

    readers = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers:
        raise InputError(f"{path}: a table is a .csv or a .parquet file; convert it to one of these")
    try:
        table = readers[path.suffix](path).rename(columns=str)
        names = table.columns
        if path.suffix == ".csv":  # pandas gives a second column of a name another
            names = pd.Index(pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0])
    # pyarrow and pandas answer a damaged file with many kinds of exception.
    except Exception as error:
        raise InputError(f"{path} cannot be read as {path.suffix[1:]}: {error}; check the path and the file") from error
    if not names.is_unique:
        raise InputError(f"{path}: column {names[names.duplicated()][0]!r} appears more than once; rename one")
    # Half precision cannot be grouped by.
    return table.astype({name: "float32" for name in table if table[name].dtype == "float16"})


def columns_of(patterns: Sequence[str], table: "pd.DataFrame", path: Path, leave_out: set[str | None]) -> list[str]:
    """The columns that match, in the order of the patterns, each once. A wildcard never means one of ``leave_out``."""
    chosen: dict[str, None] = {}
    for pattern in patterns:
        if pattern in table.columns:
            matches = [pattern]
        elif re.search(r"[*?\[]", pattern):
            matches = [name for name in table.columns if fnmatchcase(name, pattern) and name not in leave_out]
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
    broken = np.flatnonzero((np.isnan(numbers) & given.notna().to_numpy()) | (np.abs(numbers) > LARGEST))
    if len(broken):
        raise InputError(
            f"{path}: row {broken[0] + 1} of column {column} is {given.iloc[broken[0]]!r}, expected a finite number, "
            f"at most {LARGEST:g} (rows are counted from 1 below the header); leave it empty where a prediction is "
            "undefined"
        )
    if table[column].dtype.kind in "iu" and table[column].nunique() > len(np.unique(numbers[~np.isnan(numbers)])):
        raise InputError(
            f"{path}: column {column} has whole numbers that differ beyond the 53 bits of a float; subtract what they "
            f"share, or give their ranks"
        )
    return numbers


def _settings(table: "pd.DataFrame", hyperparameters: list[str], path: Path) -> "np.ndarray":
    """The hyperparameters [n, K] as plain values, None where they are empty."""
    import pandas as pd

    settings = table[hyperparameters].astype(object)
    for column in hyperparameters:
        for row, value in enumerate(settings[column], start=1):
            if not pd.api.types.is_scalar(value) or (isinstance(value, float) and math.isinf(value)):
                raise InputError(
                    f"{path}: row {row} of hyperparameter {column} is {value!r}, expected a finite number or a word; "
                    "leave it empty where the hyperparameter does not apply, or write a word for it"
                )
    return settings.where(settings.notna(), None).to_numpy()


def _refuse_repeated_runs(table: "pd.DataFrame", hyperparameters: list[str], others: list[str], path: Path) -> None:
    columns = [*hyperparameters, *others]
    runs = table.groupby(columns, dropna=False, sort=False).ngroup()
    if not (repeated := runs[runs.duplicated()]).empty:
        first, second = (runs == repeated.iloc[0]).to_numpy().nonzero()[0][:2] + 1
        raise InputError(
            f"{path}: rows {first} and {second} are equal in all hyperparameters and in {', '.join(others)}, so they "
            f"are one run given twice; leave one out, or name the column that tells runs apart with --seed"
        )
