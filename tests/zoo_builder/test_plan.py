"""A plan's figures against the zoo that comes of it."""

import time
from pathlib import Path

import pytest

from zoo_builder.building import estimate as planning
from zoo_builder.building import memory
from zoo_builder.building.build import build
from zoo_builder.building.estimate import plan, refuse_large
from zoo_builder.errors import InputError
from zoo_builder.networks.families import small_cnn
from zoo_builder.recipes.recipe import Recipe, load_recipe


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
    assert needs.seconds


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


def test_networks_that_were_not_tried_are_expected_to_take_time_by_their_size(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two widths is tried: 24 models x 2 epochs x 1437 images x the shares 0.1, 0.25, 0.5 and 1."""
    tried = []

    def cost(engine, architecture, some, data) -> planning._Cost:
        tried.append(architecture)
        return planning._Cost(model=0, sample=1e-9 * architecture.multiplications, image=0)

    monkeypatch.setattr(planning, "_cost", cost)
    needs = plan(two_widths()).needs
    assert len(set(tried)) == 1
    images = 2 * 6 * (144 + 359 + 718 + 1437)
    small, large = (small_cnn((1, 8, 8), 10, width=width, padding=1).multiplications for width in (4, 16))
    assert needs.seconds == pytest.approx(1e-9 * images * (small + large))
    assert needs.rate == pytest.approx(2e9 / (small + large))


def test_large_networks_are_tried_on_few_images(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def train(engine, architecture, runs, data, checkpoints):
        seen.append((runs["batch_size"].iloc[0], len(data.train_labels), len(data.test_labels)))
        return planning_train(engine, architecture, runs, data, checkpoints)

    planning_train = planning.loop.train
    monkeypatch.setattr(planning.loop, "train", train)
    assert plan(load_recipe("digits").cut(64), engine="torch").needs.seconds
    multiplications = small_cnn((1, 8, 8), 10, padding=1).multiplications
    monkeypatch.setattr(planning, "_MULTIPLICATIONS", 5 * multiplications)
    assert plan(load_recipe("digits").cut(64), engine="torch").needs.seconds
    assert set(seen) == {(32, 512, 360), (5, 5, 5)}


def test_without_data_a_plan_says_what_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file, so that nothing is downloaded")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = plan(load_recipe("mnist-gs"))
    assert (made.models, made.needs) == (3000, None)
    assert made.axes["train_fraction"] == "choice of 0.1, 0.25, 0.5, 1.0"
    assert made.problem.startswith("mnist could not be downloaded")


def test_data_that_was_named_and_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/nowhere is not a folder: pass the folder in which mnist lies"):
        plan(load_recipe("mnist-gs"), "/nowhere")
    with pytest.raises(InputError, match=r"digits comes with scikit-learn: leave --data out"):
        plan(load_recipe("digits"), tmp_path)


def test_a_plan_for_a_larger_machine_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is told but what only training here would show."""
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    said = []
    needs = plan(load_recipe("digits"), note=said.append).needs
    # 32 models, 6 checkpoints, 4 copies, 4 bytes, and the activations of one example.
    assert needs.memory == 4 * (32 * 6 * 4 * 4970 + 16 * (4 * 4 + 2 * 2 + 1) + 10)
    assert needs.bytes > 0
    assert (needs.seconds, needs.rate) == (None, None)
    [line] = said
    assert line.startswith("warning: recipe digits: small-cnn (width = 16, depth = 3, padding = 1, activation = relu)")
    assert "need at least 14.6 MiB of memory, this machine (" in line


def test_networks_of_any_size_can_be_planned() -> None:
    value = load_recipe("digits").to_json()
    value["fixed"]["width"] = 2**62
    needs = plan(Recipe.from_json(value), note=lambda line: None).needs
    assert needs.parameters[0] > 2**124
    assert needs.bytes > 256 * 6 * 4 * 2**124
    assert needs.memory > 2**124


def test_batches_of_one_image_that_only_a_calibration_would_have_stop_no_plan(quick: None) -> None:
    """A tenth of ten images is one, which the norm of a 1x1 image cannot be trained on; a tenth of all is 144."""
    value = load_recipe("digits").to_json() | {"architecture": {"family": "nin"}}
    value["fixed"] = {"optimizer": "adam", "initialization": "he-normal", "batch_size": 10, "learning_rate": 0.01}
    value["grid"] = {"train_fraction": [0.1, 0.5], "width": [4]}
    assert plan(Recipe.from_json(value | {"models": 8}), engine="torch").needs.seconds


@pytest.mark.slow
def test_the_expected_time_is_about_that_of_the_build(tmp_path: Path) -> None:
    recipe = load_recipe("digits").cut(models=128)
    expected = plan(recipe).needs.seconds
    started = time.perf_counter()
    build(recipe, tmp_path / "zoo", device="cpu")
    assert expected
    assert 1 / 2 < (time.perf_counter() - started) / expected < 2
