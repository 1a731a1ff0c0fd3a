"""Tasks: what is predicted, from what, on which models of a zoo."""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from baselines.interface import ACCESS
from zoo_builder.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.entrants import Entrant
    from zoo_builder.store import Zoo

# The share of configurations in each split; the rest is the test split.
TRAIN_SHARE, VALIDATION_SHARE = 0.4, 0.1
SPLIT_VERSION = 1

GAP = "generalization gap (training minus test accuracy)"


@dataclass(frozen=True)
class Task:
    """One task, on any zoo.

    Attributes:
        name: the part after "<zoo>/".
        version: changes with the definition; scores of two versions are never compared.
        access: the most an entrant may read, controls excepted.
        kinds: the kinds of entrants that "all" stands for, beside the controls.
        target, orientation: what is predicted, and what a larger value says.
        fitted: entrants are fitted on the train split and scored on the test split. Where nothing is fitted, all models
            are scored: half of a controlled grid is none any more.
    """

    name: str
    version: int
    access: str
    kinds: tuple[str, ...]
    target: str
    orientation: str
    fitted: bool = True

    def values(self, final: "pd.DataFrame") -> np.ndarray:
        """The target of each row of ``zoo.final``: float64 [n]."""
        accuracy = final["test_accuracy"].to_numpy(float)
        return final["train_accuracy"].to_numpy(float) - accuracy if self.predicts_gap else accuracy

    @property
    def predicts_gap(self) -> bool:
        return self.target == GAP

    def refuses(self, entrant: "Entrant") -> str | None:
        """Why this entrant cannot enter the task; None where it can."""
        if entrant.kind == "measure" and not self.predicts_gap:
            return f"a complexity measure says how large the generalization gap is, and {self.name} is about accuracy"
        if entrant.kind == "predictor" and not self.fitted and not entrant.control:
            return f"it is fitted, and {self.name} scores all models of a zoo"
        if entrant.kind == "estimator" and "target" not in ACCESS[self.access]:
            return f"an estimator reads unlabeled target data, which {self.name} does not give"
        if not entrant.control and not ACCESS[entrant.access] <= ACCESS[self.access]:
            return f"it reads {entrant.access!r}, and {self.name} gives {self.access!r}"
        return None


TASKS = (
    Task(
        name="test-accuracy",
        version=1,
        access="weights",
        kinds=("predictor",),
        target="test accuracy",
        orientation="larger is a higher test accuracy",
    ),
    Task(
        name="generalization-gap",
        version=1,
        access="train-data",
        kinds=("measure", "predictor"),
        target=GAP,
        orientation="larger is a larger gap",
    ),
    Task(
        name="complexity",
        version=2,
        access="trajectory",
        kinds=("measure",),
        target=GAP,
        orientation="larger is a larger gap",
        fitted=False,
    ),
    Task(
        name="unlabeled-accuracy",
        version=1,
        access="unlabeled-data",
        kinds=("estimator",),
        target="test accuracy",
        orientation="larger is a higher test accuracy",
    ),
)


def find_task(name: str, zoo_name: str) -> Task:
    """The task called ``name``, or "<zoo>/<name>" with the zoo's own name.

    Raises:
        InputError: no such task, or the name is of another zoo.
    """
    zoo, _, short = name.rpartition("/")
    names = [task.name for task in TASKS]
    if short not in names:
        raise InputError(f"unknown task {name!r}{nearest(short, names)}: use one of {', '.join(names)}")
    if zoo not in ("", zoo_name):
        raise InputError(
            f"{name} is a task of the zoo {zoo!r}, and this is the zoo {zoo_name!r}: use {zoo_name}/{short}"
        )
    return TASKS[names.index(short)]


@dataclass(frozen=True)
class Split:
    """The models of a zoo that a task is about, cut by configuration; the same for every entrant.

    Attributes:
        final: rows of ``zoo.final`` of the runs that ended well; positions below count in it.
        train, validation, test: int64 positions.
        hash: sha256 (hex) over model ids and their splits.
    """

    final: "pd.DataFrame"
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    hash: str


def split(zoo: "Zoo", fitted: bool = True) -> Split:
    """Train 40 %, validation 10 %, test 50 % of the configurations, by a hash of each, the seed excluded.

    Seed twins never straddle it, and a larger zoo keeps every model where it was. Where nothing is ``fitted``, all
    models are test models.

    Raises:
        InputError: so few models that a split has less than three.
    """
    final = zoo.final[zoo.final["status"] == "ok"]
    share = final["configuration"].map(_position).to_numpy(float)
    names = np.where(
        share < TRAIN_SHARE, "train", np.where(share < TRAIN_SHARE + VALIDATION_SHARE, "validation", "test")
    )
    if not fitted:
        names = np.full(len(final), "test")
    train, validation, test = (np.flatnonzero(names == name) for name in ("train", "validation", "test"))
    if fitted and min(len(train), len(validation), len(test)) < 3:
        raise InputError(
            f"the zoo {zoo.root} has {len(train)} training, {len(validation)} validation and {len(test)} test models, "
            f"and a task needs 3 of each: build it with more --models"
        )
    lines = [f"{SPLIT_VERSION}", *map(" ".join, zip(final["model_id"], names, strict=True))]
    return Split(final, train, validation, test, hashlib.sha256("\n".join(lines).encode()).hexdigest())


def _position(configuration: str) -> float:
    """A number in [0, 1) that depends on the configuration alone."""
    digest = hashlib.sha256(f"split {SPLIT_VERSION} {configuration}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
