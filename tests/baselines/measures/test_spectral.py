"""Spectral norms against the singular values of explicit convolution matrices, and the measures against loops."""

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional

from baselines.measures import measures
from baselines.measures.compute import compute
from baselines.measures.output import NO_POSITIVE_MARGIN
from baselines.measures.spectral import operator_norm
from zoo_builder.networks.architecture import Architecture, Conv, Linear

ALL = {measure.name: measure for measure in measures()}
SPECTRAL = (
    "log-prod-of-spec",
    "log-prod-of-spec-over-margin",
    "log-sum-of-spec",
    "log-sum-of-spec-over-margin",
    "fro-over-spec",
    "spec-orig-main",
    "spec-init-main",
    "dist-spec-init",
)


def kernels(models: int, out: int, channels: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(
        models, out, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def circular_matrix(kernel: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """The matrix of y[o, s p] = sum over i, a of W[o, i, a] x[i, s p + a], positions modulo the size."""
    out, channels, side, _ = kernel.shape
    height, width = size
    matrix = np.zeros((out, height // stride, width // stride, channels, height, width))
    for row, column in product(range(height // stride), range(width // stride)):
        for a, b in product(range(side), range(side)):
            read = (stride * row + a) % height, (stride * column + b) % width
            matrix[:, row, column, :, *read] += kernel[:, :, a, b]
    return matrix.reshape(out * (height // stride) * (width // stride), -1)


def padded_matrix(kernel: torch.Tensor, size: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """The matrix of torch's convolution, column by column."""
    channels = kernel.shape[1]
    basis = torch.eye(channels * size[0] * size[1], dtype=torch.float64).view(-1, channels, *size)
    return functional.conv2d(basis, kernel, stride=stride, padding=padding).flatten(1).T.numpy()


@pytest.mark.parametrize(
    ("shape", "size", "stride"),
    [
        ((3, 2, 3), (5, 5), 1),
        ((2, 4, 3), (4, 6), 1),
        ((3, 2, 3), (6, 4), 2),
        ((2, 1, 3), (4, 4), 2),
        ((5, 2, 5), (6, 6), 3),
        ((2, 3, 2), (4, 4), 2),  # every pixel is read once
        ((4, 3, 1), (4, 4), 1),
        ((4, 3, 1), (4, 6), 2),  # of four pixels one is read
        ((2, 2, 3), (2, 2), 1),  # the kernel is larger than the image and meets itself
        ((2, 2, 5), (2, 4), 2),
        ((2, 2, 3), (1, 1), 1),
    ],
)
def test_the_operator_norm_is_that_of_the_explicit_circular_matrix(shape, size, stride):
    weight = kernels(3, *shape)
    truth = [np.linalg.norm(circular_matrix(kernel.numpy(), size, stride), 2) for kernel in weight]
    np.testing.assert_allclose(operator_norm(weight, size, stride), truth, rtol=1e-10)


@pytest.mark.parametrize(("side", "stride"), [(3, 1), (3, 2), (5, 2), (1, 1)])
@pytest.mark.parametrize("size", [(6, 6), (7, 5)])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_no_layer_has_a_larger_norm_than_the_circular_one_on_its_padded_image(side, stride, size, padding):
    weight = kernels(4, 3, 2, side, seed=1)
    truth = [np.linalg.norm(padded_matrix(kernel, size, stride, padding), 2) for kernel in weight]
    bound = operator_norm(weight, (size[0] + 2 * padding, size[1] + 2 * padding), stride).numpy()
    assert (truth <= bound * (1 + 1e-12)).all()
    # A window inside the image reads the kernel whole; no pixel is read more than ceil(side / stride)^2 times.
    matrix = torch.linalg.svdvals(weight.flatten(2))[:, 0].numpy()
    assert (matrix <= np.array(truth) * (1 + 1e-12)).all()
    assert (bound <= matrix * -(-side // stride) * (1 + 1e-12)).all()


def test_the_norm_of_a_padded_layer_comes_near_the_circular_one_on_large_images():
    weight = kernels(3, 2, 2, 3, seed=2)
    truth = np.array([np.linalg.norm(padded_matrix(kernel, (18, 18), 2, 1), 2) for kernel in weight])
    np.testing.assert_allclose(operator_norm(weight, (18, 18), 2), truth, rtol=0.05)


def test_a_side_that_the_stride_does_not_divide_is_rounded_up():
    weight = kernels(2, 2, 2, 3)
    assert torch.equal(operator_norm(weight, (7, 5), 2), operator_norm(weight, (8, 6), 2))


@pytest.mark.parametrize("name", [name + reading for name in SPECTRAL for reading in ("", "-fft")])
def test_every_measure_against_a_loop_over_layers(draw_stack, make_view, name):
    """Two strided convolutions and a linear layer; a large bias gives two networks a positive margin."""
    architecture = Architecture((2, 8, 6), (Conv(3, 3, 2, padding=1), Conv(2, 3), Linear(3)))
    stack, initial = draw_stack(architecture, 4), draw_stack(architecture, 4, seed=1)
    stack.parameters["linear1.bias"][:2, 0] += 1e3
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64), initial=[initial])
    gamma = -compute(view, [ALL["negative-margin"]])["negative-margin"].values
    assert (gamma > 0).tolist() == [True, True, False, False]

    sizes = {"conv1": ((8, 6), 2), "conv2": ((4, 3), 1)}

    def norm(layer: str, weight: np.ndarray) -> np.floating:
        fft = name.endswith("-fft") and layer in sizes
        return np.linalg.norm(circular_matrix(weight, *sizes[layer]) if fft else weight.reshape(len(weight), -1), 2)

    def slow(model: int):
        layers = [place.name for place in architecture.weighted]
        w, w0 = (
            {layer: s.parameters[f"{layer}.weight"][model].double().numpy() for layer in layers}
            for s in (stack, initial)
        )
        spectral = {layer: norm(layer, w[layer]) ** 2 for layer in layers}
        log_product = sum(np.log(spectral[layer]) for layer in layers)
        over_margin = np.log(np.prod(list(spectral.values())) / gamma[model] ** 2)
        ratio = sum((w[layer] ** 2).sum() / spectral[layer] for layer in layers)
        ratio0 = sum(((w[layer] - w0[layer]) ** 2).sum() / spectral[layer] for layer in layers)
        match name.removesuffix("-fft"):
            case "log-prod-of-spec":
                return log_product
            case "log-prod-of-spec-over-margin":
                return over_margin
            case "log-sum-of-spec":
                return np.log(3 * np.prod(list(spectral.values())) ** (1 / 3))
            case "log-sum-of-spec-over-margin":
                return np.log(3 * np.exp(over_margin) ** (1 / 3))
            case "fro-over-spec":
                return ratio
            case "spec-orig-main":
                return over_margin + np.log(ratio)
            case "spec-init-main":
                return over_margin + np.log(ratio0)
            case _:
                return sum(norm(layer, w[layer] - w0[layer]) ** 2 for layer in layers)

    result = compute(view, [ALL[name]])[name]
    with_margin = "over-margin" in name or "main" in name
    defined = 2 if with_margin else 4
    np.testing.assert_allclose(result.values[:defined], [slow(model) for model in range(defined)], rtol=1e-9)
    assert result.reasons == (dict.fromkeys([2, 3], NO_POSITIVE_MARGIN) if with_margin else {})
    assert result.log == ""


@pytest.mark.parametrize("reading", ["", "-fft"])
def test_where_the_spectral_measures_are_undefined(draw_stack, make_view, reading):
    """Model 0 has a layer of zeros; model 1 has not moved, but for a bias that makes the margins positive."""
    architecture = Architecture((1, 5, 5), (Conv(2), Linear(2)))
    stack, initial = draw_stack(architecture, 3), draw_stack(architecture, 3)
    stack.parameters["linear1.bias"][:, 0] += 1e3
    stack.parameters["conv1.weight"][0] = 0
    stack.parameters["conv1.weight"][2] += 1
    view = make_view([stack], labels=torch.zeros(40, dtype=torch.int64), initial=[initial])
    results = compute(view, [ALL[name + reading] for name in SPECTRAL])
    for name, result in results.items():
        zero = {} if name.startswith("dist") else {0: "all weights of a layer are zero"}
        unmoved = {1: "the weights have not changed since initialization"} if name.startswith("spec-init") else {}
        assert result.reasons == zero | unmoved
        assert result.log == ""
    assert results["dist-spec-init" + reading].values[1] == 0
    without = compute(make_view([stack]), [ALL[f"spec-init-main{reading}"], ALL[f"dist-spec-init{reading}"]])
    for result in without.values():
        assert set(result.reasons.values()) == {"the zoo has no epoch-0 checkpoints, so the initialization is unknown"}


def test_log_products_against_numpy(relu_network, draw_stack, make_view):
    stack, truth = draw_stack(relu_network, 3), []
    stack.parameters["conv2.weight"][1] = 0
    for model in (0, 2):
        weights = [value[model].double().numpy() for key, value in stack.parameters.items() if key.endswith("weight")]
        matrices = [weight.reshape(len(weight), -1) for weight in weights]
        truth.append(sum(np.log(np.linalg.eigvalsh(matrix @ matrix.T)[-1]) for matrix in matrices))
    result = compute(make_view([stack]), [ALL["log-prod-of-spec"]])["log-prod-of-spec"]
    np.testing.assert_allclose(result.values[[0, 2]], truth, rtol=1e-12)
    assert result.reasons == {1: "all weights of a layer are zero"}
