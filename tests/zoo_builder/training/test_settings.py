"""The random choices that runs of one configuration share."""

import numpy as np
import pytest
import torch

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.networks.architecture import Architecture
from zoo_builder.streams import stream_seed
from zoo_builder.training.settings import subset_seeds
from zoo_builder.training.state import Active

SHARED = {  # by ``varied``: the choices that runs of one configuration share
    "everything": set(),
    "data": {"initialization", "order", "dropout"},
    "initialization": {"subset", "order", "dropout"},
    "order": {"subset", "initialization"},
}


@pytest.mark.parametrize("varied", SHARED)
def test_runs_of_a_configuration_share_what_is_not_varied(
    digits: Dataset, architecture: Architecture, varied: str, table
) -> None:
    runs = table(3, varied=varied, dropout=0.5, initialization="he-normal", train_fraction=0.5)
    active = Active(architecture, runs, digits, torch.device("cpu"), torch.float32)
    active.shuffle(1)
    places = [(own[:, None] == order).argmax(0) for own, order in zip(active.subset, active.indices, strict=True)]
    seen = {
        "subset": list(active.subset),
        "initialization": list(active.weights.numpy()),
        "order": places,
        "dropout": list(active.runs.seeds["dropout2"].numpy()),
    }
    first = active.runs.order.tolist().index(0)
    for purpose, values in seen.items():
        equal = [np.array_equal(values[first], value) for value in values]
        assert equal == [purpose in SHARED[varied] or number == first for number in range(3)], purpose
    alone = table(3, dropout=0.5, initialization="he-normal", train_fraction=0.5)
    own = Active(architecture, alone, digits, torch.device("cpu"), torch.float32)
    assert np.array_equal(own.subset[first], active.subset[first]), "the first seed is its own twin"
    assert subset_seeds(runs).tolist() == [
        stream_seed(f"run-{0 if 'subset' in SHARED[varied] else number}", "subset") for number in range(3)
    ]
