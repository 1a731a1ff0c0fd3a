"""Gaussian-process regression: against an independent slow version, autograd, and functions with a known answer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from benchmark.scoring import ScoreError, gaussian_process
from benchmark.scoring.gaussian_process import fitted, negative_log_likelihood, predicted_without_own, ranks
from benchmark.scoring.regression import folds_of


@pytest.fixture
def sampled():
    """Features and noisy values of 40 configurations with 1 to 3 seeds each."""
    rng = np.random.default_rng(0)
    configurations = np.repeat(np.arange(40), np.tile([1, 2, 3, 2], 10))
    features = rng.random((40, 3))[configurations]
    values = np.sin(6 * features[:, 0]) + features[:, 1] ** 2 + 0.1 * rng.standard_normal(len(features))
    return values, features, configurations


def standardized(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def scaled_ranks(features: np.ndarray) -> np.ndarray:
    rank = np.apply_along_axis(rankdata, 0, features)
    return (rank - rank.mean(axis=0)) * 12**0.5 / len(rank)


def library(logs: np.ndarray) -> GaussianProcessRegressor:
    """scikit-learn's process with the same parameters."""
    *lengths, signal, noise = np.exp(logs)
    kernel = ConstantKernel(signal) * Matern(lengths, nu=2.5) + WhiteKernel(noise)
    return GaussianProcessRegressor(kernel, alpha=0, optimizer=None)


def test_each_configuration_is_predicted_by_a_process_that_never_saw_it(sampled) -> None:
    values, features, configurations = sampled
    known = scaled_ranks(features)
    scaled = standardized(values)
    # All models fit the parameters, in the order of the permutation that chooses among many.
    some = np.random.default_rng(0).permutation(len(values))
    logs = fitted(known[some], scaled[some])
    slow = np.empty(len(values))
    for own in (configurations == label for label in range(40)):
        slow[own] = library(logs).fit(known[~own], scaled[~own]).predict(known[own])
    predicted = predicted_without_own(values, features, configurations)
    np.testing.assert_allclose(predicted, values.mean() + values.std() * slow, rtol=1e-6, atol=1e-8)


def test_many_models_are_predicted_from_some_of_the_other_folds(sampled, monkeypatch) -> None:
    values, features, configurations = sampled
    monkeypatch.setattr(gaussian_process, "MOST", 30)
    known = scaled_ranks(features)
    scaled = standardized(values)
    some = np.random.default_rng(0).permutation(len(values))
    process = library(fitted(known[some], scaled[some]))
    fold = folds_of(configurations)
    slow = np.empty(len(values))
    for own in (fold == number for number in range(10)):
        others = [row for row in some if not own[row]][:30]
        slow[own] = process.fit(known[others], scaled[others]).predict(known[own])
    predicted = predicted_without_own(values, features, configurations)
    np.testing.assert_allclose(predicted, values.mean() + values.std() * slow, rtol=1e-6, atol=1e-8)


def test_the_likelihood_and_its_gradient_are_those_of_autograd(sampled) -> None:
    values, features, _ = sampled
    logs = np.array([0.3, -0.5, 1.0, 0.2, -1.5])
    given = torch.tensor(logs, requires_grad=True)
    x = torch.tensor(features) / given[:3].exp()
    distance = (5 * (x[:, None] - x[None] + 1e-200).square().sum(-1)).clamp(min=1e-30).sqrt()
    covariance = given[3].exp() * torch.exp(-distance) * (1 + distance + distance**2 / 3)
    normal = torch.distributions.MultivariateNormal(
        torch.zeros(len(values), dtype=torch.float64),
        covariance + given[4].exp() * torch.eye(len(values), dtype=torch.float64),
    )
    loss = -normal.log_prob(torch.tensor(values))
    loss.backward()
    value, gradient = negative_log_likelihood(logs, features, values)
    assert value + len(values) / 2 * np.log(2 * np.pi) == pytest.approx(loss.item(), rel=1e-10)
    np.testing.assert_allclose(gradient, given.grad, rtol=1e-7)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_smooth_functions_are_predicted_better_than_by_boosted_trees(noise: float) -> None:
    rng = np.random.default_rng(1)
    features = rng.random((400, 6))
    truth = np.sin(5 * features[:, 0]) * features[:, 1] + features[:, 2] * features[:, 3]
    values = truth + noise * truth.std() * rng.standard_normal(400)
    error = predicted_without_own(values, features, np.arange(400)) - truth
    trees = np.empty(400)
    for test in np.array_split(np.arange(400), 5):
        rest = np.setdiff1d(np.arange(400), test)
        trees[test] = (
            GradientBoostingRegressor(random_state=0).fit(features[rest], values[rest]).predict(features[test])
        )
    assert error.var() < (0.02 if noise else 0.002) * truth.var()
    assert error.var() < 0.5 * (trees - truth).var()


def test_only_the_order_of_a_feature_counts(sampled) -> None:
    values, features, configurations = sampled
    expected = predicted_without_own(values, features, configurations)
    monotone = np.stack([np.exp(9 * features[:, 0]), features[:, 1] ** 3, features[:, 2], np.ones(len(values))], axis=1)
    np.testing.assert_allclose(predicted_without_own(values, monotone, configurations), expected, rtol=1e-12)


def test_values_are_predicted_in_their_own_unit(sampled) -> None:
    values, features, configurations = sampled
    expected = predicted_without_own(values, features, configurations)
    scaled = predicted_without_own(7 - 1000 * values, features, configurations)
    np.testing.assert_allclose(scaled, 7 - 1000 * expected, rtol=1e-5)


def test_features_without_effect_cost_little() -> None:
    rng = np.random.default_rng(2)
    features = rng.random((120, 10))
    values = features[:, 0] + 0.05 * rng.standard_normal(120)
    assert np.corrcoef(predicted_without_own(values, features, np.arange(120)), values)[0, 1] > 0.97


@pytest.mark.parametrize("words", [300, 600])
def test_words_that_hardly_any_model_shares_hide_no_other_feature(words: int) -> None:
    """More models than fit the parameters, so that some words are seen afterwards alone."""
    rng = np.random.default_rng(3)
    known = rng.random(600)
    features = np.column_stack([known, np.eye(words)[np.arange(600) % words]])
    assert np.corrcoef(predicted_without_own(known, features, np.arange(600)), known)[0, 1] > 0.95


def test_constant_values_are_predicted_as_they_are(sampled) -> None:
    _, features, configurations = sampled
    assert (predicted_without_own(np.full(len(features), 3.0), features, configurations) == 3).all()


def test_one_configuration_is_too_few() -> None:
    with pytest.raises(ScoreError, match="1 configurations: what the hyperparameters predict needs at least 2"):
        predicted_without_own(np.arange(4.0), np.ones((4, 1)), np.zeros(4))


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_ranks_are_those_of_scipy(values: list[int]) -> None:
    np.testing.assert_array_equal(ranks(np.array(values)), rankdata(values))
