"""Builds that were killed, damaged or altered end byte-identical; other folders are refused."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from zoo_builder.building.build import build
from zoo_builder.building.verify import faults
from zoo_builder.engines import choice
from zoo_builder.errors import InputError
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe, load_recipe
from zoo_builder.store.format import read_manifest, write_manifest
from zoo_builder.store.zoo import Zoo


@pytest.mark.parametrize(
    ("kills", "engine", "epochs"),
    [
        pytest.param(3, "native", 100, marks=pytest.mark.system),
        pytest.param(50, "native", 400, marks=pytest.mark.slow),
        pytest.param(10, "torch", 40, marks=pytest.mark.slow),
    ],
)
def test_builds_killed_at_random_moments_end_byte_identical(
    tmp_path: Path,
    small_parts: None,
    kills: int,
    engine: str,
    epochs: int,
    builder,
    files_of,
    tiny,
    wait_for,
    workers_of,
) -> None:
    """The whole process group is killed, or only the parent, or one worker; the next build starts immediately."""
    models = 32
    started = time.perf_counter()
    expected = files_of(build(tiny(models, epochs), tmp_path / "uninterrupted", device="cpu", engine=engine).root)
    longest = (time.perf_counter() - started) / 2
    random = np.random.default_rng(kills)
    done, zoos = 0, 0
    while done < kills or not is_complete(tmp_path / str(zoos)):
        if is_complete(tmp_path / str(zoos)):
            zoos += 1
        root = tmp_path / str(zoos)
        finished = {path: path.stat().st_mtime_ns for path in (root / "parts").glob("*.json")}
        victim = random.choice(["group", "parent", "worker"]) if done < kills else "nobody"
        workers = 2 if victim == "worker" or done % 2 else 1
        with builder(tiny(models, epochs), root, workers=workers, engine=engine) as process:
            wait_for("start", process)
            try:
                process.wait(random.uniform(0, longest) if done < kills else 120)
            except subprocess.TimeoutExpired:
                done += 1
                if victim == "group":
                    os.killpg(process.pid, signal.SIGKILL)
                elif victim == "worker" and (workers := workers_of(process)):
                    os.kill(int(random.choice(workers)), signal.SIGKILL)
                else:
                    process.kill()
            _, error = process.communicate(timeout=60)
        assert process.returncode in (0, -signal.SIGKILL) or "a worker process was killed" in error, error
        kept = {path: path.stat().st_mtime_ns for path in finished}
        assert kept == finished, "finished parts were trained again"
        if is_complete(root):
            assert files_of(root) == expected
            assert list(faults(root)) == []
            held = Zoo.open(root).table.query("epoch == 0")["model_id"]
            assert held.tolist() == grid.runs(tiny(models, epochs))["model_id"].tolist()
        else:
            with pytest.raises(InputError, match=r"finished \(\d of 8 parts\): run the same `gengap zoo build`"):
                Zoo.open(root)


def is_complete(root: Path) -> bool:
    return (root / "zoo.json").exists() and read_manifest(root)["complete"]


def test_an_altered_or_missing_part_is_named_refused_and_rebuilt(
    zoo: Zoo, small_parts: None, copied, files_of, tiny
) -> None:
    altered = copied / "weights" / "part-00001.safetensors"
    content = bytearray(altered.read_bytes())
    content[-5] ^= 1
    altered.write_bytes(content)
    (copied / "outputs" / "digits" / "part-00002.safetensors").unlink()
    assert list(faults(copied)) == [
        "weights/part-00001.safetensors: altered, its sha256 is not the manifest's",
        "outputs/digits/part-00002.safetensors: missing",
    ]
    with pytest.raises(InputError, match=r"outputs/digits/part-00002.safetensors is missing; run the same `gengap zoo"):
        Zoo.open(copied)
    shutil.copy(zoo.root / "outputs" / "digits" / "part-00002.safetensors", copied / "outputs" / "digits")
    broken = Zoo.open(copied)
    broken.weights(broken.table.index[:4])
    with pytest.raises(InputError, match=r"weights/part-00001.safetensors has been altered: its sha256"):
        broken.weights(broken.table.index[8:10])
    (copied / "checkpoints" / "part-00000.parquet").write_bytes(b"short")
    with pytest.raises(InputError, match=r"part-00000.parquet has 5 bytes, the manifest"):
        Zoo.open(copied)
    build(tiny(), copied, device="cpu")
    assert files_of(copied) == files_of(zoo.root)
    assert list(faults(copied)) == []


def test_folders_that_hold_something_else_are_refused(zoo: Zoo, tmp_path: Path, tiny) -> None:
    with pytest.raises(InputError, match=r"holds the zoo of another recipe: its epochs is 2, this recipe's is 3"):
        build(tiny(epochs=3), zoo.root, device="cpu")
    with pytest.raises(InputError, match=r"another recipe: its name is 'tiny', this recipe's is 'digits'"):
        build(load_recipe("digits"), zoo.root, device="cpu")
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"is not empty and not a zoo \(it holds thesis.tex\): choose another `out`"):
        build(tiny(), tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match=r"is not a zoo: it has no zoo\.json"):
        Zoo.open(tmp_path)
    file = tmp_path / "thesis.tex"
    with pytest.raises(InputError, match=r"thesis.tex is a file: choose a folder for `out`"):
        build(tiny(), file, device="cpu")
    with pytest.raises(InputError, match=r"cannot write to .*thesis.tex/zoo \(Not a directory\): choose another `out`"):
        build(tiny(), file / "zoo", device="cpu")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "zoo.json").write_text("{")
    with pytest.raises(
        InputError, match=r"zoo.json is damaged .*: run the same `gengap zoo build` again, finished parts are kept"
    ):
        Zoo.open(tmp_path / "damaged")
    (tmp_path / "damaged" / "zoo.json").write_text('{"elephants": 2}')
    with pytest.raises(InputError, match=r"zoo.json is not the manifest of a zoo: choose another folder"):
        build(tiny(), tmp_path / "damaged", device="cpu")
    assert (tmp_path / "damaged" / "zoo.json").read_text() == '{"elephants": 2}'


def test_a_stopping_rule_in_one_recipe_only_is_another_recipe(zoo: Zoo, copied: Path, files_of, tiny) -> None:
    stopping = Recipe.from_json(tiny().to_json() | {"stop": {"cross_entropy": 0.5}})
    with pytest.raises(InputError, match=r"its stop is None, this recipe's is {'cross_entropy': 0.5}"):
        build(stopping, copied, device="cpu")
    manifest = read_manifest(copied)
    manifest["recipe"] = stopping.to_json()
    write_manifest(copied, manifest)
    with pytest.raises(InputError, match=r"its stop is {'cross_entropy': 0.5}, this recipe's is None"):
        build(tiny(), copied, device="cpu")
    assert files_of(copied) == files_of(zoo.root)


def test_an_imported_zoo_is_not_extended(imported: Path, tiny) -> None:
    with pytest.raises(InputError, match="holds an imported zoo, which cannot be extended: choose another `out`"):
        build(tiny(), imported, device="cpu")


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """Changes one bit."""
    position = len(content) * 2 // 3
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda content: b""])
@pytest.mark.parametrize(
    "name",
    [
        "checkpoints/part-00001.parquet",
        "weights/part-00001.safetensors",
        "outputs/digits/part-00001.safetensors",
        "parts/part-00001.json",
    ],
)
def test_only_a_damaged_part_is_rebuilt(
    zoo: Zoo, small_parts: None, name: str, damage, copied, files_of, rebuilt
) -> None:
    (copied / name).write_bytes(damage((copied / name).read_bytes()))
    assert rebuilt(copied)[0] == 4
    assert files_of(copied) == files_of(zoo.root)


def test_temporary_files_of_a_killed_writer_go(zoo: Zoo, small_parts: None, copied, files_of, rebuilt) -> None:
    part = copied / "weights" / "part-00001.safetensors"
    part.rename(part.with_name(".part-00001.safetensors.0badcafe.tmp"))
    (copied / ".zoo.json.0badcafe.tmp").write_text("{")
    assert rebuilt(copied)[0] == 4
    assert files_of(copied) == files_of(zoo.root)


@pytest.mark.parametrize("damage", [cut, lambda content: b"", lambda content: b"\xff" * len(content)])
def test_a_damaged_manifest_costs_no_part(zoo: Zoo, small_parts: None, damage, copied, files_of, rebuilt) -> None:
    (copied / "zoo.json").write_bytes(damage((copied / "zoo.json").read_bytes()))
    trained, notes = rebuilt(copied)
    assert trained == 0
    assert "zoo.json is damaged: rebuilding it from the finished parts" in notes
    assert files_of(copied) == files_of(zoo.root)
    assert list(faults(copied)) == []


def test_a_resumed_build_uses_the_engines_it_began_with(
    tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch, files_of, tiny
) -> None:
    """The whole recipe determines the engines, even if compiling does not pay off for the rest of it."""
    recipe = tiny()
    work = 3 * grid.architecture_of(recipe.family, grid.runs(recipe).iloc[0], (1, 8, 8), 10).multiplications
    monkeypatch.setattr(choice, "WORTH_COMPILING", work * 2 * 1437 * 0.05 * 4)
    whole = build(recipe, tmp_path / "whole", device="cpu")
    expected = files_of(whole.root)
    assert all(part.engines[0].startswith("native") for part in whole.parts)
    (whole.root / "weights" / "part-00002.safetensors").unlink()
    assert files_of(build(recipe, whole.root, device="cpu").root) == expected


@pytest.mark.parametrize("flip", ["complete", "fingerprint", "sha256", "train_images"])
def test_a_manifest_that_was_altered_costs_no_part(
    zoo: Zoo, small_parts: None, flip: str, copied, files_of, tiny
) -> None:
    text = (copied / "zoo.json").read_text()
    (copied / "zoo.json").write_text(text.replace(f'"{flip}"', f'"{flip[:-1]}X"', 1))
    with pytest.raises(InputError, match="has been altered: run the same `gengap zoo build` again"):
        Zoo.open(copied)
    build(tiny(), copied, device="cpu")
    assert files_of(copied) == files_of(zoo.root)


def test_a_lost_manifest_costs_no_part(zoo: Zoo, small_parts: None, copied, rebuilt, tiny) -> None:
    """Not even if the zoo has grown, so that its parts differ from those of a new one."""
    build(tiny(16), copied, device="cpu")
    (copied / "zoo.json").unlink()
    with pytest.raises(InputError, match="has 16 models: ask for at least as many"):
        build(tiny(10), copied, device="cpu")
    with pytest.raises(InputError, match="holds parts of another recipe or other data: choose another `out`"):
        build(tiny(16, epochs=3), copied, device="cpu")
    assert rebuilt(copied, tiny(16))[0] == 0
    assert [part.runs for part in Zoo.open(copied).parts] == [4, 4, 2, 4, 2]


def test_files_of_another_schema_are_refused_and_stay(zoo: Zoo, small_parts: None, copied, tiny) -> None:
    for path in (copied / "parts" / "part-00002.json", copied / "zoo.json"):
        written = path.read_text()
        path.write_text(json.dumps(json.loads(written) | {"schema": 99}))
        before = {file: file.read_bytes() for file in copied.rglob("*") if file.is_file() and file.name != ".lock"}
        with pytest.raises(
            InputError, match=rf"{path.name} has schema 99, this gengap reads and writes schema \d: use the version"
        ):
            build(tiny(16), copied, device="cpu")
        assert {file: file.read_bytes() for file in before} == before
        path.write_text(written)


def test_other_data_under_the_same_name_is_refused(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied, tiny
) -> None:
    data = zoo.data()
    data.train_images[0, 0, 0, 0] ^= 255
    other = type(data)(**{name: getattr(data, name) for name in data.__dataclass_fields__})
    monkeypatch.setattr("zoo_builder.store.zoo.load", lambda *arguments: other)
    with pytest.raises(
        InputError, match=r"is not the one the zoo .* was trained on \(fingerprint .*pass its folder as `data_root`"
    ):
        Zoo.open(copied).data()
    monkeypatch.setattr("zoo_builder.problems.classification.load", lambda *arguments: other)
    with pytest.raises(InputError, match=r"was begun on other data named 'digits'"):
        build(tiny(16), copied, device="cpu")
