import multiprocessing
from concurrent.futures import as_completed
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from benchmark.records import read_records, write
from benchmark.reports import boards
from benchmark.reports.board_html import render_html
from benchmark.reports.board_markdown import render_markdown
from benchmark.reports.boards import NOT_READ, populations
from benchmark.scoring.bootstrap import resample
from zoo_builder.errors import InputError


def test_populations_are_kept_apart_by_task_and_weights(records, found):
    assert [(task.head.zoo, task.head.task.partition("/")[2]) for task in found] == [
        ("cifar10-gs", "generalization-gap"),
        ("cifar10-gs", "test-accuracy"),
        ("digits", "test-accuracy"),
    ]
    digits = [record for record in records if record.zoo == "digits" and record.method == "path-norm"]
    assert len(populations([*digits, *(replace(record, weights_hash="0" * 64) for record in digits)])) == 2


def test_worker_processes_make_the_same_boards(records, found, monkeypatch):
    monkeypatch.setattr(boards, "RECORDS_PER_WORKER", 1)
    done = []
    compared = populations(records, done.append, workers=2)
    assert sorted(done) == sorted(len(task.scored) + len(task.unscored) for task in found)
    for one, other in zip(compared, found, strict=True):
        assert one.boards == other.boards
        assert (one.head, one.scored, one.unscored) == (other.head, other.scored, other.unscored)
        np.testing.assert_array_equal(one.predictions, other.predictions)
        pd.testing.assert_frame_equal(one.models, other.models)


def test_a_killed_worker_process_is_an_error(records, monkeypatch):
    def killing(futures):
        for process in multiprocessing.active_children():
            process.kill()
        return as_completed(futures)

    monkeypatch.setattr(boards, "RECORDS_PER_WORKER", 1)
    monkeypatch.setattr(boards, "as_completed", killing)
    with pytest.raises(InputError, match="a process that compared records was killed"):
        populations(records, workers=2)
    assert not multiprocessing.active_children()


def test_a_board_shows_the_methods_of_its_level_and_below_and_all_controls(task):
    assert [board.access for board in task.boards] == ["weights", "unlabeled-data"]
    everyone = {record.method for record in task.scored}
    first, second = ({row.record.method for row in board.rows} for board in task.boards)
    assert (everyone - first, second) == ({"average-confidence"}, everyone)
    assert {row.record.access for row in task.boards[0].rows} == {"weights", "hyperparameters", "train-data"}
    assert {row.record.access for row in task.boards[0].rows if not row.record.control} == {"weights"}


def test_each_board_is_the_one_that_its_records_alone_make(records, task):
    """What the boards of a population share changes none of them."""
    (board, _) = task.boards
    alone = [row.record for row in board.rows]
    ((same,),) = [task.boards for task in populations(alone)]
    assert [(row.record.method, row.rank, row.rank_interval, row.to_leader, row.to_above) for row in same.rows] == [
        (row.record.method, row.rank, row.rank_interval, row.to_leader, row.to_above) for row in board.rows
    ]


def test_levels_that_allow_different_things_have_boards_of_their_own(small, tmp_path):
    target, names = np.linspace(0, 1, 12), [f"{i}" for i in range(12)]
    for access in ("hyperparameters", "weights", "train-data", "trajectory", "of a later version"):
        (task,) = small(tmp_path, {access: target}, target, names, access=access)
    assert {board.access: {row.record.method for row in board.rows} for board in task.boards} == {
        "hyperparameters": {"hyperparameters"},
        "weights": {"weights"},
        "train-data": {"weights", "train-data"},
        "trajectory": {"hyperparameters", "weights", "train-data", "trajectory"},
        "of a later version": {"of a later version"},
    }


def test_controls_alone_have_a_board(small, tmp_path):
    target = np.linspace(0, 1, 8)
    (task,) = small(tmp_path, {"oracle": target}, target, [f"{i}" for i in range(8)], control=True)
    assert [(board.access, [row.unranked for row in board.rows]) for board in task.boards] == [("weights", ["control"])]
    for text in (render_markdown([task]), render_html([task])):
        assert "Controls only" in text
        assert "Access level" not in text


def test_boards_are_ordered_by_the_headline_score(small, tmp_path):
    """An error, of which less is better."""
    target = np.linspace(0, 1, 12)
    predictions = {"worse": target + 0.2, "better": target + 0.1}
    for name, prediction in predictions.items():
        error = 100 * float(np.abs(prediction - target).mean())
        scores = {"mae": {"value": error, "low": error - 1, "high": error + 1}}
        names = [f"{i}" for i in range(12)]
        (task,) = small(tmp_path, {name: prediction}, target, names, headline="mae", scores=scores)
    first, second = task.boards[0].rows
    assert [(row.record.method, row.rank, row.rank_interval) for row in (first, second)] == [
        ("better", 1, (1, 1)),
        ("worse", 2, (2, 2)),
    ]
    assert second.to_leader is not None
    assert second.to_leader.value == pytest.approx(10)
    text = render_markdown([task])
    assert "| MAE, points | 95 % |" in text
    assert "Tie ceiling" not in text  # ties do not limit this score


def test_a_headline_score_that_needs_more_than_predictions_is_shown_and_not_compared(small, tmp_path):
    target, names = np.linspace(0, 1, 12), [f"{i}" for i in range(12)]
    for name, value in (("x", 0.9), ("y", 0.5)):
        scores = {"psi": {"value": value, "low": value, "high": value}}
        (task,) = small(tmp_path, {name: target}, target, names, headline="psi", scores=scores)
    rows = task.boards[0].rows
    assert [(row.record.method, row.rank, row.rank_interval) for row in rows] == [("x", 1, (1, 2)), ("y", 2, (1, 2))]
    assert rows[1].to_leader is None


def test_methods_stand_by_tau_and_only_eligible_ones_are_ranked(task):
    board = task.boards[-1]
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


def test_what_was_not_scored_is_listed_with_its_status(task):
    assert [(record.method, record.status) for record in task.unscored] == [
        ("disagreement", "not applicable"),
        ("hessian-trace", "timeout"),
        ("my-transformer", "failed"),
    ]


def test_comparisons_equal_a_plain_loop_over_resampled_models(small, tmp_path):
    """Also where methods are undefined for some models: then over the models that both define."""
    rng = np.random.default_rng(0)
    n = 40
    target = rng.random(n).round(2)
    configuration = [f"{i // 2}" for i in range(n)]
    predictions = {name: target + noise * rng.normal(size=n) for name, noise in (("a", 0.05), ("b", 0.3), ("c", 0.4))}
    predictions["b"][[3, 30]] = np.nan
    predictions["c"][[7]] = np.nan
    (task,) = small(tmp_path, predictions, target, configuration)
    (board,) = task.boards
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


def test_equal_methods_share_a_rank_and_are_a_tie(small, tmp_path):
    target = np.linspace(0, 1, 12)
    good, bad = target**2, np.sin(9 * target)
    (task,) = small(tmp_path, {"x": good, "y": good, "z": bad}, target, [f"{i}" for i in range(12)])
    (board,) = task.boards
    assert [(row.record.method, row.rank) for row in board.rows] == [("x", 1), ("y", 1), ("z", 3)]
    assert [row.to_above and row.to_above.tie for row in board.rows] == [None, True, False]
    assert [row.rank_interval for row in board.rows] == [(1, 2), (1, 2), (3, 3)]


def test_methods_without_common_models_are_not_compared(small, tmp_path):
    target = np.linspace(0, 1, 40)
    first, second = target.copy(), -target
    first[:2], second[2:] = np.nan, np.nan
    (task,) = small(tmp_path, {"most": first, "least": second}, target, [f"{i}" for i in range(40)])
    (board,) = task.boards
    assert [(row.record.method, row.rank, row.to_leader) for row in board.rows] == [
        ("most", 1, None),
        ("least", None, None),
    ]


def test_a_method_defined_nowhere_is_listed_below(blank, small, tmp_path):
    target = np.linspace(0, 1, 8)
    nowhere = replace(blank, method="nowhere", models=8, coverage=0.0, scores={})
    frame = pd.DataFrame({"model_id": "x", "configuration": "y", "reason": "-", "target": target})
    frame[["prediction", "error"]] = np.nan
    write(nowhere, frame, tmp_path)
    (task,) = small(tmp_path, {"some": target}, target, [f"{i}" for i in range(8)])
    assert [record.method for record in task.unscored] == ["nowhere"]
    assert "no test model has a prediction" in render_markdown([task])
    assert "no test model has a prediction" in render_html([task])


@pytest.mark.parametrize("what", ["targets", "models", "headline scores"])
def test_a_record_that_cannot_be_on_the_board_of_others_is_listed_below(small, tmp_path, what):
    """Even if its score is the best."""
    target = np.linspace(0, 1, 8)
    configuration = [f"{i}" for i in range(8)]
    small(tmp_path, {"first": target**2, "second": -target}, target, configuration)
    target = target + 0.01 if what == "targets" else target[:7] if what == "models" else target
    changes = {"headline": "mae", "scores": {"mae": {"value": 0, "low": 0, "high": 0}}} if "headline" in what else {}
    (task,) = small(tmp_path, {"odd": target}, target, configuration[: len(target)], **changes)
    assert [record.method for record in task.scored] == ["first", "second"]
    (odd,) = task.unscored
    assert (odd.method, odd.status) == ("odd", NOT_READ)
    assert "models, targets or headline score differ from those of 2 other records: run it again" in odd.reason


@pytest.mark.parametrize("damage", ["lost", "cut", "words", "infinite targets", "a model twice"])
def test_predictions_that_cannot_be_read_take_no_other_method_off_the_board(small, tmp_path, damage):
    target, names = np.linspace(0, 1, 8), [f"{i}" for i in range(8)]
    small(tmp_path, {"bad": target, "good": target}, target, names)
    (path,) = tmp_path.glob("*/*/bad--*.parquet")
    frame = pd.read_parquet(path)
    match damage:
        case "lost":
            path.unlink()
        case "cut":
            path.write_bytes(path.read_bytes()[:40])
        case "words":
            frame.assign(prediction="high").to_parquet(path, index=False)
        case "infinite targets":
            frame.assign(target=np.inf).to_parquet(path, index=False)
        case "a model twice":
            frame.assign(model_id="0000").to_parquet(path, index=False)
    (task,) = populations(read_records(tmp_path))
    assert [record.method for record in task.scored] == ["good"]
    assert [(record.method, record.status) for record in task.unscored] == [("bad", NOT_READ)]
    assert "- bad (not read): " in render_markdown([task])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"scores": {"tau": {"value": 0.99, "low": 0.98, "high": 1.0}}},
            "it says tau 0.990, and its predictions give ",
        ),
        ({"coverage": 0.96}, "it says that it covers 96.0 % of the models, and its predictions cover 50.0 %"),
        ({"headline": "mae", "scores": {"mae": {"value": 1, "low": 0, "high": 2}}}, "it says MAE, points 1.000, and "),
    ],
)
def test_a_record_that_its_predictions_contradict_is_listed_below(small, tmp_path, change, words):
    rng = np.random.default_rng(0)
    target, names = rng.random(60), [f"{i}" for i in range(60)]
    bad = rng.random(60)
    bad[::2] = np.nan
    small(tmp_path, {"good": target}, target, names)
    (task,) = small(tmp_path, {"boaster": bad}, target, names, **change)
    assert [record.method for record in task.scored] == ["good"]
    (boaster,) = task.unscored
    assert boaster.status == NOT_READ
    assert boaster.reason.startswith(words)
    assert "boaster (not read): it says" in render_markdown([task])
    assert boaster.reason in render_html([task])


@pytest.mark.parametrize("what", ["one configuration", "two models", "equal targets"])
def test_predictions_that_cannot_be_scored_take_no_board_down(small, tmp_path, what):
    n = 2 if what == "two models" else 8
    target, names = np.linspace(0, 1, n), [f"{i}" for i in range(n)]
    scores = {"tau": {"value": 1.0, "low": 1.0, "high": 1.0}}
    configuration = ["0"] * n if what == "one configuration" else names
    small(tmp_path, {"good": np.linspace(0, 1, 8)}, np.linspace(0, 1, 8), [f"{i}" for i in range(8)])
    odd = {"split_hash": "e" * 64, "scores": scores}
    _, task = small(
        tmp_path, {"odd": np.arange(n, dtype=float)}, target * (what != "equal targets"), configuration, **odd
    )
    assert [(record.method, record.status) for record in task.unscored] == [("odd", NOT_READ)]
    assert task.unscored[0].reason.startswith("its predictions give no tau: ")


def test_namesakes_and_scores_with_a_later_failure_say_so(blank, small, tmp_path):
    target, names = np.linspace(0, 1, 8), [f"{i}" for i in range(8)]
    for minute, (source, code) in enumerate([("x/net.py:Net", "c" * 64), ("y/net.py:Net", "d" * 64)]):
        created = f"2026-11-23T09:{minute:02}:00+00:00"
        small(tmp_path, {"net": target}, target, names, source=source, code=code, created=created)
    late = replace(blank, method="net", code="c" * 64, source="z/net.py:Net", created="2026-11-24T09:00:00+00:00")
    write(replace(late, status="timeout", reason="took longer than 2 s", models=8), None, tmp_path)
    (task,) = populations(read_records(tmp_path))
    assert [record.method for record in task.scored] == ["net", "net (dddddddd)"]
    for text in (render_markdown([task]), render_html([task])):
        assert "a later run failed (timeout, 2026-11-24)" in text
        assert "x/net.py:Net, code cccccccc" in text
        assert "y/net.py:Net, code dddddddd" in text
