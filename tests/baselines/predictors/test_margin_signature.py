"""Margin signatures against sorted lists, and the regression on them with a known answer."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from baselines.measures.context import MeasureContext
from baselines.measures.margins import CONSTANT_LAYER, image_margins
from baselines.methods import NotApplicable
from baselines.predictors.margin_signature import (
    COLUMNS,
    LAYERS,
    MOMENTS,
    QUARTILES,
    TOO_FEW,
    box,
    margin_signatures,
    moments,
    signature,
)

SIGNATURES = {predictor.name: predictor for predictor in margin_signatures()}


def quantile(ordered: list[float], share: float) -> float:
    """Linear interpolation between order statistics."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@pytest.mark.parametrize("count", [5, 6, 40, 401])
def test_box_and_moments_against_a_sorted_list(count):
    distances = np.random.default_rng(count).lognormal(0, 1.5, count)
    ordered = sorted(distances.tolist())
    q1, median, q3 = (quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    low = next(value for value in ordered if value >= q1 - 1.5 * (q3 - q1))
    high = next(value for value in reversed(ordered) if value <= q3 + 1.5 * (q3 - q1))
    np.testing.assert_allclose(box(distances), [low, q1, median, q3, high], rtol=1e-12)
    assert count < 40 or high < ordered[-1]
    truth = [sum(value**power for value in ordered) / count for power in (1, 2, 3, 4, 5)]
    np.testing.assert_allclose(moments(distances), truth, rtol=1e-12)


def test_a_box_of_numbers_at_hand():
    # Q1 = 3, Q3 = 5: whiskers within [0, 8].
    np.testing.assert_array_equal(box(np.array([1, 3, 4, 5, 9.0])), [1, 3, 4, 5, 5])
    np.testing.assert_array_equal(box(np.full(7, 2.0)), [2, 2, 2, 2, 2])


def test_signatures_are_of_positive_distances(relu_network, tanh_network, draw_stack, make_view):
    view = make_view([draw_stack(relu_network, 6), draw_stack(tanh_network, 5, first_row=6)])
    features, reasons = signature(view)
    assert tuple(features) == COLUMNS
    for stack in view.stacks:
        for row, images in zip(
            stack.rows.tolist(), MeasureContext(view.take(stack.rows)).once(image_margins), strict=True
        ):
            positive = int((images.margins > 0).sum())
            assert (row in reasons) == (positive < 5) == features.loc[row].isna().any()
            for layer in LAYERS if positive >= 5 else ():
                distances = images.distances(layer).numpy()
                distances = distances[distances > 0]
                assert len(distances) == positive
                names = [f"{layer} {statistic}" for statistic in (*QUARTILES, *MOMENTS)]
                truth = np.log(np.concatenate([box(distances), moments(distances)]))
                np.testing.assert_allclose(features.loc[row, names], truth, rtol=1e-5, atol=1e-5)
    assert set(reasons.values()) == {TOO_FEW}


@pytest.fixture(scope="module")
def population(relu_network, draw_stack, make_view):
    """120 networks that classify most images correctly because of a bias."""
    stack = draw_stack(relu_network, 120)
    stack.parameters["linear1.bias"][:, 0] += 100 + 100 * torch.rand(120, generator=torch.Generator().manual_seed(3))
    return make_view([stack], labels=torch.zeros(40, dtype=torch.int64))


TRAIN, TEST = np.arange(80), np.arange(80, 120)


@pytest.mark.parametrize("name", SIGNATURES)
def test_the_regression_is_ordinary_least_squares(population, name):
    predictor = SIGNATURES[name]
    random = np.random.default_rng(0)
    features, reasons = signature(population, predictor.columns)
    assert not reasons
    assert features.shape[1] == (20 if name in ("margin-signature", "margin-signature-moments") else 5)
    target = random.normal(size=120)
    predictor.fit(population.take(TRAIN), target[TRAIN], population.take(TEST[:3]), np.full(3, np.nan))
    found = predictor.predict(population.take(TEST)).values
    truth = LinearRegression().fit(features.loc[TRAIN], target[TRAIN]).predict(features.loc[TEST])
    np.testing.assert_allclose(found, truth, rtol=1e-4, atol=1e-4)
    # A target that is linear in the signature is predicted.
    target = features.to_numpy() @ np.linspace(-1, 1, features.shape[1])
    predictor.fit(population.take(TRAIN), target[TRAIN], population.take(TEST[:3]), np.full(3, np.nan))
    np.testing.assert_allclose(predictor.predict(population.take(TEST)).values, target[TEST], rtol=1e-3, atol=1e-3)


def test_roots_of_moments_are_the_same_regression(population):
    features, _ = signature(population, SIGNATURES["margin-signature-moments"].columns)
    roots = features / [power for _, power in product(LAYERS[:-1], range(1, 6))]
    target = np.random.default_rng(0).normal(size=120)
    powers, rooted = (LinearRegression().fit(x, target).predict(x) for x in (features, roots))
    np.testing.assert_allclose(powers, rooted, rtol=1e-6)


def test_models_without_a_signature_have_a_reason(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 9)
    stack.parameters["linear1.bias"][:, 0] += 100
    stack.parameters["linear1.bias"][2, 0] = -1000  # never class 0
    stack.parameters["conv2.weight"][5] = 0
    stack.parameters["conv1.weight"][7, 0] = torch.nan
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64))
    reasons = {2: TOO_FEW, 5: CONSTANT_LAYER, 7: "the model has weights that are not finite"}
    predictor = SIGNATURES["margin-signature"]
    prediction = predictor.fit(view, np.arange(9.0), view, np.arange(9.0)).predict(view)
    assert prediction.reasons == reasons
    assert set(np.flatnonzero(np.isnan(prediction.values))) == set(reasons)
    alone = predictor.predict(view.take(np.array([2])))
    assert np.isnan(alone.values).all()
    assert alone.reasons == {0: TOO_FEW}
    # The image is not constant where a hidden layer is.
    on_input = SIGNATURES["margin-signature-input"]
    assert set(on_input.fit(view, np.arange(9.0), view, np.arange(9.0)).predict(view).reasons) == {2, 7}


def test_without_a_correctly_classified_image_there_is_no_signature(relu_network, draw_stack, make_view):
    stack = draw_stack(relu_network, 3)
    stack.parameters["linear1.bias"][:, 0] = -1000
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64))
    with pytest.raises(NotApplicable, match=f"no model has a margin signature: {TOO_FEW}"):
        SIGNATURES["margin-signature"].fit(view, np.zeros(3), view, np.zeros(3))


def test_rescaling_adjacent_layers_changes_no_signature(population, make_view):
    stack = population.stacks[0]
    parameters = {name: value.clone() for name, value in stack.parameters.items()}
    for name in ("conv1.weight", "conv1.bias"):
        parameters[name] *= 4
    parameters["conv2.weight"] /= 4
    twin = make_view([replace(stack, parameters=parameters)], train=population.train)
    np.testing.assert_allclose(signature(twin)[0], signature(population)[0], rtol=1e-3, atol=1e-3)
