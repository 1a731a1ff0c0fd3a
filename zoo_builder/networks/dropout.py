"""Dropout masks from a hash of (run, layer, step, position in the batch, unit), without state or order.

Every 32-bit word of the hash serves two neighboring channels with 16 bits each, so a rate is rounded to a multiple of
1/65536; kept units are scaled by the exact inverse of the rounded keep probability. Units are numbered position by
position, channels last; the number of channels is padded to an even number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_builder.streams import stream_seed

_LEVELS = 1 << 16


def _signed(value: int, bits: int) -> int:
    """Two's complement, because torch has no unsigned arithmetic."""
    return value - (1 << bits) if value >> (bits - 1) else value


_STEP = _signed(0x9E3779B97F4A7C15, 64)
_POSITION = _signed(0xD1B54A32D192ED03, 64)
_UNIT = _signed(0x9E3779B9, 32)


def _shift(x: Tensor, by: int, bits: int) -> Tensor:
    """Logical right shift."""
    return (x >> by).bitwise_and_((1 << (bits - by)) - 1)


def _mix64(x: Tensor) -> Tensor:
    """The finalizer of SplitMix64 (Steele et al. 2014), on int64 with wraparound."""
    x = (x ^ _shift(x, 30, 64)) * _signed(0xBF58476D1CE4E5B9, 64)
    x = (x ^ _shift(x, 27, 64)) * _signed(0x94D049BB133111EB, 64)
    return x ^ _shift(x, 31, 64)


def _mix32_(x: Tensor) -> Tensor:
    """An invertible 32-bit finalizer with low bias (C. Wellons, "Prospecting for hash functions", 2018), in place."""
    x ^= _shift(x, 16, 32)
    x *= 0x7FEB352D
    x ^= _shift(x, 15, 32)
    x *= _signed(0x846CA68B, 32)
    x ^= _shift(x, 16, 32)
    return x


@dataclass(frozen=True)
class Dropout:
    """The dropout of one training step of M models.

    Attributes:
        rates: float64 [M], each in [0, 1).
        seeds: {layer name: int64 [M]} from ``dropout_seeds``.
        steps: int64 [M], each model's number of steps before this one.
        first: the position in the batch of the first example that is computed.
    """

    rates: Tensor
    seeds: dict[str, Tensor]
    steps: Tensor
    first: int = 0

    def take(self, models: slice, first: int = 0) -> "Dropout":
        """The same step of some of the models, from the example ``first`` of the batch on."""
        return Dropout(self.rates[models], {k: v[models] for k, v in self.seeds.items()}, self.steps[models], first)

    def factors(self, layer: str, batch: int, positions: int, channels: int, dtype: torch.dtype) -> Tensor:
        """The factors of a layer's units, 0 or 1 / keep probability: [batch, positions, M, channels]."""
        words = (channels + 1) // 2
        # The layout is [batch, positions, M * channels] for long inner loops, and comparisons return int16: on a CPU
        # torch is up to ten times slower with short inner axes and with booleans.
        dropped = (self.rates * _LEVELS).round().clamp(max=_LEVELS - 1).repeat_interleave(2 * words)
        at = torch.arange(self.first, self.first + batch, device=self.steps.device)[:, None]
        keys = _shift(_mix64(self.seeds[layer] + self.steps * _STEP + at * _POSITION), 32, 64).to(torch.int32)
        units = torch.arange(positions * words, dtype=torch.int32, device=keys.device).view(positions, words) * _UNIT
        bits = _mix32_(keys.repeat_interleave(words, 1)[:, None] ^ units.repeat(1, len(self.rates))).view(torch.int16)
        keep = torch.ge(bits, (dropped - _LEVELS // 2).to(torch.int16), out=torch.empty_like(bits))
        factors = keep.to(dtype) * (_LEVELS / (_LEVELS - dropped)).to(dtype)
        return factors.unflatten(2, (-1, 2 * words))[..., :channels]


def dropout_seeds(model_ids: list[str], layers: list[str]) -> dict[str, Tensor]:
    """{layer name: int64 [M]}, the seeds of ``Dropout``."""
    return {layer: torch.tensor([stream_seed(i, f"dropout/{layer}") for i in model_ids]) for layer in layers}
