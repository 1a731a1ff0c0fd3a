"""Measures computed for a view: none affects another, and every model has a value or a reason."""

import numpy as np
import pytest
import torch

from baselines.access import AccessError
from baselines.measures import measures
from baselines.measures.compute import NOT_FINITE, compute, one_by_one
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable
from zoo_builder.errors import InputError

ALL = {measure.name: measure for measure in measures()}
# Cheap measures that read between them all kinds of shared inputs: weights, singular values, margins, images, training.
FIVE = [
    ALL[name] for name in ("weight-norm", "log-prod-of-spec", "negative-margin", "mixup-error", "training-accuracy")
]


def measure(function, access: str = "train-data") -> Measure:
    return Measure(function.__name__, function, access, "weights", "a test", "a test")


def raises(context):
    raise KeyError("an error in its code")


def wrong_shape(context):
    return torch.zeros(len(context) + 1)


def no_numbers(context):
    return "three"


def complex_numbers(context):
    return torch.ones(len(context)) * 1j


def a_mask_of_pairs(context):
    context.undefined(torch.ones(len(context), 1, dtype=torch.bool), "one row too many")
    return torch.ones(len(context))


def a_mask_of_numbers(context):
    context.remark(torch.ones(len(context)), "not true or false")
    return torch.ones(len(context))


def empty_reason(context):
    context.undefined(torch.ones(len(context), dtype=torch.bool), "")
    return torch.ones(len(context))


def errors_of_others(context):
    context.standard_error(torch.zeros(len(context) + 1))
    return torch.ones(len(context))


def no_errors(context):
    context.standard_error(None)
    return torch.ones(len(context))


def negative_errors(context):
    context.standard_error(torch.tensor([0, torch.nan, -0.5]))
    return torch.ones(len(context))


def nan_without_a_reason(context):
    values = torch.zeros(len(context))
    values[1] = torch.nan
    return values


def infinite(context):
    return torch.full((len(context),), torch.inf)


def writes_to_everything(context):
    for value in context.parameters.values():
        value.numpy().fill(7)
    for values in (*context.matrices, *context.singular_values, *context.margins, context.margin):
        values.fill_(7)
    for group in context.groups():
        for value in group.stack.parameters.values():
            value.fill_(7)
    context.train.loss[:] = 7
    context.train.subset_size[:] = 7
    context.undefined(torch.arange(len(context)) == 0, "a reason of another measure")
    return torch.zeros(len(context))


def not_here(context):
    raise NotApplicable("not on this architecture")


@pytest.mark.parametrize(
    ("function", "lost", "words"),
    [
        (raises, {0, 1, 2}, "the measure failed: KeyError: 'an error in its code'"),
        (wrong_shape, {0, 1, 2}, r"the measure failed: it returned shape (4,), expected a tensor of shape (3,): one"),
        (no_numbers, {0, 1, 2}, "the measure failed: it returned a str that holds no real numbers, expected a tensor"),
        (complex_numbers, {0, 1, 2}, "the measure failed: it returned a Tensor that holds no real numbers"),
        (
            a_mask_of_pairs,
            {0, 1, 2},
            "the measure failed: ValueError: a mask of torch.bool [3, 1], expected torch.bool",
        ),
        (a_mask_of_numbers, {0, 1, 2}, "the measure failed: ValueError: a mask of torch.float32 [3], expected"),
        (empty_reason, {0, 1, 2}, "the measure failed: ValueError: a mask without a text: say what is so"),
        (
            errors_of_others,
            {0, 1, 2},
            "the measure failed: ValueError: standard errors of shape [4], expected a tensor",
        ),
        (no_errors, {0, 1, 2}, "the measure failed: ValueError: standard errors as NoneType, expected a tensor of 3"),
        (negative_errors, {0, 1, 2}, "the measure failed: ValueError: a standard error of -0.5, expected a tensor of"),
        (nan_without_a_reason, {1}, "the measure failed: it returned nan and gave no reason"),
        (infinite, {0, 1, 2}, "the measure failed: it returned inf and gave no reason"),
    ],
)
def test_a_failing_measure_is_reported_and_does_not_affect_others(
    relu_network, draw_stack, make_view, function, lost, words
):
    view = make_view([draw_stack(relu_network, 3)])
    truth = compute(view, FIVE)
    results = compute(view, [measure(function), *FIVE])
    failed = results.pop(function.__name__)
    assert set(failed.reasons) == set(np.flatnonzero(np.isnan(failed.values))) == lost
    assert all(reason.startswith(words) for reason in failed.reasons.values())
    assert words.removeprefix("the measure failed: ")[:20] in failed.log
    assert_same(results, truth)


def test_errors_and_remarks_belong_to_values(relu_network, draw_stack, make_view):
    def noted(context):
        first = torch.arange(len(context)) == 0
        context.undefined(first, "too thin")
        context.remark(~first, "a remark")
        context.remark(torch.arange(len(context)) == 2, "another")
        context.remark(~first, "a remark")
        context.standard_error(torch.ones(len(context)))
        context.standard_error(torch.tensor([1, 0.25, torch.inf]))
        return torch.ones(len(context))

    result = compute(make_view([draw_stack(relu_network, 3)]), [measure(noted)])["noted"]
    np.testing.assert_array_equal(result.errors, [np.nan, 0.25, np.nan])
    assert result.reasons == {0: "too thin"}
    assert result.remarks == {1: "a remark", 2: "a remark; another; its standard error is unknown"}


@pytest.mark.parametrize("function", [writes_to_everything, not_here])
def test_a_measure_that_writes_or_does_not_apply_does_not_affect_others(relu_network, draw_stack, make_view, function):
    stack = draw_stack(relu_network, 3)
    view = make_view([stack])
    truth = compute(view, FIVE)
    results = compute(view, [measure(function), *FIVE])
    mine = results.pop(function.__name__)
    assert mine.log == ""
    if function is not_here:
        assert mine.reasons == dict.fromkeys(range(3), "not on this architecture")
    assert_same(results, truth)
    assert all(torch.equal(stack.parameters[k], v) for k, v in draw_stack(relu_network, 3).parameters.items())


def assert_same(results: dict, truth: dict) -> None:
    for name, result in results.items():
        np.testing.assert_array_equal(result.values, truth[name].values)
        assert (result.reasons, result.log) == (truth[name].reasons, "")


def test_a_measure_may_return_any_floating_dtype_with_a_gradient(relu_network, draw_stack, make_view):
    def half(context):
        return context.parameters["conv1.bias"][:, 0].half().requires_grad_()

    result = compute(make_view([draw_stack(relu_network, 2)]), [measure(half)])["half"]
    assert result.values.dtype == np.float64
    assert result.log == ""


def test_a_measure_needs_a_view_of_its_level(relu_network, draw_stack, make_view):
    view = make_view([draw_stack(relu_network, 2)], access="weights")
    with pytest.raises(
        InputError, match="'inverse-margin' needs access level 'train-data', and this view has 'weights'"
    ):
        compute(view, [ALL["inverse-margin"]])


def test_a_measure_that_reads_more_than_it_declares_fails(relu_network, draw_stack, make_view):
    def greedy(context):
        return torch.tensor(context.train.accuracy)

    result = compute(make_view([draw_stack(relu_network, 2)], access="weights"), [measure(greedy, "weights")])["greedy"]
    assert AccessError.__name__ in result.log
    assert "view.train is not part of access level 'weights'" in result.reasons[0]


def test_every_model_comes_once(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 10)
    stack.parameters["conv1.bias"][4] = torch.nan
    rows = [rows for _, rows, _ in one_by_one(make_view([stack]), [ALL["weight-norm"]], stack_size=4)]
    assert [len(some) for some in rows] == [1, 4, 4, 1]
    assert sorted(np.concatenate(rows)) == list(range(10))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_model_loses_its_own_values_only(relu_network, draw_stack, make_view, bad):
    stack = draw_stack(relu_network, 5)
    view = make_view([stack], initial=[draw_stack(relu_network, 5, seed=1)])
    sound = compute(view, FIVE)
    stack.parameters["conv2.bias"][3, 0] = bad
    for name, result in compute(view, FIVE).items():
        assert np.isnan(result.values[3])
        assert result.reasons[3] == NOT_FINITE
        assert result.log == ""
        others = [0, 1, 2, 4]
        np.testing.assert_allclose(result.values[others], sound[name].values[others], rtol=1e-5)
