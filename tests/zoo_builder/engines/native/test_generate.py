"""Generated code for arbitrary architectures against float64 autograd."""

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from zoo_builder.engines.native.generate import supports
from zoo_builder.networks.architecture import (
    Activation,
    Architecture,
    Conv,
    Dropout,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Norm,
    Residual,
)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Chains of odd sizes: any channels, kernels, strides, paddings, with pools, norms, shortcuts and dense layers."""
    shape = (draw(st.sampled_from([1, 2, 3])), draw(st.integers(3, 13)), draw(st.integers(3, 13)))
    layers: list = []

    def after() -> tuple[int, ...]:
        return Architecture(shape, tuple(layers)).places[-1].output_shape

    for _ in range(draw(st.integers(1, 3))):
        smallest = min(after()[1:] if layers else shape[1:])
        kernel = draw(st.integers(1, min(4, smallest)))
        padding = draw(st.integers(0, kernel // 2))
        layers.append(Conv(draw(st.integers(1, 19)), kernel, draw(st.integers(1, 3)), padding))
        if draw(st.booleans()):
            layers.append(Norm())
        layers.append(Activation(draw(st.sampled_from(["tanh", "silu", "sigmoid", "relu"]))))
        if draw(st.booleans()):
            layers.append(Dropout())
        if min(after()[1:]) >= 2 and draw(st.booleans()):
            layers.append(MaxPool(2))
        if draw(st.booleans()):
            layers += [Conv(after()[0] + draw(st.integers(0, 3)), padding=1), Residual(1), Activation("tanh")]
    if draw(st.booleans()):
        layers.append(GlobalAveragePool())
    for _ in range(draw(st.integers(0, 2))):
        layers += [Linear(draw(st.integers(1, 20))), Activation("relu")]
    return Architecture(shape, (*layers, Linear(draw(st.integers(2, 18)))))


def check_any(errors, architecture: Architecture, batch: int, rate: float, seed: int) -> None:
    assert supports(architecture)
    # A norm over one value per channel has no variance, and one over few values magnifies every rounding.
    norms = [place for place in architecture.places if isinstance(place.layer, Norm)]
    assume(all(batch * np.prod(place.output_shape[1:]) >= 16 for place in norms))
    ours, torchs = zip(*(errors(architecture, batch, rate, seed + i) for i in range(3)), strict=True)
    # The best of three: a ReLU at its kink or a tie in a pool may round either way in float32.
    assert min(ours) <= max(2 * max(torchs), 2e-6), (ours, torchs)


FUZZ = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.filter_too_much]}


@settings(max_examples=5, **FUZZ)
@given(architectures(), st.integers(2, 40), st.sampled_from([0.0, 0.3]), st.integers(0, 1000))
def test_any_architecture(errors, architecture: Architecture, batch: int, rate: float, seed: int) -> None:
    check_any(errors, architecture, batch, rate, seed)


@pytest.mark.slow
@settings(max_examples=150, **FUZZ)
@given(architectures(), st.integers(2, 40), st.sampled_from([0.0, 0.3]), st.integers(0, 1000))
def test_any_architecture_many_times(errors, architecture: Architecture, batch: int, rate: float, seed: int) -> None:
    check_any(errors, architecture, batch, rate, seed)
