import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmark.split import split_zoo
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo


def test_build_info_and_verify_agree(gengap, tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    build = ("zoo", "build", "digits", "--out", out, "--models", 4, "--epochs", 1, "--workers", 1)
    code, text, bar = gengap(*build, "--json")
    assert code == 0
    assert "4/4 models" in bar
    assert "model-epochs/s" in bar.replace(" model-epochs", "model-epochs")
    built = json.loads(text)
    assert built["models"] == 4
    assert json.loads(gengap("zoo", "info", out, "--json")[1]) == built
    assert "4 in 1 configuration: 4 ok" in gengap("zoo", "info", out)[1]
    assert gengap("zoo", "verify", out)[:2] == (0, f"{out}: no problems found\n")
    again = gengap(*build)
    assert again[0] == 0
    assert "nothing to do" in again[2]
    part = next((out / "weights").iterdir())
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    code, text, err = gengap("zoo", "verify", out)
    assert (code, text) == (2, "weights/part-00000.safetensors: altered, its sha256 is not the manifest's\n")
    assert "1 problem; rerun `gengap zoo build` to rebuild damaged parts" in err


def test_a_zoo_without_a_run_that_converged_has_no_accuracies(gengap, tmp_path: Path) -> None:
    recipe = tmp_path / "hopeless.toml"
    text = (Path(__file__).parents[3] / "zoo_builder" / "recipes" / "digits.toml").read_text()
    recipe.write_text(text + "\n[stop]\ncross_entropy = 1e-9\n")
    build = ("zoo", "build", recipe, "--out", tmp_path / "zoo", "--models", 4, "--epochs", 1, "--workers", 1)
    assert gengap(*build)[0] == 0
    code, text, _ = gengap("zoo", "info", tmp_path / "zoo")
    assert code == 0
    assert "4 in 1 configuration: 4 not-converged" in text
    assert text.endswith("no accuracies: no run has the status ok\n")
    assert json.loads(gengap("zoo", "info", tmp_path / "zoo", "--json")[1])["quantiles"] == {}


def test_a_ray_build_takes_no_number_of_workers(gengap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_builder.building.ray_runner.ANSWER_SECONDS", 1)
    build = ("zoo", "build", "digits", "--out", tmp_path / "zoo", "--runner", "ray", "--address", "127.0.0.1:1")
    code, _, error = gengap(*build)
    assert code == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in error
    code, _, error = gengap(*build, "--workers", 2)
    assert code == 2
    assert "--workers needs --runner local" in error


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen]:
    """The command in a process that has begun to draw its bar; killed at the end if it still runs."""
    command = [sys.executable, "-m", "benchmark.commands.main", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stderr is not None
            while "0/" not in process.stderr.readline():
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def test_ctrl_c_ends_the_line_of_the_bar(tmp_path: Path, recipe_of_digits) -> None:
    recipe = recipe_of_digits(tmp_path / "long.toml", 64, epochs=100_000)
    with started("zoo", "build", recipe, "--out", tmp_path / "zoo", "--workers", 2) as process:
        os.killpg(process.pid, signal.SIGINT)  # a terminal signals the workers, too
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        "gengap: interrupted; finished parts and records are kept: rerun the command to continue"
    )
    assert "Traceback" not in err


def test_a_recipe_that_cannot_be_built_is_one_clear_error(refused, tmp_path: Path, recipe_of_digits) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('name = "mine"\nepoch = 3\n')
    error = refused("zoo", "build", recipe, "--out", tmp_path / "zoo")
    assert "unknown key 'epoch' in the recipe (did you mean 'epochs'?)" in error
    large = recipe_of_digits(tmp_path / "large.toml", 10_001)
    error = refused("zoo", "build", large, "--out", tmp_path / "zoo")
    assert (
        "large has 10,001 models, about 456.4 MiB on disk, and more than 10,000 need a confirmation: `gengap" in error
    )
    assert not (tmp_path / "zoo").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--models", 0), "recipe digits with --models 0: models is 0: it must be a whole number in 1 .. 10,000,000"),
        (("--models", 999), "recipe digits with --models 999: models is 999, but there are 64 grid cells x 4 seeds"),
        (("--epochs", -1), "recipe digits with --epochs -1: epochs is -1: it must be a whole number >= 1"),
        (("--seed", -1, "--models", 4), "recipe digits with --models 4 and --seed -1: seed is -1: it must be"),
    ],
)
def test_a_number_that_a_recipe_cannot_have_names_its_flag(refused, tmp_path: Path, flags, words: str) -> None:
    assert words in refused("zoo", "build", "digits", "--out", tmp_path / "zoo", *flags)


def test_a_file_in_a_folders_place_is_one_clear_error(gengap, refused, tmp_path: Path) -> None:
    """Also where it is met only after the bar has begun."""
    build = ("zoo", "build", "digits", "--models", 2, "--epochs", 1, "--workers", 1, "--out")
    (tmp_path / "manifest" / "zoo.json").mkdir(parents=True)
    for arguments in (("zoo", "info"), ("zoo", "verify"), build):
        error = refused(*arguments, tmp_path / "manifest")
        assert "zoo.json cannot be read (Is a directory): choose another folder" in error
    assert "test_zoo.py/zoo.json cannot be read (Not a directory)" in refused("zoo", "info", __file__)
    root = tmp_path / "zoo"
    for name, words in (
        ("parts", "parts/part-00000.json cannot be used: Not a directory"),
        ("weights", "weights cannot"),
    ):
        root.mkdir(exist_ok=True)
        (root / name).write_text("a file")
        code, out, err = gengap(*build, root)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"gengap: error: {root}/{words}")
        (root / name).unlink()
        (root / "parts").mkdir(exist_ok=True)
    assert gengap(*build, root)[0] == 0
    assert "File name too long" in refused(*build, tmp_path / ("a" * 300))


def test_a_plan_estimates_a_recipe(gengap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_builder.building.estimate.CALIBRATION_SECONDS", 0)
    code, text, _ = gengap("zoo", "plan", "digits", "--models", 64, "--epochs", 5, "--workers", 2)
    assert code == 0
    for words in (
        r"models +64 in 16 configurations",
        r"  train_fraction +0\.1, 0\.25, 0\.5, 1\.0",
        r"epochs +5; checkpoints at 0, 1, 2, 5",
        r"architectures +1",
        r"parameters +4,970 to 4,970 per model, median 4,970",
        r"on disk +5\.\d MiB",
        r"time +[\d.]+ (seconds|minutes) with 2 workers of this machine",
    ):
        assert re.search(words, text), words
    made = json.loads(gengap("zoo", "plan", "digits", "--models", 64, "--json")[1])
    assert made["needs"]["parameters"] == [4970, 4970, 4970]


def test_splits_that_are_too_small_are_told_by_a_plan_and_a_build(
    gengap, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr("zoo_builder.building.estimate.CALIBRATION_SECONDS", 0)
    code, text, err = gengap("zoo", "plan", "digits", "--models", 8, "--epochs", 1)
    assert (code, "warning: too few models for tasks that fit methods: " in err) == (0, True)
    made = json.loads(gengap("zoo", "plan", "digits", "--models", 8, "--epochs", 1, "--json")[1])["splits"]
    assert sum(made.values()) == 8
    assert re.search(rf"splits +{made['train']} train, {made['validation']} validation, {made['test']} test", text)
    out = tmp_path / "zoo"
    code, _, err = gengap("zoo", "build", "digits", "--models", 8, "--epochs", 1, "--workers", 1, "--out", out)
    assert (code, err.count("warning: too few models for tasks")) == (0, 1)
    said = json.loads(gengap("zoo", "plan", "digits", "--json")[1])["splits"]
    assert min(said.values()) >= 3
    with pytest.raises(InputError, match=f"has {made['train']} training, {made['validation']} validation and"):
        split_zoo(Zoo.open(out))


def test_a_plan_without_the_data_has_the_models_alone(gengap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")  # nothing is downloaded
    code, text, _ = gengap("zoo", "plan", "mnist-gs")
    assert code == 0
    assert "3,000 in 3,000 configurations" in text
    assert "need the data, which is not available: mnist could not be downloaded" in text


def test_a_plan_with_too_little_memory_has_no_time(gengap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_builder.building.memory.available", lambda: 2**20)
    code, text, warning = gengap("zoo", "plan", "digits")
    assert code == 0
    assert "memory            at least 14.6 MiB for each worker, plus the images" in text
    assert "time              unknown: this machine has too little memory for a trial" in text
    assert warning.startswith("warning: recipe digits: ")


def test_a_gpu_that_is_not_there(refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    error = refused("zoo", "build", "digits", "--out", tmp_path / "zoo", "--device", "cuda")
    assert "torch finds no CUDA device on this machine" in error
    assert not (tmp_path / "zoo").exists()
