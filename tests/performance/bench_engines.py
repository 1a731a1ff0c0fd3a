"""The faster engine for each kind of network: `python tests/performance/bench_engines.py [RECIPE ...]`.

The smallest, the middle and the largest architecture of every recipe, on one thread, with native code and torch stacks
in turn. If native code were slower, `auto` in zoo_builder/engines/choice.py should choose torch.
"""

import sys
import time

import numpy as np
import pandas as pd
import torch
from bench_training import WithEngine, images_for

from zoo_builder.engines.native.engine import NativeEngine
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe, builtin_recipes, load_recipe

COPIES, ROUNDS, SECONDS = 4, 3, 0.5
# Least and most batches of a call, so that preparation is a small share of it, and its most multiplications, so that it
# takes a few seconds at most.
BATCHES, MULTIPLICATIONS = (2, 100), 1e11
SIZES = {"mnist": 28, "fashion-mnist": 28, "digits": 8}


def cases(recipe: Recipe) -> list[tuple]:
    """(architecture, copies of a run that has it), by size."""
    size = SIZES.get(recipe.data.name, 32)
    shape = ({"grey": 1, "rgb": 3}[recipe.data.colour], size, size)
    found = {}
    for run in grid.runs(recipe.cut(models=min(recipe.models, 1000))).to_dict("records"):
        found.setdefault(grid.architecture_of(recipe.family, run, shape, 10), run)
    ordered = sorted(found, key=lambda one: one.multiplications)
    chosen = dict.fromkeys(ordered[place] for place in (0, len(ordered) // 2, -1))
    return [(one, pd.DataFrame([found[one] | {"train_fraction": 1.0}] * COPIES)) for one in chosen]


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    print("examples x models / s of one core, medians")
    print(f"{'':<26}{'parameters':>12}{'batch':>7}{'native':>12}{'torch':>12}{'ratio':>8}")
    for name in names or builtin_recipes():
        for architecture, runs in cases(load_recipe(name)):
            batch = min(int(runs["batch_size"].iloc[0]), 128)
            batches = MULTIPLICATIONS / (3 * architecture.multiplications * batch * COPIES)
            data = images_for(architecture, batch * int(np.clip(batches, *BATCHES)))
            runs = runs.assign(batch_size=batch, learning_rate=1e-6)  # so that none diverges
            jobs = [WithEngine(one, [architecture] * COPIES, runs, data) for one in (NativeEngine(), TorchEngine())]
            rates: list[list[float]] = [[], []]
            for job in jobs:
                job()  # compiles
            for _ in range(ROUNDS):
                for job, found in zip(jobs, rates, strict=True):
                    done, start = 0, time.perf_counter()
                    while time.perf_counter() - start < SECONDS:
                        done += job()
                    found.append(done / (time.perf_counter() - start))
            native, stacks = map(np.median, rates)
            print(
                f"{name:<26}{architecture.size:>12,}{batch:>7}{native:>12,.0f}{stacks:>12,.0f}{native / stacks:>8.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
