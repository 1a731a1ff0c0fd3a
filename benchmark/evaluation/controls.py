"""Controls that read the targets themselves, so that no process of a method may compute them."""

import time
from dataclasses import replace

from baselines.predictors.boosting import PLAIN_WORDS, boosted_regression
from benchmark import scoring
from benchmark.evaluation.answers import Answer
from benchmark.evaluation.methods import Method
from benchmark.evaluation.oracle import ORACLES
from benchmark.evaluation.scored_models import ScoredModels
from benchmark.scoring.grid import codes_of, encoded
from benchmark.scoring.partial import out_of_fold
from benchmark.scoring.regression import FOLDS, folds_of
from benchmark.tasks import ORACLE, Task


def reads_targets(method: Method, task: Task) -> bool:
    """Whether it is an oracle, or a fitted control on a task that sets no training models apart."""
    return method.kind is ORACLE or (method.kind.fitted and not task.fitted)


def answer_of_control(method: Method, models: ScoredModels) -> Answer:
    """An oracle's answer; a fitted control predicts each model from the hyperparameters of the other folds."""
    started = time.perf_counter()
    status, reason, values = "ok", None, None
    if method.kind is ORACLE:
        values = ORACLES[method.name].values(models.target, models.rows["model_id"].tolist())
    else:
        formula = f"{PLAIN_WORDS}, on the hyperparameters; out of {FOLDS} folds of configurations"
        method = replace(method, formula=formula)
        table = models.hyperparameters.to_numpy(object)
        try:
            features = encoded(table, codes_of(table, len(table)))
            values = out_of_fold(models.target, features, folds_of(models.clusters), boosted_regression)
        except scoring.ScoreError as error:
            status, reason = "not applicable", str(error)
    reasons: list[str | None] = [None] * len(models.target)
    return Answer(
        method=method,
        status=status,
        reason=reason,
        seconds=time.perf_counter() - started,
        values=values,
        reasons=reasons,
    )
