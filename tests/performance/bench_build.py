"""The time of a build by its steps: `python tests/performance/bench_build.py`. Needs real images in $GENGAP_DATA.

One part of cifar10-gs with 20 epochs, with the native engine and one worker: training steps, and beside them order and
initialization, figures on test and training images, training statistics, and writing.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from zoo_builder.datasets.loading import load
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import load_recipe
from zoo_builder.store.format import Part, write_part
from zoo_builder.training.loop import train
from zoo_builder.training.state import Active

MODELS, EPOCHS, TARGET = 8, 20, 0.2


class Timed(NativeEngine):
    """Counts the seconds of training steps and of each kind of evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = {"steps": 0.0, "figures": 0.0, "gradient variance": 0.0}

    def epoch(self, *arguments) -> Iterator[Active]:
        start = time.perf_counter()
        gone = list(super().epoch(*arguments))
        self.seconds["steps"] += time.perf_counter() - start
        yield from gone

    def logits(self, *arguments) -> torch.Tensor:
        start = time.perf_counter()
        result = super().logits(*arguments)
        self.seconds["figures"] += time.perf_counter() - start
        return result

    def gradient(self, *arguments) -> torch.Tensor:
        start = time.perf_counter()
        result = super().gradient(*arguments)
        self.seconds["gradient variance"] += time.perf_counter() - start
        return result


def main() -> None:
    folder = os.environ.get("GENGAP_DATA")
    if folder is None:
        print("skipped: GENGAP_DATA is not set (it holds parquet/cifar10)")
        return
    torch.set_num_threads(1)
    recipe = load_recipe("cifar10-gs").cut(epochs=EPOCHS)
    data = load("cifar10", Path(folder) / "parquet" / "cifar10", "grey")
    runs = grid.runs(recipe).iloc[:MODELS]
    engine = Timed()
    trained = []
    start = time.perf_counter()
    for activation, group in runs.groupby("activation"):
        architecture = grid.architecture_of(recipe.family, {**group.iloc[0], "activation": activation}, (1, 32, 32), 10)
        trained.append((architecture, train(engine, architecture, group, data, recipe.checkpoints)))
    writing = time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        for number, (architecture, result) in enumerate(trained):
            weights = {f"{architecture.key}/{name}": value for name, value in result.weights.items()}
            part = Part(f"part-{number:05d}", first_run=0, runs=len(result.outputs))
            outputs = {"logits": result.outputs, "labels": data.test_labels}
            write_part(Path(out), part, result.table, weights, outputs, data.name)
    total = time.perf_counter() - start
    seconds = engine.seconds | {"writing": time.perf_counter() - writing}
    seconds["everything else"] = total - sum(seconds.values())
    print(f"{MODELS} models of cifar10-gs, {EPOCHS} epochs, checkpoints {list(recipe.checkpoints)}: {total:.1f} s")
    for name, spent in seconds.items():
        print(f"  {name:<20}{spent:>8.2f} s{spent / total:>8.1%}")
    print(f"  not steps: {1 - seconds['steps'] / total:.1%} (target: at most {TARGET:.0%})")


if __name__ == "__main__":
    main()
