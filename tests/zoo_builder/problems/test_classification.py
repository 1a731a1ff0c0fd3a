"""Image classification: costs, sizes, and settings that cannot be trained."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoo_builder.building.build import build
from zoo_builder.datasets.dataset import Dataset
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.problems import classification


def test_a_norm_that_would_see_one_value_is_refused_before_anything_is_written(tmp_path: Path, of_family) -> None:
    """On 8x8 images the third block of a network in network gives 1x1."""
    words = r"a last batch of one image gives norm7 one value per channel, .*: 359 training images cannot be cut"
    with pytest.raises(InputError, match=rf"{words} into batches of 2; choose another batch_size or train_fraction"):
        build(of_family("nin", batch_size=2), tmp_path / "zoo", device="cpu")
    assert not (tmp_path / "zoo").exists()


def test_large_networks_are_calibrated_on_few_images(
    digits: Dataset, architecture: Architecture, table, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Recorded(TorchEngine):
        def epoch(self, architecture, active, batch_size, images, labels):
            seen.append((batch_size, len(labels)))
            return super().epoch(architecture, active, batch_size, images, labels)

    problem, runs = classification.Classification(digits), table(2, optimizer="sgd")
    assert problem.cost(Recorded(), architecture, runs).sample > 0
    monkeypatch.setattr(classification, "CALIBRATION_MULTIPLICATIONS", 5 * architecture.multiplications)
    assert problem.cost(Recorded(), architecture, runs).sample > 0
    assert set(seen) == {(32, 512), (5, 5)}


def test_sizes_and_batches_of_runs(digits: Dataset, table) -> None:
    problem, runs = classification.Classification(digits), table(3, train_fraction=[1.0, 0.25, 0.01])
    assert problem.examples(runs).tolist() == [1437, 359, 14]
    assert problem.batches(runs).tolist() == [32, 32, 14]
    assert problem.output_shape == (360, 10)
    stored = problem.stored(torch.zeros(3, *problem.output_shape, dtype=torch.float16))
    assert sum(value.nbytes for value in stored.values()) == problem.stored_bytes(runs=3, parts=1)


def test_remarks_are_those_of_the_data_and_its_duplicates(digits: Dataset) -> None:
    assert classification.Classification(digits).remarks() == []
    doubled = replace(digits, test_images=digits.train_images, test_labels=digits.train_labels, remarks=("a remark",))
    first, second = classification.Classification(doubled).remarks()
    assert first == "a remark"
    assert second.startswith("1437 test images of digits are also training images")
