"""How fast networks are trained, one machine against itself: `python tests/performance/bench_training.py [ROUNDS]`.

Every contestant uses both cores and trains the same runs on the same images; rounds are interleaved. The naive loop is
what one writes without a zoo builder, arranged as well as we can: images scaled beforehand and kept in memory,
channels-last, torch's fused optimizers, no data loader; its two arrangements are both shown, ratios are to the better.
"""

import multiprocessing
import multiprocessing.connection
import os
import sys
import time

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from zoo_builder import grid, networks
from zoo_builder.architecture import Architecture
from zoo_builder.datasets.dataset import Dataset, scaled
from zoo_builder.engines.loop import Active
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.families import nin, small_cnn
from zoo_builder.recipe import load_recipe
from zoo_builder.training import initialize

CORES = 2
EXAMPLES = 1024  # of each run in one measurement
MATRIX_PRODUCT = "matrix product"
CONTESTANTS = {  # name: (processes, threads each)
    "naive, 1 process x 2 threads": (1, 2),
    "naive, 2 processes x 1 thread": (2, 1),
    "torch stacks": (2, 1),
    "native": (2, 1),
    "native for x86-64-v3 (AVX2)": (2, 1),
}


def workloads() -> dict[str, tuple[list[Architecture], pd.DataFrame]]:
    """Name -> architectures of the runs, and the runs."""
    grey, rgb = (1, 32, 32), (3, 32, 32)
    plain = {
        "learning_rate": 0.01, "l2": 1e-4, "momentum": 0.0, "optimizer": "sgd", "dropout": 0.0,
        "initialization": "he-normal", "initialization_std": 0.1, "varied": "everything",
    }  # fmt: skip

    def runs(count: int, batch: int) -> pd.DataFrame:
        ids = [f"run-{number}" for number in range(count)]
        return pd.DataFrame({"model_id": ids, "twin": ids, "train_fraction": 1.0, "batch_size": batch, **plain})

    mix = grid.runs(load_recipe("cifar10-gs")).iloc[:12]
    mixed = [grid.architecture_of("small-cnn", run, grey, 10) for run in mix.to_dict("records")]
    found = {}
    for batch in (32, 64, 128):
        found[f"small CNN, ReLU, SGD, batch {batch}"] = [small_cnn(grey, 10)] * 8, runs(8, batch)
    for batch in (32, 64, 128):
        found[f"small CNN, cifar10-gs mix, batch {batch}"] = mixed, mix.assign(train_fraction=1.0, batch_size=batch)
    for width, norm in ((16, "none"), (32, "none"), (32, "batch")):
        networks_in_network = [nin(rgb, 10, width=width, depth=2, norm=norm)] * 4
        found[f"NiN, width {width}, norm {norm}, batch 64"] = networks_in_network, runs(4, 64)
    return found


def images_for(architecture: Architecture) -> Dataset:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (EXAMPLES, *architecture.input_shape), generator=stream).to(torch.uint8)
    labels = torch.randint(10, (EXAMPLES,), generator=stream)
    return Dataset("random", "rgb", tuple("0123456789"), images, labels, images[:8], labels[:8])


class Naive:
    def __init__(self, architectures: list[Architecture], runs: pd.DataFrame, data: Dataset) -> None:
        self.images = scaled(data.train_images).contiguous(memory_format=torch.channels_last)
        self.labels = data.train_labels
        self.batch = int(runs["batch_size"].iloc[0])
        self.jobs = []
        for architecture, run in zip(architectures, runs.itertuples(), strict=True):
            buffers = {
                name: torch.full(shape, float(name.endswith("var"))) for name, shape in architecture.buffers.items()
            }
            parameters = initialize(architecture, run.model_id, run.initialization, run.initialization_std) | buffers
            module = networks.module(architecture, parameters, run.dropout).to(memory_format=torch.channels_last)
            kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
            fused = {"foreach": True} if run.optimizer == "rmsprop" else {"fused": True}  # it has no fused one
            optimizer = kinds[run.optimizer](module.parameters(), lr=run.learning_rate, weight_decay=run.l2, **fused)
            self.jobs.append((module.train(), optimizer))

    def __call__(self) -> None:
        for module, optimizer in self.jobs:
            for batch in torch.randperm(EXAMPLES).split(self.batch):
                loss = F.cross_entropy(module(self.images[batch]), self.labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


class WithEngine:
    def __init__(
        self, engine: TorchEngine | NativeEngine, architectures: list[Architecture], runs: pd.DataFrame, data: Dataset
    ) -> None:
        self.engine, self.data, self.batch = engine, data, int(runs["batch_size"].iloc[0])
        self.stacks = []
        for architecture in dict.fromkeys(architectures):
            mine = runs[[other == architecture for other in architectures]].reset_index(drop=True)
            self.stacks.append((architecture, Active(architecture, mine, data, engine.device, engine.dtype)))
        self.epoch = 0

    def __call__(self) -> None:
        self.epoch += 1
        for architecture, active in self.stacks:
            active.shuffle(self.epoch)
            images, labels = self.data.train_images, self.data.train_labels
            list(self.engine.epoch(architecture, active, self.batch, images, labels))


class MatrixProduct:
    """1024^3 multiplications, as many additions."""

    def __init__(self) -> None:
        self.left, self.right = torch.rand(1024, 1024), torch.rand(1024, 1024)

    def __call__(self) -> None:
        torch.mm(self.left, self.right)


Job = Naive | WithEngine | MatrixProduct


def contestant(name: str, architectures: list[Architecture], runs: pd.DataFrame, data: Dataset) -> Job:
    if name == MATRIX_PRODUCT:
        return MatrixProduct()
    if name.startswith("naive"):
        return Naive(architectures, runs, data)
    if name.startswith("native"):
        return WithEngine(NativeEngine("x86-64-v3" if "v3" in name else "native"), architectures, runs, data)
    return WithEngine(TorchEngine(), architectures, runs, data)


def worker(pipe: "multiprocessing.connection.Connection", threads: int) -> None:
    """Answers (contestant, workload, seconds) with examples x models per second."""
    torch.set_num_threads(threads)
    ready: dict[tuple[str, str], Job] = {}
    every = workloads()
    while request := pipe.recv():
        name, workload, seconds = request
        architectures, runs = every[workload]
        if (name, workload) not in ready:
            ready[name, workload] = contestant(name, architectures, runs, images_for(architectures[0]))
            ready[name, workload]()  # compiles, allocates
        job, per_call = ready[name, workload], 1024**3 if name == MATRIX_PRODUCT else EXAMPLES * len(runs)
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            job()
            done += per_call
        pipe.send(done / (time.perf_counter() - start))


def multiplications(architecture: Architecture) -> int:
    """Of one training example: forward, gradient of the weights, gradient of all inputs but the images."""
    return 3 * architecture.multiplications - architecture.weighted[0].multiplications


def main(rounds: int = 5, seconds: float = 1.0) -> None:
    context = multiprocessing.get_context("spawn")
    pools: dict[int, list] = {}
    for threads in (1, 2):
        for _ in range(CORES // threads):
            ours, theirs = context.Pipe()
            context.Process(target=worker, args=(theirs, threads), daemon=True).start()
            pools.setdefault(threads, []).append(ours)

    def measure(name: str, workload: str, threads: int) -> float:
        for pipe in pools[threads]:
            pipe.send((name, workload, seconds))
        return sum(pipe.recv() for pipe in pools[threads])

    every = workloads()
    print(
        f"{os.cpu_count()} cores, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {rounds} rounds"
    )
    print("thousand examples x models / s of the machine: median (fastest, slowest)")
    for workload, (architectures, _) in every.items():
        rates: dict[str, list[float]] = {}
        peaks = []
        for _ in range(rounds):
            peaks.append(measure(MATRIX_PRODUCT, workload, 1))
            for name, (_, threads) in CONTESTANTS.items():
                rates.setdefault(name, []).append(measure(name, workload, threads) / 1000)
        best = max(np.median(rates[name]) for name in rates if name.startswith("naive"))
        work = np.mean([multiplications(architecture) for architecture in architectures])
        print(f"\n{workload}")
        for name, values in rates.items():
            median = np.median(values)
            share = 1000 * median * work / np.median(peaks)
            print(
                f"  {name:<32}{median:>8.1f} ({max(values):.1f}, {min(values):.1f}){median / best:>8.1f} x naive"
                f"{share:>7.0%} of a large matrix product",
                flush=True,
            )
    for pipes in pools.values():
        for pipe in pipes:
            pipe.send(None)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
