"""Many networks at a time against one by one: `python tests/performance/bench_measures.py`. Real images: $GENGAP_DATA.

Small CNNs of cifar10-gs, all of them on all 50,000 training images. One by one, each network is an ordinary
``nn.Module`` that sees batches in channels-last memory, and everything else is computed for it separately; stacked, 64
are computed together, with torch or with compiled code for what engines compute. One thread each, interleaved, medians.
"""

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from baselines.access import View
from baselines.fields import TrainData
from baselines.measures.compute import compute
from benchmark.evaluation.measuring import select
from zoo_builder.datasets.dataset import scaled
from zoo_builder.datasets.loading import load
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.networks.families import small_cnn
from zoo_builder.networks.module import to_module
from zoo_builder.networks.stack import Stack
from zoo_builder.training.initialization import initialize
from zoo_builder.training.results import STATISTICS

# (what, measures, models, repeats, minutes that 1,000 models may take on two cores)
CASES = (
    ("one pass or none", select(["fast"]), 64, 3, 5),
    ("multi-pass", [measure for measure in select(["all"]) if measure.cost == "multi-pass"], 16, 2, 20),
    ("perturbation searches", select(["pac-bayes", "magnitude-aware", "sharpness"]), 4, 1, 60),
    (
        "iterations",
        [one for one in select(["curvature", "adaptive-sharpness"]) if one.cost == "search"],
        4,
        1,
        None,
    ),
)
BATCH = 250
TARGET = 5


class OneByOne(TorchEngine):
    """Passes as a loop over modules."""

    @torch.no_grad()
    def logits(self, architecture, parameters, images, indices=None):
        assert indices is not None
        found = []
        for model, own in enumerate(indices):
            network = to_module(architecture, {name: value[model] for name, value in parameters.items()})
            network = network.to(memory_format=torch.channels_last)
            batches = torch.from_numpy(own).split(BATCH)
            found.append(torch.cat([network(scaled(images[batch], torch.float32)) for batch in batches]))
        return torch.stack(found)


def view(data, models):
    """Networks as they are initialized, half ReLU and half tanh, all of which see all images."""
    stacks = {"stacks": [], "initial": []}
    for kind, activation in enumerate(("relu", "tanh")):
        architecture = small_cnn((1, 32, 32), 10, width=16, depth=3, activation=activation)
        rows = np.arange(kind, models, 2)
        for time_, held in enumerate(stacks):
            drawn = [initialize(architecture, f"{row} {time_}", "he-normal", 0.0) for row in rows]
            stacks[held].append(
                Stack(architecture, {name: torch.stack([d[name] for d in drawn]) for name in drawn[0]}, rows)
            )
    count = len(data.train_labels)
    train = TrainData(
        data.train_images,
        data.train_labels,
        np.full(models, count),
        np.arange(models),
        np.ones(models),
        np.full(models, 0.1),
    )
    statistics = pd.DataFrame(np.ones((models, len(STATISTICS))), columns=list(STATISTICS))
    return View(access="trajectory", size=models, train=train, statistics=statistics, **stacks)


def main() -> None:
    folder = os.environ.get("GENGAP_DATA")
    if folder is None:
        print("skipped: GENGAP_DATA is not set (it holds parquet/cifar10)")
        return
    torch.set_num_threads(1)
    data = load("cifar10", Path(folder) / "parquet" / "cifar10", "grey")
    ways = {
        "one by one": {"stack_size": 1, "engine_of": lambda architecture: OneByOne()},
        "stacked, torch": {"engine_of": lambda architecture: TorchEngine()},
        "stacked, compiled": {"engine_of": lambda architecture: NativeEngine()},
    }
    warm = view(data, 2)
    for way in ways.values():  # compiles, and fills what is allocated once
        compute(warm, select(["negative-margin"]), **way)
    print(f"{'measures':<28}{'way':<20}{'s per model':>12}{'range':>18}{'ratio':>8}{'1,000 models, 2 cores':>24}")
    for case, measures, models, repeats, minutes in CASES:
        networks, taken = view(data, models), {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                compute(networks, measures, **way)
                taken[name].append((time.perf_counter() - start) / models)
        slow = np.median(taken["one by one"])
        for name, seconds in taken.items():
            middle = np.median(seconds)
            what = f"{len(measures)}: {case}" if name == "one by one" else ""
            within = f"{min(seconds):.3f} to {max(seconds):.3f}"
            print(
                f"{what:<28}{name:<20}{middle:>12.3f}{within:>18}{slow / middle:>7.1f}x{middle * 500 / 60:>20.1f} min"
                + (f" (at most {minutes}; ratio at least {TARGET})" if minutes and name == "stacked, compiled" else ""),
                flush=True,
            )


if __name__ == "__main__":
    main()
