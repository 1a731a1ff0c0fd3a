"""Parts on a GPU that is out of memory, or on a node that does not share the folder."""

from pathlib import Path

import pytest
import torch

from zoo_builder.building.build import build
from zoo_builder.errors import InputError
from zoo_builder.recipes.recipe import load_recipe


def test_a_gpu_that_is_out_of_memory_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny) -> None:
    def train(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr("zoo_builder.training.loop.train", train)
    with pytest.raises(
        InputError, match=r"the GPU is out of memory for a network of 4,970 parameters with batch_size = 32"
    ):
        build(tiny(), tmp_path / "zoo", device="cpu")


def test_a_node_that_does_not_share_the_folder_writes_nothing(tmp_path: Path) -> None:
    class Elsewhere:
        """Trains a part where the folder of the build does not exist."""

        here = False

        def run(self, jobs, payload, progress, gpu):
            (tmp_path / "zoo").rename(tmp_path / "seen by the driver only")
            yield jobs[0](payload, progress)

    with pytest.raises(
        InputError, match=r"zoo is not the folder here \(.*\) that the build was started on: `out` must"
    ):
        build(load_recipe("digits").cut(4, 1), tmp_path / "zoo", device="cpu", runner=Elsewhere())
    assert not (tmp_path / "zoo").exists()
