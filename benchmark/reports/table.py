"""Scores of the predictions in a table that was made elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.records import NEARLY
from benchmark.reports.columns import Columns, read_columns
from benchmark.reports.words import by_reason, caveats, number, percent, shortened, title
from benchmark.scoring.comparison import MINIMUM_COVERAGE
from benchmark.scoring.floors import RANDOM_MEASURES, NoiseFloor
from benchmark.scoring.grid import with_names
from benchmark.scoring.kendall import tie_ceiling, tie_fraction
from benchmark.scoring.ranking import PairedScores, Ranking, rank
from benchmark.scoring.scorecard import Score, scorecard
from benchmark.scoring.scores import SCORES
from benchmark.scoring.within import architecture_share
from zoo_builder.errors import InputError, nearest


@dataclass(frozen=True)
class ScoredTable:
    """A table with its scores.

    Attributes:
        models, configurations: numbers of rows, and of distinct configurations among them.
        tie_fraction, tie_ceiling: of the target, see ``benchmark.scoring.kendall``.
        predictions, hyperparameters: names of columns; scores and rankings refer to them by number.
        coverage: share of the models that each prediction is defined for.
        constant: the predictions that have one value for all models.
        card, rankings: by score, in the requested order.
        order: the predictions by the first score, the best first and the unranked last.
        nearly: {prediction: share of its ranks' variance that lies between architectures}, from ``NEARLY`` on.
        architecture_floors: by score, of random functions of the architecture; none if ``nearly`` is empty.
        notes: see ``columns.Columns``.
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
    constant: tuple[int, ...]
    card: dict[str, Score]
    rankings: dict[str, Ranking]
    order: tuple[int, ...]
    nearly: dict[int, float]
    architecture_floors: dict[str, NoiseFloor]
    notes: tuple[str, ...]

    def reason(self, undefined: str | None) -> str | None:
        """Why a score is undefined, with the names of the hyperparameters."""
        return undefined and with_names(undefined, self.hyperparameters)

    def undefined(self, name: str) -> str | None:
        """Why no prediction has this score; None where at least one has it."""
        return self.reason(self.card[name].undefined)

    @property
    def defined(self) -> list[Score]:
        """The scores that at least one prediction has."""
        return [score for score in self.card.values() if score.undefined is None]

    @property
    def undefined_scores(self) -> dict[str, list[str]]:
        """Why a score is undefined for all predictions -> the titles of such scores."""
        return by_reason((name, self.undefined(name)) for name in self.card)

    @property
    def computed_with(self) -> list[str]:
        """What defined scores are computed with, each with the score's title."""
        definitions = [score.definition for score in self.defined]
        return [f"{definition.title}: by {definition.by}" for definition in definitions if definition.by]

    @property
    def caveats(self) -> list[str]:
        """See ``words.caveats``; and what chance reaches for those that are nearly functions of the architecture."""
        scores = ((name, vars(entry)) for name, score in self.card.items() for entry in score.entries)
        sentences = caveats(self.coverage, scores)
        if self.nearly:
            names = shortened(self.predictions)[1]
            shares = ", ".join(f"{names[e]} {percent(share, 0)}" for e, share in self.nearly.items())
            sentences.append(
                f"Nearly a function of the architecture (share of the variance of the ranks): {shares}. 95 % of random "
                f"functions of the architecture are no better than "
                + ", ".join(f"{title(name)} {number(floor.p95)}" for name, floor in self.architecture_floors.items())
                + "."
            )
        return sentences

    def place(self, name: str, e: int) -> str:
        """ "best", "tie" (a statistical tie with the best), "behind" or "unranked" (low coverage or undefined)."""
        standing = self.rankings[name].standings.get(e)
        if standing is None:
            return "unranked"
        if e == self.rankings[name].leader:
            return "best"
        return "tie" if standing.to_leader is None or standing.to_leader.tie else "behind"

    def ranks(self, name: str, e: int) -> tuple[int, int] | None:
        """Best and worst rank of a prediction, see ``ranking.Standing``; None where it is unranked."""
        standing = self.rankings[name].standings.get(e)
        return standing and standing.interval


def score_table(
    path: Path | str,
    target: str,
    predictions: Sequence[str],
    hyperparameters: Sequence[str] = (),
    scores: str = "tau",
    seed: str | None = None,
    test_examples: int | None = None,
    architecture: Sequence[str] = (),
) -> ScoredTable:
    """Scores columns of the table at ``path`` against its column ``target``; shows a progress bar on a terminal.

    Args:
        target: rows in which it is empty are left out.
        predictions: column names or wildcards ("measure.*"), oriented like the target: larger means larger. Empty
            where a prediction is undefined.
        hyperparameters: column names or wildcards; rows that are equal in all of them are seeds of one configuration
            and are resampled together. Without hyperparameters every row is a configuration.
        scores: names from ``benchmark.scoring.scores.SCORES``, separated by commas. The first one orders the table.
            "all" is all scores but those that are ``on_target_scale``, which are meaningless for measures.
        seed: the column that distinguishes the runs of one configuration. Without it, rows that are equal in
            hyperparameters, target and predictions count as one run given twice, which is an error.
        test_examples: how many examples the target was measured on; ``robust`` needs it.
        architecture: those of the hyperparameters that set the architecture; ``tau-within`` and ``psi-within`` need
            them.

    Raises:
        InputError: an unreadable file, an unknown column or score, a value that is not a number, a model or run that
            is given twice.
        ScoreError: fewer than 3 models, or a target without variation.
    """
    path = Path(path)
    names = _scores(scores)
    if test_examples is not None and test_examples < 1:
        raise InputError(f"test_examples is {test_examples}, expected a whole number of at least 1")
    columns = read_columns(path, target, predictions, hyperparameters, seed, architecture)
    nearly = _nearly(columns)
    card, floors, rankings = _scored(names, columns, test_examples, bool(nearly))
    return ScoredTable(
        path=path,
        target=target,
        models=len(columns.target),
        configurations=columns.configurations,
        tie_fraction=tie_fraction(columns.target),
        tie_ceiling=tie_ceiling(columns.target),
        predictions=columns.prediction_names,
        hyperparameters=columns.hyperparameter_names,
        test_examples=test_examples,
        coverage=tuple((~np.isnan(columns.predictions)).mean(axis=1).tolist()),
        constant=tuple(e for e, values in enumerate(columns.predictions) if len(set(values[~np.isnan(values)])) == 1),
        card=card,
        rankings=rankings,
        order=_order(card[names[0]], rankings[names[0]]),
        nearly=nearly,
        architecture_floors=floors,
        notes=columns.notes,
    )


def _scores(given: str) -> list[str]:
    known = ", ".join(SCORES)
    names = [name.strip() for name in given.split(",")]
    if names == ["all"]:
        return [name for name, score in SCORES.items() if not score.on_target_scale]
    if "all" in names:
        raise InputError(f"scores are {given!r}: give only all, or some of {known}")
    for name in names:
        if name not in SCORES:
            raise InputError(f"there is no score {name!r}{nearest(name, SCORES)}; give all, or some of {known}")
    return list(dict.fromkeys(names))


def _nearly(columns: Columns) -> dict[int, float]:
    """See ``ScoredTable.nearly``."""
    if columns.architectures is None or len(set(columns.architectures)) == 1:
        return {}
    shares = {}
    for e, values in enumerate(columns.predictions):
        defined = ~np.isnan(values)
        shares[e] = architecture_share(values[defined], columns.architectures[defined]) if defined.any() else 0.0
    return {e: share for e, share in shares.items() if share >= NEARLY}


def _scored(
    names: list[str], columns: Columns, test_examples: int | None, nearly: bool
) -> tuple[dict[str, Score], dict[str, NoiseFloor], dict[str, Ranking]]:
    """The scores of the predictions, the floors of random functions of the architecture, and the rankings by score.

    Shows a progress bar on a terminal. The floors are computed where a prediction is ``nearly`` such a function.
    """
    with tqdm(total=0, unit=" predictions", dynamic_ncols=True, leave=False, disable=None) as bar:

        def progress(name: str, done: int) -> None:
            bar.update(done)
            bar.set_description_str(SCORES[name].title)

        def scorer(
            predictions: np.ndarray, names: Sequence[str], floors: int, by: np.ndarray | None = None
        ) -> dict[str, Score]:
            bar.total += len(names) * len(predictions)
            return scorecard(
                predictions,
                columns.target,
                columns.hyperparameters,
                test_examples=test_examples,
                architectures=columns.architectures,
                scores=names,
                progress=progress,
                random_measures=floors,
                random_by=by,
            )

        card = scorer(columns.predictions, names, floors=RANDOM_MEASURES)
        floors = {}
        if nearly:
            of_all = [name for name in names if not SCORES[name].within_architecture]
            chance = scorer(columns.predictions[:0], of_all, RANDOM_MEASURES, columns.architectures)
            floors = {name: score.floor for name, score in chance.items() if score.floor}
        rankings = {}
        for name, score in card.items():

            def rescore(predictions: np.ndarray, name: str = name) -> Score:
                return scorer(predictions, [name], floors=0)[name]

            paired = PairedScores.of(columns.predictions, score, rescore)
            eligible = [e for e, entry in enumerate(score.entries) if entry.coverage >= MINIMUM_COVERAGE]
            rankings[name] = rank(paired, [entry.value for entry in score.entries], eligible)
    return card, floors, rankings


def _order(score: Score, ranking: Ranking) -> tuple[int, ...]:
    """The ranked predictions, best first, then the unranked ones by their values and the undefined ones."""
    sign = 1 if score.definition.lower_is_better else -1
    values = [entry.value for entry in score.entries]
    unranked = sorted(
        set(range(len(values))) - set(ranking.order),
        key=lambda e: np.inf if (value := values[e]) is None else sign * value,
    )
    return *ranking.order, *unranked
