import numpy as np
import pandas as pd
import pytest

from baselines.levels import ACCESS
from benchmark.scoring.scores import SCORES
from benchmark.tasks import GAP, KINDS, TASKS, TEST_ACCURACY, find_task
from zoo_builder.errors import InputError


def test_targets_are_what_their_titles_say() -> None:
    final = pd.DataFrame({"train_accuracy": [0.75, 1.0], "test_accuracy": [0.5, 0.875]})
    np.testing.assert_array_equal(TEST_ACCURACY.values(final), [0.5, 0.875])
    np.testing.assert_array_equal(GAP.values(final), [0.25, 0.125])


def test_a_zoo_without_training_accuracies_has_no_gap() -> None:
    with pytest.raises(InputError, match="the zoo has no column 'train_accuracy', which the target needs"):
        GAP.values(pd.DataFrame({"test_accuracy": [0.5]}))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_row_is_consistent(task) -> None:
    assert task.headline in task.scores
    assert set(task.scores) <= SCORES.keys()
    for kind in task.kinds:
        assert kind.target in (None, task.target)
        assert kind.fields <= ACCESS[task.access]
        assert task.fitted or not kind.fitted


def test_names_are_distinct() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS)
    assert {kind.name for kind in KINDS.values()} == KINDS.keys()


def test_a_task_is_found_with_or_without_its_zoo() -> None:
    assert find_task("complexity", "small") is find_task("small/complexity", "small")


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(InputError, match=r"unknown task 'test-acuracy' \(did you mean 'test-accuracy'\?\)"):
        find_task("test-acuracy", "small")
    with pytest.raises(
        InputError, match=r"is a task of the zoo 'digits', and this is the zoo 'small': use small/test-acc"
    ):
        find_task("digits/test-accuracy", "small")
