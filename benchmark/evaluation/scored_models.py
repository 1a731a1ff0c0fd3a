"""``ScoredModels``: the models of a zoo that a task scores, and everything that scores need besides predictions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from benchmark import scoring
from benchmark.scoring.floors import RANDOM_MEASURES
from benchmark.scoring.kendall import tie_ceiling, tie_fraction
from benchmark.scoring.reliability import Reliability, reliability
from benchmark.scoring.scorecard import Score, scorecard
from benchmark.scoring.scores import SCORES
from benchmark.split import Split, split_zoo
from benchmark.tasks import Task
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.settings import subset_size

SEED = 0


@dataclass(frozen=True, eq=False)
class ScoredModels:
    """The n test models of a task on one zoo.

    Attributes:
        labels: float64, the target of every row of ``split.final``; ``target`` has those of the test models, [n].
        hyperparameters: those that vary in the zoo, one row per test model.
        clusters: int64 [n], equal for runs of one configuration.
        test_examples: how many examples the target was measured on; None if the zoo has no outputs on them.
        reliability: of the target; None without outputs, or if all of a few models are alike on half of the examples.
    """

    task: Task
    zoo: Zoo
    split: Split
    labels: np.ndarray
    hyperparameters: pd.DataFrame
    clusters: np.ndarray
    test_examples: int | None
    reliability: Reliability | None

    @classmethod
    def of(cls, task: Task, zoo: Zoo) -> "ScoredModels":
        """Reads the zoo's tables and outputs.

        Raises:
            InputError: the zoo is too small, cannot be read, or all of its test models have the same target.
        """
        split = split_zoo(zoo, task.fitted)
        labels = task.target.values(split.final)
        if len(np.unique(labels[split.test])) < 2:
            raise InputError(f"all test models of {zoo.root} have the same {task.target.title}: nothing can be ordered")
        test = split.final.iloc[split.test]
        correct = zoo.correct(test.index) if zoo.has_outputs else None
        return cls(
            task=task,
            zoo=zoo,
            split=split,
            labels=labels,
            hyperparameters=test[zoo.axes],
            clusters=pd.factorize(test["configuration"])[0],
            test_examples=None if correct is None else correct.shape[1],
            reliability=None if correct is None else _reliability(task, zoo, test, correct),
        )

    @property
    def rows(self) -> pd.DataFrame:
        """The test models' rows of ``zoo.final``."""
        return self.split.final.iloc[self.split.test]

    @property
    def architectures(self) -> np.ndarray:
        return self.rows["architecture"].to_numpy(str)

    @property
    def target(self) -> np.ndarray:
        return self.labels[self.split.test]

    def scores(
        self,
        predictions: np.ndarray,
        names: Sequence[str],
        random_measures: int = 0,
        random_by: np.ndarray | None = None,
    ) -> dict[str, Score]:
        """The scores called ``names`` of predictions [E, n], and their noise floors; see ``scorecard``."""
        return scorecard(
            predictions,
            self.target,
            self.hyperparameters.to_numpy(object),
            self.clusters,
            test_examples=self.test_examples,
            architectures=self.architectures,
            scores=names,
            random_measures=random_measures,
            random_by=random_by,
            seed=SEED,
        )

    @cached_property
    def reference(self) -> dict:
        """Ceilings and noise floors, with which scores of these models are compared; see ``Record.reference``."""
        nothing = np.empty((0, len(self.target)))
        floors = self.scores(nothing, self.task.scores, RANDOM_MEASURES)
        of_architectures = {}
        if len(np.unique(self.architectures)) > 1:
            names = [name for name in self.task.scores if not SCORES[name].within_architecture]
            of_architectures = self.scores(nothing, names, RANDOM_MEASURES, self.architectures)
        return {
            "tie_ceiling": tie_ceiling(self.target),
            "tie_fraction": tie_fraction(self.target),
            **({"reliability": asdict(self.reliability)} if self.reliability else {}),
            "noise_floors": _stored(floors),
            **({"architecture_floors": _stored(of_architectures)} if of_architectures else {}),
        }


def _stored(scores: dict[str, Score]) -> dict[str, dict]:
    return {name: asdict(score.floor) for name, score in scores.items() if score.floor}


def _reliability(task: Task, zoo: Zoo, rows: pd.DataFrame, correct: np.ndarray) -> Reliability | None:
    train_accuracy, train_examples = None, None
    if task.target.is_gap:
        train_accuracy = rows["train_accuracy"].to_numpy(float)
        train_examples = _train_examples(zoo, rows)
    try:
        return reliability(correct, train_accuracy, train_examples, seed=SEED)
    except scoring.ScoreError:
        return None


def _train_examples(zoo: Zoo, rows: pd.DataFrame) -> np.ndarray | None:
    """How many images each model was trained on; None for an imported zoo that does not say."""
    total = (zoo.manifest.get("data") or {}).get("train_images")
    if not total or "train_fraction" not in rows or rows["train_fraction"].isna().any():
        return None
    return np.array([subset_size(fraction, total) for fraction in rows["train_fraction"]])
