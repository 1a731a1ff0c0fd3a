"""Dropout masks: mean, values, and independence of every coordinate."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_builder.networks import dropout as dropout_masks


@given(rate=st.floats(0, 0.99), channels=st.integers(1, 7), positions=st.integers(1, 5), models=st.integers(1, 3))
@settings(max_examples=30)
def test_dropout_keeps_the_mean_and_depends_on_every_coordinate(
    rate: float, channels: int, positions: int, models: int
) -> None:
    make = dropout_masks.Dropout
    seeds = dropout_masks.dropout_seeds([f"m{number}" for number in range(models)], ["dropout1"])
    batch = 4000
    factors = make(torch.full((models,), rate).double(), seeds, torch.zeros(models, dtype=torch.int64)).factors(
        "dropout1", batch, positions, channels, torch.float64
    )
    assert factors.shape == (batch, positions, models, channels)
    dropped = round(rate * 65536) / 65536
    kept = (factors > 0).double().mean((0, 1, 3))
    assert ((kept - (1 - dropped)).abs() < 6 * (0.25 / (batch * positions * channels)) ** 0.5 + 1e-12).all()
    assert set(factors.unique().tolist()) <= {0.0, 1 / (1 - dropped)}


def test_dropout_bits_of_different_coordinates_are_uncorrelated() -> None:
    make = dropout_masks.Dropout
    seeds = dropout_masks.dropout_seeds(["a", "b"], ["dropout1", "dropout2"])
    half = torch.full((2,), 0.5).double()
    at = [make(half, seeds, torch.full((2,), step)) for step in (0, 1)]
    bits = at[0].factors("dropout1", 64, 50, 16, torch.float64) - 1
    others = {
        "model": bits.flip(2),
        "step": at[1].factors("dropout1", 64, 50, 16, torch.float64) - 1,
        "layer": at[0].factors("dropout2", 64, 50, 16, torch.float64) - 1,
        "example": bits.roll(1, 0),
        "position": bits.roll(1, 1),
        "channel": bits.roll(1, 3),
        "two channels": bits.roll(2, 3),
    }
    for name, other in others.items():
        assert abs((bits * other).mean().item()) < 5 / bits.numel() ** 0.5, name
