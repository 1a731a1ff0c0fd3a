"""Builds in processes of their own, to be killed, and a small disk."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from zoo_builder.recipes.recipe import Recipe

SCRIPT = """
import json, sys
from zoo_builder.building.build import Progress, build
from zoo_builder.building.resume import PART_RUNS
from zoo_builder.building.ray_runner import Ray
from zoo_builder.building.runner import Local
from zoo_builder.recipes.recipe import Recipe
PART_RUNS["cpu"] = 4
if __name__ == "__main__":
    progress = Progress(
        start=lambda models, epochs: print("start", flush=True),
        advance=lambda n: print("epoch", n, flush=True),
        commit=lambda n: print("part", flush=True),
    )
    recipe, out, workers, engine, address = json.loads(sys.argv[1])
    runner = Ray(address) if address else Local(workers)
    build(Recipe.from_json(recipe), out, device="cpu", engine=engine, runner=runner, progress=progress)
"""


@pytest.fixture
def builder() -> Callable[..., AbstractContextManager[subprocess.Popen]]:
    """A build that leads a process group and prints "start", "epoch" and "part"; killed in the end."""

    @contextmanager
    def run(
        recipe: Recipe, root: Path, workers: int = 1, engine: str = "torch", address: str = ""
    ) -> Iterator[subprocess.Popen]:
        script = root.with_name(f"build_{root.name}.py")
        script.write_text(SCRIPT)
        arguments = json.dumps([recipe.to_json(), root.name, workers, engine, address])
        with subprocess.Popen(
            [sys.executable, str(script), arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root.parent,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    return run


@pytest.fixture
def wait_for() -> Callable[[str, subprocess.Popen], None]:
    """Waits until a build prints a word."""

    def wait(word: str, process: subprocess.Popen) -> None:
        assert process.stdout is not None
        if not any(word in line for line in process.stdout):
            raise AssertionError(f"the build ended before it printed {word!r}")

    return wait


@pytest.fixture
def workers_of() -> Callable[[subprocess.Popen], list[int]]:
    """The process ids of a build's workers."""

    def find(process: subprocess.Popen) -> list[int]:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]

    return find
