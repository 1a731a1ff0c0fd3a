"""Margins and entropies against single modules in float64, image by image."""

import numpy as np
import pytest
import torch

from baselines.measures import measures
from baselines.measures.compute import compute

ALL = {measure.name: measure for measure in measures()}


@pytest.fixture
def slow_outputs(single):
    """slow_outputs(view, row): one model's outputs on its own training images, and their labels, as arrays."""

    @torch.no_grad()
    def get(view, row: int) -> tuple[np.ndarray, np.ndarray]:
        network, images, labels = single(view, row)
        return network(images).numpy(), labels.numpy()

    return get


def slow_margins(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([row[y] - np.delete(row, y).max() for row, y in zip(outputs, labels, strict=True)])


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("negative-margin-q1", lambda margins: np.percentile(margins, 25)),
        ("negative-margin-median", np.median),
        ("negative-margin-q3", lambda margins: np.percentile(margins, 75)),
        ("negative-margin-mean", np.mean),
    ],
)
def test_summaries_of_margins(relu_network, draw_stack, make_view, name, summary, slow_outputs):
    view = make_view([draw_stack(relu_network, 6)])
    truth = []
    for model in range(6):
        truth.append(summary(slow_margins(*slow_outputs(view, model))))
    result = compute(view, [ALL[name]])[name]
    np.testing.assert_allclose(-result.values, truth, rtol=1e-4, atol=1e-5)
    assert result.reasons == {}


def test_the_entropy_of_softmax_outputs(relu_network, draw_stack, make_view, slow_outputs):
    stack = draw_stack(relu_network, 6)
    for value in stack.parameters.values():
        value.mul_(0.4)  # so that not all outputs are certain
    view = make_view([stack])
    truth = []
    for model in range(6):
        outputs, _ = slow_outputs(view, model)
        p = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        truth.append((p * np.log(p)).sum(1).mean())
    result = compute(view, [ALL["negative-entropy"]])["negative-entropy"]
    np.testing.assert_allclose(result.values, truth, rtol=1e-4)
    assert (result.values < -0.05).all()


def test_the_entropy_of_outputs_that_are_all_equal_and_of_certain_ones(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 2)
    for value in stack.parameters.values():
        value.zero_()
    stack.parameters["linear1.bias"][1, 0] = 1e6  # the other probabilities are 0 in float64
    result = compute(make_view([stack]), [ALL["negative-entropy"]])["negative-entropy"]
    np.testing.assert_allclose(result.values, [-np.log(3), 0], rtol=1e-12)


def test_margins_against_single_modules(relu_network, tanh_network, draw_stack, make_view, slow_outputs):
    """Each model on its own subset, with subsets of three sizes in one stack."""
    view = make_view([draw_stack(relu_network, 6), draw_stack(tanh_network, 5, first_row=6)])
    assert len(np.unique(view.train.subset_size)) == 3
    truth = [np.percentile(slow_margins(*slow_outputs(view, model)), 10) for model in range(11)]
    result = compute(view, [ALL["negative-margin"]])["negative-margin"]
    np.testing.assert_allclose(-result.values, truth, rtol=1e-4)


def test_measures_with_margins_are_undefined_where_the_margin_is_not_positive(relu_network, draw_stack, make_view):
    """All images are of class 0, and one network has a large bias for it."""
    stack = draw_stack(relu_network, 4)
    stack.parameters["linear1.bias"][2, 0] = 1e3
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64))
    names = ("inverse-margin", "log-prod-of-spec-over-margin", "negative-margin")
    results = compute(view, [ALL[name] for name in names])
    for name in names[:2]:
        defined = np.isfinite(results[name].values)
        assert defined[2]
        assert set(results[name].reasons) == set(np.flatnonzero(~defined))
        assert set(results[name].reasons.values()) == {"the 10th percentile of the training margins is not positive"}
        assert results[name].log == ""
    assert np.isfinite(results["negative-margin"].values).all()
    assert (results["negative-margin"].values > 0).tolist() == np.isnan(results["inverse-margin"].values).tolist()
