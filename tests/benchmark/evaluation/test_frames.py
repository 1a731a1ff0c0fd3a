"""What a worker sends: an honest answer survives, and nothing else is believed."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.evaluation import frames
from benchmark.evaluation.frames import BrokenAnswer, decode, encode

NAN, INF = float("nan"), float("inf")
OK = {"status": "ok", "reason": None, "log": None, "reasons": {}}
FAILED = {"status": "failed", "reason": "no idea", "log": "line\n" * 5000}
FRAME = frames.READY + encode([OK | {"reasons": {1: "thin"}}], [np.array([0.5, NAN])])


def test_an_answer_is_read_as_it_was_sent() -> None:
    content = frames.READY + encode([OK, FAILED, OK | {"reasons": {2: "thin"}}], [np.arange(3.0), [1 / 3, 0, NAN]])
    (first, values), (failed, nothing), (partly, rest) = decode(content, 3, 3)
    np.testing.assert_array_equal(values, [0, 1, 2])
    np.testing.assert_array_equal(rest, [1 / 3, 0, NAN])
    assert (first["status"], first["reasons"], partly["reasons"]) == ("ok", [None] * 3, [None, None, "thin"])
    assert (failed["status"], failed["reason"], nothing) == ("failed", "no idea", None)
    assert len(failed["log"]) == frames.LOG_CHARACTERS
    assert len(content) <= frames.largest(3, 3)


def test_errors_and_remarks_come_with_their_values() -> None:
    with_errors = OK | {"reasons": {0: "at the bound", 1: "thin"}, "errors": True}
    content = frames.READY + encode([OK, with_errors, OK], [[1.0, 2], [3, NAN], [0.1, NAN], [4, 5]])
    (first, values), (second, others), (third, last) = decode(content, 3, 2)
    assert (first["errors"], third["errors"], second["reasons"]) == (None, None, ["at the bound", "thin"])
    np.testing.assert_array_equal([values, others, second["errors"], last], [[1, 2], [3, NAN], [0.1, NAN], [4, 5]])
    assert len(content) <= frames.largest(3, 2)
    unknown = frames.READY + encode([OK | {"errors": True}], [[1.0, 2], [NAN, NAN]])
    assert decode(unknown, 1, 2)[0][0]["errors"] is None


def frame(outcome: object, values: bytes = b"") -> bytes:
    return frames.READY + json.dumps([outcome]).encode() + b"\n" + values


TWO = np.zeros(2).tobytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it gave no answer"),
        (b"\0", "it ended before it gave an answer"),
        (b"hello", "its answer does not start as an answer does"),
        (FRAME[:20], "it ended within its answer"),
        (FRAME[:-1], "its answer has 15 bytes of values, expected 16"),
        (FRAME + FRAME, "its answer has"),
        (b"\0[" * 100, "it ended within its answer"),
        (b"\0" + b"[" * 200_000 + b"\n", "its answer is not JSON"),
        (b"\0[{]\n", "its answer is not JSON"),
        (b"\0\xff\n", "its answer is not JSON"),
        (b'\0[{"seconds": NaN}]\n', "its answer is not JSON: NaN in place of a number"),
        (b"\0[]\n", "its answer is not a list of 1 objects"),
        (b"\0[1]\n", "its answer is not a list of 1 objects"),
        (frame({}), "its answer has the status 'None'"),
        (frame({"status": "excellent"}, TWO), "its answer has the status 'excellent'"),
        (frame({"status": "timeout", "reason": "slow"}), "its answer has the status 'timeout'"),
        (frame({"status": ["ok"]}), "its answer has the status"),
        (frame({"status": "failed"}), "its answer is 'failed' without a reason"),
        (frame({"status": "failed", "reason": 3}), "its answer has a reason or a log that is no text"),
        (frame({"status": "ok", "log": {}}, TWO), "its answer has a reason or a log that is no text"),
        (frame({"status": "ok", "reasons": []}, TWO), "its answer has a reason or a log that is no text"),
        (frame({"status": "failed", "reason": "x"}, TWO), "its answer has 16 bytes of values, expected 0"),
        (frame({"status": "ok"}, np.array([INF, 0]).tobytes()), "its answer has infinite values"),
        (frame({"status": "ok"}, np.array([0, NAN]).tobytes()), "its answer is NaN for model 1 without a reason"),
        (frame({"status": "ok", "errors": "yes"}, TWO), "its answer does not say whether it has errors"),
        (frame({"status": "ok", "errors": True}, TWO), "its answer has 16 bytes of values, expected 32"),
        (frame({"status": "ok", "errors": True}, TWO + np.array([-1.0, 0]).tobytes()), "errors that are negative"),
        (frame({"status": "ok", "errors": True}, TWO + np.array([INF, 0]).tobytes()), "negative or infinite"),
        (frame({"status": "ok", "reasons": {"1": 5}}, np.array([0, NAN]).tobytes()), "is NaN for model 1 without a"),
    ],
)
def test_a_broken_answer_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(BrokenAnswer, match=re.escape(words)):
        decode(content, 1, 2)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda middle: FRAME[:30] + middle + FRAME[30:]))
def test_any_bytes_are_an_answer_or_refused(content: bytes) -> None:
    try:
        ((outcome, values),) = decode(content, 1, 2)
    except BrokenAnswer:
        return
    assert outcome["status"] in frames.OUTCOMES
    assert values is None or not np.isinf(values).any()


def test_texts_are_bounded_and_obeyed_by_no_terminal() -> None:
    outcome = {"status": "failed", "reason": "\x1b[31mred\r\u202e" + "x" * 5000, "log": "a\tb\nc\x07"}
    found = frames.checked_outcome(outcome)
    assert found["reason"].startswith(r"\x1b[31mred\r\u202exx")
    assert len(found["reason"]) == frames.REASON_CHARACTERS
    assert found["log"] == "a\tb\nc\\x07"
