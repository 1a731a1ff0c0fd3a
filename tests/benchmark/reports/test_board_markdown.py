import re
from dataclasses import replace

import numpy as np

from benchmark.records import read_records
from benchmark.reports.board_html import render_html
from benchmark.reports.board_markdown import render_markdown
from benchmark.reports.boards import populations


def test_markdown_tables_are_whole(found, task):
    text = render_markdown(found)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        assert len({line.count("|") for line in table.splitlines()}) == 1
    section = text[text.index("## cifar10-gs/test-accuracy") : text.index("## digits")]
    assert [line for line in section.splitlines() if line.startswith("### ")] == [
        "### Access level: weights",
        "### Access level: unlabeled-data",
    ]
    for record in [*task.scored, *task.unscored]:
        assert record.method in section
    assert "Noise floor" in section
    assert "Tie ceiling" in section
    assert "my-transformer (failed): ValueError: cannot reshape 4970 into (3, 3)" in section


def test_scores_beside_tau_stand_with_floors_and_undefined_ones_with_reasons(small, tmp_path):
    target = np.linspace(0, 1, 12)
    reference = {
        "tie_ceiling": 1.0,
        "tie_fraction": 0.0,
        "reliability": {"halves": 0.31, "ceiling": 0.62},
        "noise_floors": {"tau": {"median": 0.0, "p95": 0.4}, "partial": {"median": 0.0, "p95": 0.345}},
    }
    undefined = {"psi": "no grid; a was sampled", "k": "no grid; a was sampled", "robust": "one seed"}
    small(tmp_path, {"x": target}, target, [f"{i}" for i in range(12)])
    (record,) = read_records(tmp_path)
    scores = record.scores | {"partial": {"value": 0.123, "low": -0.1, "high": 0.2}}
    (task,) = populations([replace(record, scores=scores, undefined=undefined, reference=reference)])
    for text in (render_markdown([task]), render_html([task])):
        text = re.sub("<[^>]*>|[|]", " ", text)
        assert "0.620" in text
        assert re.search(r"0\.123\s*\[−0\.100, 0\.200\]", text)
        assert "Undefined here: Psi, K: no grid; a was sampled." in text
        assert "Undefined here: robust sign error: one seed." in text
    assert "| *95 % of random measures* | 0.345 |" in render_markdown([task])
    assert "95 % of random measures do not reach 0.345" in render_html([task])


def test_methods_that_are_nearly_functions_of_the_architecture_are_marked(small, tmp_path):
    target = np.linspace(0, 1, 12)
    small(tmp_path, {"x": target, "y": -target}, target, [f"{i}" for i in range(12)])
    floors = {"tau": {"median": 0.0, "p95": 0.4}}
    reference = {"noise_floors": floors, "architecture_floors": {"tau": {"median": 0.0, "p95": 0.57}}}
    records = [replace(record, reference=reference) for record in read_records(tmp_path)]
    (plain,) = populations(records)
    for text in (render_markdown([plain]), render_html([plain])):
        assert "0.570" not in text
    records[0].scores["tau"]["detail"] = {"architecture_share": 0.934}
    (task,) = populations(records)
    text = render_markdown([task])
    assert "95 % of random functions of the architecture stay below 0.570" in text
    assert [line.count("architecture 93 %, noise floor 0.570") for line in text.splitlines() if " x " in line] == [1]
    assert [line.count("architecture 93 %, noise floor 0.570") for line in text.splitlines() if " y " in line] == [0]
    page = render_html([task])
    assert page.count("architecture 93 %</span>") == 1
    assert "of random functions of the architecture: 0.570" in page


def test_intervals_without_their_score_and_floors_of_other_models_are_explained(small, tmp_path):
    target = np.linspace(0, 1, 40)
    (task,) = small(tmp_path / "whole", {"x": target}, target, [f"{i}" for i in range(40)])
    for text in (render_markdown([task]), render_html([task])):
        assert "can exclude the score itself" not in text
        assert "Noise floors are computed on all models" not in text
    gaps = np.where(target < 0.5, target, np.nan)
    small(tmp_path, {"x": gaps}, target, [f"{i}" for i in range(40)])
    (record,) = read_records(tmp_path)
    scores = record.scores | {name: {"value": 0.001, "low": 0.002, "high": 0.2} for name in ("k", "pgdl")}
    (task,) = populations([replace(record, scores=scores)])
    for text in (render_markdown([task]), render_html([task])):
        assert "Intervals of K, PGDL can exclude the score itself: draws hold fewer distinct models" in text
        assert "Noise floors are computed on all models; for methods that are defined on fewer models, chance" in text


def test_markdown_shows_names_and_reasons_as_plain_text(hostile):
    text = render_markdown(hostile)
    assert not re.search(r"(?<!\\)[<`\[]", text.split("| rank |")[1].replace("[0.9", "").replace("[1.", ""))
    assert r"x\|y \</script\>" in text
