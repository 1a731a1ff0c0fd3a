"""Hidden representations against scikit-learn and loops over points."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from sklearn.metrics import davies_bouldin_score
from torch.nn import functional as F

from baselines.measures import mixup, representation
from baselines.measures.compute import compute
from baselines.measures.representation import davies_bouldin_index, label_variation, mixing_draws
from zoo_builder.networks.families import small_cnn

ALL = {measure.name: measure for measure in representation.MEASURES}


def slow_variation(points: np.ndarray, labels: np.ndarray) -> float:
    """<y, y - mean y'> over the nearest others by angle."""
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    unit = points / np.where(lengths == 0, 1, lengths)
    total = 0.0
    for i, label in enumerate(labels):
        distances = np.square(unit - unit[i]).sum(1)
        distances[i] = np.inf
        total += label @ (label - labels[distances <= distances.min() + 1e-6].mean(0))
    return total / len(labels)


def test_davies_bouldin_index_against_scikit_learn():
    stream = torch.Generator().manual_seed(0)
    points = torch.randn(5, 60, 4, generator=stream) + 10
    labels = torch.randint(6, (5, 60), generator=stream)
    labels[2][labels[2] == 3] = 5  # a label that no point has
    truth = [davies_bouldin_score(p.double().numpy(), own.numpy()) for p, own in zip(points, labels, strict=True)]
    np.testing.assert_allclose(davies_bouldin_index(points, labels), truth, rtol=1e-10)


def test_davies_bouldin_index_by_hand():
    points = torch.tensor([[[0.0, 0], [0, 2], [10, 0], [10, 6]]])
    labels = torch.tensor([[0, 0, 1, 1]])
    # Means (0, 1) and (10, 3), mean distances to them 1 and 3.
    assert davies_bouldin_index(points, labels).item() == pytest.approx(4 / np.sqrt(104))
    assert davies_bouldin_index(points, torch.zeros_like(labels)).isnan().item()
    assert davies_bouldin_index(torch.ones(1, 4, 2), labels).item() == np.inf


@pytest.mark.parametrize(("side", "pool"), [(20, 4), (6, 3)])
def test_davies_bouldin_against_features_of_single_modules(side, pool, draw_stack, make_view, single):
    """The first layer has outputs of 10 x 10, or of 3 x 3, smaller than a pooling window."""
    first, other = (
        small_cnn((1, side, side), 3, width=5, depth=2, padding=1, activation=kind) for kind in ("relu", "tanh")
    )
    view = make_view([draw_stack(first, 6), draw_stack(other, 5, first_row=6)])
    truth = []
    for row in range(11):
        network, images, labels = single(view, row)
        features = F.max_pool2d(network[:2](images), pool).flatten(1)
        truth.append(davies_bouldin_score(features.detach().numpy(), labels.numpy()))
    results = compute(view, [*representation.MEASURES, *mixup.MEASURES])
    np.testing.assert_allclose(results["davies-bouldin"].values, truth, rtol=1e-4)
    product = results["davies-bouldin-mixup"].values
    np.testing.assert_allclose(product, results["davies-bouldin"].values * results["mixup-error"].values)


def test_davies_bouldin_is_undefined_without_clusters(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 3)
    stack.parameters["conv1.bias"][1] = -1e4
    result = compute(make_view([stack]), [ALL["davies-bouldin-mixup"]])["davies-bouldin-mixup"]
    assert result.reasons == {1: "two labels have the same mean representation"}
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64))
    result = compute(view, [ALL["davies-bouldin"]])["davies-bouldin"]
    assert result.reasons == dict.fromkeys(range(3), "all of its training images have one label")
    assert result.log == ""


def test_penultimate_norms_against_single_modules(relu_network, draw_stack, make_view, single):
    view = make_view([draw_stack(relu_network, 6)])
    truth = []
    for row in range(6):
        network, images, _ = single(view, row)
        truth.append(np.var(network[:-1](images).norm(dim=1).detach().numpy()))
    result = compute(view, [ALL["penultimate-norm-variance"]])["penultimate-norm-variance"]
    np.testing.assert_allclose(result.values, truth, rtol=1e-4)


def test_mixing_shares_are_from_beta_2_2():
    share, partner = mixing_draws(4000)
    assert kstest(share.numpy(), "beta", (2, 2)).pvalue > 1e-3
    assert partner.sort().values.tolist() == list(range(4000))


def test_label_variation_by_hand():
    """Two points of class 0 at one angle, two of class 1 at another, then with one label moved."""
    points = torch.tensor([[[1.0, 0.1], [2, 0.1], [0, 1], [0.1, 3]]])
    clear = torch.eye(2, dtype=torch.float64)[[0, 0, 1, 1]][None]
    assert label_variation(points, clear).item() == 0
    moved = torch.eye(2, dtype=torch.float64)[[0, 1, 1, 1]][None]
    assert label_variation(points, moved).item() == 0.5
    # A tie: all other points are equally near, and 1 of 3 has the same label.
    assert label_variation(torch.ones(1, 4, 2), clear).item() == pytest.approx(2 / 3)


def test_label_variation_against_single_modules(relu_network, draw_stack, make_view, single):
    view = make_view([draw_stack(relu_network, 6)])
    truth = []
    for row in range(6):
        network, images, labels = single(view, row)
        share, partner = mixing_draws(len(labels))
        mixed = images + share[:, None, None, None] * (images[partner] - images)
        shares = np.eye(3)[labels]
        shares = shares + share.numpy()[:, None] * (shares[partner] - shares)
        truth.append(slow_variation(network[:-1](mixed).detach().numpy(), shares))
    result = compute(view, [ALL["penultimate-label-variation"]])["penultimate-label-variation"]
    np.testing.assert_allclose(result.values, truth, rtol=1e-5)
    assert np.ptp(truth) > 0.01
