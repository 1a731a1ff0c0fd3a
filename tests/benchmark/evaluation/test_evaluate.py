"""Methods of all kinds, good and bad, run for real in their own processes on a real small zoo."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.measuring import measure, select
from benchmark.evaluation.selection import find_methods
from benchmark.records import Record, read_records
from benchmark.scoring.scores import SCORES
from benchmark.tasks import Task, find_task
from zoo_builder.building.build import build
from zoo_builder.errors import InputError
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.zoo import Zoo


def test_built_in_methods_leave_complete_records(small_zoo: Zoo, tmp_path: Path) -> None:
    task = find_task("generalization-gap", small_zoo.name)
    methods = find_methods(["parameter-count", "training-accuracy", "hyperparameters"], task)
    records = evaluate(task, methods, small_zoo, tmp_path, workers=2)
    assert [record.method for record in records] == ["parameter-count", "training-accuracy", "hyperparameters"]
    assert read_records(tmp_path) == sorted(records, key=lambda record: record.method)
    for record in records:
        assert record.status == "ok", record.log
        assert record.coverage == 1
        assert record.headline == "tau"
        assert record.weights_hash == small_zoo.weights_hash
        assert record.seconds >= 0
        assert (record.peak_memory_mib or 0) > 50
        tau = record.scores["tau"]
        assert tau["low"] <= tau["value"] <= tau["high"]
        floors = record.reference["noise_floors"]
        assert floors["tau"]["p95"] > 0
        # Only the activation changes the architecture: Psi within architecture is a mean over the other axes.
        assert floors.keys() | {"mae"} == set(SCORES) - {"robust"}
        assert record.reference["architecture_floors"].keys() | {"mae"} == {"tau", "psi", "k", "pgdl", "r2", "mae"}
        assert 0 <= tau["detail"]["architecture_share"] <= 1
        assert 0 < record.reference["reliability"]["ceiling"] <= 1
        assert record.undefined["robust"].startswith("none of ")
        assert {"k", "pgdl", "r2"} <= record.scores.keys()
        assert ("partial" in record.scores) != (record.kind == "predictor")
        assert record.undefined.get("partial") == (SCORES["partial"].of_fitted if record.kind == "predictor" else None)
        # Half of the grid: few draws have two configurations that differ in one hyperparameter alone.
        assert record.undefined["psi"].endswith("of 2000 bootstrap draws")
        axes = {"learning_rate", "l2", "dropout", "train_fraction", "activation"}
        assert set(record.scores["k"]["detail"]["hyperparameters"]) <= axes
    assert records[0].flags == ["constant"], "all networks of this zoo have one size"
    assert [records[0].scores["tau"][part] for part in ("value", "low", "high")] == [0, 0, 0]
    assert "mae" not in records[1].scores
    assert records[2].scores["mae"]["value"] > 0
    assert [record.control for record in records] == [False, True, True]
    predictions = records[1].predictions().set_index("model_id")
    final = small_zoo.final.set_index("model_id")
    np.testing.assert_allclose(predictions["prediction"], final.loc[predictions.index, "train_accuracy"])


def test_sampled_hyperparameters_make_no_grid(small_zoo: Zoo, tmp_path: Path) -> None:
    value = small_zoo.recipe.to_json()
    del value["grid"]["learning_rate"]
    value["sample"] = {"learning_rate": {"uniform": [0.003, 0.03]}}
    zoo = build(Recipe.from_json(value), tmp_path / "zoo", device="cpu")
    task = find_task("generalization-gap", zoo.name)
    (record,) = evaluate(task, find_methods(["training-accuracy"], task), zoo, tmp_path / "results")
    for name in ("psi", "k", "pgdl", "robust"):
        assert record.undefined[name].startswith("no grid; no two configurations differ in ")
        assert name not in record.reference["noise_floors"]
    assert {"tau", "partial", "r2"} <= record.scores.keys()


def test_without_fitting_all_models_are_scored(small_zoo: Zoo, tmp_path: Path) -> None:
    task = find_task("complexity", small_zoo.name)
    (record,) = evaluate(task, find_methods(["weight-norm"], task), small_zoo, tmp_path)
    assert (record.status, record.models) == ("ok", len(small_zoo.final))
    detail = record.scores["psi"]["detail"]
    assert detail["psi"].keys() == set(small_zoo.recipe.grid)
    assert all(cells for cells in detail["cells"].values())


def test_a_task_names_its_scores_and_its_headline(small_zoo: Zoo, tmp_path: Path) -> None:
    task = replace(find_task("complexity", small_zoo.name), scores=("r2", "tau"), headline="r2")
    (record,) = evaluate(task, find_methods(["oracle-0.5-sd"], task), small_zoo, tmp_path)
    assert (record.headline, list(record.scores), record.kind, record.control) == ("r2", ["r2", "tau"], "oracle", True)
    assert list(record.reference["noise_floors"]) == ["r2", "tau"]


def test_scores_read_what_was_measured(zoo: Zoo, tmp_path: Path, quick) -> None:
    """Stored values give the records of values computed in a process, and no process is started."""
    task = quick("complexity")
    methods = find_methods(["path-norm", "negative-margin"], task)
    computed = evaluate(task, methods, zoo, tmp_path / "computed")
    measure(zoo, select(["path-norm", "negative-margin"]))
    for record, before in zip(evaluate(task, methods, zoo, tmp_path / "read"), computed, strict=True):
        assert record.scores == before.scores
        assert record.coverage == before.coverage
        assert (record.peak_memory_mib, before.peak_memory_mib is None) == (None, False)
        np.testing.assert_allclose(record.predictions()["prediction"], before.predictions()["prediction"], rtol=1e-4)
        for column in ("reason", "error"):
            assert record.predictions()[column].equals(before.predictions()[column])
        assert record.flags == before.flags
    remarked, traced = find_methods(["path-norm", "fisher-trace"], task), select(["fisher-trace"])
    assert measure(zoo, traced)["error"].gt(0).all()
    for record in evaluate(task, remarked, zoo, tmp_path / "again"):
        assert ("random draws: tau" in "".join(record.flags)) == (record.method == "fisher-trace")


# What users' methods do, and the status and words of the reason in their records.
USERS = {
    "raises": ("raise RuntimeError('no idea')", "failed", "RuntimeError: no idea"),
    "killed": ("os.kill(os.getpid(), 9)", "failed", "its process was killed by signal 9"),
    "leaves": ("os._exit(3)", "failed", "its process ended with code 3"),
    "twins": ("raise NotApplicable('needs two seeds')", "not applicable", "needs two seeds"),
}
HEAD = """
import glob, os, socket

class Partly(Base):
    name = "partly"
    def predict(self, view):
        values = np.arange(view.size) / view.size
        values[:2] = np.nan
        return Prediction(values, {0: "too thin", 1: "too wide"})

class Curious(Base):
    name = "curious"
    def predict(self, view):
        assert "SECRET" not in os.environ
        found = []
        for attempt in (
            lambda: view.hyperparameters,
            lambda: socket.create_connection(("127.0.0.1", 9), timeout=2),
            lambda: open(ZOO + "/checkpoints/part-00000.parquet", "rb"),
            lambda: glob.glob(RESULTS + "/*/*/*"),
        ):
            try:
                found.append(attempt())
            except (OSError, AttributeError) as error:
                found.append(error)
        raise RuntimeError(found)
"""


@pytest.fixture(scope="module")
def records(small_zoo: Zoo, quick, write_method, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Of all methods in ``USERS`` and ``HEAD``."""
    folder = tmp_path_factory.mktemp("users")
    classes = [
        f"class {name.title()}(Base):\n    name = {name!r}\n    def predict(self, view):\n        {line}\n"
        for name, (line, _, _) in USERS.items()
    ]
    places = f"ZOO = {str(small_zoo.root)!r}\nRESULTS = {str(folder / 'results')!r}\n"
    file = write_method(folder, places + HEAD + "\n".join(classes))
    task = quick("test-accuracy")
    evaluate(task, find_methods(["oracle-0.5-sd"], task), small_zoo, folder / "results")
    names = [name.title() for name in (*USERS, "partly", "curious")]
    methods = find_methods([f"{file}:{name}" for name in names], task)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECRET", "0.93")
        written = evaluate(task, methods, small_zoo, folder / "results", workers=2)
    return {record.method: record for record in written}


@pytest.mark.parametrize("name", USERS)
def test_a_method_without_an_answer_is_a_record_with_the_reason(records: dict[str, Record], name: str) -> None:
    _, status, words = USERS[name]
    record = records[name]
    assert record.status == status
    assert words in (record.reason or "")
    assert (record.scores, record.coverage) == ({}, 0)
    with pytest.raises(InputError):
        record.predictions()


def test_a_failed_methods_log_is_kept(records: dict[str, Record]) -> None:
    assert "raise RuntimeError('no idea')" in (records["raises"].log or "")


@pytest.mark.parametrize(
    "words",
    [
        "view.hyperparameters is not part of access level 'weights'",
        "OSError(101, 'Network is unreachable')",
        "FileNotFoundError(2, 'No such file or directory')",
        ", []]",
    ],
    ids=["view", "network", "zoo", "records"],
)
def test_a_method_reaches_its_view_and_the_labels_of_the_other_splits_alone(records, words: str) -> None:
    assert records["curious"].reason.startswith("RuntimeError: [AccessError(")
    assert words in records["curious"].reason


def test_a_users_predictor_is_scored_with_its_reasons_and_coverage(records: dict[str, Record]) -> None:
    record = records["partly"]
    assert (record.status, record.kind, record.citation, record.control) == ("ok", "predictor", "this test", False)
    assert record.coverage == pytest.approx(1 - 2 / record.models)
    assert record.predictions()["reason"].iloc[:2].tolist() == ["too thin", "too wide"]
    assert record.scores["tau"]["low"] <= record.scores["tau"]["value"]


def evaluate_one(small_zoo: Zoo, task: Task, file: Path, name: str, timeout: float = 120) -> Record:
    (record,) = evaluate(
        task, find_methods([f"{file}:{name}"], task), small_zoo, file.parent / "results", timeout=timeout
    )
    return record


def test_a_run_can_be_repeated(small_zoo: Zoo, tmp_path: Path, quick, write_method) -> None:
    """The random generators that a process has from the start are seeded, and sets have one order."""
    code = """
    import random, torch
    ORDER = hash("at the import") % 1000
    class Mine(Base):
        def fit(self, view, *labels):
            self.shift = random.gauss(0, 1) + ORDER
            return self
        def predict(self, view):
            words = "".join({f"word {number}" for number in range(50)})
            noise = [random.random() + np.random.rand() + torch.rand(1).item() for _ in range(view.size)]
            return np.array(noise) + self.shift + hash(words) % 1000
    """
    file = write_method(tmp_path, code)
    first, second = (evaluate_one(small_zoo, quick("test-accuracy"), file, "Mine") for _ in range(2))
    assert (first.status, first.scores) == ("ok", second.scores)
    np.testing.assert_array_equal(first.predictions()["prediction"], second.predictions()["prediction"])
    assert (first.source, first.code) == (f"{file}:Mine", second.code)
    assert len(first.code or "") == 64


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_timeout_is_positive(small_zoo: Zoo, tmp_path: Path, quick, timeout: float) -> None:
    task = quick("complexity")
    with pytest.raises(InputError, match=r"`timeout` is .*: give a number of seconds above 0"):
        evaluate(task, find_methods(["random"], task), small_zoo, tmp_path, timeout=timeout)
    assert list(tmp_path.iterdir()) == []


def test_a_timeout_is_told_apart_from_failure(small_zoo: Zoo, tmp_path: Path, quick, write_method) -> None:
    file = write_method(tmp_path, "import time\nclass Mine(Base):\n def predict(self, view): time.sleep(600)")
    record = evaluate_one(small_zoo, quick("test-accuracy"), file, "Mine", timeout=0.5)
    assert (record.status, record.reason) == ("timeout", "took longer than 0.5 s")


def test_a_users_measure_is_one_function(small_zoo: Zoo, tmp_path: Path, quick, write_method) -> None:
    code = '''
    def mine(context):
        """Sum of squares of all weights."""
        values = sum(value.flatten(1).square().sum(1) for value in context.parameters.values())
        context.remark(values > 0, "it is positive")
        context.standard_error(values / 1000)
        return values
    '''
    record = evaluate_one(small_zoo, quick("generalization-gap"), write_method(tmp_path, code), "mine")
    assert (record.status, record.kind, record.formula) == ("ok", "measure", "Sum of squares of all weights.")
    row = record.predictions().iloc[0]
    network = small_zoo.module(row["model_id"])
    truth = sum(value.square().sum().item() for value in network.parameters())
    assert row["prediction"] == pytest.approx(truth, rel=1e-5)
    assert record.citation == record.source
    assert row["error"] == pytest.approx(truth / 1000, rel=1e-5)
    assert row["reason"] == "it is positive"
    assert record.flags[0] == f"{record.models} of {record.models} values: it is positive"
