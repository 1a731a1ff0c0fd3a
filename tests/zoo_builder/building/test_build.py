"""Real zoos of digits: contents, growth, and folders that cannot hold one."""

import importlib.util
import platform
import subprocess
from pathlib import Path

import pytest
import torch

from zoo_builder.building import memory
from zoo_builder.building.build import build
from zoo_builder.engines.native.compiler import CompilerError
from zoo_builder.errors import InputError
from zoo_builder.recipes.recipe import Recipe, load_recipe
from zoo_builder.store.format import read_manifest
from zoo_builder.store.zoo import Zoo

# Of the same zoo, built by gengap 0.1.0 at commit e59388e.
GOLDEN_MODELS = (
    *("42ac29e68da2e3fa", "6a9072c41797837d", "f683cfbf460c18d9", "661254473c0b8163"),
    *("781c45a853302a66", "e5ed2a9e964fd967", "008e563fc33254c6", "d7a416bedbb294e4"),
)
GOLDEN_WEIGHTS = {"native (AVX512)": "5e1e16d90e06cda36ba3c743f29eed6ea2d5baa59668a72653472f75c7cd6fed"}


def test_ids_and_bytes_of_a_zoo_never_change(tmp_path: Path) -> None:
    recipe = load_recipe("digits").cut(models=8, epochs=2)
    assert recipe.digest == "c501078828693c50486f6b5db9ff6805b3884de825de4ac647fb658e4b15468d"
    try:
        zoo = build(recipe, tmp_path / "zoo", device="cpu", engine="native")
    except CompilerError as error:
        zoo = build(recipe, tmp_path / "zoo", device="cpu", engine="torch")
        reason = str(error)
    else:
        reason = f"no golden weights for {zoo.parts[0].engines[0]}"
    assert zoo.parts[0].population == "4bcc3a4f650ce09c1f00a95cd9b341619a9ab6faba105ad40d6a92e7ae35cf60"
    assert tuple(zoo.final["model_id"]) == GOLDEN_MODELS
    if zoo.parts[0].engines[0] not in GOLDEN_WEIGHTS:
        pytest.skip(reason)
    assert zoo.weights_hash == GOLDEN_WEIGHTS[zoo.parts[0].engines[0]]


def test_the_manifest_describes_recipe_data_and_parts(zoo: Zoo, tiny) -> None:
    manifest = read_manifest(zoo.root)
    assert manifest["recipe"] == tiny().to_json()
    assert Recipe.from_json(manifest["recipe"]) == tiny()
    assert manifest["data"]["fingerprint"] == zoo.data().fingerprint
    assert manifest["data"]["duplicates"] == 0
    assert [part["runs"] for part in manifest["parts"]] == [4, 4, 2]
    card = (zoo.root / "README.md").read_text()
    assert card.startswith("---\n")
    assert "10 networks" in card


def test_a_zoo_of_shrunk_images_reads_them_shrunk(tmp_path: Path, tiny) -> None:
    value = tiny(2, 1).to_json()
    value["data"]["size"], value["fixed"]["padding"] = 4, 1
    shrunk = build(Recipe.from_json(value), tmp_path / "zoo")
    assert shrunk.manifest["data"]["size"] == 4
    assert shrunk.data().train_images.shape[1:] == (1, 4, 4)
    assert {architecture.input_shape for architecture in shrunk.architectures.values()} == {(1, 4, 4)}
    assert "(grey, shrunk to 4 x 4 pixels," in (shrunk.root / "README.md").read_text()
    value["data"]["size"] = 9
    with pytest.raises(InputError, match="`size` is 9, and the images have 8x8 pixels"):
        build(Recipe.from_json(value), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_larger_zoo_keeps_the_first_models(zoo: Zoo, small_parts: None, copied, files_of, tiny) -> None:
    larger = build(tiny(16), copied, device="cpu")
    assert larger.final["model_id"].tolist()[:10] == zoo.final["model_id"].tolist()
    assert len(larger.final) == 16
    before = files_of(zoo.root)
    assert {name: content for name, content in files_of(copied).items() if name in before} == before
    with pytest.raises(InputError, match="has 16 models: ask for at least as many"):
        build(tiny(10), copied, device="cpu")


def test_a_run_is_the_same_whether_trained_longer_or_not(zoo: Zoo, tmp_path: Path, small_parts: None, tiny) -> None:
    shorter = build(tiny(10, epochs=1), tmp_path / "zoo", device="cpu")
    assert shorter.final["model_id"].tolist() == zoo.final["model_id"].tolist()
    for mine, theirs in zip(shorter.weights(shorter.table.index[::2]), zoo.weights(zoo.table.index[::2]), strict=True):
        assert torch.equal(mine.parameters["conv1.weight"], theirs.parameters["conv1.weight"])


def test_a_card_that_is_gone_is_written_again_and_one_that_was_edited_stays(zoo: Zoo, copied, rebuilt) -> None:
    card = copied / "README.md"
    card.unlink()
    assert rebuilt(copied) == (0, f"{copied} is finished already: nothing to do")
    assert card.read_text() == (zoo.root / "README.md").read_text()
    card.write_text("my own words")
    rebuilt(copied)
    assert card.read_text() == "my own words"


def test_two_builders_do_not_share_a_folder(tmp_path: Path, builder, tiny, wait_for) -> None:
    with builder(tiny(16, 5000), tmp_path / "out") as process:
        wait_for("epoch", process)
        holder = rf"building, pid {process.pid} on {platform.node()} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        with pytest.raises(InputError, match=rf"another process holds .*/out \({holder}\): wait for it, or choose"):
            build(tiny(16, 5000), tmp_path / "out", device="cpu")


def test_a_folder_that_cannot_be_written_is_refused(small_disk, tiny) -> None:
    disk = small_disk("1m")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(InputError, match=r"cannot write to .*/zoo \(Read-only file system\): choose another `out`"):
        build(tiny(), disk / "zoo", device="cpu")


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        InputError, match=r"mnist could not be downloaded to .*/cache/gengap/data/mnist \(.*directory.*`data_root`"
    ):
        build(load_recipe("mnist-gs").cut(4, 1), tmp_path / "zoo", device="cpu")


def test_a_refused_build_leaves_an_empty_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1)
    with pytest.raises(InputError, match="choose smaller networks"):
        build(tiny(), tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.slow
def test_memory_is_that_of_a_part_and_one_of_10000_models_is_read_at_once(tmp_path: Path) -> None:
    """A zoo's size costs neither memory in a build nor time for reading one model."""
    path = Path(__file__).parents[2] / "performance" / "bench_store.py"
    spec = importlib.util.spec_from_file_location("bench_store", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    peaks = {models: script.built(models, tmp_path / str(models))[0] for models in script.MODELS}
    # Only the table of runs and the manifest grow: by about 2 KiB for each model.
    assert peaks[1_000] - peaks[100] < 16
    assert peaks[10_000] - peaks[100] < 64
    taken = script.reading(tmp_path / "10000")
    assert taken["Zoo.open"] < 300
    assert max(milliseconds for what, milliseconds in taken.items() if "one model" in what) < 2 * 2


def test_a_name_in_place_of_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"`recipe` is 'digits', expected a Recipe: load_recipe\(name\) makes one"):
        build("digits", tmp_path / "zoo")
    assert not (tmp_path / "zoo").exists()
