"""Layer margins against exact distances of linear networks and float64 autograd; k-variances against brute force."""

from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance, wasserstein_distance_nd
from torch import nn

from baselines.fields import TrainData
from baselines.measures import margins
from baselines.measures.compute import compute
from baselines.measures.context import MeasureContext
from baselines.measures.margins import CONSTANT_LAYER, LAYERS, image_margins, layer_rows, transport_cost
from baselines.methods import NotApplicable
from zoo_builder.networks.architecture import Architecture, Linear
from zoo_builder.networks.families import mlp, nin, park, resnet, small_cnn
from zoo_builder.networks.module import Network
from zoo_builder.networks.stack import Stack

ALL = {measure.name: measure for measure in margins.MEASURES}
FAMILIES = {
    "small-cnn": small_cnn((1, 6, 6), 3, width=5, depth=2, padding=1),
    "tanh": small_cnn((1, 6, 6), 3, width=5, depth=3, padding=1, activation="tanh"),
    "nin": nin((2, 8, 8), 3, width=4, depth=2, norm="none"),
    "park": park((1, 9, 9), 3, width=4, depth=4, residual="add"),
    "mlp": mlp((1, 4, 4), 3, width=6, depth=3),
}


def halves(architecture: Architecture, network: Network, layer: str) -> tuple[nn.Sequential, nn.Sequential]:
    """The network up to a layer and from there on."""
    row = layer_rows(architecture)[layer]
    if row == 0:
        return network[:0], network
    names = [name for name, _ in network.named_children()]
    cut = names.index(architecture.places[row - 1].name) + 1
    return network[:cut], network[cut:]


def slow(single, view, row: int, layer: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Margins, gradient norms and values of a layer, image by image."""
    (stack,) = (stack for stack in view.stacks if row in stack.rows)
    network, images, labels = single(view, row)
    lower, upper = halves(stack.architecture, network, layer)
    found, norms, values = [], [], []
    for image, label in zip(images, labels.tolist(), strict=True):
        hidden = lower(image[None]).detach().requires_grad_()
        logits = upper(hidden)[0]
        best = max((j for j in range(len(logits)) if j != label), key=lambda j: logits[j].item())
        (gradient,) = torch.autograd.grad(logits[label] - logits[best], hidden)
        found.append((logits[label] - logits[best]).item())
        norms.append(gradient.norm().item())
        values.append(hidden.detach().flatten().numpy())
    return np.array(found), np.array(norms), np.array(values)


@pytest.mark.parametrize("family", FAMILIES)
def test_layer_margins_against_single_modules(draw_stack, make_view, family, single):
    view = make_view([draw_stack(FAMILIES[family], 3)])
    found = MeasureContext(view).once(image_margins)
    for row in range(3):
        for layer in LAYERS:
            margin, norm, values = slow(single, view, row, layer)
            variation = np.trace(np.atleast_2d(np.cov(values, rowvar=False, bias=True)))
            np.testing.assert_allclose(found[row].margins, margin, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(found[row].gradients[layer], norm, rtol=1e-4)
            assert found[row].variations[layer] == pytest.approx(variation, rel=1e-5)
            truth = margin / np.sqrt(norm**2 + 1e-6) / np.sqrt(variation)
            np.testing.assert_allclose(found[row].distances(layer), truth, rtol=1e-3, atol=1e-4)


def test_the_distances_of_a_linear_network_lead_to_a_tie(draw_stack, make_view, single):
    """Moved by its distance against the gradient, each image is on the boundary of its label and the best other one."""
    architecture = Architecture((2, 3, 3), (Linear(4), Linear(3)))
    stack = draw_stack(architecture, 2)
    view = make_view([stack])
    for row, found in enumerate(MeasureContext(view).once(image_margins)):
        network, images, labels = single(view, row)
        weights = network.state_dict()
        matrix = weights["linear2.weight"] @ weights["linear1.weight"]
        for image, label, margin, norm in zip(
            images, labels.tolist(), found.margins, found.gradients["input"], strict=True
        ):
            logits = network(image[None])[0].detach()
            best = max((j for j in range(3) if j != label), key=lambda j: logits[j].item())
            normal = matrix[label] - matrix[best]
            moved = image - (margin / norm * normal / normal.norm()).view(2, 3, 3)
            after = network(moved[None])[0].detach()
            assert after[label].item() == pytest.approx(after[best].item(), abs=1e-4)
        np.testing.assert_allclose(found.gradients["output"], np.sqrt(2), rtol=1e-6)


def test_a_network_with_norms_is_the_same_as_with_its_norms_folded(draw_stack, make_view, single):
    architecture = nin((1, 8, 8), 3, width=4, depth=2)
    stack = draw_stack(architecture, 2)
    for name, shape in architecture.buffers.items():
        stack.parameters[name] = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)) + 0.5
    view = make_view([stack])
    found = MeasureContext(view).once(image_margins)
    for row in range(2):
        # Without norms the same activations are at other rows.
        network, images, labels = single(view, row)
        ends = [i for i, (name, _) in enumerate(network.named_children()) if name in ("activation2", "activation6")]
        for layer, end in zip(("lower", "last"), ends, strict=True):
            hidden = network[: end + 1](images).detach().requires_grad_()
            logits = network[end + 1 :](hidden)
            own = logits.gather(1, labels[:, None])[:, 0]
            others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
            (gradient,) = torch.autograd.grad((own - others).sum(), hidden)
            np.testing.assert_allclose(found[row].gradients[layer], gradient.flatten(1).norm(dim=1), rtol=1e-4)


@pytest.mark.parametrize(
    ("architecture", "rows"),
    [
        # conv, activation, dropout, three times; pooling; linear.
        (small_cnn((1, 32, 32), 10), (0, 2, 2, 5, 8, 11)),
        # Three blocks of three convolutions and activations, and dropout: the thirds are the blocks.
        (nin((3, 32, 32), 10, depth=3, norm="none"), (0, 2, 6, 13, 20, 23)),
        (mlp((1, 4, 4), 3, depth=1), (0, 2, 2, 2, 2, 4)),
        (mlp((1, 4, 4), 3, depth=2), (0, 2, 2, 5, 5, 7)),
        (Architecture((1, 4, 4), (Linear(5), Linear(3))), (0, 1, 1, 1, 1, 2)),
    ],
)
def test_positions_of_layers(architecture, rows):
    assert tuple(layer_rows(architecture).values()) == rows


def test_no_shortcut_bypasses_a_hidden_layer():
    """A residual network of three blocks: the activations inside a block are not layers."""
    architecture = resnet((1, 8, 8), 3, width=2, depth=8, norm="none")
    chosen = layer_rows(architecture)
    # conv, activation; then conv, activation, conv, shortcut, activation, three times.
    assert (chosen["first"], chosen["lower"], chosen["middle"], chosen["last"]) == (2, 7, 12, 17)


def test_a_linear_classifier_has_no_hidden_layer(draw_stack, make_view):
    architecture = Architecture((1, 4, 4), (Linear(3),))
    with pytest.raises(NotApplicable, match="no hidden layer"):
        layer_rows(architecture)
    for result in compute(make_view([draw_stack(architecture, 2)]), margins.MEASURES).values():
        assert set(result.reasons.values()) == {"the networks have no hidden layer that all paths go through"}
        assert result.log == ""


def test_only_the_first_images_are_read(draw_stack, make_view, monkeypatch):
    view = make_view([draw_stack(FAMILIES["small-cnn"], 3)])
    whole = MeasureContext(view).once(image_margins)
    monkeypatch.setattr(margins, "IMAGES", 10)
    for one, other in zip(whole, MeasureContext(view).once(image_margins), strict=True):
        torch.testing.assert_close(one.margins[:10], other.margins)
        assert len(other.margins) == min(10, len(one.margins))


def test_transport_costs():
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 40, 1))
    found = transport_cost(torch.from_numpy(one), torch.from_numpy(other))
    assert found == pytest.approx(wasserstein_distance(one[:, 0], other[:, 0]), rel=1e-9)
    one, other = random.normal(size=(2, 6, 3))
    found = transport_cost(torch.from_numpy(one), torch.from_numpy(other))
    assert found == pytest.approx(wasserstein_distance_nd(one, other), rel=1e-6)
    costs = [np.linalg.norm(one - other[list(order)], axis=1).mean() for order in permutations(range(6))]
    assert found == pytest.approx(min(costs), rel=1e-9)


def test_transport_costs_far_from_the_origin_and_of_equal_points():
    one, other = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 60, 5))).float()
    near, far = transport_cost(one, other), transport_cost(one + 4096, other + 4096)
    assert far == pytest.approx(near, rel=1e-3)
    assert transport_cost(one, one.flip(0)) < 1e-3 * near
    assert transport_cost(one[:1].expand(60, -1), one[:1].expand(60, -1)) == 0
    assert transport_cost(one * torch.inf, other) == np.inf


@pytest.mark.parametrize("layer", ["first", "last"])
@pytest.mark.parametrize("family", FAMILIES)
def test_k_variance_margins_against_a_slow_loop(draw_stack, make_view, family, layer, single):
    view = make_view([draw_stack(FAMILIES[family], 4)])
    names = [f"k-variance-margin-{layer}", f"k-variance-gn-margin-{layer}"]
    results = compute(view, [ALL[name] for name in names])
    for row in range(4):
        margin, norm, values = slow(single, view, row, layer)
        labels = single(view, row)[2].numpy()
        widths, total = np.zeros(2), 0
        for label in range(3):
            own = np.flatnonzero(labels == label)
            half = len(own) // 2
            if half:
                costs = cdist(values[own[:half]], values[own[half : 2 * half]])
                variance = costs[linear_sum_assignment(costs)].mean()
                widths += len(own) * variance * np.array([norm[own].max(), 1])
                total += len(own)
        truth = -np.array([np.median(margin), np.median(margin / (norm + 1e-6))]) / (widths / total)
        found = [results[name].values[row] for name in names]
        np.testing.assert_allclose(found, truth, rtol=1e-3)


def test_normalized_margins_fall_where_labels_are_spread_out(make_view):
    """Two classes along one axis of a linear network: the further apart images of a label are, the larger the value."""
    architecture = Architecture((2, 1, 1), (Linear(2), Linear(2)))
    parameters = {name: torch.zeros(1, *shape) for name, shape in architecture.parameters.items()}
    parameters["linear1.weight"][0] = parameters["linear2.weight"][0] = torch.eye(2)
    values = []
    for spread in (10, 100):
        side = np.random.default_rng(0).integers(-spread, spread + 1, 40)
        labels = np.arange(40) % 2
        # Logits are the pixels; the brighter one is the label's, by 51, and both are shifted together.
        pixels = 128 + side[:, None] + np.where(np.arange(2) == labels[:, None], 25, -25)
        train = TrainData(
            torch.from_numpy(pixels.clip(0, 255).astype(np.uint8)).view(40, 2, 1, 1),
            torch.from_numpy(labels),
            *(np.array([number]) for number in (40, 5)),
            loss=np.ones(1),
            accuracy=np.ones(1),
        )
        view = make_view([Stack(architecture, parameters, np.arange(1))], train=train)
        values.append([compute(view, [ALL[name]])[name].values[0] for name in ALL if "k-variance" in name])
    assert (np.array(values[0]) < 3 * np.array(values[1])).all()


def test_a_dead_layer_has_no_margin(draw_stack, make_view):
    stack = draw_stack(FAMILIES["small-cnn"], 4)
    stack.parameters["conv2.weight"][1] = 0
    results = compute(make_view([stack]), margins.MEASURES)
    for name, result in results.items():
        assert result.log == ""
        dead = name.endswith(("middle", "last")) or name == "k-variance-margin-first"
        assert list(result.reasons) == ([1] if dead else [])
    assert results["negative-layer-margin-last"].reasons[1] == CONSTANT_LAYER
    assert "has the same output for all images of a label" in results["k-variance-margin-last"].reasons[1]


def test_k_variances_need_two_images_of_a_label(draw_stack, make_view):
    stack = draw_stack(FAMILIES["small-cnn"], 2)
    train = TrainData(
        torch.arange(3 * 36, dtype=torch.uint8).view(3, 1, 6, 6),
        torch.arange(3),
        np.array([3, 3]),
        np.array([1, 2]),
        loss=np.ones(2),
        accuracy=np.ones(2),
    )
    results = compute(make_view([stack], train=train), margins.MEASURES)
    for name, result in results.items():
        reasons = dict.fromkeys(range(2), "no two of its training images have the same label")
        assert result.reasons == (reasons if "k-variance" in name else {})
        assert result.log == ""


def test_overflow_in_one_model_does_not_affect_others(draw_stack, make_view):
    stack = draw_stack(FAMILIES["small-cnn"], 3)
    sound = compute(make_view([stack]), margins.MEASURES)
    stack.parameters["conv2.weight"][1] *= 1e30
    stack.parameters["linear1.weight"][1] *= 1e30
    for name, result in compute(make_view([stack]), margins.MEASURES).items():
        np.testing.assert_array_equal(result.values[[0, 2]], sound[name].values[[0, 2]])
