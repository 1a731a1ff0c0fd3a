"""Whether a record says what the predictions beside it give: anybody can write a JSON file."""

import pandas as pd

from benchmark.records import Record
from benchmark.reports.words import number, percent, title
from benchmark.scoring import ScoreError
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.scorecard import MINIMUM_MODELS, scorecard
from benchmark.scoring.scores import SCORES
from zoo_builder.errors import InputError

# Other versions of gengap and numpy may sum in another order.
TOLERANCE = 1e-6


def verified_predictions(record: Record) -> pd.DataFrame:
    """``record.predictions()``, which give the record's coverage and its headline score.

    A headline score that needs more than predictions, targets and configurations is not computed; see ``is_checked``.

    Raises:
        InputError: the predictions cannot be read or scored, or give another score or coverage.
    """
    frame = record.predictions()
    coverage = float(frame["prediction"].notna().mean())
    if abs(coverage - record.coverage) > TOLERANCE:
        raise InputError(
            f"it says that it covers {percent(record.coverage)} of the models, and its predictions cover "
            f"{percent(coverage)}: run the method again"
        )
    name = record.headline
    try:
        value = _score(name, frame) if is_checked(record) else None
    except ScoreError as error:
        raise InputError(f"its predictions give no {title(name)}: {error}; run the method again") from error
    said = record.scores[name]["value"]
    if value is not None and not abs(value - said) <= TOLERANCE * max(1, abs(value)):
        raise InputError(
            f"it says {title(name)} {number(said)}, and its predictions give {number(value)}: run the method again"
        )
    return frame


def mistake(record: Record) -> str | None:
    """Why the score of ``record`` cannot be believed; None if its predictions give it."""
    try:
        verified_predictions(record)
    except InputError as error:
        return str(error)
    return None


def is_checked(record: Record) -> bool:
    return not SCORES[record.headline].needs


def _score(name: str, frame: pd.DataFrame) -> float:
    configurations = frame["configuration"]
    if len(frame) < MINIMUM_MODELS or configurations.nunique() < 2:
        raise ScoreError(f"{len(frame)} models of {configurations.nunique()} configurations cannot be compared")
    target, prediction = frame["target"].to_numpy(), frame["prediction"].to_numpy()
    if name == "tau":
        # A millisecond, where a scorecard with its draws takes fifty.
        defined = frame["prediction"].notna().to_numpy()
        return kendall_tau(prediction[defined], target[defined]).value
    card = scorecard(
        prediction[None], target, clusters=configurations.to_numpy(), scores=[name], draws=2, random_measures=0
    )
    (entry,) = card[name].entries
    if entry.value is None:
        raise ScoreError(entry.undefined or "undefined")
    return entry.value
