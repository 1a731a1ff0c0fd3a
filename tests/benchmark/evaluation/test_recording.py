"""Records of answers that were made up."""

import numpy as np
import pytest

from benchmark.evaluation.answers import Answer
from benchmark.evaluation.methods import builtin_methods
from benchmark.evaluation.recording import records_of
from benchmark.evaluation.scored_models import ScoredModels
from benchmark.records import Record
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.precision import tau_to_exact
from zoo_builder.store.zoo import Zoo


@pytest.fixture(scope="module")
def models(small_zoo: Zoo, quick) -> ScoredModels:
    return ScoredModels.of(quick("complexity"), small_zoo)


def answer(models: ScoredModels, values: np.ndarray, reasons: list | None = None, errors=None) -> Answer:
    method, reasons = builtin_methods()["path-norm"], reasons or [None] * len(values)
    return Answer(method=method, seconds=1.23456, values=values, reasons=reasons, errors=errors)


def test_every_answer_gets_its_own_scores(models: ScoredModels) -> None:
    """Also where more are scored than one chunk holds."""
    noise = np.random.default_rng(0).standard_normal((20, len(models.target)))
    found = list(records_of([answer(models, values) for values in noise], models))
    for values, (record, predictions) in zip(noise, found, strict=True):
        assert record.scores["tau"]["value"] == kendall_tau(values, models.target).value
        np.testing.assert_array_equal(predictions["prediction"], values)
        np.testing.assert_array_equal(predictions["target"], models.target)
        assert (record.coverage, record.seconds, record.reference) == (1, 1.235, models.reference)


def test_values_that_break_a_computation_fail_alone(models: ScoredModels, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = ScoredModels.scores

    def breaking(self, values, names):
        if (values == 7).any():
            raise np.linalg.LinAlgError("did not converge")
        return scores(self, values, names)

    monkeypatch.setattr(ScoredModels, "scores", breaking)
    (first, _), (broken, predictions) = records_of(
        [answer(models, models.target), answer(models, np.full(len(models.target), 7.0))], models
    )
    assert (first.status, first.scores["tau"]["value"]) == ("ok", 1)
    reason = "its predictions cannot be scored: LinAlgError: did not converge"
    assert (broken.status, broken.reason, broken.scores, predictions) == ("failed", reason, {}, None)


def test_an_answer_without_values_has_no_scores(models: ScoredModels) -> None:
    failed = Answer(method=builtin_methods()["path-norm"], status="failed", reason="why", log="log", seconds=1)
    ((record, predictions),) = records_of([failed], models)
    assert (record.status, record.reason, record.log) == ("failed", "why", "log")
    assert (record.coverage, record.scores, predictions) == (0, {}, None)


def test_an_answer_for_hardly_a_model_is_not_applicable(models: ScoredModels) -> None:
    values = np.full(len(models.target), np.nan)
    values[5] = 1
    reasons = [None if np.isfinite(value) else "too thin" for value in values]
    ((record, predictions),) = records_of([answer(models, values, reasons)], models)
    assert (record.status, record.reason, record.scores) == ("not applicable", "too thin", {})
    assert record.coverage == 1 / len(values)
    assert predictions["reason"].notna().sum() == len(values) - 1


def test_remarks_and_errors_of_values_are_flags(models: ScoredModels) -> None:
    n = len(models.target)
    values, errors = np.arange(float(n)), np.full(n, 0.5)
    values[0] = errors[0] = np.nan
    reasons = ["undefined", *["at the bound"] * 5, "a\nb", "c", "d", *[None] * (n - 9)]
    ((record, predictions),) = records_of([answer(models, values, reasons, errors)], models)
    assert record.flags[:2] == [f"5 of {n} values: at the bound", f"1 of {n} values: a b"]
    assert record.flags[3] == "1 other remark"
    tau = tau_to_exact(values[1:], errors[1:])
    assert 0.9 < tau < 0.999
    assert record.flags[4:] == [f"random draws: tau {tau:.2f} to values without error"]
    np.testing.assert_array_equal(predictions["error"], errors)
    assert predictions["reason"].dropna().tolist() == reasons[:9]


def test_a_record_names_what_was_scored(models: ScoredModels, small_zoo: Zoo) -> None:
    record: Record
    ((record, _),) = records_of([answer(models, models.target)], models)
    assert (record.task, record.zoo, record.kind, record.headline) == ("small/complexity", "small", "measure", "tau")
    assert (record.weights_hash, record.split_hash) == (small_zoo.weights_hash, models.split.hash)
    assert record.environment["zoo_engines"]
