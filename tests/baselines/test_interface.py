"""Views: what an access level allows, and selections of models."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.access import ACCESS, AccessError, TargetData, View
from baselines.measures.measure import Measure
from zoo_builder.errors import InputError


@pytest.fixture(scope="session")
def full_view(relu_network, tanh_network, draw_stack, make_view):
    """full_view(access): 7 models of two architectures, interleaved; every value tells which model it is of."""
    stacks = [draw_stack(relu_network, 4), draw_stack(tanh_network, 3)]
    for stack, rows in zip(stacks, ([0, 2, 4, 6], [1, 3, 5]), strict=True):
        stack.rows[:] = rows
        for value in stack.parameters.values():
            value[:] = value.new_tensor(rows).view(-1, *[1] * (value.dim() - 1))
    content = {
        "initial": stacks,
        "hyperparameters": pd.DataFrame({"number": range(7)}),
        "configurations": np.arange(7),
        "target": TargetData(images=None, logits=np.arange(7, dtype=np.float16)[:, None, None]),
    }
    return lambda access: make_view(stacks, access, **content)


@pytest.mark.parametrize("access", ACCESS)
def test_a_level_reads_its_own_fields_and_no_others(full_view, access):
    view = full_view(access)
    for name in frozenset().union(*ACCESS.values()):
        if name in ACCESS[access]:
            assert getattr(view, name) is not None
        else:
            with pytest.raises(AccessError):
                getattr(view, name)


def test_the_access_error_says_what_to_declare(full_view):
    with pytest.raises(AccessError) as error:
        full_view("weights").hyperparameters  # noqa: B018
    for word in ("view.hyperparameters", "'weights'", "hyperparameters, trajectory", "declare"):
        assert word in str(error.value)


def test_an_unknown_level_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'weight' \(did you mean 'weights'\?\): use one of hyperparameters, weights"):
        View(access="weight", size=0)


def test_a_view_can_be_printed_and_compared_at_any_level(full_view):
    view = full_view("hyperparameters")
    assert "View" in repr(view)
    assert view == view
    assert view != full_view("hyperparameters")


@given(data=st.data())
def test_taking_keeps_every_model_whole(full_view, data):
    """Values, weights and rows stay together through any two selections."""
    order = data.draw(st.lists(st.integers(0, 6), unique=True, min_size=1))
    again = data.draw(st.lists(st.integers(0, len(order) - 1), unique=True))
    wanted = [order[position] for position in again]
    view = full_view("trajectory").take(np.array(order)).take(np.array(again, dtype=int))
    assert view.size == len(wanted)
    assert view.hyperparameters["number"].tolist() == wanted
    assert list(view.hyperparameters.index) == list(range(len(wanted)))
    assert view.configurations.tolist() == wanted
    for stacks in (view.stacks, view.initial):
        assert sorted(row for stack in stacks for row in stack.rows) == list(range(len(wanted)))
        for stack in stacks:
            assert len(stack) > 0
            for value in stack.parameters.values():
                assert value.flatten(1)[:, 0].tolist() == [wanted[row] for row in stack.rows]
    assert view.train.loss.tolist() == full_view("trajectory").train.loss[wanted].tolist()
    assert full_view("unlabeled-data").take(np.array(wanted, dtype=int)).target.logits.ravel().tolist() == wanted


@pytest.mark.parametrize("rows", [[0, 0], [7], [-1]])
def test_taking_needs_distinct_rows_of_the_view(full_view, rows):
    with pytest.raises(InputError, match=r"7 models .* give distinct rows below 7"):
        full_view("weights").take(np.array(rows))


def test_taking_leaves_the_original_alone(full_view):
    view = full_view("train-data")
    taken = view.take(np.array([3, 0]))
    taken.stacks[0].parameters["conv1.weight"].zero_().add_(99)
    taken.train.loss[:] = 99
    assert view.stacks[1].parameters["conv1.weight"].max() == 5
    assert view.train.loss.max() < 1


def test_a_row_of_a_measure_is_plain_data():
    measure = Measure("name", len, "weights", "free", "formula", "citation")
    assert measure.control is False
