import base64
import hashlib
import random
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from benchmark.reports.board_html import axis_data, render_html
from benchmark.reports.board_markdown import render_markdown
from benchmark.reports.boards import populations


@pytest.fixture(scope="module")
def page(found, summaries):
    return render_html(found, summaries)


class Page(HTMLParser):
    """What a browser would run or fetch, by tag."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script":
            self.scripts[-1] += data

    def handle_endtag(self, tag):
        self.tags.append((f"/{tag}", {}))


def test_both_forms_depend_on_the_records_alone_not_on_their_order(records, found, summaries, page):
    shuffled = populations(random.Random(0).sample(records, len(records)))
    assert render_markdown(shuffled) == render_markdown(found)
    assert render_html(shuffled, summaries[::-1]) == page


def test_html_is_self_contained(page):
    parsed = Page(page)
    assert not [tag for tag, attributes in parsed.tags if "src" in attributes or tag in ("base", "iframe", "object")]
    assert {a["href"][0] for tag, a in parsed.tags if tag == "a"} == {"#"}
    assert [a["href"] for tag, a in parsed.tags if tag == "link"] == ["data:,"]
    assert "url(" not in page[page.index("<style>") : page.index("</style>")]
    assert page.count(get_plotlyjs()) == 1
    assert len(page) < len(get_plotlyjs()) + 1_000_000


def test_only_the_scripts_of_the_page_may_run(hostile):
    text = render_html(hostile)
    page = Page(text)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    data, *scripts = page.scripts
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert policy.startswith(
        "default-src 'none'; script-src " + " ".join(f"'sha256-{digest}'" for digest in hashes) + ";"
    )
    assert len(scripts) == 2
    assert "<" not in data
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert "49" not in text[text.index("<main") : text.index('<script type="application/json"')].replace("{{7*7}}", "")


def test_the_zoo_is_left_out_where_it_is_not_given(found, summaries, page):
    assert page.count('data-plot="accuracy"') == 2
    assert render_html(found, summaries[:1]).count('data-plot="accuracy"') == 1


def test_no_records_make_a_page_that_says_so():
    assert "There are no records yet." in render_html([])
    assert "There are no records yet." in render_markdown([])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.geomspace(1e-8, 1e-2, 50), "log"),
        (np.random.default_rng(0).uniform(0, 0.7, 300), "linear"),
        (np.append(np.geomspace(1e-8, 1e-2, 50), 0.0), "linear"),
        ([0.25, 0.1, 1.0, 0.1], "groups"),
        (["sgd", "adam"], "groups"),
        ([True, False], "groups"),
    ],
)
def test_axes_are_drawn_by_what_they_hold(values, kind):
    assert axis_data(pd.Series(values))["kind"] == kind


def test_groups_are_in_the_order_of_their_values():
    assert axis_data(pd.Series([10.0, 9.0, np.nan])) == {
        "kind": "groups",
        "groups": ["9", "10"],
        "values": ["10", "9", None],
    }
