"""Fields of a view: through a folder and back, and what an imported zoo does not record."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.fields import FIELDS, Missing, Stacks
from baselines.levels import ACCESS
from zoo_builder.networks.architecture import Architecture

LEVEL_OF = {name: level for level, names in ACCESS.items() for name in names}


def same(one, other) -> bool:
    """Equal in type, values and order, at any depth."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, pd.DataFrame):
        return one.equals(other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Architecture):
        return one == other
    return same(vars(one), vars(other))


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_field_is_read_as_it_was_written(full_view, field, tmp_path):
    value = getattr(full_view(LEVEL_OF[field.name]), field.name)
    field.save(value, tmp_path)
    assert same(field.load(tmp_path), value)
    taken = field.take(value, np.array([5, 2, 0]))
    field.save(taken, tmp_path)
    assert same(field.load(tmp_path), taken)


def test_stacks_without_models_are_dropped(full_view):
    value = full_view("weights").stacks
    assert [len(stack) for stack in Stacks().take(value, np.array([6, 2]))] == [2]
    assert Stacks().take(value, np.array([], dtype=int)) == []


@pytest.mark.parametrize(
    ("name", "columns", "reason"),
    [
        ("hyperparameters", {}, "does not record hyperparameters"),
        ("train", {}, "does not record which training images"),
        ("train", {"train_fraction", "twin", "varied"}, "does not record the loss and accuracy of each model"),
        ("train", {"train_fraction", "twin", "varied", "train_loss", "train_accuracy"}, "does not name the data set"),
        ("targets", {}, "no target data"),
        ("statistics", {}, "does not record training statistics"),
        ("source", {}, "no labeled source test set"),
    ],
)
def test_what_an_imported_zoo_does_not_record_is_missing(name, columns, reason):
    (field,) = (field for field in FIELDS if field.name == name)
    zoo = SimpleNamespace(hyperparameters=[], has_outputs=False, names_data=False)
    made = field.make(zoo, pd.DataFrame(columns=list(columns)), data=None)
    assert isinstance(made, Missing)
    assert reason in made.reason


def test_statistics_are_those_that_the_zoo_records():
    (field,) = (field for field in FIELDS if field.name == "statistics")
    made = field.make(SimpleNamespace(), pd.DataFrame({"steps_to_0.1": [3.0], "loss": [1.0]}, index=[8]), data=None)
    assert made.to_dict("list") == {"steps_to_0.1": [3.0]}
