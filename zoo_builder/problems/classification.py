"""Image classification with cross-entropy."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.datasets.loading import load
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture, Shape
from zoo_builder.networks.stack import Stack
from zoo_builder.problems.interface import Cost
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.training import loop
from zoo_builder.training.engine import Engine
from zoo_builder.training.results import RESULTS, Trained
from zoo_builder.training.settings import subset_size

# Costs are measured on this many images, and on fewer for large networks: an epoch of one network then has about three
# times this many multiplications.
CALIBRATION_IMAGES, CALIBRATION_MULTIPLICATIONS = 512, 10**10
# Engines differ in the last bits, so an example or two can cross a decision boundary.
_EXAMPLES_OFF = 2
# Outputs are stored in half precision.
_OUTPUT_TOLERANCE = 2e-3


@dataclass(frozen=True, eq=False)
class Classification:
    """Image classification on ``data``; see ``problems.interface.Problem``.

    Each run trains on a share ``train_fraction`` of the training images, in batches of ``batch_size``.
    """

    data: Dataset
    results: ClassVar[tuple[str, ...]] = RESULTS
    verified: ClassVar[tuple[str, ...]] = ("test_accuracy",)
    shared: ClassVar[tuple[str, ...]] = ("batch_size",)

    @classmethod
    def load(cls, recipe: Recipe, data_root: str | Path | None = None) -> "Classification":
        """Loads the data set of ``recipe`` from ``data_root``; see ``datasets.loading.load``."""
        return cls(load(recipe.data.name, data_root, recipe.data.colour, recipe.data.size))

    @property
    def data_name(self) -> str:
        return self.data.name

    @property
    def fingerprint(self) -> str:
        return self.data.fingerprint

    @property
    def input_shape(self) -> Shape:
        return tuple(self.data.train_images.shape[1:])

    @property
    def outputs(self) -> int:
        return len(self.data.classes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return len(self.data.test_labels), self.outputs

    def description(self) -> dict[str, Any]:
        data = self.data
        return {
            "name": data.name,
            "colour": data.colour,
            **({} if data.size is None else {"size": data.size}),
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "train_images": len(data.train_images),
            "test_images": len(data.test_images),
            "duplicates": data.duplicates,
        }

    def remarks(self) -> list[str]:
        remarks = list(self.data.remarks)
        if self.data.duplicates:
            remarks.append(
                f"{self.data.duplicates} test images of {self.data.name} are also training images (kept, counted in "
                "zoo.json)"
            )
        return remarks

    def check(self, architecture: Architecture, runs: pd.DataFrame) -> None:
        """A norm divides by the variance of its values, which a single value does not have."""
        single = [place.name for place in architecture.places if place.buffers and prod(place.input_shape[1:]) == 1]
        for size, batch_size in zip(self.examples(runs), runs["batch_size"], strict=True) if single else ():
            if (size - 1) % batch_size == 0:
                raise InputError(
                    f"a last batch of one image gives {single[0]} one value per channel, which has no variance: {size} "
                    f"training images cannot be cut into batches of {batch_size}; choose another batch_size or "
                    "train_fraction"
                )

    def examples(self, runs: pd.DataFrame) -> np.ndarray:
        total = len(self.data.train_labels)
        return np.array([subset_size(fraction, total) for fraction in runs["train_fraction"]], dtype=np.int64)

    def batches(self, runs: pd.DataFrame) -> np.ndarray:
        return np.minimum(self.examples(runs), runs["batch_size"].to_numpy(np.int64))

    def train(
        self,
        engine: Engine,
        architecture: Architecture,
        runs: pd.DataFrame,
        checkpoints: Sequence[int],
        stop: float | None = None,
        progress: Callable[[int], object] = lambda model_epochs: None,
    ) -> Trained:
        return loop.train(engine, architecture, runs, self.data, checkpoints, stop, progress)

    def cost(self, engine: Engine, architecture: Architecture, runs: pd.DataFrame) -> Cost:
        # A large network takes long for a whole batch, and as long per image for a smaller one; norms need two images.
        most = max(2, CALIBRATION_MULTIPLICATIONS // architecture.multiplications)
        batch = min(int(runs["batch_size"].iloc[0]), most, len(self.data.train_labels))
        # Whole batches only: the remainder of a small share could be a single image.
        runs = runs.assign(train_fraction=1.0, batch_size=batch)
        images = min(CALIBRATION_IMAGES, most)
        few = self._first(batch * min(ceil(images / batch), len(self.data.train_labels) // batch), images)
        samples, tested = len(runs) * len(few.data.train_labels), len(runs) * len(few.data.test_labels)
        weights = few.train(engine, architecture, runs, (1,)).weights  # slower: it may have to compile
        once = _seconds(lambda: few.train(engine, architecture, runs, (1,)))
        twice = _seconds(lambda: few.train(engine, architecture, runs, (2,)))
        example = _seconds(lambda: engine.logits(architecture, weights, few.data.test_images)) / tested
        # A negative difference can only be noise.
        sample = max(twice - once, 0.1 * once) / samples
        model = max(0.0, once - samples * (sample + example) - tested * example) / len(runs)
        return Cost(model, sample, example)

    def _first(self, train: int, test: int) -> "Classification":
        """The same problem with the first training and test images only."""
        data = self.data
        few = replace(
            data,
            train_images=data.train_images[:train],
            train_labels=data.train_labels[:train],
            test_images=data.test_images[:test],
            test_labels=data.test_labels[:test],
        )
        return Classification(few)

    def stored(self, outputs: Tensor) -> dict[str, Tensor]:
        return {"logits": outputs, "labels": self.data.test_labels}

    def stored_bytes(self, runs: int, parts: int) -> int:
        examples = len(self.data.test_labels)
        return runs * 2 * examples * self.outputs + parts * 8 * examples

    def verify(self, rows: pd.DataFrame, stack: Stack, outputs: np.ndarray | None) -> Iterator[str]:
        logits = TorchEngine().logits(stack.architecture, stack.parameters, self.data.test_images)
        if outputs is not None:
            stored = torch.as_tensor(outputs).float()
            same = torch.isclose(stored, logits.half().float(), rtol=_OUTPUT_TOLERANCE, atol=_OUTPUT_TOLERANCE)
            for model_id, good in zip(rows["model_id"], same.flatten(1).all(1), strict=True):
                if not good:
                    yield f"model {model_id}: its stored outputs are not those of its weights"
        if "test_accuracy" not in rows:
            return
        accuracies = (logits.argmax(2) == self.data.test_labels).double().mean(1).tolist()
        for model_id, accuracy, recorded in zip(rows["model_id"], accuracies, rows["test_accuracy"], strict=True):
            if not abs(accuracy - recorded) * len(self.data.test_labels) <= _EXAMPLES_OFF + 0.5:  # NaN differs
                yield f"model {model_id}: its weights have test accuracy {accuracy:.4f}, the table has {recorded:.4f}"

    def share_memory(self) -> None:
        self.data.share_memory()


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
