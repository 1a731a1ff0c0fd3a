"""The command line as a user meets it: exit codes, one-line errors, JSON."""

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

import zoo_builder
from benchmark.commands.main import main
from zoo_builder.store.zoo import Zoo


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(list(map(str, arguments)))
    out, err = capsys.readouterr()
    return code, out, err


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one error that a command ends with."""
    code, out, err = said(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("gengap: error: ")
    assert "Traceback" not in err
    return err


def test_help_teaches_and_every_command_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        [],
        ["zoo"],
        ["zoo", "build"],
        ["zoo", "plan"],
        ["zoo", "info"],
        ["zoo", "verify"],
        ["tasks"],
        ["methods"],
        ["measures"],
        ["measure"],
        ["signatures"],
        ["run"],
    ):
        with pytest.raises(SystemExit) as stopped:
            main([*arguments, "--help"])
        assert stopped.value.code == 0
        assert "usage: gengap" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "gengap run all --zoo zoos/digits" in capsys.readouterr().out


def test_build_info_and_verify_agree(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "zoo"
    code, text, bar = said(
        capsys, "zoo", "build", "digits", "--out", out, "--models", 4, "--epochs", 1, "--workers", 1, "--json"
    )
    assert code == 0
    assert "4/4 models" in bar
    assert "model-epochs/s" in bar.replace(" model-epochs", "model-epochs")
    built = json.loads(text)
    assert built["models"] == 4
    assert json.loads(said(capsys, "zoo", "info", out, "--json")[1]) == built
    assert "4 in 1 configurations: 4 ok" in said(capsys, "zoo", "info", out)[1]
    assert said(capsys, "zoo", "verify", out)[:2] == (0, f"{out}: nothing wrong\n")
    again = said(capsys, "zoo", "build", "digits", "--out", out, "--models", 4, "--epochs", 1)
    assert again[0] == 0
    assert "is finished already: nothing to do" in again[2]
    part = next((out / "weights").iterdir())
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    code, text, err = said(capsys, "zoo", "verify", out)
    assert (code, text) == (2, "weights/part-00000.safetensors: altered, its sha256 is not the manifest's\n")
    assert "1 problem; run the same" in err


@contextmanager
def started(*arguments: object) -> Iterator[subprocess.Popen]:
    """The command as a process of its own, which has begun to draw its bar; killed at the end if it still runs."""
    command = [sys.executable, "-m", "benchmark.commands.main", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            assert process.stderr is not None
            while "0/" not in process.stderr.readline():
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def test_ctrl_c_ends_the_line_of_the_bar(tmp_path: Path) -> None:
    recipe = recipe_of_digits(tmp_path / "long.toml", 64, epochs=100_000)
    with started("zoo", "build", recipe, "--out", tmp_path / "zoo", "--workers", 2) as process:
        os.killpg(process.pid, signal.SIGINT)  # a terminal tells the workers, too
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "gengap: interrupted; finished parts and records are kept, the same command goes on"
    assert "Traceback" not in err


def test_wrong_input_is_one_clear_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('name = "mine"\nepoch = 3\n')
    wrong = {
        ("zoo", "build", "digit", "--out", tmp_path / "zoo"): "unknown recipe 'digit' (did you mean 'digits'?)",
        (
            "zoo",
            "build",
            recipe,
            "--out",
            tmp_path / "zoo",
        ): "unknown key 'epoch' in the recipe (did you mean 'epochs'?)",
        (
            "zoo",
            "build",
            "digits",
            "--out",
            tmp_path / "zoo",
            "--models",
            0,
        ): "models is 0: it must be a whole number in 1 .. 10,000,000",
        ("zoo", "build", "mnist-gs", "--out", tmp_path / "zoo", "--data", tmp_path): str(tmp_path),
        (
            "zoo",
            "build",
            recipe_of_digits(tmp_path / "large.toml", 10_001),
            "--out",
            tmp_path / "zoo",
        ): "large has 10,001 models, about 456.4 MiB on disk, and more than 10,000 need a confirmation: `gengap",
        (
            "zoo",
            "build",
            "digits",
            "--out",
            tmp_path / "zoo",
            "--address",
            "a:1",
        ): "--address is for --runner ray: add it, or leave --address out",
        (
            "zoo",
            "build",
            "digits",
            "--out",
            tmp_path / "zoo",
            "--runner",
            "ray",
            "--workers",
            2,
        ): "--workers is for --runner local: a Ray cluster takes as many parts as it has CPUs",
        ("zoo", "info", tmp_path): "is not a zoo: it has no zoo.json",
        ("zoo", "verify", tmp_path / "nowhere"): "is not a zoo",
        ("run", "test-accuracy", "--zoo", tmp_path): "is not a zoo",
        ("measure", tmp_path): "is not a zoo",
        ("signatures", tmp_path): "is not a zoo",
        ("leaderboard", tmp_path / "nowhere"): "there is no results folder",
        ("leaderboard", tmp_path, "--across", "complexity", "--html", tmp_path / "page"): "leave --html and --json out",
        ("score", tmp_path / "no.csv", "--target", "a", "--prediction", "b"): "no.csv",
    }
    for arguments, words in wrong.items():
        assert words in refused(capsys, *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large.toml", "mine.toml"], "nothing was written"


def test_a_file_in_a_folders_place_is_one_clear_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Also where it is met only after the bar has begun."""
    build = ("zoo", "build", "digits", "--models", 2, "--epochs", 1, "--workers", 1, "--out")
    (tmp_path / "manifest" / "zoo.json").mkdir(parents=True)
    for arguments in (("zoo", "info"), ("zoo", "verify"), build):
        error = refused(capsys, *arguments, tmp_path / "manifest")
        assert "zoo.json cannot be read (Is a directory): choose another folder" in error
    assert "test_cli.py/zoo.json cannot be read (Not a directory)" in refused(capsys, "zoo", "info", __file__)
    root = tmp_path / "zoo"
    for name, words in (
        ("parts", "parts/part-00000.json cannot be used: Not a directory"),
        ("weights", "weights cannot"),
    ):
        root.mkdir(exist_ok=True)
        (root / name).write_text("a file")
        code, out, err = said(capsys, *build, root)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"gengap: error: {root}/{words}")
        (root / name).unlink()
        (root / "parts").mkdir(exist_ok=True)
    assert said(capsys, *build, root)[0] == 0
    assert "File name too long" in refused(capsys, *build, tmp_path / ("a" * 300))


def recipe_of_digits(file: Path, seeds: int, epochs: int = 20) -> Path:
    """One configuration with so many seeds."""
    text = (Path(zoo_builder.__file__).parent / "recipes" / "digits.toml").read_text()
    text = re.sub(r"\nseeds = \d+", f"\nseeds = {seeds}", text.replace('"digits"', f'"{file.stem}"', 1))
    text = re.sub(r" = \[(\S+), .*\]", r" = [\1]", text).replace("epochs = 20", f"epochs = {epochs}")
    file.write_text(text.replace("checkpoints = [0]", f"checkpoints = [0, {epochs}]"))
    return file


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "all", "--zoo", "zoo", "--out", "x"], "usage: gengap run [-h] --zoo DIR"),
        (["run", "all", "--zoo", "zoo", "--out", "x"], "gengap run: error: unrecognized arguments: --out x"),
        (
            ["zoo", "build", "digits", "--out", "x", "--worker", "0"],
            "--workers: it is 0, expected a whole number of at",
        ),
        (["zoo", "build", "digits", "--out", "x", "--workers", "two"], "--workers: it is two, expected a whole number"),
        (["zoo", "plan", "digits", "--out", "x"], "usage: gengap zoo plan"),
        (["zoo", "build", "digits", "--out", ""], "--out: it is empty"),
        (["zoo", "build", "digits", "--out", "x", "--runner", "ray", "--address", ""], "--address: it is empty"),
    ],
)
def test_wrong_arguments_show_the_usage_of_their_own_command(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_a_plan_says_what_a_recipe_comes_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo_builder.building.estimate._CALIBRATION_SECONDS", 0)
    code, text, _ = said(capsys, "zoo", "plan", "digits", "--models", 64, "--epochs", 5, "--workers", 2)
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
    made = json.loads(said(capsys, "zoo", "plan", "digits", "--models", 64, "--json")[1])
    assert made["needs"]["parameters"] == [4970, 4970, 4970]
    assert "/nowhere is not a folder" in refused(capsys, "zoo", "plan", "mnist-gs", "--data", "/nowhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")  # nothing is downloaded
    code, text, _ = said(capsys, "zoo", "plan", "mnist-gs")
    assert code == 0
    assert "3,000 in 3,000 configurations" in text
    assert "need the data, which is not at hand: mnist could not be downloaded" in text
    monkeypatch.setattr("zoo_builder.building.memory.available", lambda: 2**20)
    code, text, warning = said(capsys, "zoo", "plan", "digits")
    assert code == 0
    assert "memory            at least 14.6 MiB for each worker, and the images" in text
    assert "time              not known: this machine has too little memory to try" in text
    assert warning.startswith("warning: recipe digits: ")


def test_a_gpu_that_is_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    error = refused(capsys, "zoo", "build", "digits", "--out", tmp_path / "zoo", "--device", "cuda")
    assert "--device cuda: torch finds no CUDA device on this machine" in error
    assert not (tmp_path / "zoo").exists()


def test_run_and_leaderboard(capsys: pytest.CaptureFixture[str], small_zoo: Zoo, tmp_path: Path) -> None:
    results, zoo = tmp_path / "results", small_zoo.root
    code, out, err = said(
        capsys, "run", "generalization-gap", "weight-norm", "random", "--zoo", zoo, "--results", results
    )
    assert code == 0
    assert "weight-norm" in err
    assert "tau" in err
    assert out == f"records are in {results}\n"
    text = said(capsys, "leaderboard", results)[1]
    assert "## small/generalization-gap" in text
    board = tmp_path / "LEADERBOARD.md"
    assert (
        said(capsys, "leaderboard", results, "--markdown", board, "--html", tmp_path / "page.html", "--zoo", zoo)[0]
        == 0
    )
    assert board.read_text() == text
    assert said(capsys, "leaderboard", results, "--check", board)[0] == 0
    board.write_text(text + "edited")
    code, _, err = said(capsys, "leaderboard", results, "--check", board)
    assert code == 1
    assert "is not what the records say: run `gengap leaderboard" in err
    page = (tmp_path / "page.html").read_text()
    assert page.count("plotly.js v") == 1
    records = json.loads(said(capsys, "leaderboard", results, "--json")[1])
    assert {record["method"] for record in records} == {"weight-norm", "random"}


def run_mine(capsys: pytest.CaptureFixture[str], zoo: Zoo, folder: Path, task: str, body: str) -> tuple[int, str]:
    """What comes of a measure ``mine(context)`` in a user's file: the exit code and stderr."""
    (folder / "mine.py").write_text(f"def mine(context):\n    {body}\n")
    code, _, err = said(capsys, "run", task, folder / "mine.py:mine", "--zoo", zoo.root, "--results", folder / "r")
    return code, err


def test_a_method_that_fails_is_an_error_with_its_log(
    capsys: pytest.CaptureFixture[str], small_zoo: Zoo, tmp_path: Path
) -> None:
    code, err = run_mine(capsys, small_zoo, tmp_path, "generalization-gap", "raise RuntimeError('no idea')")
    assert code == 2
    assert "gengap: error: mine failed on small/generalization-gap: the measure failed: RuntimeError: no idea" in err
    assert "raise RuntimeError('no idea')" in err
    assert "mine" in refused(capsys, "run", "test-accuracy", tmp_path / "mine.py:mine", "--zoo", small_zoo.root)


def test_a_method_that_cannot_be_loaded_does_not_keep_others_from_running(
    capsys: pytest.CaptureFixture[str], small_zoo: Zoo, tmp_path: Path
) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import elephants\n")
    arguments = ["run", "generalization-gap", f"{file}:Mine", "weight-norm", "--zoo", small_zoo.root]
    code, out, err = said(capsys, *arguments, "--results", tmp_path / "r", "--json")
    assert code == 2
    assert [record["method"] for record in json.loads(out)] == ["weight-norm"]
    assert err.count("broken.py:Mine cannot be loaded: ModuleNotFoundError: No module named 'elephants'") == 1


def test_two_of_one_name_are_not_one(capsys: pytest.CaptureFixture[str], small_zoo: Zoo, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file.py").write_text("def mine(context):\n    return context.weights.sum(1)\n")
    both = [tmp_path / folder / "file.py:mine" for folder in ("a", "b")]
    code, _, err = said(capsys, "run", "complexity", *both, "--zoo", small_zoo.root, "--results", tmp_path / "r")
    assert code == 2
    assert re.search(r"b/file.py:mine is called 'mine' like .*a/file.py:mine: give it another `name`", err)
    assert "complexity: 1 method\n" in err


def test_on_all_tasks_a_method_enters_those_that_take_it(
    capsys: pytest.CaptureFixture[str], small_zoo: Zoo, tmp_path: Path
) -> None:
    arguments = ["counts", "--zoo", small_zoo.root, "--results", tmp_path / "r"]
    code, _, err = said(capsys, "run", "all", *arguments)
    assert code == 0
    assert "cannot enter" not in err
    assert "test-accuracy" not in err
    assert "cannot enter test-accuracy" in refused(capsys, "run", "test-accuracy", *arguments)


def test_values_that_a_measure_lost_are_a_warning(
    capsys: pytest.CaptureFixture[str], small_zoo: Zoo, tmp_path: Path
) -> None:
    code, err = run_mine(capsys, small_zoo, tmp_path, "complexity", "return context.weights.sum(1).log()")
    assert code == 0
    assert "gengap: warning: mine failed for some models of small/complexity:\nmine: the measure failed: it" in err


def test_tasks_and_methods(capsys: pytest.CaptureFixture[str], small_zoo: Zoo) -> None:
    tasks = json.loads(said(capsys, "tasks", "--zoo", small_zoo.root, "--json")[1])
    assert sum(tasks["split"][name] for name in ("train", "validation", "test")) == 64
    assert "generalization-gap" in said(capsys, "tasks")[1]
    names = {method["name"] for method in json.loads(said(capsys, "methods", "--json")[1])}
    assert {"nfn-np", "nfn-hnp", "hyperparameters", "weight-statistics-boosting", "path-norm", "disagreement"} <= names


def test_signatures_of_a_zoo(capsys: pytest.CaptureFixture[str], small_zoo: Zoo) -> None:
    fits = json.loads(said(capsys, "signatures", small_zoo.root, "--json")[1])
    assert list(fits["margin-signature-input"]) == ["models", "features", "r2", "adjusted_r2", "fold_r2"]
    out = said(capsys, "signatures", small_zoo.root)[1]
    fit = fits["margin-signature"]
    assert f"margin-signature          {fit['models']:.0f}      20        {fit['r2']:.3f}" in out


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m benchmark.commands.main methods | head -1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stderr == ""


@pytest.mark.parametrize("arguments", [["tasks"], ["methods", "--json"]])
def test_output_that_finds_no_room_is_one_clear_error(arguments: list[str]) -> None:
    """More than Python's buffer holds, and less."""
    command = [sys.executable, "-m", "benchmark.commands.main", *arguments]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.stderr == "gengap: error: the output cannot be written: no space left; make room for it\n"
    assert result.returncode == 2
