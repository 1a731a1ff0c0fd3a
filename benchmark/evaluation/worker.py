"""The process that runs methods. It gets a view, and the labels of the train and validation splits only.

``main(FOLDER)`` reads FOLDER/job.json and the view that the job names, and writes predictions.parquet and result.json
there. A user's code has no network, none of the parent's environment variables, and no access to the folders of the zoo
and the records. This protects honest code from mistakes; it does not stop an attacker.
"""

import json
import random
import resource
import time
import traceback
from pathlib import Path
from typing import Any

from benchmark.evaluation.sandbox import restrict
from zoo_builder.errors import InputError


def main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    if not job["trusted"]:
        # Before numpy or torch start threads: a process with several threads cannot change its namespaces.
        restrict(job["closed"])
    random.seed(job["seed"])
    try:
        methods = describe_methods(job["references"]) if job["action"] == "describe" else run(job, folder)
        result = {"status": "ok", "methods": methods}
    except Exception as error:  # noqa: BLE001 - a method may raise anything, and the reason goes to its record
        result = failure(error)
    result["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def failure(error: Exception) -> dict[str, Any]:
    """The status, reason and log of a method that raised ``error``."""
    if isinstance(error, InputError):
        return {"status": "failed", "reason": str(error), "log": None}
    return {"status": "failed", "reason": f"{type(error).__name__}: {error}", "log": traceback.format_exc()}


def describe_methods(references: list[str]) -> list[dict]:
    """The description of every method, or why it cannot be loaded."""
    from benchmark.evaluation.methods import describe, load_own

    found = []
    for reference in references:
        try:
            found.append({"method": describe(reference, load_own(reference)).to_json()})
        except Exception as error:  # noqa: BLE001 - a user's file may raise anything
            found.append(failure(error))
    return found


def run(job: dict, folder: Path) -> list[dict]:
    """Runs the measures of a job in one pass, or its one predictor or estimator; returns the outcome of each."""
    import numpy as np
    import pandas as pd
    import torch

    from benchmark.evaluation.methods import load_builtin, load_own
    from benchmark.evaluation.views import load_view
    from benchmark.tasks import KINDS, MEASURE

    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 - for methods that use the global generator
    kind = KINDS[job["kind"]]
    view = load_view(Path(job["view"]))
    target = pd.read_parquet(folder / "labels.parquet")["target"].to_numpy()
    if job["trusted"]:
        methods = [load_builtin(name, kind) for name in job["references"]]
    else:
        methods = [load_own(reference) for reference in job["references"]]
    train, validation, test = (np.array(job[name], dtype=np.int64) for name in ("train", "validation", "test"))
    if kind is MEASURE:
        outcomes, predictions = run_measures(methods, view.take(test))
    else:
        outcomes, predictions = run_one(methods[0], kind, view, target, train, validation, test)
    columns: dict[str, Any] = {}
    for number, prediction in enumerate(predictions):
        columns[f"prediction {number}"] = prediction.values
        columns[f"reason {number}"] = [prediction.reasons.get(row) for row in range(len(test))]
    pd.DataFrame(columns).to_parquet(folder / "predictions.parquet")
    return outcomes


def run_measures(measures: list, view: Any) -> tuple[list[dict], list]:
    """The outcome of each measure, and its prediction."""
    import numpy as np

    from baselines.measures.compute import compute

    outcomes, predictions = [], []
    for result in compute(view, measures).values():
        failed = bool(result.log) and not np.isfinite(result.values).any()
        outcomes.append(
            {
                "status": "failed" if failed else "ok",
                "reason": next(iter(result.reasons.values()), None) if failed else None,
                "log": result.log or None,
                "seconds": result.seconds,
            }
        )
        predictions.append(result)
    return outcomes, predictions


def run_one(
    method: Any, kind: Any, view: Any, target: Any, train: Any, validation: Any, test: Any
) -> tuple[list[dict], list]:
    """The outcome of a predictor or an estimator, and its prediction of the test models where it gave one."""
    from baselines.methods import NotApplicable
    from benchmark.tasks import ESTIMATOR

    started = time.perf_counter()
    outcome, predictions = {"status": "ok", "reason": None, "log": None}, []
    try:
        if kind is ESTIMATOR:
            answer = method.estimate(view.take(test))
        else:
            fitted = method.fit(view.take(train), target[train], view.take(validation), target[validation])
            if fitted is None:
                raise InputError("fit returned None: it must return the fitted predictor, usually self")
            answer = fitted.predict(view.take(test))
        predictions.append(checked(answer, len(test)))
    except NotApplicable as reason:
        outcome |= {"status": "not applicable", "reason": str(reason)}
    return [outcome | {"seconds": time.perf_counter() - started}], predictions


def checked(answer: Any, models: int) -> Any:
    """A method's answer as a Prediction of float64 [models].

    Raises:
        InputError: another shape, values that are not numbers or infinite, or NaN without a reason.
    """
    import numpy as np

    from baselines.methods import Prediction

    answer = answer if isinstance(answer, Prediction) else Prediction(np.asarray(answer))
    try:
        values = np.asarray(answer.values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the prediction does not consist of numbers: {error}") from None
    if values.shape != (models,):
        raise InputError(
            f"the prediction has shape {values.shape}, expected ({models},): one number per model of the view"
        )
    if np.isinf(values).any():
        raise InputError(
            f"the prediction of model {int(np.isinf(values).argmax())} is infinite: give a number, or NaN and a reason"
        )
    unexplained = [row for row in np.flatnonzero(np.isnan(values)).tolist() if not answer.reasons.get(row)]
    if unexplained:
        raise InputError(
            f"the prediction of model {unexplained[0]} (of {len(unexplained)}) is NaN without a reason: "
            f"return Prediction(values, reasons={{row: why}})"
        )
    return Prediction(values, answer.reasons)
