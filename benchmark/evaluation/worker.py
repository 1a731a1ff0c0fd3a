"""The process that runs methods: it gets a view, and the labels of the train and validation splits alone.

    python -m benchmark.evaluation.worker FOLDER

reads FOLDER/job.json and the view it names, and writes predictions.parquet and result.json there. A user's code finds
no network, an environment without the parent's variables, and the zoo's own folder closed. That keeps honest code
honest; it is no wall against malice.
"""

import json
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmark.evaluation.sandbox import restrict
from zoo_builder.errors import InputError


def main(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    if not job["trusted"]:
        restrict(job["closed"])  # before anything starts a thread: a process of several cannot leave its namespaces
    from benchmark.evaluation.methods import describe, load_object

    if not job["describe"]:
        import numpy as np
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(job["seed"])
        np.random.seed(job["seed"])  # noqa: NPY002 - for methods that use the global generator
    result: dict[str, Any] = {"status": "ok", "reason": None, "log": None}
    try:
        methods = {reference: load_object(reference) for reference in job["references"]}
        if job["describe"]:
            result["methods"] = [vars(describe(reference, method)) for reference, method in methods.items()]
        else:
            result["methods"] = _run(job, folder, list(methods.values()))
    except InputError as error:
        result |= {"status": "failed", "reason": str(error), "log": None}
    except Exception as error:  # noqa: BLE001 - whatever a method raises becomes part of its record
        result |= {"status": "failed", "reason": f"{type(error).__name__}: {error}", "log": traceback.format_exc()}
    result["peak_memory_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _run(job: dict, folder: Path, methods: list) -> list[dict]:
    """Runs all measures of a job in one pass, or its one predictor or estimator; returns what came of each."""
    import numpy as np
    import pandas as pd

    from baselines.measures.compute import compute
    from baselines.measures.measure import Measure
    from baselines.methods import NotApplicable, Prediction
    from benchmark.evaluation.views import load_view

    view = load_view(Path(job["view"]))
    labels = pd.read_parquet(folder / "labels.parquet")
    train, validation, test = (np.array(job[name], dtype=np.int64) for name in ("train", "validation", "test"))
    started = time.perf_counter()
    outcomes = []
    columns: dict[str, Any] = {}
    if isinstance(methods[0], Measure):
        for number, (name, result) in enumerate(compute(view.take(test), methods).items()):
            columns |= _columns(number, result.values, result.reasons)
            failed = bool(result.log) and not np.isfinite(result.values).any()
            reason = next(iter(result.reasons.values()), None) if failed else None
            status = "failed" if failed else "ok"
            outcomes.append(
                {"name": name, "status": status, "reason": reason, "log": result.log or None, "seconds": result.seconds}
            )
    else:
        (method,) = methods
        outcome = {"name": method.name, "status": "ok", "reason": None, "log": None}
        try:
            if hasattr(method, "estimate"):
                answer = method.estimate(view.take(test))
            else:
                known = [labels["target"].to_numpy()[rows] for rows in (train, validation)]
                fitted = method.fit(view.take(train), known[0], view.take(validation), known[1])
                if fitted is None:
                    raise InputError("fit returned None: it must return the fitted predictor, usually self")
                answer = fitted.predict(view.take(test))
            answer = answer if isinstance(answer, Prediction) else Prediction(np.asarray(answer))
            columns |= _columns(0, _checked(answer, len(test)), answer.reasons)
        except NotApplicable as reason:
            outcome |= {"status": "not applicable", "reason": str(reason)}
        except InputError as error:
            outcome |= {"status": "failed", "reason": str(error)}
        outcomes.append(outcome | {"seconds": time.perf_counter() - started})
    pd.DataFrame(columns).to_parquet(folder / "predictions.parquet")
    return outcomes


def _columns(number: int, values: Any, reasons: dict[int, str]) -> dict[str, list]:
    return {f"prediction {number}": list(values), f"reason {number}": [reasons.get(row) for row in range(len(values))]}


def _checked(answer: Any, expected: int) -> Any:
    """The values of a prediction as float64 [expected].

    Raises:
        InputError: another shape, not numbers, infinite, or NaN without a reason.
    """
    import numpy as np

    try:
        values = np.asarray(answer.values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"the prediction does not consist of numbers: {error}") from None
    if values.shape != (expected,):
        raise InputError(
            f"the prediction has shape {values.shape}, expected ({expected},): one number per model of the view"
        )
    if np.isinf(values).any():
        raise InputError(
            f"the prediction of model {int(np.isinf(values).argmax())} is infinite: give a number or NaN and a reason"
        )
    unexplained = [row for row in np.flatnonzero(np.isnan(values)).tolist() if not answer.reasons.get(row)]
    if unexplained:
        raise InputError(
            f"the prediction of model {unexplained[0]} (of {len(unexplained)}) is NaN without a reason: "
            f"return Prediction(values, reasons={{row: why}})"
        )
    return values


if __name__ == "__main__":
    main(Path(sys.argv[1]))
