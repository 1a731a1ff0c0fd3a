"""Views: what an access level allows, what a zoo lacks, and selections of models."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.access import AccessError, NotApplicable, View
from baselines.fields import FIELDS, Missing
from baselines.levels import ACCESS
from zoo_builder.errors import InputError


def test_every_field_belongs_to_a_level_and_is_declared():
    names = {field.name for field in FIELDS}
    assert names == set().union(*ACCESS.values()) == set(View.__annotations__)


@pytest.mark.parametrize("access", ACCESS)
def test_a_level_reads_its_own_fields_and_no_others(full_view, access):
    view = full_view(access)
    for field in FIELDS:
        if field.name in ACCESS[access]:
            assert getattr(view, field.name) is not None
        else:
            with pytest.raises(AccessError):
                getattr(view, field.name)


def test_the_access_error_says_what_to_declare(full_view):
    with pytest.raises(AccessError) as error:
        full_view("weights").hyperparameters  # noqa: B018
    for word in ("view.hyperparameters", "'weights'", "hyperparameters, trajectory", "declare"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: View("weight", 0), r"'weight' \(did you mean 'weights'\?\): use one of hyperparameters, weights"),
        (lambda: View("weights", 0, train=None), "level 'weights' cannot hold train, only initial, stacks"),
    ],
)
def test_what_is_no_view_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_field_that_does_not_exist_is_named():
    with pytest.raises(AttributeError, match=r"no field 'stack' \(did you mean 'stacks'\?\): use one of stacks, init"):
        View("weights", 0).stack  # noqa: B018


def test_a_missing_field_raises_its_reason_also_of_some_models(full_view, relu_network, draw_stack):
    view = View("weights", 2, stacks=[draw_stack(relu_network, 2)], initial=Missing("epoch 0 was not kept"))
    for one in (view, view.take(np.array([1])), copy.deepcopy(view)):
        with pytest.raises(NotApplicable, match=r"^epoch 0 was not kept$"):
            one.initial  # noqa: B018
    with pytest.raises(NotApplicable, match="made without `stacks`"):
        View("weights", 2).stacks  # noqa: B018
    with pytest.raises(AccessError):
        view.train  # noqa: B018


def test_a_view_can_be_printed_and_compared_at_any_level(full_view):
    view = full_view("hyperparameters")
    assert repr(view) == "View('hyperparameters', 7 models)"
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
    taken = full_view("unlabeled-data").take(np.array(wanted, dtype=int))
    assert taken.targets["digits"].logits.ravel().tolist() == wanted
    assert taken.source.logits.ravel().tolist() == wanted


@pytest.mark.parametrize("rows", [[0, 0], [7], [-1]])
def test_taking_needs_distinct_rows_of_the_view(full_view, rows):
    with pytest.raises(InputError, match=r"of a view of 7 models: give distinct rows from 0 to 6"):
        full_view("weights").take(np.array(rows))


def test_taking_leaves_the_original_alone(full_view):
    view = full_view("train-data")
    taken = view.take(np.array([3, 0]))
    taken.stacks[0].parameters["conv1.weight"].zero_().add_(99)
    taken.train.loss[:] = 99
    assert view.stacks[1].parameters["conv1.weight"].max() == 5
    assert view.train.loss.max() < 1
