"""One network as a plain module."""

import pytest
from torch import Tensor

from zoo_builder.networks.module import to_module


def single(tensors: dict[str, Tensor], model: int) -> dict[str, Tensor]:
    return {name: value[model] for name, value in tensors.items()}


def test_state_dict_has_ordinary_names(random_tensors, shapes) -> None:
    architecture = shapes["norm"]
    module = to_module(architecture, single(random_tensors(architecture, 1), 0))
    assert [name for name in module.state_dict() if not name.endswith("num_batches_tracked")] == [
        *("conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias", "norm1.running_mean", "norm1.running_var"),
        *("linear1.weight", "linear1.bias"),
    ]
    assert not module.training
    incomplete = single({k: v for k, v in random_tensors(architecture, 1).items() if k != "norm1.running_var"}, 0)
    with pytest.raises(ValueError, match=r"do not fit the architecture: \['norm1.running_var'\]"):
        to_module(architecture, incomplete)
