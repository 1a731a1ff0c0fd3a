"""The page of a scored table, as text and in a real browser."""

import re
import subprocess
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmark.reports.table import score_table
from benchmark.reports.table_html import render_page
from benchmark.scoring.gaussian_process import WORDS


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A grid of 3 x 2 x 2 with four seeds; the measures: one that is good, its twin, noise, and one with a gap."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame([row for row in product([1, 2, 4], [0, 1], [0, 1]) for _ in range(4)])
    table.columns = ["hp.width", "hp.dropout", "hp.<b>"]
    table["gap"] = 0.1 * table["hp.width"] + 0.2 * table["hp.dropout"] + 0.02 * rng.standard_normal(48)
    table["measure.good"] = table["gap"] + 0.02 * rng.standard_normal(48)
    table["measure.twin"] = table["measure.good"] + 0.001 * rng.standard_normal(48)
    table["measure.noise"] = 100 * rng.standard_normal(48)
    table["measure.gaps"] = table["gap"].where(table.index >= 6)
    path = tmp_path_factory.mktemp("table") / "<script>.csv"
    table.to_csv(path, index=False)
    return score_table(path, "gap", ["measure.*"], ["hp.*"], scores="tau,psi,k,pgdl,robust,r2,mae")


@pytest.fixture(scope="module")
def page(scored):
    return render_page(scored)


def test_every_prediction_has_a_dot_for_every_score_that_is_defined(page, scored):
    body = page[page.index("<tbody>") : page.index("</tbody>")]
    rows = body.split('<th scope="row">')[1:]
    assert [row[: row.index("<")] for row in rows] == [
        scored.predictions[e].removeprefix("measure.") for e in scored.order
    ]
    for row in rows:
        assert row.count('class="interval"') == row.count('class="floor"') == 6
        assert row.count('class="dot"') + row.count('class="beyond"') == 6
    places = re.findall(r'data-place="(\w+)"', rows[0] + rows[1] + rows[-1])
    assert (places[0], places[6], set(places[12:])) == ("best", "tie", {"unranked"})
    assert body.count('class="beyond"') == 1  # the error of the noise, a hundred times that of chance
    assert "<b>robust sign error</b>: no number of test examples was given" in page
    assert "Noise floors are computed on all models; for methods that are defined on fewer models, chance" in page


def test_the_page_asks_for_nothing_and_runs_nothing(page, scored):
    assert "<script" not in page
    assert "&lt;script&gt;.csv" in page
    assert "hp.&lt;b&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page == render_page(scored)


def test_a_page_without_a_score_says_why(scored):
    table = scored.path.with_name("plain.csv")
    pd.DataFrame({"gap": [1, 2, 3], "mine": [1, 2, 4]}).to_csv(table)
    page = render_page(score_table(table, "gap", ["mine"], scores="psi"))
    assert "<table>" not in page
    assert "<b>Psi</b>: no hyperparameters were given" in page


def test_what_a_score_is_computed_with_is_on_the_page(scored):
    again = score_table(scored.path, "gap", ["measure.good"], ["hp.*"], scores="partial")
    assert f"Partial tau: by {WORDS}." in render_page(again)


def test_notes_on_the_table_are_on_the_page(scored):
    note = "left out: row 3 of 4, in which <i>gap</i> is empty"
    assert "<li>left out: row 3 of 4, in which &lt;i&gt;gap&lt;/i&gt; is empty</li>" in render_page(
        replace(scored, notes=(note,))
    )


@pytest.mark.browser
@pytest.mark.parametrize(
    ("scheme", "paper", "accent"), [(1, (246, 247, 249), (11, 114, 133)), (0, (15, 21, 28), (79, 195, 217))]
)
def test_the_browser_draws_it_light_and_dark(page, chromium, tmp_path, scheme, paper, accent):
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    files = [f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'page.png'}"]
    look = [f"--blink-settings=preferredColorScheme={scheme}", "--window-size=1400,900", "--hide-scrollbars"]
    command = [*chromium, *files, *look, (tmp_path / "page.html").as_uri()]
    log = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stderr
    assert [line for line in log.splitlines() if "CONSOLE" in line] == []
    pixels = np.asarray(Image.open(tmp_path / "page.png").convert("RGB")).astype(int)
    assert tuple(pixels[5, 5]) == paper
    # Dots of 9 pixels across for the best and its ties, those of the legend included.
    assert (np.abs(pixels - accent).sum(axis=2) < 12).sum() > 8 * 40
