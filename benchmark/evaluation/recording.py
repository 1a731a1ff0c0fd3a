"""From answers to records: scores, what was scored, and the environment."""

import contextlib
import platform
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

from benchmark import scoring
from benchmark.evaluation.answers import Answer
from benchmark.evaluation.scored_models import SEED, ScoredModels
from benchmark.records import Record
from benchmark.scoring.gaussian_process import WORDS
from benchmark.scoring.grid import with_names
from benchmark.scoring.precision import tau_to_exact
from benchmark.scoring.scorecard import METHOD_CHUNK, Entry
from benchmark.scoring.scores import SCORES
from zoo_builder import files
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo
from zoo_builder.text import one_line

# Different remarks of one method that a record states, and their length.
MOST_REMARKS, LONGEST_REMARK = 3, 150


def records_of(
    answers: Sequence[Answer], models: ScoredModels, protection: str | None = None
) -> Iterator[tuple[Record, pd.DataFrame | None]]:
    """Each answer's record with its predictions, None where it has none; see ``benchmark.records``.

    Args:
        protection: the kind of box that users' methods ran in; None if there are none.
    """
    for answer, entries in _scored(answers, models):
        boxed = None if answer.method.builtin else protection
        yield _record(answer, entries, models, boxed), _predictions(answer, models)


def _scored(answers: Sequence[Answer], models: ScoredModels) -> Iterator[tuple[Answer, dict[str, Entry]]]:
    """Each answer with its scores by name, none where it has no values.

    A chunk shares the computations that concern only the target, and its records are written before the next chunk.
    """
    yield from ((answer, {}) for answer in answers if answer.values is None)
    for kind, alike in groupby((a for a in answers if a.values is not None), key=lambda answer: answer.method.kind):
        names = [
            name
            for name in models.task.scores
            if (kind.on_target_scale or not SCORES[name].on_target_scale)
            and not (kind.fitted and SCORES[name].of_fitted)
        ]
        alike = list(alike)
        for start in range(0, len(alike), METHOD_CHUNK):
            yield from _scored_chunk(alike[start : start + METHOD_CHUNK], names, models)


def _scored_chunk(
    answers: list[Answer], names: list[str], models: ScoredModels
) -> Iterator[tuple[Answer, dict[str, Entry]]]:
    try:
        scores = models.scores(np.array([answer.values for answer in answers]), names)
    except InputError:
        raise  # about the zoo
    except (ArithmeticError, ValueError) as error:
        # Values that break a computation are the failure of one method, not of those beside it.
        if len(answers) > 1:
            for answer in answers:
                yield from _scored_chunk([answer], names, models)
        else:
            reason = f"its predictions cannot be scored: {type(error).__name__}: {error}"
            yield replace(answers[0], status="failed", reason=reason, values=None, reasons=None), {}
        return
    for number, answer in enumerate(answers):
        yield answer, {name: score.entries[number] for name, score in scores.items()}


def _predictions(answer: Answer, models: ScoredModels) -> pd.DataFrame | None:
    if answer.values is None:
        return None
    return pd.DataFrame(
        {
            "model_id": models.rows["model_id"].to_numpy(),
            "configuration": models.rows["configuration"].to_numpy(),
            "prediction": answer.values,
            "error": np.nan if answer.errors is None else answer.errors,
            "reason": pd.Series(answer.reasons, dtype=object).to_numpy(),
            "target": models.target,
        }
    )


def _record(answer: Answer, entries: dict[str, Entry], models: ScoredModels, protection: str | None) -> Record:
    task, zoo, method = models.task, models.zoo, answer.method
    scores, undefined, flags = {}, {}, []
    status, reason = answer.status, answer.reason
    headline = entries.get(task.headline)
    if headline and headline.undefined is not None:
        status = "not applicable"
        reason = next(iter(_texts(answer, defined=False)), headline.undefined)
    elif headline:
        scores, undefined = _stored_scores(entries, list(models.hyperparameters))
        if method.kind.fitted:
            undefined |= {name: why for name in task.scores if (why := SCORES[name].of_fitted)}
        flags = [*headline.detail.get("flags", []), *_remarks(answer)]
    return Record(
        task=f"{zoo.name}/{task.name}",
        task_version=task.version,
        zoo=zoo.name,
        target=task.target.title,
        orientation=task.target.orientation,
        method=method.name,
        kind=method.kind.name,
        access=method.access,
        control=method.control,
        citation=method.citation,
        formula=method.formula,
        source=None if method.builtin else method.reference,
        code=method.code,
        protection=protection,
        zoo_manifest=files.sha256(zoo.root / "zoo.json"),
        weights_hash=zoo.weights_hash,
        split_hash=models.split.hash,
        package_version=version("gengap"),
        commit=_commit(),
        environment=_environment(zoo),
        created=datetime.now(UTC).isoformat(),
        seconds=round(answer.seconds, 3),
        peak_memory_mib=answer.peak_memory_mib,
        status=status,
        reason=reason,
        log=answer.log,
        models=len(models.target),
        coverage=0.0 if answer.values is None else float(np.isfinite(answer.values).mean()),
        flags=flags,
        headline=task.headline,
        scores=scores,
        undefined=undefined,
        reference=models.reference,
    )


def _remarks(answer: Answer) -> list[str]:
    """The method's remarks on its values, the most frequent first, and what their errors do to their order."""
    texts = Counter(_texts(answer, defined=True))
    common, values = texts.most_common(MOST_REMARKS), answer.values
    found = [
        f"{times:,} of {len(answer.reasons or ()):,} values: {one_line(text, LONGEST_REMARK)}" for text, times in common
    ]
    if others := texts.total() - sum(times for _, times in common):
        found.append(f"{others:,} other remark{'s' * (others > 1)}")
    if values is not None and answer.errors is not None:
        with contextlib.suppress(scoring.ScoreError):  # no two values differ
            known = np.isfinite(values) & np.isfinite(answer.errors)
            tau = tau_to_exact(values[known], answer.errors[known])
            found.append(f"random draws: tau {tau:.2f} to values without error")
    return found


def _texts(answer: Answer, defined: bool) -> list[str]:
    """The remarks on values that are ``defined``, or the reasons of those that are not."""
    if answer.values is None or answer.reasons is None:
        return []
    there = np.isfinite(answer.values) == defined
    return [text for text, wanted in zip(answer.reasons, there, strict=True) if wanted and text]


def _stored_scores(entries: dict[str, Entry], axes: list[str]) -> tuple[dict, dict]:
    """``Record.scores`` and ``Record.undefined``."""
    scores, undefined = {}, {}
    for name, entry in entries.items():
        if entry.undefined is None:
            numbers = {field: getattr(entry, field) for field in ("value", "low", "high", "flipped")}
            scores[name] = numbers | {"detail": entry.named_detail(axes)}
        else:
            undefined[name] = with_names(entry.undefined, axes)
    return scores, undefined


def _environment(zoo: Zoo) -> dict:
    packages = {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn")}
    engines = sorted({engine for part in zoo.parts for engine in part.engines})
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **packages,
        "zoo_engines": engines,
        "partial_tau": WORDS,
        "seed": SEED,
    }


@cache
def _commit() -> str | None:
    """The commit of a gengap that runs from a clone, with "-dirty" behind it where files differ from the commit."""
    here = Path(__file__).resolve().parents[2]
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None
