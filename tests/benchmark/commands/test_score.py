import io
import json
import os
import re
import subprocess
import sys

import pandas as pd
import pytest

from benchmark.commands import main as cli
from benchmark.scoring.gaussian_process import WORDS
from benchmark.scoring.scores import SCORES


@pytest.fixture
def score(gengap):
    """Runs `gengap score` and returns its output, parsed if it is JSON."""

    def run(*words):
        code, out, err = gengap("score", *words)
        assert (code, err) == (0, "")
        return json.loads(out) if "--json" in words else out

    return run


def test_a_terminal_sees_progress_and_nobody_else(table, write_table, capsys, monkeypatch):
    options = ["--target", "gap", "--prediction", "measure.*", "--scores", "tau,r2"]
    assert cli.main(["score", str(write_table(table)), *options]) == 0
    assert capsys.readouterr().err == ""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cli.main(["score", str(write_table(table)), *options]) == 0
    said = terminal.getvalue()
    assert "tau:   0%" in said
    assert "R²:" in said
    assert "/6 [" in said
    assert said.endswith("\r"), "the bar is gone before the scores are printed"


def test_all_scores(grid, write_table, score):
    options = ["--target", "gap", "--prediction", "measure.*", "--hyperparameters", "hp.*", "--seed", "seed"]
    options += ["--architecture", "hp.width", "--test-examples", 10_000]
    report = score(write_table(grid), *options, "--scores", ",".join(SCORES), "--json")
    assert (report["configurations"], report["test_examples"]) == (12, 10_000)
    assert list(report["scores"]) == list(SCORES)
    for name, found in report["scores"].items():
        assert found["undefined"] is None
        assert found["lower_is_better"] == (name in ("robust", "mae"))
        assert found["by"] == (WORDS if name == "partial" else None)
        assert set(found["noise_floor"]) == {"median", "p95"}
        if name != "partial":  # there is hardly a gap beyond the hyperparameters
            assert found["best_two"] == ["measure.good", "measure.poor"]
            assert found["models_needed"] > 1
    good = report["rows"][0]["scores"]
    assert good["tau"]["place"] == "best"
    assert report["rows"][1]["scores"]["robust"]["place"] == "behind"
    assert good["robust"]["ranks"] == [1, 1]
    assert set(good["psi"]["psi"]) == {"hp.width", "hp.optimizer", "hp.dropout"}
    assert good["psi-within"]["psi"]["hp.width"] is None
    assert good["psi-within"]["psi"]["hp.dropout"] == good["psi"]["psi"]["hp.dropout"]
    assert 0 < good["tau"]["architecture_share"] < 1
    assert set(good["k"]["hyperparameters"]) <= set(good["psi"]["psi"])
    assert {"adjusted_r2", "fold_r2"} <= set(good["r2"])
    assert good["mae"]["flipped"] is None


@pytest.mark.parametrize("scores", ["tau,psi,k,pgdl", "psi,k,tau"])
def test_constant_hyperparameters_leave_psi_and_k_undefined_and_tau_as_it_is(table, write_table, scores, score):
    path = write_table(table.assign(**{"hp.width": 1, "hp.optimizer": "SGD"}))
    options = [path, "--target", "gap", "--prediction", "measure.*", "--scores", scores]
    text = score(*options, "--hyperparameters", "hp.*")
    assert text.count("undefined: no grid; all hyperparameters have one value") == 1
    with_none, without = (score(*options, *given, "--json") for given in (["--hyperparameters", "hp.*"], []))
    assert with_none["scores"]["psi"]["undefined"] == "no grid; all hyperparameters have one value"
    taus = [[row["scores"]["tau"] for row in report["rows"]] for report in (with_none, without)]
    assert taus[0] == taus[1]
    assert {row["scores"]["psi"]["value"] for row in with_none["rows"]} == {None}
    assert without["scores"]["k"]["undefined"] == "no hyperparameters were given"


def test_errors_are_one_line_and_nothing_is_written(grid, write_table, refused, tmp_path, monkeypatch):
    options = [write_table(grid), "--target", "gap", "--prediction"]
    page = tmp_path / "page.html"
    error = refused("score", *options, "none.*", "--html", page)
    assert "no column matches 'none.*'" in error
    assert error.count("\n") == 1
    options += ["measure.*", "--html"]
    assert "there is no score 'kk'" in refused("score", *options, page, "--scores", "kk")
    assert f"{tmp_path}/none is not a writable folder" in refused("score", *options, tmp_path / "none" / "page.html")
    assert "table.csv is not a writable folder" in refused("score", *options, tmp_path / "table.csv" / "page.html")
    assert f"--html {tmp_path} is a folder" in refused("score", *options, tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # permissions do not bind the superuser
    assert f"{tmp_path} is not a writable folder" in refused("score", *options, page)
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_table_in_another_spelling_is_scored_alike(table, write_table, score, tmp_path):
    """The file's name in capitals, its columns asked for in the other form of Unicode, rows without a target."""
    options = ["--prediction", "measure.*", "--hyperparameters", "hp.*", "--json"]
    expected = score(write_table(table), "--target", "gap", *options)
    path = tmp_path / "TABLE.CSV"
    lost = table[:2].assign(gap=None, model=["lost", "lost too"])
    pd.concat([table, lost]).rename(columns={"gap": "gap \u00e9"}).to_csv(path, index=False)
    found = score(path, "--target", "gap e\u0301", *options)
    assert found["notes"] == ["left out: rows 41 and 42 of 42, in which gap \u00e9 is empty"]
    assert found["rows"] == expected["rows"]
    assert found["models"] == 40


def test_the_module_is_light_to_import():
    program = "import sys, benchmark.commands.score; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "pandas", "numpy", "scipy"} & set(loaded)


def test_the_competition_table(gengap_tables, score, tmp_path):
    path = gengap_tables / "pgdl_task1_measures.csv"
    official = json.loads((gengap_tables / "pgdl_task1_official_scores.json").read_text())["score"]
    options = ["--target", "gen_gap", "--prediction", "measure.*", "--hyperparameters", "hp.*", "--scores", "tau,pgdl"]
    report = score(path, *options, "--json")
    rows = {row["prediction"].removeprefix("measure."): row["scores"] for row in report["rows"]}
    assert {name: rows[name]["pgdl"]["value"] for name in official} == pytest.approx(official, abs=1e-9, rel=0)
    table = pd.read_csv(path)
    turned = tmp_path / "turned.csv"
    table.assign(**{"measure.WCV": -table["measure.WCV"]}).to_csv(turned, index=False)
    options[3] = "measure.WCV"
    (opposite,) = score(turned, *options, "--json")["rows"]
    wcv, opposite = rows["WCV"], opposite["scores"]
    assert opposite["tau"]["value"] == -wcv["tau"]["value"]
    assert abs(opposite["pgdl"]["value"] - wcv["pgdl"]["value"]) > 0.01
    assert opposite["pgdl"]["value"] == wcv["pgdl"]["flipped"]


def test_the_help_names_every_score(capsys):
    with pytest.raises(SystemExit):
        cli.main(["score", "--help"])
    words = re.split(r"[^a-z0-9-]+", re.sub(r"-\n +", "-", capsys.readouterr().out))
    assert set(SCORES) <= set(words)
