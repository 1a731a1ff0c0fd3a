"""What the process of a job does: it loads and runs methods on a view, and writes their answer to a pipe.

It gets the labels of the train and validation splits only. ``inside`` starts it, with a user's code in a box already.
"""

import contextlib
import os
import random
import sys
from pathlib import Path
from typing import Any

from benchmark.evaluation import frames
from benchmark.evaluation.tracebacks import users_traceback
from zoo_builder.errors import InputError


def main(job: dict[str, Any]) -> None:
    """Runs the job that ``process`` describes, and leaves without waiting for threads that a method started."""
    random.seed(job.get("seed"))
    content = {"nothing": nothing, "describe": describe_methods, "run": run}[job["action"]](job)
    send(job, content)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # a method may have closed them, or put anything in their place
            stream.flush()
    os._exit(0)


def send(job: dict[str, Any], content: bytes) -> None:
    while content:
        content = content[os.write(job["box"]["answer"], content) :]


def nothing(job: dict[str, Any]) -> bytes:
    """The answer to the question whether a box works here."""
    return frames.READY


def failure(error: BaseException) -> dict[str, Any]:
    """The outcome of a method that raised ``error``."""
    try:
        message = str(error)
    except BaseException:  # noqa: BLE001 - a method may raise anything
        message = "(a message that cannot be shown)"
    if isinstance(error, InputError):
        return {"status": "failed", "reason": message, "log": None}
    return {"status": "failed", "reason": f"{type(error).__name__}: {message}", "log": users_traceback(error)}


def code_folders(job: dict[str, Any]) -> list[str]:
    """The folders of a user's source files, in the box."""
    return sorted(map(str, Path(job["code"]).iterdir())) if "code" in job else []


def describe_methods(job: dict[str, Any]) -> bytes:
    """The answer with the description of every method, or why it cannot be loaded."""
    from benchmark.evaluation.methods import describe, load_own

    send(job, frames.READY)
    found = []
    for reference in job["references"]:
        try:
            method = describe(reference, load_own(reference, code_folders(job)))
            found.append({"status": "ok", "method": method.to_json()})
        except BaseException as error:  # noqa: BLE001 - a user's file may raise anything
            found.append(failure(error))
    return frames.encode(found)


def run(job: dict[str, Any]) -> bytes:
    """The answer of the measures of a job, computed in one pass, or of its one predictor or estimator."""
    import numpy as np
    import torch

    from benchmark.evaluation.methods import load_builtin, load_own
    from benchmark.evaluation.views import load_view
    from benchmark.tasks import KINDS, MEASURE

    torch.set_num_threads(1)
    torch.manual_seed(job["seed"])
    np.random.seed(job["seed"])  # noqa: NPY002 - for methods that use the global generator
    kind = KINDS[job["kind"]]
    view = load_view(Path(job["view"]))
    train, validation, test = (np.array(job[name], dtype=np.int64) for name in ("train", "validation", "test"))
    target = np.full(view.size, np.nan)
    target[train], target[validation] = job["train_target"], job["validation_target"]
    send(job, frames.READY)
    try:
        if "code" in job:
            methods = [load_own(reference, code_folders(job)) for reference in job["references"]]
        else:
            methods = [load_builtin(name, kind) for name in job["references"]]
        if kind is MEASURE:
            return frames.encode(*run_measures(methods, view.take(test)))
        return frames.encode(*run_one(methods[0], kind, view, target, train, validation, test))
    except BaseException as error:  # noqa: BLE001 - a method may raise anything, and the reason goes to its record
        return frames.encode([failure(error)] * len(job["references"]))


def run_measures(measures: list, view: Any) -> tuple[list[dict], list]:
    """The outcome of each measure, and the values of those that are "ok", with their errors."""
    import numpy as np

    from baselines.measures.compute import compute

    outcomes, values = [], []
    for result in compute(view, measures).values():
        failed = bool(result.log) and not np.isfinite(result.values).any()
        outcomes.append(
            {
                "status": "failed" if failed else "ok",
                "reason": next(iter(result.reasons.values()), None) if failed else None,
                "log": result.log or None,
                "seconds": result.seconds,
                "reasons": {} if failed else result.remarks | result.reasons,
                "errors": not failed and result.errors is not None,
            }
        )
        if not failed:
            values += [array for array in (result.values, result.errors) if array is not None]
    return outcomes, values


def run_one(
    method: Any, kind: Any, view: Any, target: Any, train: Any, validation: Any, test: Any
) -> tuple[list[dict], list]:
    """The outcome of a predictor or an estimator, and its values of the test models where it gave some."""
    from baselines.methods import NotApplicable
    from benchmark.tasks import ESTIMATOR

    try:
        if kind is ESTIMATOR:
            answer = method.estimate(view.take(test))
        else:
            fitted = method.fit(view.take(train), target[train], view.take(validation), target[validation])
            if fitted is None:
                raise InputError("fit returned None: it must return the fitted predictor, usually self")
            answer = fitted.predict(view.take(test))
        prediction = checked(answer, len(test))
    except NotApplicable as reason:
        return [{"status": "not applicable", "reason": str(reason) or "no reason given", "log": None}], []
    return [{"status": "ok", "reason": None, "log": None, "reasons": prediction.reasons}], [prediction.values]


def checked(answer: Any, models: int) -> Any:
    """A method's answer as a Prediction of float64 [models].

    Raises:
        InputError: another shape, values that are not numbers or infinite, or NaN without a reason.
    """
    import numpy as np

    from baselines.methods import Prediction

    answer = answer if isinstance(answer, Prediction) else Prediction(answer)
    if np.ma.is_masked(answer.values):
        raise InputError("the prediction is masked: give NaN and a reason where there is no value")
    try:
        given = np.asarray(answer.values)
        values = np.asarray(given, dtype=np.float64) if given.dtype.kind not in "cMm" else None
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the prediction does not consist of numbers: {error}") from None
    if values is None:  # a conversion would keep a part of a complex number, and drop the unit of a time
        raise InputError(f"the prediction has the type {given.dtype}, expected real numbers")
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
