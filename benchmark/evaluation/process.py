"""The parent's side of a method's process: starts it, waits for it, reads its answers."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmark.evaluation.answers import Answer
from benchmark.evaluation.methods import Method
from benchmark.evaluation.scored_models import SEED, ScoredModels
from zoo_builder.errors import InputError

DESCRIBE_SECONDS = 300
LOG_CHARACTERS = 10_000


@dataclass(frozen=True)
class Job:
    """What one process runs: one method, or several built-in measures, on a view of one access level."""

    methods: tuple[Method, ...]
    access: str

    @property
    def trusted(self) -> bool:
        """All are built in: the process may read the zoo, and what it imports needs no sandbox."""
        return all(method.builtin for method in self.methods)


def answers_of(job: Job, view: Path, models: ScoredModels, closed: Sequence[Path], timeout: float) -> list[Answer]:
    """Runs a job in one worker process and reads its answers.

    Args:
        view: the folder of the job's view.
        closed: folders that a user's code cannot see.
        timeout: seconds until the process is killed.
    """
    split = models.split
    with tempfile.TemporaryDirectory(dir=view.parent) as temporary:
        folder = Path(temporary)
        labels = models.labels.copy()
        labels[split.test] = float("nan")
        pd.DataFrame({"target": labels}).to_parquet(folder / "labels.parquet")
        content = {
            "action": "run",
            "references": [method.reference for method in job.methods],
            "kind": job.methods[0].kind.name,
            "trusted": job.trusted,
            "closed": list(map(str, closed)),
            "seed": SEED,
            "view": str(view),
            **{name: getattr(split, name).tolist() for name in ("train", "validation", "test")},
        }
        started = time.perf_counter()
        result = _work(folder, content, timeout)
        seconds, memory = time.perf_counter() - started, result.get("peak_memory_mib", 0.0)
        if result["status"] != "ok":
            outcome = {name: result[name] for name in ("status", "reason", "log")}
            return [Answer(method=m, **outcome, seconds=seconds, peak_memory_mib=memory) for m in job.methods]
        predictions = pd.read_parquet(folder / "predictions.parquet")
        answers = []
        for number, (method, outcome) in enumerate(zip(job.methods, result["methods"], strict=True)):
            values = reasons = None
            if outcome["status"] == "ok":
                values = predictions[f"prediction {number}"].to_numpy(float)
                reasons = [reason if isinstance(reason, str) else None for reason in predictions[f"reason {number}"]]
            answers.append(Answer(method=method, **outcome, peak_memory_mib=memory, values=values, reasons=reasons))
        return answers


def describe_in_process(references: Sequence[str]) -> dict[str, Method | InputError]:
    """Loads users' methods of one file in a separate process: a description of each, or the error that it raised."""
    with tempfile.TemporaryDirectory(prefix="gengap-") as folder:
        content = {"action": "describe", "references": list(references), "trusted": False, "closed": []}
        result = _work(Path(folder), content, DESCRIBE_SECONDS)
    if result["status"] == "ok":
        outcomes = dict(zip(references, result["methods"], strict=True))
    else:
        outcomes = dict.fromkeys(references, result)
    return {
        reference: Method.from_json(outcome["method"]) if "method" in outcome else _cannot_be_loaded(reference, outcome)
        for reference, outcome in outcomes.items()
    }


def _cannot_be_loaded(reference: str, outcome: dict) -> InputError:
    log = f"\n{outcome['log']}" if outcome["log"] else ""
    return InputError(f"{reference} cannot be loaded: {outcome['reason']}{log}")


def _work(folder: Path, job: dict, timeout: float) -> dict:
    """Runs a worker in ``folder`` and returns its result; a worker that dies or takes too long gets a result too."""
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    # A path that a user gave is relative to the folder that the command was started in.
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
        printed = log.read()[-LOG_CHARACTERS:]
    if not (folder / "result.json").is_file():
        died = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return {"status": "failed", "reason": f"its process {died} before it gave an answer", "log": printed}
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))
