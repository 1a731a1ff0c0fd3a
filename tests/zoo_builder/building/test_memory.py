"""Builds that need more memory than there is are refused."""

import platform
from pathlib import Path

import pytest
import torch

from zoo_builder.building import memory
from zoo_builder.building.build import build
from zoo_builder.building.population import Population
from zoo_builder.errors import InputError
from zoo_builder.problems.loading import load_problem
from zoo_builder.store.zoo import Zoo


@pytest.mark.parametrize(
    ("family", "settings", "words"),
    [
        ("small-cnn", {"width": 10**6, "padding": 1}, "width = 1000000, .* has 18,000,022,000,010 parameters"),
        ("small-cnn", {"padding": 10**7}, "padding = 10000000, .* has 4,970 parameters, with batch_size = 32: "),
        ("fully-conv", {"width": 10**8, "depth": 1, "norm": "batch", "batch_size": 1437}, "batch_size = 1437: "),
    ],
)
def test_a_build_that_no_memory_holds_is_refused_before_anything_is_written(
    tmp_path: Path, family: str, settings: dict, words: str, of_family
) -> None:
    recipe = of_family(family, **settings)
    needed = (
        r"32 models that are stored together need at least [\d,.]+ TiB of memory, this machine \(.*\) has [\d.]+ .iB"
    )
    with pytest.raises(InputError, match=f"recipe digits: .*{words}.*{needed}; choose smaller networks or batches"):
        build(recipe, tmp_path / "zoo", device="cpu")
    assert not (tmp_path / "zoo").exists()
    # A machine with a GPU holds only the weights in main memory.
    population = Population.of(recipe, load_problem(recipe))
    cpu, cuda = (memory.needed(population, population.runs, torch.device(name)) for name in ("cpu", "cuda"))
    (architecture,) = population.architectures.values()
    assert cuda == 4 * 4 * 6 * 256 * architecture.size < cpu


def test_a_finished_zoo_needs_no_memory(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch, copied, files_of, rebuilt, tiny
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1)
    assert rebuilt(copied) == (0, f"{copied} is finished already: nothing to do")
    with pytest.raises(InputError, match=r"6 models that are stored together need at least .* KiB of memory"):
        build(tiny(16), copied, device="cpu")
    assert files_of(copied) == files_of(zoo.root)


def test_parts_that_are_trained_elsewhere_need_the_memory_there(
    tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch, tiny
) -> None:
    class Cluster:
        """Its first machine is large enough and its second is not."""

        here = False

        def run(self, jobs, payload, progress, gpu):
            for job, there in zip(jobs, (2**30, 1), strict=False):
                monkeypatch.setattr(memory, "available", lambda there=there: there)
                yield job(payload, progress)

    monkeypatch.setattr(memory, "available", lambda: 1)
    with pytest.raises(InputError, match=rf"this machine \({platform.node()}\) has 0.0 KiB; choose smaller networks"):
        build(tiny(), tmp_path / "zoo", device="cpu", runner=Cluster())
    assert [path.name for path in (tmp_path / "zoo" / "weights").iterdir()] == ["part-00000.safetensors"]
