"""The parent's side of a method's process: starts it, waits for it, reads its answers."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from benchmark.evaluation.answers import Answer
from benchmark.evaluation.methods import Method
from benchmark.evaluation.scored_models import SEED, ScoredModels
from benchmark.evaluation.user_code import code_digest, import_path
from zoo_builder.errors import InputError

DESCRIBE_SECONDS = 300
LOG_CHARACTERS = 10_000
# Python starts with its own modules alone, so that no sitecustomize.py of a user runs; then come those of this process.
WORKER = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[1])
sys.path[:] = json.loads((folder / "job.json").read_text(encoding="utf-8"))["import_path"]
from benchmark.evaluation.worker import main
main(folder)
"""
# What a log holds if code had no network, in the words of Python, the C library and urllib3.
NETWORK_ERRORS = (
    "gaierror",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Failed to establish a new connection",
)


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
            "view": str(view),
            **{name: getattr(split, name).tolist() for name in ("train", "validation", "test")},
        }
        started = time.perf_counter()
        result = _work(folder, content, timeout)
        seconds, memory = time.perf_counter() - started, result.get("peak_memory_mib", 0.0)
        if result["status"] != "ok":
            outcome = _explained({name: result[name] for name in ("status", "reason", "log")})
            return [Answer(method=m, **outcome, seconds=seconds, peak_memory_mib=memory) for m in job.methods]
        predictions = pd.read_parquet(folder / "predictions.parquet")
        answers = []
        for number, (method, outcome) in enumerate(zip(job.methods, result["methods"], strict=True)):
            values = reasons = None
            if outcome["status"] == "ok":
                values = predictions[f"prediction {number}"].to_numpy(float)
                reasons = [reason if isinstance(reason, str) else None for reason in predictions[f"reason {number}"]]
            outcome = _explained(outcome)
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
        reference: _method(reference, outcome) if "method" in outcome else _cannot_be_loaded(reference, outcome)
        for reference, outcome in outcomes.items()
    }


def _method(reference: str, outcome: dict) -> Method:
    return replace(Method.from_json(outcome["method"]), code=code_digest(reference))


def _cannot_be_loaded(reference: str, outcome: dict) -> InputError:
    outcome = _explained(outcome)
    log = f"\n{outcome['log']}" if outcome["log"] else ""
    return InputError(f"{reference} cannot be loaded: {outcome['reason']}{log}")


def _explained(outcome: dict) -> dict:
    """``outcome``; where code failed for want of a network, the reason says that methods have none."""
    said = f"{outcome['reason']}\n{outcome['log']}"
    if outcome["status"] != "failed" or not any(words in said for words in NETWORK_ERRORS):
        return outcome
    return outcome | {"reason": f"{outcome['reason']} (methods have no network access)"}


def _work(folder: Path, job: dict, timeout: float) -> dict:
    """Runs a worker in ``folder`` and returns its result; a worker that dies or takes too long gets a result too."""
    content = job | {"seed": SEED, "import_path": import_path()}
    (folder / "job.json").write_text(json.dumps(content), encoding="utf-8")
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": str(SEED),  # the order of sets of strings
        "PYTHONNOUSERSITE": "1",
        "PYTHONSAFEPATH": "1",
    }
    command = [sys.executable, "-c", WORKER, str(folder)]
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
