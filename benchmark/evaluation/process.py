"""The parent's side of a method's process: starts it, waits for it, reads its answers."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark.evaluation.methods import Method
from benchmark.split import Split
from zoo_builder.errors import InputError

SEED = 0


@dataclass(frozen=True)
class Answer:
    """What came of one method.

    Attributes:
        values: float64 [test models], None where there is nothing to score.
        reasons: why a value is NaN, or None, one per test model.
    """

    method: Method
    status: str
    reason: str | None
    log: str | None
    seconds: float
    peak_memory_mib: float | None
    values: np.ndarray | None = None
    reasons: list[str | None] | None = None


def answers_of(
    job: list[Method], access: str, target: np.ndarray, parts: Split, closed: list[str], folder: Path, timeout: float
) -> list[Answer]:
    """Runs one worker process, to which the folders ``closed`` are closed, and reads its answers."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        here = Path(temporary)
        labels = target.copy()
        labels[parts.test] = np.nan
        pd.DataFrame({"target": labels}).to_parquet(here / "labels.parquet")
        rows = {name: getattr(parts, name).tolist() for name in ("train", "validation", "test")}
        started = datetime.now(UTC)
        result = _work(
            here,
            [method.reference for method in job],
            timeout,
            view=str(folder / access),
            closed=closed,
            **rows,
        )
        elapsed = (datetime.now(UTC) - started).total_seconds()
        memory = result.get("peak_memory_mib", 0.0)
        if result["status"] != "ok":
            why = (result["status"], result["reason"], result["log"], elapsed, memory)
            return [Answer(method, *why) for method in job]
        predictions = pd.read_parquet(here / "predictions.parquet")
        answers = []
        for number, (method, outcome) in enumerate(zip(job, result["methods"], strict=True)):
            values = reasons = None
            if outcome["status"] == "ok":
                values = predictions[f"prediction {number}"].to_numpy(float)
                reasons = [reason if isinstance(reason, str) else None for reason in predictions[f"reason {number}"]]
            said = (outcome["status"], outcome["reason"], outcome["log"], outcome["seconds"])
            answers.append(Answer(method, *said, memory, values, reasons))
        return answers


def described(reference: str) -> Method:
    """Asks a process of its own what a user's method is."""
    with tempfile.TemporaryDirectory(prefix="gengap-") as folder:
        result = _work(Path(folder), [reference], timeout=300, describe=True)
    if result["status"] != "ok":
        log = f"\n{result['log']}" if result["log"] else ""
        raise InputError(f"{reference} cannot be loaded: {result['reason']}{log}")
    return Method(**result["methods"][0])


def _work(folder: Path, references: list[str], timeout: float, describe: bool = False, **job: object) -> dict:
    """Starts a worker in ``folder`` and waits for its result; a worker that dies or takes too long gets one as well."""
    trusted = all(":" not in reference for reference in references)
    where = {"view": None, "closed": [], **job}
    job = {"references": references, "describe": describe, "trusted": trusted, "seed": SEED, **where}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    # A path that a user gave means the folder the command was started in.
    module_paths = [os.getcwd(), *sys.path]
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(path for path in module_paths if path),
    }
    command = [sys.executable, "-m", "benchmark.evaluation.worker", str(folder)]
    with open(folder / "log", "w+", encoding="utf-8", errors="replace") as log:
        try:
            code = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, timeout=timeout, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return {"status": "timeout", "reason": f"took longer than {timeout:g} s", "log": None}
        log.seek(0)
        said = log.read()[-10_000:]
    if not (folder / "result.json").is_file():
        died = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        reason = f"its process {died} before it gave an answer"
        return {"status": "failed", "reason": reason, "log": said}
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))
