"""The command line as a user meets it: exit codes, one-line errors, JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.cli import main
from zoo_builder.store import Zoo


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
        ["zoo", "info"],
        ["zoo", "verify"],
        ["tasks"],
        ["entrants"],
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
        ): "models is 0: it must be a whole number >= 1",
        ("zoo", "build", "mnist-gs", "--out", tmp_path / "zoo", "--data", tmp_path): str(tmp_path),
        ("zoo", "info", tmp_path): "is not a zoo: it has no zoo.json",
        ("zoo", "verify", tmp_path / "nowhere"): "is not a zoo",
        ("run", "test-accuracy", "--zoo", tmp_path): "is not a zoo",
        ("leaderboard", tmp_path / "nowhere"): "there is no results folder",
        ("score", tmp_path / "no.csv", "--target", "a", "--prediction", "b"): "no.csv",
    }
    for arguments, words in wrong.items():
        assert words in refused(capsys, *arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"], "nothing was written"


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
    assert {record["entrant"] for record in records} == {"weight-norm", "random"}


def test_an_entrant_that_fails_is_an_error_with_its_log(
    capsys: pytest.CaptureFixture[str], small_zoo: Zoo, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def mine(context):\n    raise RuntimeError('no idea')\n")
    code, _, err = said(
        capsys, "run", "generalization-gap", f"{file}:mine", "--zoo", small_zoo.root, "--results", tmp_path / "r"
    )
    assert code == 2
    assert "gengap: error: mine failed on small/generalization-gap: the measure failed: RuntimeError: no idea" in err
    assert "raise RuntimeError('no idea')" in err
    assert "mine" in refused(capsys, "run", "test-accuracy", f"{file}:mine", "--zoo", small_zoo.root)


def test_tasks_and_entrants(capsys: pytest.CaptureFixture[str], small_zoo: Zoo) -> None:
    tasks = json.loads(said(capsys, "tasks", "--zoo", small_zoo.root, "--json")[1])
    assert sum(tasks["split"][name] for name in ("train", "validation", "test")) == 64
    assert "generalization-gap" in said(capsys, "tasks")[1]
    names = {entrant["name"] for entrant in json.loads(said(capsys, "entrants", "--json")[1])}
    assert {"nfn-np", "nfn-hnp", "hyperparameters", "weight-statistics-boosting", "path-norm", "disagreement"} <= names


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m benchmark.cli entrants | head -1"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert result.returncode == 0
    assert result.stderr == ""
