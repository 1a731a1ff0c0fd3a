"""Power-law exponents against a slow fit, known exponents and known spectra; layers that are excluded."""

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from baselines.measures import measures
from baselines.measures.compute import compute
from baselines.measures.heavy_tails import power_law_exponent
from zoo_builder.networks.architecture import Architecture, Conv, Linear

ALL = {measure.name: measure for measure in measures()}


def slow_exponent(sample: np.ndarray) -> float:
    """Each tail in turn, with the likelihood maximized numerically."""
    fits = []
    for start in np.unique(sample)[:-1]:
        tail = np.sort(sample[sample >= start])

        def minus_log_likelihood(log_decay: float, tail=tail, start=start) -> float:
            decay = np.exp(log_decay)
            return -(np.log(decay / start) - (decay + 1) * np.log(tail / start)).sum()

        log_decay = optimize.minimize_scalar(minus_log_likelihood, bounds=(-9, 20), options={"xatol": 1e-10}).x
        exponent = 1 + np.exp(log_decay)
        share_below = np.array([(tail < value).mean() for value in tail])
        distance = np.abs(stats.pareto.cdf(tail, exponent - 1, scale=start) - share_below).max()
        fits.append((distance, exponent))
    return min(fits)[1]


@pytest.mark.parametrize("distribution", ["pareto", "lognormal", "exponential", "spectrum"])
@pytest.mark.parametrize("size", [10, 25])
def test_the_exponent_against_a_slow_fit(distribution, size):
    random = np.random.default_rng(3)
    samples = {
        "pareto": random.pareto(1.5, (4, size)) + 1,
        "lognormal": random.lognormal(size=(4, size)),
        "exponential": random.exponential(size=(4, size)),
        "spectrum": np.linalg.svd(random.normal(size=(4, size, 2 * size)))[1] ** 2,
    }[distribution]
    found = power_law_exponent(torch.from_numpy(samples))
    np.testing.assert_allclose(found, [slow_exponent(sample) for sample in samples], rtol=1e-5)


@pytest.mark.parametrize("exponent", [1.5, 2.5, 4.0])
@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_a_known_exponent_is_recovered(exponent, scale):
    """2,000 values of a power law above the scale and 1,000 below it, where the density is flat."""
    random = np.random.default_rng(5)
    tail = scale * (random.pareto(exponent - 1, (6, 2000)) + 1)
    samples = np.concatenate([tail, random.uniform(0, scale, (6, 1000))], axis=1)
    found = power_law_exponent(torch.from_numpy(samples))
    # The error of maximum likelihood is (alpha - 1) / sqrt(n); the choice of the tail adds to it.
    np.testing.assert_allclose(found, exponent, atol=5 * (exponent - 1) / np.sqrt(2000))


def test_the_exponent_ignores_scale_order_and_zeros():
    samples = torch.from_numpy(np.random.default_rng(0).lognormal(size=(3, 40)))
    truth = power_law_exponent(samples)
    np.testing.assert_allclose(power_law_exponent(1e-9 * samples), truth, rtol=1e-9)
    assert torch.equal(power_law_exponent(samples.flip(1)), truth)
    assert torch.equal(power_law_exponent(torch.cat([samples, torch.zeros(3, 7)], dim=1)), truth)


def test_samples_without_two_different_values_have_no_exponent():
    samples = torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]])
    assert power_law_exponent(samples).isnan().all()


def test_convolutions_against_their_kernel_positions(draw_stack, make_view):
    """A convolution has one matrix per kernel position; the first one, of 9 eigenvalues, is excluded."""
    architecture = Architecture((1, 7, 7), (Conv(4), Conv(6), Linear(12)))
    stack = draw_stack(architecture, 3)
    exponents, weighted = np.zeros((2, 3)), np.zeros((2, 3))
    for model in range(3):
        w = {name: value[model].double().numpy() for name, value in stack.parameters.items()}
        positions = [w["conv2.weight"][:, :, row, column] for row in range(3) for column in range(3)]
        for layer, matrices in enumerate((positions, [w["linear1.weight"]])):
            eigenvalues = np.concatenate([np.linalg.eigvalsh(a @ a.T)[-min(a.shape) :] for a in matrices])
            exponents[layer, model] = slow_exponent(eigenvalues)
            weighted[layer, model] = exponents[layer, model] * np.log10(eigenvalues.max())
    results = compute(make_view([stack]), [ALL["mean-alpha"], ALL["alpha-hat"]])
    for name, truth in (("mean-alpha", exponents), ("alpha-hat", weighted)):
        np.testing.assert_allclose(results[name].values, truth.mean(0), rtol=1e-5)
        assert results[name].remarks == dict.fromkeys(range(3), "without conv1: fewer than 10 eigenvalues")
        assert results[name].log == ""


def test_a_network_of_small_layers_has_no_exponent(draw_stack, make_view):
    stack = draw_stack(Architecture((9, 1, 1), (Linear(20), Linear(3))), 2)
    results = compute(make_view([stack]), [ALL["mean-alpha"], ALL["alpha-hat"]])
    for result in results.values():
        assert result.reasons == dict.fromkeys(range(2), "no layer has 10 eigenvalues")
        assert (result.remarks, result.log) == ({}, "")


def test_rounding_errors_are_no_eigenvalues(draw_stack, make_view):
    """Model 1 has a layer of rank 10 among 20, model 2 one of rank 9, model 3 a layer of zeros."""
    stack = draw_stack(Architecture((20, 1, 1), (Linear(20),)), 4)
    weight = stack.parameters["linear1.weight"]
    weight[1, 10:] = weight[1, :10]
    weight[2, 9:] = weight[2, 0]
    weight[3] = 0
    result = compute(make_view([stack]), [ALL["mean-alpha"]])["mean-alpha"]
    assert result.reasons == dict.fromkeys([2, 3], "a layer has fewer than 10 nonzero eigenvalues")
    rank10 = np.linalg.svd(weight[1].double().numpy())[1][:10] ** 2
    assert result.values[1] == pytest.approx(slow_exponent(rank10), rel=1e-5)


def test_equal_eigenvalues_have_no_exponent(draw_stack, make_view):
    stack = draw_stack(Architecture((12, 1, 1), (Linear(12),)), 2)
    stack.parameters["linear1.weight"][1] = 2 * torch.eye(12)
    for result in compute(make_view([stack]), [ALL["mean-alpha"], ALL["alpha-hat"]]).values():
        assert result.reasons == {1: "the eigenvalues of a layer are all equal"}
