"""Tasks, as rows: what is predicted, from what, on which models of a zoo, and which kinds of methods may answer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from baselines.measures.measure import Measure
from baselines.methods import Estimator, Predictor
from benchmark.scoring.scores import SCORES
from zoo_builder.errors import InputError, nearest


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        title: as shown on boards and stored in records.
        orientation: what a larger value means.
        values: maps rows of ``zoo.final`` to float64 [rows]; never a function of a method. Raises InputError if an
            imported zoo lacks a column.
        is_gap: it is training minus test accuracy.
    """

    title: str
    orientation: str
    values: Callable[[pd.DataFrame], np.ndarray]
    is_gap: bool = False


def _column(final: pd.DataFrame, name: str) -> np.ndarray:
    if name not in final:
        raise InputError(f"the zoo has no column {name!r}, which the target needs: choose a task with another target")
    return final[name].to_numpy(float)


def _test_accuracy(final: pd.DataFrame) -> np.ndarray:
    return _column(final, "test_accuracy")


def _gap(final: pd.DataFrame) -> np.ndarray:
    return _column(final, "train_accuracy") - _test_accuracy(final)


TEST_ACCURACY = Target("test accuracy", "larger is a higher test accuracy", _test_accuracy)
GAP = Target("generalization gap (training minus test accuracy)", "larger is a larger gap", _gap, is_gap=True)


@dataclass(frozen=True)
class Kind:
    """A kind of method and what it needs from a task.

    Attributes:
        protocol: the class that methods of this kind are instances of; None where the benchmark computes the answers.
        target: the only target that the methods predict; None for any.
        fields: the fields of a View that the task's access level must allow.
        fitted: the methods are fitted, so the task must set training models apart.
        on_target_scale: the answers are in the units of the target.
    """

    name: str
    protocol: type | None
    target: Target | None = None
    fields: frozenset[str] = frozenset()
    fitted: bool = False
    on_target_scale: bool = True


MEASURE = Kind("measure", Measure, target=GAP, on_target_scale=False)
PREDICTOR = Kind("predictor", Predictor, fitted=True)
ESTIMATOR = Kind("estimator", Estimator, fields=frozenset({"targets"}))
ORACLE = Kind("oracle", None)
KINDS = {kind.name: kind for kind in (MEASURE, PREDICTOR, ESTIMATOR, ORACLE)}


@dataclass(frozen=True)
class Task:
    """One task, on any zoo.

    Attributes:
        name: the part after "<zoo>/".
        version: raised with every change of the definition; scores of two versions are never compared.
        access: the highest access level that a method may have, controls excepted.
        kinds: the kinds of methods that "all" stands for, besides the controls.
        target: what is predicted.
        answer: the type of an answer for one model.
        scores: names of the scores, see ``benchmark.scoring.scores.SCORES``.
        headline: the score that orders the board.
        fitted: methods are fitted on the train split and scored on the test split. Otherwise all models are scored,
            because half of a grid is no longer a grid.
    """

    name: str
    version: int
    access: str
    kinds: tuple[Kind, ...]
    target: Target
    answer: str = "number"
    scores: tuple[str, ...] = tuple(SCORES)
    headline: str = "tau"
    fitted: bool = True


TASKS = (
    Task(name="test-accuracy", version=1, access="weights", kinds=(PREDICTOR,), target=TEST_ACCURACY),
    Task(name="generalization-gap", version=1, access="train-data", kinds=(MEASURE, PREDICTOR), target=GAP),
    Task(name="complexity", version=2, access="trajectory", kinds=(MEASURE,), target=GAP, fitted=False),
    Task(name="unlabeled-accuracy", version=1, access="unlabeled-data", kinds=(ESTIMATOR,), target=TEST_ACCURACY),
)


def find_task(name: str, zoo_name: str) -> Task:
    """The task called ``name``, or "<zoo>/<name>" with the zoo's own name.

    Raises:
        InputError: no such task, or the name belongs to another zoo.

    >>> find_task("digits/complexity", "digits").target.title
    'generalization gap (training minus test accuracy)'
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
