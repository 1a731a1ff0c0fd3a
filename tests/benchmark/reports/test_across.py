import numpy as np
import pytest

from benchmark.records import read_records
from benchmark.reports.across import render_across
from zoo_builder.errors import InputError


def ordered(n, tau):
    """A permutation of n numbers with this tau to the identity."""
    left, ahead, order = round((1 - tau) / 2 * n * (n - 1) / 2), list(range(n)), []
    for place in range(n):
        skip = min(left, n - 1 - place)
        order.append(ahead.pop(skip))
        left -= skip
    return np.array(order, dtype=float)


def test_one_task_across_zoos_stands_in_one_table(blank, small, tmp_path):
    target, names = np.linspace(0, 1, 16), [f"{i}" for i in range(16)]
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
            costs = {"seconds": 32.0, "reference": floors}
            small(tmp_path, {name: ordered(16, tau)}, target, names, scores=scores, **about, **costs)
    found = read_records(tmp_path)
    page = render_across(found, blank.task.partition("/")[2])
    assert "larger is better, except for the robust sign error.\n" in page
    table = page.splitlines()[-5:]
    assert table[0] == ("| method | one<br>tau | one<br>robust sign error | one<br>time | two<br>tau | two<br>time |")
    assert table[2:] == [
        "| good | 0.700 | 0.100 | 2.0 s | 0.500 | 2.0 s |",
        "| noise | (0.100) | (0.450) | 2.0 s |  |  |",
        "| bad | −0.500 | 0.800 | 2.0 s | 0.300 | 2.0 s |",
    ]
    with pytest.raises(InputError, match=r"there are no scores on a task 'nothing'.*: the records are of"):
        render_across(found, "nothing")


def test_records_without_a_flip_are_judged_by_the_score_alone(records):
    table = render_across(records, "test-accuracy")
    assert table.startswith("# Test-accuracy on all zoos")
    assert "| random | (" in table


def test_a_score_that_its_predictions_do_not_give_is_left_out_and_named(small, tmp_path):
    target, names = np.linspace(0, 1, 16), [f"{i}" for i in range(16)]
    small(tmp_path, {"honest": ordered(16, 0.5)}, target, names)
    boast = {"tau": {"value": 0.9, "low": 0.8, "high": 1.0}}
    small(tmp_path, {"boaster": ordered(16, 0.1)}, target, names, scores=boast)
    lines = []
    page = render_across(read_records(tmp_path), "test-accuracy", note=lines.append)
    assert "| honest | 0.500 |" in page
    assert "boaster |" not in page
    why = "the score of boaster on cifar10-gs/test-accuracy: it says tau 0.900, and its predictions give 0.100"
    assert f"- {why}: run the method again" in page
    assert lines == [f"left out: {why}: run the method again"]
    next(tmp_path.glob("*/*/honest--*.json")).unlink()
    with pytest.raises(InputError, match="no scores on test-accuracy that their predictions give"):
        render_across(read_records(tmp_path), "test-accuracy")
