import base64
import hashlib
import random
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs
from scipy.stats import kendalltau

from benchmark.records import read_records, write
from benchmark.reports.across import render_across
from benchmark.reports.board_html import _axis_data, render_html
from benchmark.reports.board_markdown import render_markdown
from benchmark.reports.boards import boards
from benchmark.reports.words import duration, number, percent, signed
from benchmark.scoring.bootstrap import resample
from zoo_builder.errors import InputError


@pytest.fixture(scope="module")
def records(results):
    return read_records(results)


@pytest.fixture(scope="module")
def found(records):
    return boards(records)


@pytest.fixture(scope="module")
def board(found):
    return next(board for board in found if board.head.task == "cifar10-gs/test-accuracy")


@pytest.fixture(scope="module")
def page(found, summaries):
    return render_html(found, summaries)


def small(blank, folder, predictions: dict[str, np.ndarray], target: np.ndarray, configuration: list[str], **changes):
    """Records of some predictions on one board, and the boards that they make."""
    for name, prediction in predictions.items():
        frame = pd.DataFrame(
            {
                "model_id": [f"{i:04x}" for i in range(len(target))],
                "configuration": configuration,
                "prediction": prediction,
                "reason": None,
                "target": target,
            }
        )
        defined = ~np.isnan(prediction)
        tau = float(kendalltau(prediction[defined], target[defined]).statistic)
        scores = {"tau": {"value": tau, "low": tau - 0.1, "high": tau + 0.1}}
        record = replace(blank, method=name, models=len(target), coverage=float(defined.mean()), scores=scores)
        write(replace(record, **changes), frame, folder)
    return boards(read_records(folder))


# ---- boards


def test_boards_are_kept_apart_by_task_and_weights(records, found):
    assert [(board.head.zoo, board.head.task.partition("/")[2]) for board in found] == [
        ("cifar10-gs", "generalization-gap"),
        ("cifar10-gs", "test-accuracy"),
        ("digits", "test-accuracy"),
    ]
    digits = [record for record in records if record.zoo == "digits" and record.method == "path-norm"]
    assert len(boards([*digits, *(replace(record, weights_hash="0" * 64) for record in digits)])) == 2


def test_methods_stand_by_tau_and_only_eligible_ones_are_ranked(board):
    taus = [row.record.scores["tau"]["value"] for row in board.rows]
    assert taus == sorted(taus, reverse=True)
    unranked = {row.record.method: row.unranked for row in board.rows if row.rank is None}
    assert unranked == {
        "hyperparameters-boosting": "control",
        "training-loss": "control",
        "random": "control",
        "inverse-margin": "low coverage",
    }
    ranked = [row for row in board.rows if row.rank]
    assert [row.rank for row in ranked] == list(range(1, len(ranked) + 1))
    assert all(row.rank_interval[0] <= row.rank_interval[1] for row in ranked)
    assert [row.rank_interval is None for row in board.rows] == [row.rank is None for row in board.rows]
    # The leader is compared with nobody; the unranked are compared with the leader alone.
    assert [row.to_leader is None for row in board.rows] == [row is ranked[0] for row in board.rows]
    assert [row.to_above is None for row in board.rows] == [row not in ranked[1:] for row in board.rows]


def test_what_was_not_scored_is_listed_with_its_status(board):
    assert [(record.method, record.status) for record in board.unscored] == [
        ("disagreement", "not applicable"),
        ("hessian-trace", "timeout"),
        ("my-transformer", "failed"),
    ]


def test_comparisons_equal_a_plain_loop_over_resampled_models(blank, tmp_path):
    """Also where methods are undefined for some models: then over the models that both define."""
    rng = np.random.default_rng(0)
    n = 40
    target = rng.random(n).round(2)
    configuration = [f"{i // 2}" for i in range(n)]
    predictions = {name: target + noise * rng.normal(size=n) for name, noise in (("a", 0.05), ("b", 0.3), ("c", 0.4))}
    predictions["b"][[3, 30]] = np.nan
    predictions["c"][[7]] = np.nan
    (board,) = small(blank, tmp_path, predictions, target, configuration)
    weights = resample(n, np.array(configuration)).astype(int)

    def tau(prediction, rows):
        signs = [np.sign(values[rows, None] - values[rows]) for values in (prediction, target)]
        return (signs[0] * signs[1]).sum() / np.sqrt((signs[0] ** 2).sum() * (signs[1] ** 2).sum())

    def differences(first, second):
        common = ~np.isnan(predictions[first]) & ~np.isnan(predictions[second])
        for draw in weights.T:
            rows = np.repeat(np.arange(n), np.where(common, draw, 0))
            yield tau(predictions[first], rows) - tau(predictions[second], rows)

    draws = {pair: np.array(list(differences(*pair))) for pair in (("b", "a"), ("c", "a"), ("c", "b"))}
    assert [row.record.method for row in board.rows] == ["a", "b", "c"]
    for pair, found in (
        (("b", "a"), board.rows[1].to_leader),
        (("b", "a"), board.rows[1].to_above),
        (("c", "a"), board.rows[2].to_leader),
        (("c", "b"), board.rows[2].to_above),
    ):
        common = ~np.isnan(predictions[pair[0]]) & ~np.isnan(predictions[pair[1]])
        taus = [kendalltau(predictions[name][common], target[common]).statistic for name in pair]
        low, high = np.percentile(draws[pair], [2.5, 97.5])
        assert found is not None
        assert [found.value, found.low, found.high] == pytest.approx([taus[0] - taus[1], low, high], abs=1e-9)
        assert found.tie == (pair == ("c", "b"))
    assert [row.rank_interval for row in board.rows] == [(1, 1), (2, 3), (2, 3)]


def test_equal_methods_share_a_rank_and_are_a_tie(blank, tmp_path):
    target = np.linspace(0, 1, 12)
    good, bad = target**2, np.sin(9 * target)
    (board,) = small(blank, tmp_path, {"x": good, "y": good, "z": bad}, target, [f"{i}" for i in range(12)])
    assert [(row.record.method, row.rank) for row in board.rows] == [("x", 1), ("y", 1), ("z", 3)]
    assert [row.to_above and row.to_above.tie for row in board.rows] == [None, True, False]
    assert [row.rank_interval for row in board.rows] == [(1, 2), (1, 2), (3, 3)]


def test_methods_without_common_models_are_not_compared(blank, tmp_path):
    target = np.linspace(0, 1, 40)
    first, second = target.copy(), -target
    first[:2], second[2:] = np.nan, np.nan
    (board,) = small(blank, tmp_path, {"most": first, "least": second}, target, [f"{i}" for i in range(40)])
    assert [(row.record.method, row.rank, row.to_leader) for row in board.rows] == [
        ("most", 1, None),
        ("least", None, None),
    ]


def test_a_method_defined_nowhere_is_listed_below(blank, tmp_path):
    target = np.linspace(0, 1, 8)
    nowhere = replace(blank, method="nowhere", models=8, coverage=0.0, scores={})
    frame = pd.DataFrame({"model_id": "x", "configuration": "y", "prediction": np.nan, "reason": "-", "target": target})
    write(nowhere, frame, tmp_path)
    (board,) = small(blank, tmp_path, {"some": target}, target, [f"{i}" for i in range(8)])
    assert [record.method for record in board.unscored] == ["nowhere"]
    assert "no test model has a prediction" in render_markdown([board])
    assert "no test model has a prediction" in render_html([board])


@pytest.mark.parametrize("what", ["targets", "models"])
def test_records_that_cannot_be_on_one_board_are_refused(blank, tmp_path, what):
    target = np.linspace(0, 1, 8)
    configuration = [f"{i}" for i in range(8)]
    small(blank, tmp_path, {"first": target}, target, configuration)
    target = target + 0.01 if what == "targets" else target[:7]
    with pytest.raises(InputError, match=f"different {what}"):
        small(blank, tmp_path, {"second": target}, target, configuration[: len(target)])


# ---- how numbers are written


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(-0.0001), "0.000"),
        (number(-0.25), "−0.250"),
        (signed(0.1), "+0.100"),
        (signed(-0.1), "−0.100"),
        (percent(1.0), "100 %"),
        (percent(0.9999), "99.9 %"),
        (percent(0.5), "50.0 %"),
        (duration(0.04), "40 ms"),
        (duration(3.21), "3.2 s"),
        (duration(75), "75 s"),
        (duration(720), "12 min"),
        (duration(12600), "3.5 h"),
    ],
)
def test_numbers_are_written_for_readers(written, expected):
    assert written == expected


# ---- Markdown


def test_both_forms_depend_on_the_records_alone_not_on_their_order(records, found, summaries, page):
    shuffled = boards(random.Random(0).sample(records, len(records)))
    assert render_markdown(shuffled) == render_markdown(found)
    assert render_html(shuffled, summaries[::-1]) == page


def test_markdown_tables_are_whole(found, board):
    text = render_markdown(found)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    section = text[text.index("## cifar10-gs/test-accuracy") : text.index("## digits")]
    for record in [*(row.record for row in board.rows), *board.unscored]:
        assert record.method in section
    assert "Noise floor" in section
    assert "Tie ceiling" in section
    assert "my-transformer (failed): ValueError: cannot reshape 4970 into (3, 3)" in section


def test_scores_beside_tau_stand_with_floors_and_undefined_ones_with_reasons(blank, tmp_path):
    target = np.linspace(0, 1, 12)
    reference = {
        "tie_ceiling": 1.0,
        "tie_fraction": 0.0,
        "reliability": {"halves": 0.31, "ceiling": 0.62},
        "noise_floors": {"tau": {"median": 0.0, "p95": 0.4}, "partial": {"median": 0.0, "p95": 0.345}},
    }
    undefined = {"psi": "no grid; a was sampled", "k": "no grid; a was sampled", "robust": "one seed"}
    small(blank, tmp_path, {"x": target}, target, [f"{i}" for i in range(12)])
    (record,) = read_records(tmp_path)
    scores = record.scores | {"partial": {"value": 0.123, "low": -0.1, "high": 0.2}}
    (board,) = boards([replace(record, scores=scores, undefined=undefined, reference=reference)])
    for text in (render_markdown([board]), render_html([board])):
        text = re.sub("<[^>]*>|[|]", " ", text)
        assert "0.620" in text
        assert re.search(r"0\.123\s*\[−0\.100, 0\.200\]", text)
        assert "Undefined here: Psi, K: no grid; a was sampled." in text
        assert "Undefined here: robust sign error: one seed." in text
    assert "| *95 % of random measures* | 0.345 |" in render_markdown([board])
    assert "95 % of random measures do not reach 0.345" in render_html([board])


def test_intervals_without_their_score_and_floors_of_other_models_are_explained(blank, tmp_path):
    target = np.linspace(0, 1, 40)
    (board,) = small(blank, tmp_path / "whole", {"x": target}, target, [f"{i}" for i in range(40)])
    for text in (render_markdown([board]), render_html([board])):
        assert "leave out their own score" not in text
        assert "Noise floors are on all models" not in text
    gaps = np.where(target < 0.5, target, np.nan)
    small(blank, tmp_path, {"x": gaps}, target, [f"{i}" for i in range(40)])
    (record,) = read_records(tmp_path)
    scores = record.scores | {name: {"value": 0.001, "low": 0.002, "high": 0.2} for name in ("k", "pgdl")}
    (board,) = boards([replace(record, scores=scores)])
    for text in (render_markdown([board]), render_html([board])):
        assert "Intervals of K, PGDL can leave out their own score: draws of fewer different models bias it." in text
        assert "Noise floors are on all models: on the fewer that some are defined for, chance reaches further." in text


HOSTILE = 'x|y\n</script><script>document.title="owned"</script><img src=x onerror=alert(1)>{{7*7}} [a](http://b) `'


@pytest.fixture
def hostile(blank, tmp_path):
    target = np.linspace(0, 1, 8)
    words = {"citation": HOSTILE, "formula": HOSTILE, "flags": [HOSTILE], "access": HOSTILE}
    failed = replace(blank, method=f"{HOSTILE}2", status="failed", reason=HOSTILE, log=HOSTILE)
    write(failed, None, tmp_path)
    return small(blank, tmp_path, {HOSTILE: target}, target, [f"{i}" for i in range(8)], **words)


def test_one_task_across_zoos_stands_in_one_table(blank, tmp_path):
    rng = np.random.default_rng(0)
    target, names = rng.random(30), [f"{i}" for i in range(30)]
    floors = {"noise_floors": {"tau": {"median": 0.0, "p95": 0.2}, "robust": {"median": 0.5, "p95": 0.4}}}
    held = {
        "one": {"good": (0.7, 0.1), "bad": (-0.5, 0.8), "noise": (0.1, 0.45)},
        "two": {"good": (0.5, None), "bad": (0.3, None)},
    }
    for zoo, methods in held.items():
        for name, (tau, robust) in methods.items():
            scores = {"tau": {"value": tau, "low": tau, "high": tau, "flipped": -tau}}
            if robust is not None:
                scores["robust"] = {"value": robust, "low": robust, "high": robust, "flipped": 1 - robust}
            about = {"zoo": zoo, "task": f"{zoo}/{blank.task.partition('/')[2]}", "weights_hash": zoo * 4}
            costs = {"seconds": 60.0, "reference": floors}
            small(blank, tmp_path, {name: target}, target, names, scores=scores, **about, **costs)
    found = read_records(tmp_path)
    table = render_across(found, blank.task.partition("/")[2]).splitlines()[-5:]
    assert table[0] == ("| method | one<br>tau | one<br>robust sign error | one<br>time | two<br>tau | two<br>time |")
    assert table[2:] == [
        "| good | 0.700 | 0.100 | 2.0 s | 0.500 | 2.0 s |",
        "| noise | (0.100) | (0.450) | 2.0 s |  |  |",
        "| bad | −0.500 | 0.800 | 2.0 s | 0.300 | 2.0 s |",
    ]
    with pytest.raises(InputError, match=r"there are no scores on a task 'nothing'.*: the records are of"):
        render_across(found, "nothing")


def test_markdown_shows_names_and_reasons_as_plain_text(hostile):
    text = render_markdown(hostile)
    assert not re.search(r"(?<!\\)[<`\[]", text.split("| rank |")[1].replace("[0.9", "").replace("[1.", ""))
    assert r"x\|y \</script\>" in text


# ---- HTML


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
    assert _axis_data(pd.Series(values))["kind"] == kind


def test_groups_are_in_the_order_of_their_values():
    assert _axis_data(pd.Series([10.0, 9.0, np.nan])) == {
        "kind": "groups",
        "groups": ["9", "10"],
        "values": ["10", "9", None],
    }
