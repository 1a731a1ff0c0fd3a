"""Tasks: what is predicted, from what, on which models of a zoo."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from baselines.access import ACCESS
from zoo_builder.errors import InputError, nearest

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.evaluation.methods import Method


GAP = "generalization gap (training minus test accuracy)"


@dataclass(frozen=True)
class Task:
    """One task, on any zoo.

    Attributes:
        name: the part after "<zoo>/".
        version: changes with the definition; scores of two versions are never compared.
        access: the most a method may read, controls excepted.
        kinds: the kinds of methods that "all" stands for, beside the controls.
        target, orientation: what is predicted, and what a larger value says.
        fitted: methods are fitted on the train split and scored on the test split. Where nothing is fitted, all models
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

    def refuses(self, method: "Method") -> str | None:
        """Why this method cannot enter the task; None where it can."""
        if method.kind == "measure" and not self.predicts_gap:
            return f"a complexity measure says how large the generalization gap is, and {self.name} is about accuracy"
        if method.kind == "predictor" and not self.fitted and not method.control:
            return f"it is fitted, and {self.name} scores all models of a zoo"
        if method.kind == "estimator" and "target" not in ACCESS[self.access]:
            return f"an estimator reads unlabeled target data, which {self.name} does not give"
        if not method.control and not ACCESS[method.access] <= ACCESS[self.access]:
            return f"it reads {method.access!r}, and {self.name} gives {self.access!r}"
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
