"""Weight statistics against numpy, and predictors on them with a known answer."""

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from baselines.access import View
from baselines.methods import NotApplicable
from baselines.predictors.weight_statistics import (
    NOT_FINITE,
    STATISTICS,
    WeightStatisticsBoosting,
    WeightStatisticsMLP,
    weight_statistics,
)
from baselines.weight_space.norms import without_norms
from zoo_builder.networks.families import nin, resnet, small_cnn
from zoo_builder.networks.stack import Stack

PREDICTORS = (WeightStatisticsBoosting, WeightStatisticsMLP)
NIN = nin((1, 6, 6), 3, width=4, depth=2)
RESNET = resnet((1, 8, 8), 3, width=2, depth=8)
TRAIN, VALIDATION, TEST = np.arange(80), np.arange(80, 110), np.arange(110, 200)


@pytest.fixture(scope="session")
def population(relu_network, tanh_network, draw_stack, make_view) -> tuple[View, np.ndarray]:
    """200 networks of two activations; the spread of conv2's weights rises with the accuracy."""
    relu, tanh = draw_stack(relu_network, 100), draw_stack(tanh_network, 100, seed=1)
    order = np.random.default_rng(0).permutation(200)
    relu.rows[:], tanh.rows[:] = order[:100], order[100:]
    accuracy = np.random.default_rng(1).uniform(0.1, 0.9, 200)
    for stack in (relu, tanh):
        spread = torch.from_numpy(accuracy[stack.rows]).float()
        stack.parameters["conv2.weight"] *= (1 + spread)[:, None, None, None, None]
    return make_view([relu, tanh], access="weights"), accuracy


def fitted(predictor, view: View, target: np.ndarray):
    return predictor.fit(view.take(TRAIN), target[TRAIN], view.take(VALIDATION), target[VALIDATION])


def test_statistics_against_numpy(population):
    view, _ = population
    features = weight_statistics(view)
    assert features.shape == (200, 6 * 7)
    for stack in view.stacks:
        for position in (0, 41):
            row = features.loc[stack.rows[position]]
            for name, value in stack.parameters.items():
                weights = value[position].double().numpy().ravel()
                ordered = np.sort(weights)
                truth = [weights.mean(), ((weights - weights.mean()) ** 2).mean(), ordered[0]]
                truth += [np.percentile(weights, 25), np.median(weights), np.percentile(weights, 75), ordered[-1]]
                np.testing.assert_allclose(row[[f"{name} {s}" for s in STATISTICS]], truth, rtol=1e-12)


def test_a_small_cnn_has_56_statistics(draw_stack, make_view):
    view = make_view([draw_stack(small_cnn((1, 32, 32), 10), 2)])
    assert weight_statistics(view).shape == (2, 56)


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_weight_statistics_recover_a_known_signal(population, predictor):
    view, accuracy = population
    prediction = fitted(predictor(), view, accuracy).predict(view.take(TEST))
    assert prediction.reasons == {}
    assert kendalltau(prediction.values, accuracy[TEST]).statistic > 0.6
    # In the units of the target: well below the mean error of a constant, 0.2.
    assert np.abs(prediction.values - accuracy[TEST]).mean() < 0.12


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_a_constant_target_is_predicted(population, predictor):
    view, accuracy = population
    prediction = fitted(predictor(), view, np.full_like(accuracy, 0.25)).predict(view.take(TEST))
    np.testing.assert_allclose(prediction.values, 0.25, atol=0.01)


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_models_with_weights_that_are_not_finite_are_excluded(population, predictor):
    view, accuracy = population
    stack = view.stacks[0]
    broken = {name: value.clone() for name, value in stack.parameters.items()}
    in_training, in_test = (next(row for row in stack.rows if row in part) for part in (TRAIN, TEST))
    for row, value in ((in_training, torch.nan), (in_test, torch.inf)):
        broken["conv1.weight"][list(stack.rows).index(row), 0] = value
    damaged = View(access="weights", size=200, stacks=[Stack(stack.architecture, broken, stack.rows), view.stacks[1]])
    prediction = fitted(predictor(), damaged, accuracy).predict(damaged.take(TEST))
    assert prediction.reasons == {int(in_test - TEST[0]): NOT_FINITE}
    assert np.isnan(prediction.values).sum() == 1


@pytest.mark.parametrize("predictor", PREDICTORS)
def test_architectures_with_other_tensors_do_not_apply(relu_network, draw_stack, make_view, predictor):
    deeper = small_cnn((1, 6, 6), 3, width=5, depth=1, padding=1)
    one, other = draw_stack(relu_network, 40), draw_stack(deeper, 40, first_row=40)
    target = np.random.default_rng(0).random(40)
    both = make_view([one, other], access="weights")
    with pytest.raises(NotApplicable, match=r"conv2.weight.* others conv1.weight, conv1.bias, linear1.weight"):
        predictor().fit(both, np.tile(target, 2), both, np.tile(target, 2))
    known = make_view([one], access="weights")
    with pytest.raises(NotApplicable, match="other names than those of the models the predictor was fitted on"):
        predictor().fit(known, target, known, target).predict(both.take(np.arange(40, 80)))


def test_statistics_are_those_of_folded_tensors(draw_stack, make_view) -> None:
    stack = draw_stack(NIN, 3)
    features = weight_statistics(make_view([stack]))
    assert not any(name.startswith("norm") for name in features)
    weights = without_norms(stack).parameters["conv2.weight"].flatten(1)
    np.testing.assert_allclose(features["conv2.weight mean"], weights.mean(1), rtol=1e-4)
    assert len(weight_statistics(make_view([draw_stack(RESNET, 2)]))) == 2
