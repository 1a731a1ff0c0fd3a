"""One training step of the native engine beside float64 and PyTorch."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.networks.architecture import Architecture, Dropout
from zoo_builder.networks.dropout import Dropout as Masks
from zoo_builder.networks.dropout import dropout_seeds


@pytest.fixture(scope="session")
def images_of() -> Callable[..., tuple[Tensor, Tensor]]:
    """Random images and labels for an architecture."""
    return draw_images


@pytest.fixture(scope="session")
def random_weights() -> Callable[..., tuple[Tensor, dict[str, Tensor]]]:
    """Parameters, flat float32 [1, P], of a size that keeps the signal, and running statistics."""
    return draw_weights


@pytest.fixture(scope="session")
def errors() -> Callable[..., tuple[float, float]]:
    """Norm-relative errors of a gradient in float32: the native engine's, and PyTorch's."""
    return gradient_errors


def draw_images(architecture: Architecture, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, *architecture.input_shape), generator=stream).to(torch.uint8)
    return images, torch.randint(architecture.classes, (count,), generator=stream)


def draw_weights(architecture: Architecture, seed: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
    stream = torch.Generator().manual_seed(seed)
    flat = []
    for name, shape in architecture.parameters.items():
        value = torch.randn(shape, generator=stream)
        norm_weight = name.startswith("norm") and name.endswith("weight")
        fan_in = max(1, int(np.prod(shape[1:])))
        flat.append(1 + 0.1 * value if norm_weight else value * (2 / fan_in) ** 0.5 if len(shape) > 1 else 0.1 * value)
    buffers = {
        name: (torch.rand(1, *shape, generator=stream) + 0.5 if name.endswith("var") else torch.zeros(1, *shape))
        for name, shape in architecture.buffers.items()
    }
    return torch.cat([value.flatten() for value in flat])[None], buffers


def gradient_errors(
    architecture: Architecture,
    batch: int,
    rate: float = 0.0,
    seed: int = 0,
    target: str = "native",
    training: bool = True,
) -> tuple[float, float]:
    images, labels = draw_images(architecture, batch + 3, seed)
    weights, buffers = draw_weights(architecture, seed)
    indices = np.random.default_rng(seed).permutation(batch + 3)[:batch]
    layers = [place.name for place in architecture.places if isinstance(place.layer, Dropout)]
    seeds = dropout_seeds(["some run"], layers)

    def with_torch(dtype: torch.dtype) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        masks = Masks(torch.tensor([rate], dtype=torch.float64), seeds, torch.tensor([7])) if rate else None
        moved = {name: value.to(dtype) for name, value in buffers.items()}
        engine = TorchEngine(dtype=dtype)
        chosen = torch.as_tensor(indices)[None]
        loss, gradient = engine.gradients(
            architecture, weights.to(dtype), images, labels, chosen, masks, moved, training=training
        )
        return loss[0], gradient[0], moved

    true_loss, truth, true_buffers = with_torch(torch.float64)
    gradient = torch.full_like(weights[0], torch.nan)
    moved = torch.cat([value[0] for value in buffers.values()] or [torch.empty(0)])
    loss = NativeEngine(target).differentiate(
        architecture,
        weights[0],
        moved,
        images,
        labels,
        indices,
        gradient,
        training=training,
        dropout=rate,
        seeds=np.array([int(value) for value in seeds.values()], dtype=np.int64),
        step=7,
    )
    assert loss == pytest.approx(true_loss.item(), rel=1e-5)
    if buffers:
        torch.testing.assert_close(
            moved.double(), torch.cat([v[0] for v in true_buffers.values()]), rtol=1e-5, atol=1e-5
        )
    return _relative(gradient, truth), _relative(with_torch(torch.float32)[1], truth)


def _relative(value: Tensor, truth: Tensor) -> float:
    return ((value.double() - truth).norm() / truth.norm()).item()
