import json

import numpy as np
import pandas as pd

from benchmark.reports.table import score_table
from benchmark.reports.table_json import to_json
from benchmark.reports.table_text import format_text


def test_it_is_json_without_nan(table, write_table):
    table.loc[:9, "measure.random"] = None
    table["measure.none"] = None
    report = to_json(score_table(write_table(table), "gap", ["measure.*"], ["hp.*"], scores="tau,k,partial,mae"))
    assert json.loads(json.dumps(report, allow_nan=False))["rows"][-1]["scores"]["tau"]["value"] is None


def test_notes_on_the_table(table, write_table):
    assert to_json(score_table(write_table(table), "gap", ["measure.*"]))["notes"] == []
    table.loc[5, "gap"] = None
    report = to_json(score_table(write_table(table), "gap", ["measure.*"]))
    assert (report["models"], report["notes"]) == (39, ["left out: row 6 of 40, in which gap is empty"])


def test_what_forms_no_grid_is_named(table, write_table):
    table["hp.rate"] = np.random.default_rng(3).random(40)
    scored = score_table(write_table(table), "gap", ["measure.good"], ["hp.rate", "hp.optimizer"], scores="psi")
    assert "no two configurations differ in hp.optimizer alone" in to_json(scored)["scores"]["psi"]["undefined"]


def test_too_few_configurations_for_any_draw_to_have_a_psi(write_table):
    """One configuration changed in each of 12 hyperparameters: a draw has a psi where it has all 13."""
    table = pd.DataFrame(np.vstack([np.zeros(12), np.eye(12)]), columns=[f"hp.{number}" for number in range(12)])
    table["gap"] = np.arange(13.0)
    table["mine"], table["other"] = table["gap"], -table["gap"]
    scored = score_table(write_table(table), "gap", ["mine", "other"], ["hp.*"], scores="psi")
    psi = to_json(scored)["rows"][1]["scores"]["psi"]
    assert (psi["value"], psi["low"], psi["ranks"], psi["place"]) == (None, None, None, "unranked")
    assert psi["undefined"] == "it exists in only 0 of 2000 bootstrap draws"
    assert "it exists in only 0 of 2000 bootstrap draws" in format_text(scored, 110)
