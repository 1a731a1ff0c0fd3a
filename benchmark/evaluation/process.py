"""The parent's side of a method's process: gives it a job, and checks what it sends before it believes it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baselines.levels import ACCESS
from benchmark.evaluation import frames, sandbox
from benchmark.evaluation.answers import Answer
from benchmark.evaluation.methods import LONGEST_TEXT, Method, checked_name
from benchmark.evaluation.scored_models import SEED, ScoredModels
from benchmark.evaluation.user_code import Code, read_code
from benchmark.tasks import KINDS, MEASURE
from zoo_builder.errors import InputError
from zoo_builder.temporary import temporary_folder
from zoo_builder.text import one_line, set_in

DESCRIBE_SECONDS = 300
# What an error says where code wanted what no box has: words, and the explanation.
WANTED = (
    (
        (
            "gaierror",
            "Network is unreachable",
            "Temporary failure in name resolution",
            "Name or service not known",
            "Failed to establish a new connection",
        ),
        "methods have no network access",
    ),
    (
        ("FileNotFoundError", "ModuleNotFoundError", "NotADirectoryError"),
        "a method sees its view, installed packages, and the .py files that its import statements name; no other files",
    ),
)


@dataclass(frozen=True)
class Job:
    """What one process runs: one method, or several built-in measures, on a view of one access level."""

    methods: tuple[Method, ...]
    access: str

    @property
    def trusted(self) -> bool:
        """All are built in: the process may read the zoo, and what it imports needs no box."""
        return all(method.builtin for method in self.methods)


def answers_of(
    job: Job, view: Path, models: ScoredModels, protection: str | None, timeout: float, workers: int = 1
) -> list[Answer]:
    """Runs a job in one worker process and reads its answers.

    Args:
        view: the folder of the job's view.
        protection: the kind of box for a user's code, of ``sandbox.protection``; None where all methods are built in.
        timeout: seconds until the process is killed.
        workers: how many processes run at a time.
    """
    split = models.split
    content = {
        "action": "run",
        "references": [method.reference for method in job.methods],
        "kind": job.methods[0].kind.name,
        "seed": SEED,
        "train_target": models.labels[split.train].tolist(),
        "validation_target": models.labels[split.validation].tolist(),
        **{name: getattr(split, name).tolist() for name in ("train", "validation", "test")},
    }
    size = len(split.test)
    limits: dict[str, Any] = {"timeout": timeout, "largest": frames.largest(len(job.methods), size), "workers": workers}
    paths: dict[str, str] = {}
    if job.trusted:
        ended = sandbox.run(content, sandbox.UNPROTECTED, shown={"view": view}, **limits)
    else:
        (method,) = job.methods
        assert protection is not None
        try:
            code = read_code(method.reference)
            if code.digest != method.code:
                raise InputError(f"{method.reference} was changed after it had been loaded: run it again")
        except InputError as error:
            return [Answer(method=method, status="failed", reason=str(error), seconds=0.0)]
        ended, paths = _run_code(code, content, protection, {"view": view}, **limits)
    try:
        found = frames.decode(ended.answer, len(job.methods), size) if ended.status == "ok" else None
    except frames.BrokenAnswer as error:
        ended, found = replace(ended, status="failed", reason=str(error)), None
    if found is None:
        outcome = {name: getattr(ended, name) for name in ("status", "reason", "log", "seconds")}
        found = [(outcome | {"reasons": None}, None)] * len(job.methods)
    answers = []
    for method, (outcome, values) in zip(job.methods, found, strict=True):
        outcome = _explained(outcome, paths)
        # Built-in measures share a process, and say how long each took.
        alone = method.kind is not MEASURE or not job.trusted
        answers.append(
            Answer(
                method=method,
                status=outcome["status"],
                reason=outcome["reason"],
                log=outcome["log"],
                seconds=ended.seconds if alone else outcome["seconds"],
                peak_memory_mib=ended.peak_memory_mib,
                values=values,
                reasons=None if values is None else outcome["reasons"],
                errors=None if values is None else outcome["errors"],
            )
        )
    return answers


def describe_in_process(
    references: Sequence[str], protection: str, timeout: float = DESCRIBE_SECONDS
) -> dict[str, Method | InputError]:
    """Loads users' methods of one file in a process: a description of each, or the error that it raised.

    Args:
        protection: the kind of box, of ``sandbox.protection``.
        timeout: seconds until the process is killed, at most ``DESCRIBE_SECONDS``.
    """
    timeout = min(timeout, DESCRIBE_SECONDS)
    try:
        code = read_code(references[0])
    except InputError as error:
        return dict.fromkeys(references, error)
    content = {"action": "describe", "references": references, "seed": SEED}
    largest = frames.largest(len(references), 0)
    ended, paths = _run_code(code, content, protection, {}, timeout=timeout, largest=largest)
    try:
        if ended.status != "ok":
            raise frames.BrokenAnswer(ended.reason)
        outcomes, _ = frames.decode_outcomes(ended.answer, len(references))
    except frames.BrokenAnswer as error:
        failed = _explained({"status": "failed", "reason": str(error), "log": ended.log}, paths)
        return {reference: _cannot_be_loaded(reference, failed) for reference in references}
    found: dict[str, Method | InputError] = {}
    for reference, outcome in zip(references, outcomes, strict=True):
        try:
            if outcome.get("status") == "ok":
                found[reference] = _described(reference, outcome.get("method"), code, paths)
            else:
                found[reference] = _cannot_be_loaded(reference, _explained(frames.checked_outcome(outcome), paths))
        except (InputError, frames.BrokenAnswer) as error:
            found[reference] = _cannot_be_loaded(reference, {"status": "failed", "reason": str(error), "log": None})
    return found


def _run_code(
    code: Code, content: dict, protection: str, shown: dict[str, Path], **limits: Any
) -> tuple[sandbox.Ended, dict[str, str]]:
    """Runs a job on a copy of a user's code; returns its end, and {path in the box: path of the original}."""
    with temporary_folder() as temporary:
        folder = temporary / "code"
        folder.mkdir()
        code.write(folder)
        inside = sandbox.place(protection, "code", folder)
        paths = {f"{inside}/{number}/": os.path.join(original, "") for number, original in enumerate(code.folders)}
        references = [code.copied(inside, reference) for reference in content["references"]]
        content = content | {"references": references}
        return sandbox.run(content, protection, shown={**shown, "code": folder}, **limits), paths


def _described(reference: str, description: Any, code: Code, paths: dict[str, str]) -> Method:
    """The method that a box described: what it says of itself is a name, an access level and texts, and no more.

    Raises:
        InputError: one of them is not what a method needs.
        BrokenAnswer: it is no description.
    """
    names = ("name", "kind", "access", "citation", "formula")
    if not isinstance(description, dict) or not all(isinstance(description.get(name), str) for name in names):
        raise frames.BrokenAnswer("its answer is no description of a method")
    kind = KINDS.get(description["kind"])
    if kind is None or kind.protocol is None or description["access"] not in ACCESS:
        raise frames.BrokenAnswer("its answer describes a method of no known kind or access level")
    return Method(
        reference=reference,
        name=checked_name(reference, description["name"]),
        kind=kind,
        access=description["access"],
        citation=one_line(_outside(description["citation"], paths), LONGEST_TEXT),
        formula=one_line(description["formula"], LONGEST_TEXT),
        control=False,
        code=code.digest,
    )


def _cannot_be_loaded(reference: str, outcome: dict) -> InputError:
    return InputError(f"{reference} cannot be loaded: {one_line(outcome['reason'])}{set_in(outcome['log'])}")


def _outside(text: str, paths: dict[str, str]) -> str:
    """``text`` with files as they are outside the box."""
    for inside, original in paths.items():
        text = text.replace(inside, original)
    return text


def _explained(outcome: dict, paths: dict[str, str]) -> dict:
    """``outcome`` with files as they are outside the box; the reason says so if code wanted what no box has."""
    texts = {}
    for name in ("reason", "log"):
        texts[name] = outcome[name] and _outside(outcome[name], paths)
    if outcome["status"] == "failed":
        for words, explanation in WANTED:
            if any(word in f"{texts['reason']}\n{texts['log']}" for word in words):
                texts["reason"] += f" ({explanation})"
                break
    return outcome | texts
