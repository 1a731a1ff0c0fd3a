"""Building, resuming, extending, reading and verifying real zoos of digits; processes are killed for real."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo_builder import build as building
from zoo_builder import files
from zoo_builder.build import Progress, build
from zoo_builder.datasets.dataset import scaled
from zoo_builder.errors import InputError
from zoo_builder.recipe import Recipe, load_recipe
from zoo_builder.store import Zoo, read_manifest
from zoo_builder.verify import problems


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_PART_RUNS", {"cpu": 4})


def tiny(models: int = 10, epochs: int = 2) -> Recipe:
    """Ten runs over two architectures and two optimizers."""
    value = load_recipe("digits").to_json()
    value |= {"name": "tiny", "models": models, "seeds": 2, "epochs": epochs, "checkpoints": [0, epochs]}
    for name in ("activation", "optimizer", "learning_rate", "l2", "dropout", "train_fraction"):
        value["fixed"].pop(name, None)
    value["grid"] = {"optimizer": ["sgd", "adam"], "train_fraction": [0.05, 0.1], "activation": ["relu", "tanh"]}
    value["grid"]["learning_rate"] = [0.01, 0.003]
    return Recipe.from_json(value)


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "_PART_RUNS", {"cpu": 4})
        return build(tiny(), tmp_path_factory.mktemp("zoo") / "tiny", device="cpu")


def files_of(root: Path) -> dict[str, bytes]:
    """The tables, weights and outputs of a zoo."""
    folders = ("checkpoints", "weights", "outputs")
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        if path.is_file()
    }


def copy_of(zoo: Zoo, folder: Path) -> Path:
    return shutil.copytree(zoo.root, folder / "copy")


def test_the_table_has_a_row_per_checkpoint_and_the_runs_settings(zoo: Zoo) -> None:
    table = zoo.table
    assert len(table) == 20
    assert table["epoch"].tolist() == [0, 2] * 10
    assert (table["status"] == "ok").all()
    assert zoo.final["model_id"].is_unique
    assert zoo.final["epoch"].eq(2).all()
    assert {"learning_rate", "optimizer", "activation", "train_fraction", "batch_size"} <= set(zoo.hyperparameters)
    assert not {"seed", "epoch", "test_accuracy"} & set(zoo.hyperparameters)
    assert set(table["architecture"]) == set(zoo.architectures)
    assert len(zoo.architectures) == 2


def test_weights_outputs_and_modules_agree_with_the_table(zoo: Zoo) -> None:
    data = zoo.data()
    rows = zoo.final.index[[7, 0, 3, 9]]
    outputs = zoo.outputs(rows)
    for position, row in enumerate(rows):
        module = zoo.module(zoo.table.loc[row, "model_id"])
        with torch.no_grad():
            logits = module(scaled(data.test_images))
        np.testing.assert_allclose(outputs[position], logits.numpy(), rtol=2e-3, atol=2e-3)
        accuracy = (logits.argmax(1) == data.test_labels).double().mean().item()
        assert zoo.table.loc[row, "test_accuracy"] == pytest.approx(accuracy, abs=1.1 / 360)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_weights_come_in_the_order_they_are_asked_for(zoo: Zoo, order: str) -> None:
    rows = np.arange(len(zoo.table))
    rows = {"ascending": rows, "descending": rows[::-1], "shuffled": np.random.default_rng(0).permutation(rows)}[order]
    stacks = zoo.weights(rows)
    assert sorted(np.concatenate([stack.rows for stack in stacks])) == sorted(rows)
    for stack in stacks:
        assert stack.rows.tolist() == [row for row in rows if row in set(stack.rows)]
        assert set(zoo.table.loc[stack.rows, "architecture"]) == {stack.architecture.key}
        for position, row in enumerate(stack.rows[:3]):
            (single,) = zoo.weights([row])
            assert torch.equal(single.parameters["conv2.weight"][0], stack.parameters["conv2.weight"][position])


def test_the_manifest_says_what_the_zoo_is_made_of(zoo: Zoo) -> None:
    manifest = read_manifest(zoo.root)
    assert manifest["recipe"] == tiny().to_json()
    assert Recipe.from_json(manifest["recipe"]) == tiny()
    assert manifest["data"]["fingerprint"] == zoo.data().fingerprint
    assert manifest["data"]["duplicates"] == 0
    assert [part["runs"] for part in manifest["parts"]] == [4, 4, 2]
    card = (zoo.root / "README.md").read_text()
    assert card.startswith("---\n")
    assert "10 networks" in card


def test_workers_change_no_bit(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    assert files_of(build(tiny(), tmp_path / "zoo", device="cpu", workers=2).root) == files_of(zoo.root)


def test_a_larger_zoo_keeps_the_first_models(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    root = copy_of(zoo, tmp_path)
    larger = build(tiny(16), root, device="cpu")
    assert larger.final["model_id"].tolist()[:10] == zoo.final["model_id"].tolist()
    assert len(larger.final) == 16
    before = files_of(zoo.root)
    assert {name: content for name, content in files_of(root).items() if name in before} == before
    with pytest.raises(InputError, match="has 16 models: ask for at least as many"):
        build(tiny(10), root, device="cpu")


def test_a_run_is_the_same_whether_trained_longer_or_not(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    shorter = build(tiny(10, epochs=1), tmp_path / "zoo", device="cpu")
    assert shorter.final["model_id"].tolist() == zoo.final["model_id"].tolist()
    for mine, theirs in zip(shorter.weights(shorter.table.index[::2]), zoo.weights(zoo.table.index[::2]), strict=True):
        assert torch.equal(mine.parameters["conv1.weight"], theirs.parameters["conv1.weight"])


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import test_build
from zoo_builder import build as building
building._PART_RUNS = {"cpu": 4}
if __name__ == "__main__":
    said = building.Progress(advance=lambda n: print("epoch", flush=True), commit=lambda n: print("part", flush=True))
    recipe = test_build.tiny(int(sys.argv[3]), int(sys.argv[4]))
    building.build(recipe, sys.argv[2], device="cpu", workers=int(sys.argv[5]), progress=said)
"""


@contextmanager
def builder(root: Path, *, models: int = 10, epochs: int = 2, workers: int = 1) -> Iterator[subprocess.Popen]:
    """A build in a process of its own, which says "epoch" and "part"; killed at the end if it still runs."""
    script = root.with_suffix(".py")
    script.write_text(SCRIPT)
    arguments = [sys.executable, script, Path(__file__).parent, root, models, epochs, workers]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        list(map(str, arguments)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(word: str, process: subprocess.Popen) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"the build ended before it said {word!r}")


def children(process: subprocess.Popen) -> list[str]:
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


@pytest.mark.parametrize(("workers", "after"), [(1, "part"), (2, "epoch")])
def test_a_killed_build_goes_on_and_ends_byte_identical(
    tmp_path: Path, small_parts: None, workers: int, after: str
) -> None:
    root, epochs = tmp_path / "out", 60
    with builder(root, epochs=epochs, workers=workers) as process:
        wait_for(after, process)
        process.kill()
    assert not read_manifest(root)["complete"]
    with pytest.raises(InputError, match=r"is not finished \(\d of 3 parts\): run the same `gengap zoo build` again"):
        Zoo.open(root)
    finished = {path.name: path.stat().st_mtime_ns for path in (root / "parts").glob("*.json")}
    assert len(finished) < 3
    with builder(root, epochs=epochs, workers=workers) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert files_of(root) == files_of(build(tiny(epochs=epochs), tmp_path / "uninterrupted", device="cpu").root)
    kept = {name: (root / "parts" / name).stat().st_mtime_ns for name in finished}
    assert kept == finished, "finished parts were trained again"


def test_workers_leave_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with builder(tmp_path / "out", models=16, epochs=5000, workers=2) as process:
        wait_for("epoch", process)
        workers = children(process)
        assert len(workers) >= 2
        process.kill()
    deadline = time.monotonic() + 30
    while any(_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.2)


def _alive(process: str) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_worker_is_one_clear_error(tmp_path: Path) -> None:
    with builder(tmp_path / "out", models=16, epochs=5000, workers=2) as process:
        wait_for("epoch", process)
        workers = [child for child in children(process) if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]
        os.kill(int(workers[-1]), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "a worker process was killed (out of memory?); finished parts are kept: run the same command again" in said


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_at_once_and_leaves_no_half_written_file(tmp_path: Path, workers: int) -> None:
    with builder(tmp_path / "out", models=16, epochs=5000, workers=workers) as process:
        wait_for("epoch", process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert not list((tmp_path / "out").rglob("*.tmp"))


def test_an_altered_or_missing_part_is_named_refused_and_rebuilt(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    root = copy_of(zoo, tmp_path)
    altered = root / "weights" / "part-00001.safetensors"
    content = bytearray(altered.read_bytes())
    content[-5] ^= 1
    altered.write_bytes(content)
    (root / "outputs" / "digits" / "part-00002.safetensors").unlink()
    assert list(problems(root)) == [
        "weights/part-00001.safetensors: altered, its sha256 is not the manifest's",
        "outputs/digits/part-00002.safetensors: missing",
    ]
    with pytest.raises(InputError, match=r"outputs/digits/part-00002.safetensors is missing; run the same `gengap zoo"):
        Zoo.open(root)
    shutil.copy(zoo.root / "outputs" / "digits" / "part-00002.safetensors", root / "outputs" / "digits")
    broken = Zoo.open(root)
    broken.weights(broken.table.index[:4])
    with pytest.raises(InputError, match=r"weights/part-00001.safetensors has been altered: its sha256"):
        broken.weights(broken.table.index[8:10])
    (root / "checkpoints" / "part-00000.parquet").write_bytes(b"short")
    with pytest.raises(InputError, match=r"part-00000.parquet has 5 bytes, the manifest says"):
        Zoo.open(root)
    build(tiny(), root, device="cpu")
    assert files_of(root) == files_of(zoo.root)
    assert list(problems(root)) == []


def test_verify_finds_what_checksums_cannot(zoo: Zoo, tmp_path: Path) -> None:
    """Accuracies, outputs and rows that are not those of the weights, under a manifest that was made to match."""
    root = copy_of(zoo, tmp_path)
    table_name, outputs_name = "checkpoints/part-00000.parquet", "outputs/digits/part-00000.safetensors"

    def found() -> list[str]:
        manifest = json.loads((root / "zoo.json").read_text())
        for name in (table_name, outputs_name):
            entry = {"sha256": files.sha256(root / name), "bytes": (root / name).stat().st_size}
            manifest["parts"][0]["files"][name] = entry
        (root / "zoo.json").write_text(json.dumps(manifest))
        return list(problems(root, sample=10))

    outputs = load_file(root / outputs_name)
    save_file(outputs | {"logits": outputs["logits"].flip(0).contiguous()}, root / outputs_name)
    assert found() == [
        f"model {model_id}: its stored outputs are not those of its weights" for model_id in _checked_in_order(zoo, 4)
    ]
    save_file(outputs, root / outputs_name)
    table = pd.read_parquet(root / table_name)
    table["test_accuracy"] = 0.5
    table.to_parquet(root / table_name, index=False)
    assert all("its weights have test accuracy" in line and "the table says 0.5000" in line for line in found())
    assert len(found()) == 4
    table.iloc[:-1].to_parquet(root / table_name, index=False)
    assert found() == ["part-00000: the table has 7 rows of 4 runs, the manifest says otherwise"]


def _checked_in_order(zoo: Zoo, models: int) -> list[str]:
    """The first ``models`` of the zoo, in the order in which verify looks at all of them."""
    chosen = zoo.final.sample(len(zoo.final), random_state=0)
    rows = [row for stack in zoo.weights(chosen.index) for row in stack.rows]
    first = set(zoo.final["model_id"].iloc[:models])
    return [model_id for model_id in zoo.table.loc[rows, "model_id"] if model_id in first]


def test_folders_that_hold_something_else_are_refused(zoo: Zoo, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds the zoo of another recipe: its epochs is 2, this recipe's is 3"):
        build(tiny(epochs=3), zoo.root, device="cpu")
    with pytest.raises(InputError, match=r"another recipe: its name is 'tiny', this recipe's is 'digits'"):
        build(load_recipe("digits"), zoo.root, device="cpu")
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"is not empty and not a zoo \(it holds thesis.tex\): choose another --out"):
        build(tiny(), tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match=r"is not a zoo: it has no zoo\.json"):
        Zoo.open(tmp_path)
    file = tmp_path / "thesis.tex"
    with pytest.raises(InputError, match=r"thesis.tex is a file: choose a folder for --out"):
        build(tiny(), file, device="cpu")
    with pytest.raises(InputError, match=r"cannot write to .*thesis.tex/zoo \(Not a directory\): choose another --out"):
        build(tiny(), file / "zoo", device="cpu")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "zoo.json").write_text("{")
    with pytest.raises(
        InputError, match=r"zoo.json is damaged .*: delete it and run the same `gengap zoo build` again"
    ):
        Zoo.open(tmp_path / "damaged")


def test_a_lost_manifest_costs_no_part(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    root = copy_of(zoo, tmp_path)
    (root / "zoo.json").unlink()
    started = []
    build(tiny(), root, device="cpu", progress=Progress(start=lambda models, epochs: started.append(models)))
    assert started == [0]
    assert files_of(root) == files_of(zoo.root)


def test_other_data_under_the_same_name_is_refused(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copy_of(zoo, tmp_path)
    data = zoo.data()
    data.train_images[0, 0, 0, 0] ^= 255
    other = type(data)(**{name: getattr(data, name) for name in data.__dataclass_fields__})
    monkeypatch.setattr("zoo_builder.store.load", lambda *arguments: other)
    with pytest.raises(
        InputError, match=r"is not the one the zoo .* was trained on \(fingerprint .*pass its folder with --data"
    ):
        Zoo.open(root).data()
    monkeypatch.setattr(building, "load", lambda *arguments: other)
    with pytest.raises(InputError, match=r"was begun on other images of the name 'digits'"):
        build(tiny(16), root, device="cpu")


def test_unknown_models_and_epochs_are_named(zoo: Zoo) -> None:
    with pytest.raises(InputError, match="has no model 'nobody'"):
        zoo.module("nobody")
    with pytest.raises(InputError, match=r"has no checkpoint of epoch 1, only \[0, 2\]"):
        zoo.module(zoo.final["model_id"].iloc[0], epoch=1)


def test_two_builders_do_not_share_a_folder(tmp_path: Path) -> None:
    with builder(tmp_path / "out", models=16, epochs=5000) as process:
        wait_for("epoch", process)
        with pytest.raises(InputError, match=r"another process is building .*: wait for it, or choose another --out"):
            build(tiny(16, 5000), tmp_path / "out", device="cpu")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_is_one_clear_error_and_loses_nothing(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        with pytest.raises(
            InputError, match=r"the disk that holds .* is full; finished parts are kept: free space and run"
        ):
            build(tiny(), disk / "zoo", device="cpu")
        assert not list(disk.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        assert files_of(build(tiny(), disk / "zoo", device="cpu").root) == files_of(zoo.root)
    finally:
        subprocess.run(["umount", disk], check=True)
