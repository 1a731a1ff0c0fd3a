"""Mixtures against a slow loop over single networks in float64, and curves whose scores are known."""

import numpy as np
import pytest
import torch

from baselines.measures import mixup
from baselines.measures.compute import compute
from baselines.measures.context import MeasureContext
from baselines.measures.mixup import (
    STRENGTHS,
    curves,
    gi_score,
    mean_over_labels,
    next_of_other_label,
    next_of_same_label,
    pal_ratio,
)

ALL = {measure.name: measure for measure in mixup.MEASURES}


def partner(labels: torch.Tensor, position: int, same: bool) -> int:
    """The next position with the same label, or with another."""
    count = len(labels)
    following = [(position + step) % count for step in range(1, count + 1)]
    return next(i for i in following if i == position or (labels[i] == labels[position]).item() is same)


def test_partners_by_hand():
    labels = torch.tensor([[2, 0, 2, 2, 1, 0], [1, 1, 1, 1, 1, 1], [0, 0, 1, 1, 0, 0]])
    same = [[2, 5, 3, 0, 4, 1], [1, 2, 3, 4, 5, 0], [1, 4, 3, 2, 5, 0]]
    other = [[1, 2, 4, 4, 5, 0], [0, 1, 2, 3, 4, 5], [2, 2, 4, 4, 2, 2]]
    assert next_of_same_label(labels).tolist() == same
    assert next_of_other_label(labels).tolist() == other


@pytest.mark.parametrize("classes", [2, 5, 30])
def test_partners_against_a_search(classes):
    labels = torch.randint(classes, (4, 40), generator=torch.Generator().manual_seed(classes))
    for same, find in ((True, next_of_same_label), (False, next_of_other_label)):
        slow = [[partner(row, position, same) for position in range(40)] for row in labels]
        assert find(labels).tolist() == slow


def test_mean_over_labels_weighs_labels_alike():
    values = torch.tensor([[1, 0, 0, 1, 1]])
    assert mean_over_labels(values, torch.tensor([[0, 0, 0, 3, 3]])).tolist() == [pytest.approx((1 / 3 + 1) / 2)]


def test_mixup_error_against_single_modules(relu_network, tanh_network, draw_stack, make_view, single):
    view = make_view([draw_stack(relu_network, 6), draw_stack(tanh_network, 5, first_row=6)])
    truth = []
    for row in range(11):
        network, images, labels = single(view, row)
        wrong: dict[int, list] = {}
        for position, label in enumerate(labels.tolist()):
            mixed = (images[position] + images[partner(labels, position, True)]) / 2
            wrong.setdefault(label, []).append(network(mixed[None]).argmax().item() != label)
        truth.append(np.mean([np.mean(values) for values in wrong.values()]))
    result = compute(view, [ALL["mixup-error"]])["mixup-error"]
    assert len(np.unique(truth)) > 5
    np.testing.assert_allclose(result.values, truth, atol=1e-12)


def test_curves_against_single_modules(relu_network, draw_stack, make_view, single):
    view = make_view([draw_stack(relu_network, 5)])
    found = curves(MeasureContext(view))
    assert list(found) == [(kind, layer) for kind in ("intra", "inter") for layer in ("input", "hidden")]
    for (kind, layer), table in found.items():
        for row in range(5):
            network, images, labels = single(view, row)
            cut = {"input": 0, "hidden": 2}[layer]
            places = network[:cut](images)
            for number in range(11):
                right = 0
                for position, label in enumerate(labels.tolist()):
                    mate = places[partner(labels, position, kind == "intra")]
                    mixed = places[position] + number / 20 * (mate - places[position])
                    right += network[cut:](mixed[None]).argmax().item() == label
                assert table[row, number].item() == pytest.approx(right / len(labels))
    assert not torch.equal(found["inter", "input"], found["intra", "input"])
    assert not torch.equal(found["inter", "input"], found["inter", "hidden"])


def test_scores_of_known_curves():
    perfect, half, wrong = (torch.full((1, 11), share, dtype=torch.float64) for share in (1, 0.5, 0))
    assert gi_score(perfect).item() == pytest.approx(0, abs=1e-12)
    assert gi_score(half).item() == pytest.approx(0.25)
    assert gi_score(wrong).item() == pytest.approx(0.5)
    # P is t or t / 2: areas of trapezoids.
    assert pal_ratio(perfect).item() == pytest.approx((0.6 * (0.4 + 1) / 2) / (0.1 * 0.1 / 2))
    assert pal_ratio(half).item() == pytest.approx(84)
    # P = t - t^2 / 2. The trapezoidal rule adds h^2 / 12 to the integral of t^2 / 2, which is 1 / 6.
    falling = (1 - STRENGTHS)[None]
    assert gi_score(falling).item() == pytest.approx(1 / 6 + 0.01 / 12)
    strong = (1 - 0.4**2) / 2 - (1 - 0.4**3) / 6 - 0.6 * 0.01 / 12
    assert pal_ratio(falling).item() == pytest.approx(strong / (0.1 * 0.095 / 2))


def test_scores_say_larger_where_mixtures_are_lost(relu_network, draw_stack, make_view):
    view = make_view([draw_stack(relu_network, 5)])
    table = curves(MeasureContext(view))["intra", "hidden"]
    results = compute(view, mixup.MEASURES)
    np.testing.assert_allclose(results["gi-score-intra-hidden"].values, gi_score(table).numpy())
    defined = np.isfinite(results["pal-score-intra-hidden"].values)
    np.testing.assert_allclose(results["pal-score-intra-hidden"].values[defined], -pal_ratio(table).numpy()[defined])
    perfect, falling = torch.ones(1, 11, dtype=torch.float64), (1 - STRENGTHS)[None]
    assert gi_score(falling) > gi_score(perfect)
    assert -pal_ratio(falling) > -pal_ratio(perfect)


@pytest.mark.parametrize("name", ["relu_network", "tanh_network"])
def test_mixup_margin_against_autograd_of_single_modules(name, request, draw_stack, make_view, single, hidden_margins):
    view = make_view([draw_stack(request.getfixturevalue(name), 6)])
    truth = []
    for row in range(6):
        network, images, labels = single(view, row)
        mates = [partner(labels, position, True) for position in range(len(labels))]
        truth.append(-hidden_margins(network, (images + images[mates]) / 2, labels))
    result = compute(view, [ALL["mixup-margin"]])["mixup-margin"]
    np.testing.assert_allclose(result.values, truth, rtol=1e-4)


def test_one_label_has_no_mixtures_with_others(relu_network, draw_stack, make_view):
    view = make_view([draw_stack(relu_network, 3)], labels=torch.zeros(40, dtype=torch.int64))
    results = compute(view, mixup.MEASURES)
    for name, result in results.items():
        if "inter" in name:
            assert result.reasons == dict.fromkeys(range(3), "all of its training images have one label")
        assert result.log == ""
    assert np.isfinite(results["gi-score-intra-input"].values).all()


def test_dead_layers_and_classes_say_why(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 4)
    stack.parameters["conv1.bias"][1] = -1e4  # no unit of the first layer is ever active
    stack.parameters["conv2.bias"][2] = -1e6  # nor of the second: only biases reach the outputs
    view = make_view([stack])
    stack.parameters["linear1.bias"][2] = torch.tensor([1.0, 2, 3])
    result = compute(view, [ALL["mixup-margin"]])["mixup-margin"]
    assert result.reasons == {
        1: "the first hidden layer has the same output for every image",
        2: "the logits do not depend on the first hidden layer",
    }
    labels = torch.zeros(40, dtype=torch.int64)
    stack.parameters["linear1.bias"][3, 0] = -1e6  # never class 0
    result = compute(make_view([stack], labels=labels), [ALL["pal-score-intra-input"]])["pal-score-intra-input"]
    assert result.reasons[3] == "no image is classified correctly under the weakest perturbations"
    assert result.log == ""
