"""The speed of training on this machine: `python tests/performance/bench_training.py [ROUNDS]`.

Every contestant uses both cores and trains the same runs on the same images, in interleaved rounds. The naive loop is a
well-tuned one without a zoo builder: images scaled beforehand and kept in memory, channels-last, torch's fused
optimizers, no data loader. It runs in two arrangements; ratios are to the better one.

The arithmetic peak is that of a loop over registers (peak.cpp), measured between the others: nothing in float32 can be
faster. torch's own matrix product is shown for comparison.
"""

import ctypes
import multiprocessing
import multiprocessing.connection
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from zoo_builder.datasets.dataset import Dataset, scaled
from zoo_builder.engines.native import compiler
from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.families import nin, small_cnn
from zoo_builder.networks.module import to_module
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import load_recipe
from zoo_builder.training.initialization import initialize
from zoo_builder.training.state import Active

CORES = 2
EXAMPLES = 1024  # of each run in one measurement
PEAK, MATRIX_PRODUCT = "arithmetic peak", "torch's matrix product"
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


def images_for(architecture: Architecture, examples: int = EXAMPLES) -> Dataset:
    stream = torch.Generator().manual_seed(0)
    images = torch.randint(256, (examples, *architecture.input_shape), generator=stream).to(torch.uint8)
    labels = torch.randint(10, (examples,), generator=stream)
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
            module = to_module(architecture, parameters, run.dropout).to(memory_format=torch.channels_last)
            kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}
            fused = {"foreach": True} if run.optimizer == "rmsprop" else {"fused": True}  # it has no fused one
            optimizer = kinds[run.optimizer](module.parameters(), lr=run.learning_rate, weight_decay=run.l2, **fused)
            self.jobs.append((module.train(), optimizer))

    def __call__(self) -> int:
        for module, optimizer in self.jobs:
            for batch in torch.randperm(EXAMPLES).split(self.batch):
                loss = F.cross_entropy(module(self.images[batch]), self.labels[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        return EXAMPLES * len(self.jobs)


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

    def __call__(self) -> int:
        self.epoch += 1
        for architecture, active in self.stacks:
            active.shuffle(self.epoch)
            images, labels = self.data.train_images, self.data.train_labels
            list(self.engine.epoch(architecture, active, self.batch, images, labels))
        return len(self.data.train_labels) * sum(len(active) for _, active in self.stacks)


class MatrixProduct:
    """Multiplications, each with an addition, of two large matrices."""

    def __init__(self) -> None:
        self.left, self.right = torch.rand(1024, 1024), torch.rand(1024, 1024)

    def __call__(self) -> int:
        torch.mm(self.left, self.right)
        return 1024**3


class Peak:
    """Multiplications, each with an addition, of numbers in registers."""

    def __init__(self) -> None:
        source = Path(__file__).with_name("peak.cpp")
        headers = Path(compiler.__file__).parent
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "peak.so"
            flags = ["-std=c++17", "-O3", "-march=native", "-shared", "-fPIC", f"-I{headers}"]
            subprocess.run([compiler.compiler(), *flags, "-o", str(library), str(source)], check=True)
            self.multiply = ctypes.CDLL(str(library)).multiply
        self.multiply.restype = ctypes.c_int64
        self.total = ctypes.c_float()

    def __call__(self) -> int:
        return self.multiply(ctypes.c_int64(100_000), ctypes.c_float(0.5), ctypes.byref(self.total))


Job = Naive | WithEngine | MatrixProduct | Peak


def contestant(name: str, architectures: list[Architecture], runs: pd.DataFrame, data: Dataset) -> Job:
    if name in (PEAK, MATRIX_PRODUCT):
        return Peak() if name == PEAK else MatrixProduct()
    if name.startswith("naive"):
        return Naive(architectures, runs, data)
    if name.startswith("native"):
        return WithEngine(NativeEngine("x86-64-v3" if "v3" in name else "native"), architectures, runs, data)
    return WithEngine(TorchEngine(), architectures, runs, data)


def worker(pipe: "multiprocessing.connection.Connection", threads: int) -> None:
    """Answers (contestant, workload, seconds) with examples x models, or multiplications, per second."""
    torch.set_num_threads(threads)
    ready: dict[tuple[str, str], Job] = {}
    every = workloads()
    while request := pipe.recv():
        name, workload, seconds = request
        architectures, runs = every[workload]
        if (name, workload) not in ready:
            ready[name, workload] = contestant(name, architectures, runs, images_for(architectures[0]))
            ready[name, workload]()  # compiles, allocates
        job = ready[name, workload]
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            done += job()
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
    references: dict[str, list[float]] = {PEAK: [], MATRIX_PRODUCT: []}
    for workload, (architectures, _) in every.items():
        rates: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        peaks = []
        for _ in range(rounds):
            for name, found in references.items():
                found.append(measure(name, workload, 1))
            peaks.append(references[PEAK][-1])
            for name, (_, threads) in CONTESTANTS.items():
                rates[name].append(measure(name, workload, threads))
        best = max(np.median(rates[name]) for name in rates if name.startswith("naive"))
        work = np.mean([multiplications(architecture) for architecture in architectures])
        print(f"\n{workload}")
        for name, values in rates.items():
            median = np.median(values)
            print(
                f"  {name:<32}{median / 1000:>8.1f} ({max(values) / 1000:.1f}, {min(values) / 1000:.1f})"
                f"{median / best:>8.1f} x naive{median * work / np.median(peaks):>7.0%} of the arithmetic peak",
                flush=True,
            )
    print("\nthousand million multiplications / s of the machine: median (fastest, slowest)")
    for name, values in references.items():
        print(f"  {name:<32}{np.median(values) / 1e9:>8.1f} ({max(values) / 1e9:.1f}, {min(values) / 1e9:.1f})")
    for pipes in pools.values():
        for pipe in pipes:
            pipe.send(None)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
