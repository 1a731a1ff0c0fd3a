"""Initial weights have the distributions of their definitions."""

import pytest
import torch

from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Linear
from zoo_builder.training.initialization import initialize


def test_initializations_have_their_distributions() -> None:
    architecture = Architecture((1, 8, 8), (Conv(64, kernel=5), Activation("relu"), GlobalAveragePool(), Linear(300)))
    fan_in, fan_out = 25, 64 * 25
    expected = {
        "he-normal": (2 / fan_in) ** 0.5,
        "glorot-normal": (2 / (fan_in + fan_out)) ** 0.5,
        "normal": 0.2,
        # A normal distribution cut at two standard deviations has .8796 of its spread.
        "truncated-normal": 0.2 * 0.87963,
    }
    for kind, std in expected.items():
        draws = torch.cat(
            [initialize(architecture, f"run-{number}", kind, 0.2)["conv1.weight"].flatten() for number in range(40)]
        )
        assert draws.std().item() == pytest.approx(std, rel=0.02)
    weight = initialize(architecture, "run", "orthogonal", 0.2)["linear1.weight"]
    torch.testing.assert_close(weight.T @ weight, torch.eye(64), rtol=0, atol=1e-5)
    assert not initialize(architecture, "run", "he-normal", 0.2)["conv1.bias"].any()
