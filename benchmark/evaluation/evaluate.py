"""Runs methods on a task: choose, make views, run, score, record."""

import math
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from baselines.measures.measure import MEASURE_ACCESS
from benchmark.evaluation import measuring, sandbox
from benchmark.evaluation.answers import Answer
from benchmark.evaluation.controls import answer_of_control, reads_targets
from benchmark.evaluation.methods import Method
from benchmark.evaluation.process import Job, answers_of
from benchmark.evaluation.recording import records_of
from benchmark.evaluation.scored_models import ScoredModels
from benchmark.evaluation.stopping import process_pool
from benchmark.evaluation.views import write_view
from benchmark.records import Record, after_earlier, require_writable, write
from benchmark.tasks import MEASURE, Task
from zoo_builder.errors import InputError, refuse_other_type
from zoo_builder.store.zoo import Zoo
from zoo_builder.temporary import temporary_folder


def evaluate(
    task: Task,
    methods: Sequence[Method],
    zoo: Zoo,
    results: str | Path,
    *,
    data_root: str | Path | None = None,
    workers: int = 1,
    timeout: float = 3600,
    trust: bool = False,
    done: Callable[[Record], object] = lambda record: None,
) -> list[Record]:
    """Runs ``methods``, each in a separate process, and writes a record of each.

    Built-in measures share one process, and those whose values are stored beside the zoo are read from there. Controls
    that read the targets are computed in this process.

    Args:
        results: the folder for records.
        workers: how many processes run at a time.
        timeout: seconds that one process may take.
        trust: run users' methods without a box, with all rights of this user; their records say so.
        done: called with every record as it is written.

    Returns:
        The records in the order of ``methods``.

    Raises:
        InputError: the zoo is too small, or it or its data cannot be read; the timeout is not positive; temporary files
            have no room; ``results`` cannot be written; a method is a user's, and no box works here. Records that were
            written stay. A method's own errors are in its record.
    """
    refuse_other_type("zoo", zoo, Zoo, "Zoo.open(folder)")
    if not 0 < timeout < math.inf:
        raise InputError(f"`timeout` is {timeout:g}: give a number of seconds above 0")
    require_writable(Path(results))
    protection = None if all(method.builtin for method in methods) else sandbox.protection(trust)
    models = ScoredModels.of(task, zoo)
    written = []
    # Closed at once if a record cannot be written: the remaining processes end, and the temporary folder goes.
    with closing(_answers(models, methods, protection, data_root, workers, timeout)) as found:
        for answers in found:
            for record, predictions in records_of(answers, models, protection):
                path = write(after_earlier(record, Path(results)), predictions, Path(results))
                written.append(Record.load(path))
                done(written[-1])
    order = [method.name for method in methods]
    return sorted(written, key=lambda record: order.index(record.method))


def _answers(
    models: ScoredModels,
    methods: Sequence[Method],
    protection: str | None,
    data_root: str | Path | None,
    workers: int,
    timeout: float,
) -> Generator[list[Answer], None, None]:
    """The answers of all methods as they are computed, one list for each source: the stored, each control, each job."""
    zoo = models.zoo
    stored = _stored(methods, models)
    controls = [method for method in methods if reads_targets(method, models.task)]
    answered = {answer.method for answer in stored} | set(controls)
    jobs = _jobs([method for method in methods if method not in answered])
    with temporary_folder() as folder:
        views = {job: folder / f"{job.access}-{'zoo' if job.trusted else 'copy'}" for job in jobs}
        for job, view in views.items():
            if not view.exists():
                view.mkdir()
                write_view(zoo, models.split.final, job.access, data_root, view, copy_weights=not job.trusted)
        if stored:
            yield stored
        for method in controls:
            yield [answer_of_control(method, models)]
        with process_pool(workers) as pool:
            run = partial(answers_of, models=models, protection=protection, timeout=timeout, workers=workers)
            futures = [pool.submit(run, job, view) for job, view in views.items()]
            for future in as_completed(futures):
                yield future.result()


def _stored(methods: Sequence[Method], models: ScoredModels) -> list[Answer]:
    """The answers of those measures whose values for all test models are stored beside the zoo."""
    measures = [method for method in methods if method.kind is MEASURE and method.builtin]
    if not measures:
        return []
    table = measuring.read(models.zoo)
    model_ids = models.rows["model_id"]
    answers = []
    for method in measures:
        rows = table[(table["measure"] == method.name) & (table["status"] != "failed")].set_index("model_id")
        if not model_ids.isin(rows.index).all():
            continue
        rows = rows.loc[model_ids]
        errors = rows["error"].to_numpy(float)
        answers.append(
            Answer(
                method=method,
                seconds=float(rows["seconds"].sum()),
                values=rows["value"].to_numpy(float),
                reasons=[None if pd.isna(reason) else reason for reason in rows["reason"]],
                errors=None if np.isnan(errors).all() else errors,
            )
        )
    return answers


def _jobs(methods: Sequence[Method]) -> list[Job]:
    """One job for all built-in measures, because they share computations, and one for each other method."""
    measures = tuple(method for method in methods if method.kind is MEASURE and method.builtin)
    jobs = [Job((method,), method.access) for method in methods if method not in measures]
    if measures:
        widest = max((method.access for method in measures), key=MEASURE_ACCESS.index)
        jobs.insert(0, Job(measures, widest))
    return jobs
