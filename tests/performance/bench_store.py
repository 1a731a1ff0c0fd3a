"""Memory of builds by size of the zoo, and the speed of reading: `python tests/performance/bench_store.py`.

Zoos of 100, 1,000 and 10,000 networks of 30 parameters are built, each in its own process, and the last is read.
"""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo_builder.building.build import build
from zoo_builder.recipes.recipe import Recipe, load_recipe
from zoo_builder.store.zoo import Zoo

MODELS = (100, 1_000, 10_000)
READS = 300


def recipe(models):
    value = load_recipe("digits").to_json()
    value |= {"name": "tiny", "models": models, "seeds": models, "epochs": 1, "checkpoints": [0, 1], "grid": {}}
    value["fixed"] |= {"width": 1, "depth": 1, "learning_rate": 0.01, "l2": 0.0, "dropout": 0.0}
    value["fixed"] |= {"train_fraction": 0.01, "batch_size": 8}
    return Recipe.from_json(value)


def peak_memory():
    """Peak memory of this process in MiB. getrusage would include the process before its exec."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def built(models, folder):
    """Builds a zoo in its own process: (peak memory [MiB], seconds)."""
    command = [sys.executable, __file__, str(models), str(folder)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return tuple(map(float, printed.split()))


def median(work, repeats):
    """The median time of ``work`` in milliseconds."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - started))
    return float(np.median(taken))


def reading(folder):
    """{what: milliseconds}: medians, and the first reading of the table, which includes its checksums."""
    opened = median(lambda: Zoo.open(folder), 5)
    zoo = Zoo.open(folder)
    table = median(lambda: zoo.table, 1)
    random = np.random.default_rng(0)
    ids, rows = zoo.final["model_id"].to_numpy(), zoo.final.index
    one = {
        "weights of one model": lambda: zoo.weights([random.choice(rows)]),
        "one model as a module": lambda: zoo.module(random.choice(ids)),
        "outputs of one model": lambda: zoo.outputs([random.choice(rows)]),
    }
    first = {f"{what}, first from a file": median(work, 20) for what, work in one.items()}
    return {"Zoo.open": opened, "its table": table} | first | {what: median(work, READS) for what, work in one.items()}


def main():
    with tempfile.TemporaryDirectory() as temporary:
        print(f"{'models':>8}{'peak memory [MiB]':>20}{'build [s]':>12}")
        for models in MODELS:
            memory, seconds = built(models, Path(temporary) / str(models))
            print(f"{models:>8,}{memory:>20.0f}{seconds:>12.1f}", flush=True)
        print(f"\nreading {MODELS[-1]:,} models [ms]")
        for what, taken in reading(Path(temporary) / str(MODELS[-1])).items():
            print(f"{what:<45}{taken:>9.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        before = time.perf_counter()
        build(recipe(int(sys.argv[1])), sys.argv[2], device="cpu")
        print(peak_memory(), time.perf_counter() - before)
    else:
        main()
