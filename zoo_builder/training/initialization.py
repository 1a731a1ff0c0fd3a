"""Initial weights of a run."""

import torch
from torch import Tensor, nn

from zoo_builder.networks.architecture import Architecture
from zoo_builder.recipes.hyperparameters import INITIALIZATIONS
from zoo_builder.streams import torch_stream


def initialize(architecture: Architecture, stream_id: str, kind: str, std: float) -> dict[str, Tensor]:
    """The parameters of one run at epoch 0, float32 on the CPU; biases are 0, a norm's weights 1.

    Args:
        kind: one of ``INITIALIZATIONS``; Glorot's and He's are normal distributions, "orthogonal" has gain 1.
        std: the standard deviation of "normal" and "truncated-normal" (cut at 2 std); the others ignore it.

    Raises:
        ValueError: unknown ``kind``.
    """
    stream = torch_stream(stream_id, "initialization")
    parameters = {}
    for name, shape in architecture.parameters.items():
        value = parameters[name] = torch.zeros(shape)
        if value.dim() == 1:
            value.fill_(name.endswith(".weight"))
            continue
        match kind:
            case "glorot-normal":
                nn.init.xavier_normal_(value, generator=stream)
            case "he-normal":
                nn.init.kaiming_normal_(value, nonlinearity="relu", generator=stream)
            case "orthogonal":
                nn.init.orthogonal_(value, generator=stream)
            case "normal":
                nn.init.normal_(value, std=std, generator=stream)
            case "truncated-normal":
                nn.init.trunc_normal_(value, std=std, a=-2 * std, b=2 * std, generator=stream)
            case _:
                raise ValueError(f"unknown initialization {kind!r}: use one of {INITIALIZATIONS}")
    return parameters
