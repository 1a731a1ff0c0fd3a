"""Whatever text a record holds, a page has the same elements and a table the same cells."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.reports import board_html
from benchmark.reports.board_html import render_html
from benchmark.reports.board_markdown import render_markdown
from benchmark.scoring.scores import SCORES

FIELDS = ("method", "citation", "formula", "access", "kind", "zoo", "task", "target", "orientation", "package_version")
OTHERS = ("weights_hash", "reason", "flag", "log", "score")
# Letters that mean something to Markdown, HTML, a template or a script come often.
TEXTS = st.one_of(st.text(min_size=1), st.text("|\\`<>&\"'[]()!*_~#{}%\n\r\t\x1b\u2028\u202e/a:=-", min_size=1))


class Elements(HTMLParser):
    """The tags of a page in order, each with the names of its attributes."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, [name for name, _ in attrs]))

    def handle_endtag(self, tag):
        self.found.append((tag, None))


def with_texts(population, texts):
    """The population with other texts in every record; records stay distinct by their method's name."""
    changed = {}
    for number, record in enumerate((*population.scored, *population.unscored)):
        words = {name: texts[name] for name in FIELDS} | {"method": f"{texts['method']}{number}"}
        # A score of another version of gengap has a name of its own; its interval is without the score, which is said.
        known = {name: score for name, score in record.scores.items() if name in SCORES}
        scores = known and known | {f"of {texts['score']}": {"value": 1.0, "low": 0.1, "high": 0.2}}
        undefined = dict.fromkeys(record.undefined, texts["reason"])
        flags = [texts["flag"] for _ in record.flags]
        reason, log = (texts["reason"], texts["log"]) if record in population.unscored else (None, None)
        changed[id(record)] = replace(
            record,
            **words,
            weights_hash=texts["weights_hash"],
            scores=scores,
            undefined=undefined,
            flags=flags,
            reason=reason,
            log=log,
        )
    boards = tuple(
        replace(board, rows=tuple(replace(row, record=changed[id(row.record)]) for row in board.rows))
        for board in population.boards
    )
    scored, unscored = (
        tuple(changed[id(record)] for record in some) for some in (population.scored, population.unscored)
    )
    return replace(population, head=changed[id(population.head)], scored=scored, unscored=unscored, boards=boards)


def cells(text):
    return [len(re.findall(r"(?<!\\)\|", line)) for line in text.split("\n") if line.startswith("|")]


@pytest.fixture
def plain(task, monkeypatch):
    """The population with harmless texts."""
    monkeypatch.setattr(board_html, "get_plotlyjs", lambda: "")
    return with_texts(task, dict.fromkeys((*FIELDS, *OTHERS), "a"))


def test_any_text_leaves_pages_and_tables_whole(plain):
    elements, counts = Elements(render_html([plain])).found, cells(render_markdown([plain]))
    assert len(set(counts)) > 1

    @settings(max_examples=25, deadline=None)
    @given(st.fixed_dictionaries(dict.fromkeys((*FIELDS, *OTHERS), TEXTS)))
    def check(texts):
        changed = with_texts(plain, texts)
        assert Elements(render_html([changed])).found == elements
        assert cells(render_markdown([changed])) == counts

    check()
