"""Controls that read the targets themselves, so that no process of a method may compute them."""

import time
from dataclasses import replace

from benchmark import scoring
from benchmark.evaluation.answers import Answer
from benchmark.evaluation.methods import Method
from benchmark.evaluation.oracle import ORACLES
from benchmark.evaluation.scored_models import ScoredModels
from benchmark.scoring.gaussian_process import WORDS, predicted_without_own
from benchmark.scoring.grid import codes_of, encoded
from benchmark.tasks import ORACLE, Task


def reads_targets(method: Method, task: Task) -> bool:
    """Whether it is an oracle, or a fitted control on a task that sets no training models apart."""
    return method.kind is ORACLE or (method.kind.fitted and not task.fitted)


def answer_of_control(method: Method, models: ScoredModels) -> Answer:
    """An oracle's answer; a fitted control predicts each model from the hyperparameters of other configurations."""
    started = time.perf_counter()
    status, reason, values = "ok", None, None
    if method.kind is ORACLE:
        values = ORACLES[method.name].values(models.target, models.rows["model_id"].tolist())
    else:
        method = replace(method, formula=f"{WORDS}; each model is predicted from other configurations")
        table = models.hyperparameters.to_numpy(object)
        try:
            features = encoded(table, codes_of(table, len(table)))
            values = predicted_without_own(models.target, features, models.clusters)
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
