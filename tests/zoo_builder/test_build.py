"""Building, resuming, extending, reading and verifying real zoos of digits; processes are killed for real."""

import json
import os
import platform
import re
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

from zoo_builder import files
from zoo_builder.building import build as building
from zoo_builder.building import memory
from zoo_builder.building.build import Progress, build
from zoo_builder.building.runner import Local
from zoo_builder.datasets.dataset import scaled
from zoo_builder.datasets.loading import load
from zoo_builder.engines import choice
from zoo_builder.errors import InputError
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe, load_recipe
from zoo_builder.store.format import read_manifest, write_manifest
from zoo_builder.store.verify import problems
from zoo_builder.store.zoo import Zoo


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "PART_RUNS", {"cpu": 4})


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
        patch.setattr(building, "PART_RUNS", {"cpu": 4})
        return build(tiny(), tmp_path_factory.mktemp("zoo") / "tiny", device="cpu")


def files_of(root: Path) -> dict[str, bytes]:
    """All files of a zoo by name, with what the tables, weights and outputs hold: the others tell times."""
    return {
        str(path.relative_to(root)): b"" if path.suffix in (".json", ".md") else path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
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
    outputs, correct = zoo.outputs(rows), zoo.correct(rows)
    assert correct.shape == (4, 360)
    for position, row in enumerate(rows):
        module = zoo.module(zoo.table.loc[row, "model_id"])
        with torch.no_grad():
            logits = module(scaled(data.test_images))
        np.testing.assert_allclose(outputs[position], logits.numpy(), rtol=2e-3, atol=2e-3)
        accuracy = (logits.argmax(1) == data.test_labels).double().mean().item()
        assert zoo.table.loc[row, "test_accuracy"] == pytest.approx(accuracy, abs=1.1 / 360)
        assert correct[position].mean() == pytest.approx(accuracy, abs=1.1 / 360)


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


@pytest.mark.parametrize("engine", ["torch", "native"])
def test_workers_change_no_bit(tmp_path: Path, small_parts: None, engine: str) -> None:
    alone, two = (
        build(tiny(), tmp_path / str(workers), device="cpu", engine=engine, runner=Local(workers)) for workers in (1, 2)
    )
    assert files_of(alone.root) == files_of(two.root)
    assert [part["engines"][0].split()[0] for part in alone.manifest["parts"]] == [engine] * 3


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
from zoo_builder.runner import Local
building.PART_RUNS = {"cpu": 4}
if __name__ == "__main__":
    said = building.Progress(
        start=lambda models, epochs: print("start", flush=True),
        advance=lambda n: print("epoch", flush=True),
        commit=lambda n: print("part", flush=True),
    )
    recipe = test_build.tiny(int(sys.argv[3]), int(sys.argv[4]))
    runner = Local(int(sys.argv[5]))
    building.build(recipe, sys.argv[2], device="cpu", engine=sys.argv[6], runner=runner, progress=said)
"""


@contextmanager
def builder(
    root: Path, *, models: int = 10, epochs: int = 2, workers: int = 1, engine: str = "torch"
) -> Iterator[subprocess.Popen]:
    """A build that leads a process group and says "start", "epoch" and "part"; killed at the end if it still runs."""
    script = root.with_suffix(".py")
    script.write_text(SCRIPT)
    arguments = [sys.executable, script, Path(__file__).parent, root, models, epochs, workers, engine]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        list(map(str, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
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


def workers_of(process: subprocess.Popen) -> list[int]:
    return [int(child) for child in children(process) if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


@pytest.mark.parametrize(
    ("kills", "engine", "epochs"),
    [
        (3, "native", 400),
        pytest.param(50, "native", 400, marks=pytest.mark.slow),
        pytest.param(10, "torch", 40, marks=pytest.mark.slow),
    ],
)
def test_builds_killed_at_random_moments_end_byte_identical(
    tmp_path: Path, small_parts: None, kills: int, engine: str, epochs: int
) -> None:
    """The whole process group is killed, or the parent alone, or one worker; the next build starts at once."""
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
        with builder(root, models=models, epochs=epochs, workers=workers, engine=engine) as process:
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
            assert list(problems(root)) == []
            held = Zoo.open(root).table.query("epoch == 0")["model_id"]
            assert held.tolist() == grid.runs(tiny(models, epochs))["model_id"].tolist()
        else:
            with pytest.raises(InputError, match=r"finished \(\d of 8 parts\): run the same `gengap zoo build`"):
                Zoo.open(root)


def is_complete(root: Path) -> bool:
    return (root / "zoo.json").exists() and read_manifest(root)["complete"]


def test_workers_leave_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with builder(tmp_path / "out", models=16, epochs=5000, workers=2) as process:
        wait_for("epoch", process)
        workers = workers_of(process)
        assert len(workers) == 2
        process.kill()
    deadline = time.monotonic() + 30
    while any(_alive(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.2)


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_worker_is_one_clear_error(tmp_path: Path) -> None:
    with builder(tmp_path / "out", models=16, epochs=5000, workers=2) as process:
        wait_for("epoch", process)
        os.kill(workers_of(process)[-1], signal.SIGKILL)
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
        manifest = read_manifest(root)
        for name in (table_name, outputs_name):
            entry = {"sha256": files.sha256(root / name), "bytes": (root / name).stat().st_size}
            manifest["parts"][0]["files"][name] = entry
        write_manifest(root, manifest)
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


def test_verify_finds_models_that_stand_in_two_parts(zoo: Zoo, tmp_path: Path) -> None:
    root = copy_of(zoo, tmp_path)
    manifest = read_manifest(root)
    manifest["parts"][1] = manifest["parts"][0]
    write_manifest(root, manifest)
    assert "4 models stand in more than one part" in list(problems(root))


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
        InputError, match=r"zoo.json is damaged .*: run the same `gengap zoo build` again, finished parts are kept"
    ):
        Zoo.open(tmp_path / "damaged")
    (tmp_path / "damaged" / "zoo.json").write_text('{"elephants": 2}')
    with pytest.raises(InputError, match=r"zoo.json is not the manifest of a zoo: choose another folder"):
        build(tiny(), tmp_path / "damaged", device="cpu")
    assert (tmp_path / "damaged" / "zoo.json").read_text() == '{"elephants": 2}'


def rebuilt(root: Path, recipe: Recipe | None = None) -> tuple[int, str]:
    """How many models a build trained to repair ``root``, and what it said."""
    trained, said = [], []
    progress = Progress(start=lambda models, epochs: trained.append(models), note=said.append)
    build(recipe or tiny(), root, device="cpu", progress=progress)
    return sum(trained), "; ".join(said)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """One bit of it differs."""
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
def test_a_damaged_part_is_rebuilt_alone(zoo: Zoo, tmp_path: Path, small_parts: None, name: str, damage) -> None:
    root = copy_of(zoo, tmp_path)
    (root / name).write_bytes(damage((root / name).read_bytes()))
    assert rebuilt(root)[0] == 4
    assert files_of(root) == files_of(zoo.root)


def test_a_card_that_is_gone_is_written_again_and_one_that_was_edited_stays(zoo: Zoo, tmp_path: Path) -> None:
    root = copy_of(zoo, tmp_path)
    card = root / "README.md"
    card.unlink()
    assert rebuilt(root) == (0, f"{root} is finished already: nothing to do")
    assert card.read_text() == (zoo.root / "README.md").read_text()
    card.write_text("my own words")
    rebuilt(root)
    assert card.read_text() == "my own words"


def test_temporary_files_of_a_killed_writer_go(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    root = copy_of(zoo, tmp_path)
    part = root / "weights" / "part-00001.safetensors"
    part.rename(part.with_name(".part-00001.safetensors.0badcafe.tmp"))
    (root / ".zoo.json.0badcafe.tmp").write_text("{")
    assert rebuilt(root)[0] == 4
    assert files_of(root) == files_of(zoo.root)


@pytest.mark.parametrize("damage", [cut, lambda content: b"", lambda content: b"\xff" * len(content)])
def test_a_damaged_manifest_costs_no_part(zoo: Zoo, tmp_path: Path, small_parts: None, damage) -> None:
    root = copy_of(zoo, tmp_path)
    (root / "zoo.json").write_bytes(damage((root / "zoo.json").read_bytes()))
    trained, said = rebuilt(root)
    assert trained == 0
    assert "zoo.json is damaged: it is made again from the finished parts" in said
    assert files_of(root) == files_of(zoo.root)
    assert list(problems(root)) == []


def test_a_resumed_build_takes_the_engines_it_began_with(
    tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left may be too little to be worth compiling: the whole recipe decides."""
    recipe = tiny()
    work = 3 * grid.architecture_of(recipe.family, grid.runs(recipe).iloc[0], (1, 8, 8), 10).multiplications
    monkeypatch.setattr(choice, "_WORTH_COMPILING", work * 2 * 1437 * 0.05 * 4)
    whole = build(recipe, tmp_path / "whole", device="cpu")
    expected = files_of(whole.root)
    assert all(part["engines"][0].startswith("native") for part in whole.manifest["parts"])
    (whole.root / "weights" / "part-00002.safetensors").unlink()
    assert files_of(build(recipe, whole.root, device="cpu").root) == expected


@pytest.mark.parametrize("flip", ["complete", "fingerprint", "sha256", "train_images"])
def test_a_manifest_that_was_altered_costs_no_part(zoo: Zoo, tmp_path: Path, small_parts: None, flip: str) -> None:
    root = copy_of(zoo, tmp_path)
    text = (root / "zoo.json").read_text()
    (root / "zoo.json").write_text(text.replace(f'"{flip}"', f'"{flip[:-1]}X"', 1))
    with pytest.raises(InputError, match="has been altered: run the same `gengap zoo build` again"):
        Zoo.open(root)
    build(tiny(), root, device="cpu")
    assert files_of(root) == files_of(zoo.root)


def test_a_lost_manifest_costs_no_part(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    """Nor does it where the zoo has grown, so that its parts are not cut as those of a new one."""
    root = copy_of(zoo, tmp_path)
    build(tiny(16), root, device="cpu")
    (root / "zoo.json").unlink()
    with pytest.raises(InputError, match="has 16 models: ask for at least as many"):
        build(tiny(10), root, device="cpu")
    with pytest.raises(InputError, match="holds parts of another recipe or other data: choose another --out"):
        build(tiny(16, epochs=3), root, device="cpu")
    assert rebuilt(root, tiny(16))[0] == 0
    assert [part["runs"] for part in Zoo.open(root).manifest["parts"]] == [4, 4, 2, 4, 2]


def test_what_another_schema_wrote_is_refused_and_stays(zoo: Zoo, tmp_path: Path, small_parts: None) -> None:
    root = copy_of(zoo, tmp_path)
    for path in (root / "parts" / "part-00002.json", root / "zoo.json"):
        written = path.read_text()
        path.write_text(json.dumps(json.loads(written) | {"schema": 99}))
        before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file() and file.name != ".lock"}
        with pytest.raises(
            InputError, match=rf"{path.name} has schema 99, this gengap reads and writes schema \d: use the version"
        ):
            build(tiny(16), root, device="cpu")
        assert {file: file.read_bytes() for file in before} == before
        path.write_text(written)


def test_other_data_under_the_same_name_is_refused(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = copy_of(zoo, tmp_path)
    data = zoo.data()
    data.train_images[0, 0, 0, 0] ^= 255
    other = type(data)(**{name: getattr(data, name) for name in data.__dataclass_fields__})
    monkeypatch.setattr("zoo_builder.store.zoo.load", lambda *arguments: other)
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
        holder = rf"building, pid {process.pid} on {platform.node()} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
        with pytest.raises(InputError, match=rf"another process holds .*/out \({holder}\): wait for it, or choose"):
            build(tiny(16, 5000), tmp_path / "out", device="cpu")


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_is_one_clear_error_and_loses_nothing(
    zoo: Zoo, tmp_path: Path, small_parts: None, workers: int
) -> None:
    with small_disk(tmp_path / "disk", "300k") as disk:
        root, said = disk / "zoo", []
        with pytest.raises(InputError, match=r"the disk that holds .* is full: ") as refused:
            build(tiny(), root, device="cpu", runner=Local(workers), progress=Progress(note=said.append))
        needed, free = (float(number) for number in re.findall(r"([\d.]+) KiB", str(refused.value).replace(",", "")))
        left = 10 - sum(json.loads(path.read_text())["runs"] for path in (root / "parts").glob("*.json"))
        size = sum(len(content) for name, content in files_of(zoo.root).items())
        assert needed * 1024 == pytest.approx(size * left / 10, rel=0.2)
        assert free < 300
        assert "finished parts are kept: free space and run the same command again" in str(refused.value)
        assert "will be full before the build ends" in said[0]
        assert not list(disk.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        assert rebuilt(root)[0] == left
        assert files_of(root) == files_of(zoo.root)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(InputError, match=r"cannot write to .*/zoo \(Read-only file system\): choose another --out"):
            build(tiny(), disk / "zoo", device="cpu")


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(
        InputError, match=r"mnist could not be downloaded to .*/cache/gengap/data/mnist \(.*directory.*--data"
    ):
        build(load_recipe("mnist-gs").cut(4, 1), tmp_path / "zoo", device="cpu")


def of_family(family: str, **settings: object) -> Recipe:
    """The grid of digits with other networks."""
    fixed = {"optimizer": "adam", "initialization": "he-normal", "batch_size": 32} | settings
    return Recipe.from_json(load_recipe("digits").to_json() | {"architecture": {"family": family}, "fixed": fixed})


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (of_family("small-cnn", width=10**6, padding=1), r"width = 1000000, .* has 18,000,022,000,010 parameters"),
        (
            of_family("small-cnn", padding=10**7),
            r"padding = 10000000, .* has 4,970 parameters and a batch_size of 32: ",
        ),
        (of_family("fully-conv", width=10**8, depth=1, norm="batch", batch_size=1437), r"a batch_size of 1437: "),
    ],
)
def test_what_no_memory_holds_is_refused_before_anything_is_written(tmp_path: Path, recipe: Recipe, words: str) -> None:
    needed = (
        r"32 models that are stored together need at least [\d,.]+ TiB of memory, this machine \(.*\) has [\d.]+ .iB"
    )
    with pytest.raises(InputError, match=f"recipe digits: .*{words}.*{needed}; choose smaller networks or batches"):
        build(recipe, tmp_path / "zoo", device="cpu")
    assert not (tmp_path / "zoo").exists()
    # Nor is a machine with a GPU asked to hold in its own memory what that one computes.
    runs = grid.runs(recipe)
    data = load("digits")
    runs["architecture"], architectures = building.architectures_of(recipe, runs, data)
    cpu, cuda = (memory.needed(recipe, runs, architectures, data, torch.device(name)) for name in ("cpu", "cuda"))
    assert cuda == 4 * 4 * 6 * 256 * architectures[runs["architecture"][0]].size < cpu


def test_a_finished_zoo_needs_no_memory(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1)
    root = copy_of(zoo, tmp_path)
    assert rebuilt(root) == (0, f"{root} is finished already: nothing to do")
    with pytest.raises(InputError, match=r"6 models that are stored together need at least .* KiB of memory"):
        build(tiny(16), root, device="cpu")
    assert files_of(root) == files_of(zoo.root)


def test_parts_that_are_trained_elsewhere_need_the_memory_there(
    tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cluster:
        """Its first machine is large enough and its second is not."""

        here = False

        def run(self, parts, data, progress, gpu):
            for part, there in zip(parts, (2**30, 1), strict=False):
                monkeypatch.setattr(memory, "available", lambda there=there: there)
                yield part(data, progress)

    monkeypatch.setattr(memory, "available", lambda: 1)
    with pytest.raises(InputError, match=rf"this machine \({platform.node()}\) has 0.0 KiB; choose smaller networks"):
        build(tiny(), tmp_path / "zoo", device="cpu", runner=Cluster())
    assert [path.name for path in (tmp_path / "zoo" / "weights").iterdir()] == ["part-00000.safetensors"]


def test_a_gpu_whose_memory_is_short_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    monkeypatch.setattr("zoo_builder.training.loop.train", train)
    with pytest.raises(
        InputError, match=r"the GPU's memory is short for a network of 4,970 parameters in batches of 32"
    ):
        build(tiny(), tmp_path / "zoo", device="cpu")


def test_a_norm_that_would_see_one_value_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """On 8x8 images the third block of a network in network gives 1x1."""
    words = r"a last batch of one image gives norm7 one value per channel, .*: 359 training images are not to be cut"
    with pytest.raises(InputError, match=rf"{words} into batches of 2; choose another batch_size or train_fraction"):
        build(of_family("nin", batch_size=2), tmp_path / "zoo", device="cpu")
    assert not (tmp_path / "zoo").exists()


def test_a_refused_build_leaves_an_empty_folder_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1)
    with pytest.raises(InputError, match="choose smaller networks"):
        build(tiny(), tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_build_needs_a_worker(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--workers is 0: it must be at least 1"):
        build(tiny(), tmp_path / "zoo", device="cpu", runner=Local(0))
