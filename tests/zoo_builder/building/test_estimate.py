"""An estimate against the zoo that is built."""

import time
from pathlib import Path

import pytest

from zoo_builder.building import estimate as module
from zoo_builder.building import memory
from zoo_builder.building.build import build
from zoo_builder.building.estimate import bytes_on_disk, estimate
from zoo_builder.errors import InputError
from zoo_builder.networks.families import small_cnn
from zoo_builder.problems.classification import Classification
from zoo_builder.problems.interface import Cost
from zoo_builder.recipes.recipe import Recipe, load_recipe


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALIBRATION_SECONDS", 0)


def two_widths() -> Recipe:
    value = load_recipe("digits").cut(models=48, epochs=2).to_json()
    value["fixed"].pop("width")
    return Recipe.from_json(value | {"seeds": 1, "grid": {**value["grid"], "width": [4, 16]}})


def test_bytes_and_parameters_are_those_of_the_zoo(tmp_path: Path, quick: None) -> None:
    needs = estimate(two_widths()).needs
    zoo = build(two_widths(), tmp_path / "zoo", device="cpu")
    sizes = sorted(architecture.size for architecture in zoo.architectures.values())
    assert needs.architectures == len(sizes) == 2
    # Half of the 48 models have each width.
    assert needs.parameters == (sizes[0], sum(sizes) // 2, sizes[1])
    assert needs.bytes == pytest.approx(sum(path.stat().st_size for path in zoo.root.rglob("*")), rel=0.02)
    assert needs.seconds


def test_workers_and_models_scale_an_estimate(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the first models represent all."""
    whole = estimate(load_recipe("digits").cut(128), workers=2).needs
    monkeypatch.setattr(module, "LIMIT", 64)
    half = estimate(load_recipe("digits").cut(128), workers=2).needs
    assert half.bytes == pytest.approx(whole.bytes, rel=1e-3)
    assert half.parameters == whole.parameters
    assert bytes_on_disk(load_recipe("digits").cut(128)) == half.bytes


def test_networks_that_were_not_tried_are_expected_to_take_time_by_their_size(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two widths is tried: 24 models x 2 epochs x 1437 images x the shares 0.1, 0.25, 0.5 and 1."""
    tried = []

    def cost(problem, engine, architecture, runs) -> Cost:
        tried.append(architecture)
        return Cost(model=0, sample=1e-9 * architecture.multiplications, example=0)

    monkeypatch.setattr(Classification, "cost", cost)
    needs = estimate(two_widths()).needs
    assert len(set(tried)) == 1
    images = 2 * 6 * (144 + 359 + 718 + 1437)
    small, large = (small_cnn((1, 8, 8), 10, width=width, padding=1).multiplications for width in (4, 16))
    assert needs.seconds == pytest.approx(1e-9 * images * (small + large))
    assert needs.rate == pytest.approx(2e9 / (small + large))


def test_an_estimate_without_data_has_no_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file, so that nothing is downloaded")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = estimate(load_recipe("mnist-gs"))
    assert (made.models, made.needs) == (3000, None)
    assert made.axes["train_fraction"] == "choice of 0.1, 0.25, 0.5, 1.0"
    assert made.reason.startswith("mnist could not be downloaded")


def test_a_data_root_without_the_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/nowhere is not a folder: pass the folder of mnist"):
        estimate(load_recipe("mnist-gs"), "/nowhere")
    with pytest.raises(InputError, match=r"digits comes with scikit-learn: omit `data_root`"):
        estimate(load_recipe("digits"), tmp_path)


def test_an_estimate_for_a_larger_machine_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lacks only what training here would show."""
    monkeypatch.setattr(memory, "available", lambda: 2**20)
    notes = []
    needs = estimate(load_recipe("digits"), note=notes.append).needs
    # 32 models, 6 checkpoints, 4 copies, 4 bytes, and the activations of one example.
    assert needs.memory == 4 * (32 * 6 * 4 * 4970 + 16 * (4 * 4 + 2 * 2 + 1) + 10)
    assert needs.bytes > 0
    assert (needs.seconds, needs.rate) == (None, None)
    [line] = notes
    assert line.startswith("warning: recipe digits: small-cnn (width = 16, depth = 3, padding = 1, activation = relu)")
    assert "need at least 14.6 MiB of memory, this machine (" in line


def test_images_that_are_too_small_are_no_missing_data(tiny) -> None:
    value = tiny().to_json()
    value["data"]["size"] = 9
    with pytest.raises(InputError, match="`size` is 9, and the images have 8x8 pixels"):
        estimate(Recipe.from_json(value))


def test_an_estimate_prints_remarks_on_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 2**20)  # no calibration
    monkeypatch.setattr(Classification, "remarks", lambda self: ["left out: a file"])
    notes = []
    estimate(load_recipe("digits"), note=notes.append)
    assert notes[0] == "left out: a file"


def test_networks_of_any_size_can_be_estimated() -> None:
    value = load_recipe("digits").to_json()
    value["fixed"]["width"] = 2**62
    needs = estimate(Recipe.from_json(value), note=lambda line: None).needs
    assert needs.parameters[0] > 2**124
    assert needs.bytes > 256 * 6 * 4 * 2**124
    assert needs.memory > 2**124


def test_batches_of_one_image_are_not_calibrated(quick: None) -> None:
    """A tenth of ten images is one, which the norm of a 1x1 image cannot be trained on; a tenth of all is 144."""
    value = load_recipe("digits").to_json() | {"architecture": {"family": "nin"}}
    value["fixed"] = {"optimizer": "adam", "initialization": "he-normal", "batch_size": 10, "learning_rate": 0.01}
    value["grid"] = {"train_fraction": [0.1, 0.5], "width": [4]}
    assert estimate(Recipe.from_json(value | {"models": 8}), engine="torch").needs.seconds


@pytest.mark.slow
def test_the_expected_time_is_about_that_of_the_build(tmp_path: Path) -> None:
    recipe = load_recipe("digits").cut(models=128)
    expected = estimate(recipe).needs.seconds
    started = time.perf_counter()
    build(recipe, tmp_path / "zoo", device="cpu")
    assert expected
    assert 1 / 2 < (time.perf_counter() - started) / expected < 2
