"""A plan's figures against the zoo that comes of it."""

import time
from pathlib import Path

import pytest

from zoo_builder import plan as planning
from zoo_builder.build import build
from zoo_builder.errors import InputError
from zoo_builder.plan import plan, refuse_large
from zoo_builder.recipe import Recipe, load_recipe


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_CALIBRATION_SECONDS", 0)


def two_widths() -> Recipe:
    value = load_recipe("digits").cut(models=48, epochs=2).to_json()
    value["fixed"].pop("width")
    return Recipe.from_json(value | {"seeds": 1, "grid": {**value["grid"], "width": [4, 16]}})


def test_bytes_and_parameters_are_those_of_the_zoo(tmp_path: Path, quick: None) -> None:
    needs = plan(two_widths()).needs
    zoo = build(two_widths(), tmp_path / "zoo", device="cpu")
    sizes = sorted(architecture.size for architecture in zoo.architectures.values())
    assert needs.architectures == len(sizes) == 2
    # Half of the 48 models have each width.
    assert needs.parameters == (sizes[0], sum(sizes) // 2, sizes[1])
    assert needs.bytes == pytest.approx(sum(path.stat().st_size for path in zoo.root.rglob("*")), rel=0.02)
    assert needs.seconds > 0


def test_workers_and_models_scale_a_plan(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the first models stand for all."""
    whole = plan(load_recipe("digits").cut(128), workers=2).needs
    monkeypatch.setattr(planning, "LIMIT", 64)
    half = plan(load_recipe("digits").cut(128), workers=2).needs
    assert half.bytes == pytest.approx(whole.bytes, rel=1e-3)
    assert half.parameters == whole.parameters
    refuse_large(load_recipe("digits").cut(64))
    with pytest.raises(InputError, match=r"digits has 65 models, about [\d.]+ MiB on disk, and more than 64 need a"):
        refuse_large(load_recipe("digits").cut(65))


def test_without_data_a_plan_says_what_it_can() -> None:
    made = plan(load_recipe("mnist-gs"), "/nowhere")
    assert (made.models, made.needs) == (3000, None)
    assert made.axes["train_fraction"] == "choice of 0.1, 0.25, 0.5, 1.0"
    assert made.problem == "/nowhere is not a folder: pass the folder in which mnist lies"


@pytest.mark.slow
def test_the_expected_time_is_about_that_of_the_build(tmp_path: Path) -> None:
    recipe = load_recipe("digits").cut(models=128)
    expected = plan(recipe).needs.seconds
    started = time.perf_counter()
    build(recipe, tmp_path / "zoo", device="cpu")
    assert 1 / 2 < (time.perf_counter() - started) / expected < 2
