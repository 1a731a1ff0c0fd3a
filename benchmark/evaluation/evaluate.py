"""Runs methods on a task and turns what they say into records."""

import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from baselines.measures.measure import MEASURE_ACCESS
from baselines.predictors.boosting import PLAIN_WORDS, boosted_regression
from benchmark import records, scoring
from benchmark.evaluation import measuring
from benchmark.evaluation.methods import Method
from benchmark.evaluation.oracle import ORACLES
from benchmark.evaluation.process import SEED, Answer, answers_of
from benchmark.evaluation.views import make_view, save_view
from benchmark.records import Record
from benchmark.scoring.floors import RANDOM_MEASURES
from benchmark.scoring.grid import codes_of, encoded, with_names
from benchmark.scoring.kendall import tie_ceiling, tie_fraction
from benchmark.scoring.partial import out_of_fold
from benchmark.scoring.regression import FOLDS, folds_of
from benchmark.scoring.reliability import Reliability, reliability
from benchmark.scoring.scorecard import METHOD_CHUNK, Entry, Score, scorecard
from benchmark.scoring.scores import SCORES
from benchmark.split import Split, split
from benchmark.tasks import Task
from zoo_builder import files
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo


def evaluate(
    task: Task,
    methods: Sequence[Method],
    zoo: Zoo,
    results: str | Path,
    *,
    data_root: str | Path | None = None,
    workers: int = 1,
    timeout: float = 3600,
    done: Callable[[Record], object] = lambda record: None,
) -> list[Record]:
    """Runs ``methods``, each in a process of its own, and writes a record of each.

    Built-in measures share a process; those whose values lie beside the zoo are read from there. Controls that read the
    targets are computed here.

    Args:
        results: the folder for records.
        workers: how many processes at a time.
        timeout: seconds that one process may take.
        done: is called with every record as it is written.

    Raises:
        InputError: the zoo is too small, or it or its data cannot be read. What a method does wrong is in its record.
    """
    parts = split(zoo, task.fitted)
    target = task.values(parts.final)
    if len(np.unique(target[parts.test])) < 2:
        raise InputError(f"all test models of {zoo.root} have the same {task.target}: there is nothing to order")
    models = _TestModels.of(task, zoo, parts, target)
    reference = models.reference()
    measures = [method for method in methods if method.kind == "measure" and method.builtin]
    yardsticks = [e for e in methods if e.kind == "oracle" or (e.kind == "predictor" and not task.fitted)]
    jobs = [(method.access, [method]) for method in methods if method not in (*measures, *yardsticks)]
    ids = parts.final["model_id"].iloc[parts.test]
    stored: list[Answer] = []
    if measures:
        table = measuring.read(zoo)
        stored = [answer for method in measures if (answer := _stored(method, table, ids))]
    known = [answer.method for answer in stored]
    if left := [method for method in measures if method not in known]:
        # They read one view, of the level that covers them all.
        widest = max((method.access for method in left), key=MEASURE_ACCESS.index)
        jobs.insert(0, (widest, left))
    # Both hold the answers: the zoo its accuracies, the records their targets.
    closed = [str(zoo.root), str(results)]
    written = []

    def write(answers: list[Answer]) -> None:
        for answer, entries in _scored(answers, models):
            record, predictions = _record(task, zoo, parts, models, reference, answer, entries)
            written.append(Record.load(records.write(record, predictions, Path(results))))
            done(written[-1])

    with tempfile.TemporaryDirectory(prefix="gengap-") as temporary:
        folder = Path(temporary)
        for access in {access for access, _ in jobs}:
            (folder / access).mkdir()
            save_view(make_view(zoo, parts.final, access, data_root), folder / access)
        write(stored)
        for method in yardsticks:
            write([_yardstick(method, models, ids)])
        with ThreadPoolExecutor(workers) as pool:
            futures = [
                pool.submit(answers_of, job, access, target, parts, closed, folder, timeout) for access, job in jobs
            ]
            for future in as_completed(futures):
                write(future.result())
    order = [method.name for method in methods]
    return sorted(written, key=lambda record: order.index(record.method))


def _stored(method: Method, table: pd.DataFrame, models: pd.Series) -> Answer | None:
    """The values of a measure that ``gengap measure`` has computed for all ``models`` (their ids)."""
    rows = table[(table["measure"] == method.name) & (table["status"] != "failed")].set_index("model_id")
    if not models.isin(rows.index).all():
        return None
    rows = rows.loc[models]
    reasons = [
        reason if status == "undefined" else None for status, reason in zip(rows["status"], rows["reason"], strict=True)
    ]
    return Answer(method, "ok", None, None, float(rows["seconds"].sum()), None, rows["value"].to_numpy(float), reasons)


def _yardstick(method: Method, models: "_TestModels", ids: pd.Series) -> Answer:
    """What a control says that reads the targets: an oracle, or the hyperparameters where no models are set apart."""
    started = time.perf_counter()
    status, reason, values = "ok", None, None
    if method.kind == "oracle":
        values = ORACLES[method.name].values(models.target, ids.tolist())
    else:
        formula = f"{PLAIN_WORDS}, on the hyperparameters; out of {FOLDS} folds of configurations"
        method = replace(method, formula=formula)
        try:
            table = models.hyperparameters.to_numpy(object)
            features = encoded(table, codes_of(table, len(table)))
            values = out_of_fold(models.target, features, folds_of(models.clusters), boosted_regression)
        except scoring.ScoreError as error:
            status, reason = "not applicable", str(error)
    reasons: list[str | None] = [None] * len(models.target)
    return Answer(method, status, reason, None, time.perf_counter() - started, None, values, reasons)


@dataclass(frozen=True, eq=False)
class _TestModels:
    """What the test models are scored with.

    Attributes:
        target: [n].
        hyperparameters: those that vary in the zoo.
        clusters: [n] labels of the configurations.
        test_examples: how many examples the target was measured on.
        reliability: of the target; None where a few models are all alike on half of the test set.
    """

    target: np.ndarray
    hyperparameters: pd.DataFrame
    clusters: np.ndarray
    test_examples: int
    reliability: Reliability | None

    @classmethod
    def of(cls, task: Task, zoo: Zoo, parts: Split, target: np.ndarray) -> "_TestModels":
        test = parts.final.iloc[parts.test]
        correct = zoo.correct(test.index)
        train_accuracy = test["train_accuracy"].to_numpy(float) if task.predicts_gap else None
        try:
            trust = reliability(correct, train_accuracy, seed=SEED)
        except scoring.ScoreError:
            trust = None
        return cls(
            target=target[parts.test],
            hyperparameters=test[[*zoo.recipe.grid, *zoo.recipe.sample]],
            clusters=pd.factorize(test["configuration"])[0],
            test_examples=correct.shape[1],
            reliability=trust,
        )

    def scores(
        self, predictions: np.ndarray, random_measures: int = 0, names: Sequence[str] = tuple(SCORES)
    ) -> dict[str, Score]:
        """Of predictions [E, n]."""
        return scorecard(
            predictions,
            self.target,
            self.hyperparameters.to_numpy(object),
            self.clusters,
            test_examples=self.test_examples,
            regressor=boosted_regression,
            scores=names,
            random_measures=random_measures,
            seed=SEED,
        )

    def reference(self) -> dict:
        """What scores of these models are to be compared with."""
        scores = self.scores(np.empty((0, len(self.target))), RANDOM_MEASURES)
        floors = {name: score.floor for name, score in scores.items()}
        return {
            "tie_ceiling": tie_ceiling(self.target),
            "tie_fraction": tie_fraction(self.target),
            **({"reliability": asdict(self.reliability)} if self.reliability else {}),
            "noise_floors": {name: asdict(floor) for name, floor in floors.items() if floor},
        }


def _record(
    task: Task,
    zoo: Zoo,
    parts: Split,
    models: _TestModels,
    reference: dict,
    answer: Answer,
    entries: dict[str, Entry],
) -> tuple[Record, pd.DataFrame | None]:
    test = parts.final.iloc[parts.test]
    scores, undefined, flags, coverage, predictions = {}, {}, [], 0.0, None
    status, reason = answer.status, answer.reason
    if answer.values is not None:
        defined = np.isfinite(answer.values)
        coverage = float(defined.mean())
        predictions = pd.DataFrame(
            {
                "model_id": test["model_id"].to_numpy(),
                "configuration": test["configuration"].to_numpy(),
                "prediction": answer.values,
                "reason": pd.Series(answer.reasons, dtype=object).to_numpy(),
                "target": models.target,
            }
        )
        if (nothing := entries["tau"].undefined) is None:
            scores, undefined = _said(entries, list(models.hyperparameters))
            flags = list(entries["tau"].detail["flags"])
        else:
            status = "not applicable"
            reason = next((why for why in answer.reasons or [] if why), nothing)
    method = answer.method
    record = Record(
        task=f"{zoo.name}/{task.name}",
        task_version=task.version,
        zoo=zoo.name,
        target=task.target,
        orientation=task.orientation,
        method=method.name,
        kind=method.kind,
        access=method.access,
        control=method.control,
        citation=method.citation,
        formula=method.formula,
        zoo_manifest=files.sha256(zoo.root / "zoo.json"),
        weights_hash=zoo.weights_hash,
        split_hash=parts.hash,
        package_version=version("gengap"),
        commit=_commit(),
        environment=_environment(zoo),
        created=datetime.now(UTC).isoformat(),
        seconds=round(answer.seconds, 3),
        peak_memory_mib=answer.peak_memory_mib,
        status=status,
        reason=reason,
        log=answer.log,
        models=len(parts.test),
        coverage=coverage,
        flags=flags,
        headline="tau",
        scores=scores,
        undefined=undefined,
        reference=reference,
    )
    return record, predictions


def _scored(answers: list[Answer], models: _TestModels) -> Iterator[tuple[Answer, dict[str, Entry]]]:
    """Each of some answers of one kind with its scores by name, none where it has no values.

    Those that are scored together share what is computed of the target alone. MAE is of numbers on the target's scale.
    """
    yield from ((answer, {}) for answer in answers if answer.values is None)
    answers = [answer for answer in answers if answer.values is not None]
    for start in range(0, len(answers), METHOD_CHUNK):
        some = answers[start : start + METHOD_CHUNK]
        on_scale = some[0].method.kind != "measure"
        names = [name for name, score in SCORES.items() if on_scale or not score.on_target_scale]
        found = models.scores(np.array([answer.values for answer in some]), names=names)
        for number, answer in enumerate(some):
            yield answer, {name: score.entries[number] for name, score in found.items()}


def _said(entries: dict[str, Entry], axes: list[str]) -> tuple[dict, dict]:
    """What a record says of its scores, and why it has no others."""
    scores, undefined = {}, {}
    for name, entry in entries.items():
        if entry.undefined is None:
            parts = {part: getattr(entry, part) for part in ("value", "low", "high", "flipped")}
            scores[name] = parts | {"detail": entry.named_detail(axes)}
        else:
            undefined[name] = with_names(entry.undefined, axes)
    return scores, undefined


def _environment(zoo: Zoo) -> dict:
    packages = {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn")}
    engines = sorted({engine for part in zoo.manifest["parts"] for engine in part["engines"]})
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        **packages,
        "zoo_engines": engines,
        "partial_tau": PLAIN_WORDS,
        "seed": SEED,
    }


def _commit() -> str | None:
    """The commit of the gengap that runs, where it runs from a clone; "-dirty" follows where files differ from it."""
    here = Path(__file__).resolve().parents[2]
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return found.stdout.strip() or None
