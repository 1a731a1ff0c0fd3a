"""Methods of all kinds, good and bad, run for real in their own processes on a real small zoo."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import GradientBoostingRegressor

from benchmark.evaluation.evaluate import evaluate
from benchmark.evaluation.selection import find_methods
from benchmark.records import Record, read_records
from benchmark.scoring.regression import folds_of
from benchmark.tasks import find_task
from zoo_builder.building.build import build
from zoo_builder.errors import InputError
from zoo_builder.recipes.recipe import Recipe
from zoo_builder.store.zoo import Zoo

HEAD = """
import numpy as np
from baselines.measures.measure import Measure
from baselines.methods import NotApplicable, Prediction

class Base:
    access = "weights"
    citation = "this test"
    name = "mine"
    def fit(self, view, target, validation, validation_target):
        self.mean = float(np.mean(target))
        return self
    def predict(self, view):
        return np.arange(view.size) / view.size
"""


def run(zoo: Zoo, folder: Path, code: str, task: str = "test-accuracy", timeout: float = 120) -> Record:
    """The record of the class or function `Mine` in ``code``."""
    file = folder / "method.py"
    file.write_text(HEAD + textwrap.dedent(code))
    chosen = find_task(task, zoo.name)
    methods = find_methods([f"{file}:Mine"], chosen)
    (record,) = evaluate(chosen, methods, zoo, folder / "results", timeout=timeout)
    return record


def test_built_in_methods_leave_complete_records(small_zoo: Zoo, tmp_path: Path) -> None:
    task = find_task("generalization-gap", small_zoo.name)
    methods = find_methods(["parameter-count", "training-accuracy", "hyperparameters"], task)
    records = evaluate(task, methods, small_zoo, tmp_path, workers=2)
    assert [record.method for record in records] == ["parameter-count", "training-accuracy", "hyperparameters"]
    assert read_records(tmp_path) == sorted(records, key=lambda record: record.method)
    for record in records:
        assert record.status == "ok", record.log
        assert record.coverage == 1
        assert record.weights_hash == small_zoo.weights_hash
        assert record.seconds >= 0
        assert (record.peak_memory_mib or 0) > 50
        tau = record.scores["tau"]
        assert tau["low"] <= tau["value"] <= tau["high"]
        floors = record.reference["noise_floors"]
        assert floors["tau"]["p95"] > 0
        assert floors.keys() | {"mae"} == {"tau", "psi", "k", "pgdl", "partial", "r2", "mae"}
        assert 0 < record.reference["reliability"]["ceiling"] <= 1
        assert record.undefined["robust"].startswith("none of ")
        assert {"k", "pgdl", "partial", "r2"} <= record.scores.keys()
        # Half of the grid: a draw seldom has two configurations that differ in each hyperparameter alone.
        assert record.undefined["psi"].endswith("of 2000 bootstrap draws alone")
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


def test_measures_are_scored_on_all_models_and_what_is_fitted_is_refused(small_zoo: Zoo, tmp_path: Path) -> None:
    task = find_task("complexity", small_zoo.name)
    assert "predictor" not in {method.kind for method in find_methods(["all"], task) if not method.control}
    with pytest.raises(InputError, match="it is fitted, and complexity scores all models of a zoo"):
        find_methods(["nfn-np"], task)
    (record,) = evaluate(task, find_methods(["weight-norm"], task), small_zoo, tmp_path)
    assert (record.status, record.models) == ("ok", len(small_zoo.final))
    detail = record.scores["psi"]["detail"]
    assert detail["psi"].keys() == set(small_zoo.recipe.grid)
    assert all(cells for cells in detail["cells"].values())


def test_an_oracle_is_the_target_with_noise_of_the_models_own(small_zoo: Zoo, tmp_path: Path) -> None:
    of_all = find_task("complexity", small_zoo.name)
    small, large = evaluate(of_all, find_methods(["oracle-0.02", "oracle-0.05"], of_all), small_zoo, tmp_path)
    assert (small.status, small.kind, small.control) == ("ok", "oracle", True)
    draws = []
    for record, noise in ((small, 0.02), (large, 0.05)):
        table = record.predictions().set_index("model_id")
        draws.append((table["prediction"] - table["target"]) / noise)
    np.testing.assert_allclose(*draws, atol=1e-12)
    assert abs(draws[0].mean()) < 3 / len(draws[0]) ** 0.5
    assert draws[0].std() == pytest.approx(1, abs=3 / (2 * len(draws[0])) ** 0.5)
    of_half = find_task("generalization-gap", small_zoo.name)
    (record,) = evaluate(of_half, find_methods(["oracle-0.02"], of_half), small_zoo, tmp_path)
    table = record.predictions().set_index("model_id")
    np.testing.assert_allclose((table["prediction"] - table["target"]) / 0.02, draws[0][table.index], atol=1e-12)


def test_where_nothing_is_fitted_hyperparameters_predict_out_of_fold(small_zoo: Zoo, tmp_path: Path) -> None:
    task = find_task("complexity", small_zoo.name)
    (record,) = evaluate(task, find_methods(["hyperparameters"], task), small_zoo, tmp_path)
    assert (record.status, record.models, record.control) == ("ok", len(small_zoo.final), True)
    assert "out of 10 folds of configurations" in record.formula
    table = record.predictions()
    names = [*small_zoo.recipe.grid, *small_zoo.recipe.sample]
    features = pd.get_dummies(small_zoo.final[names].reset_index(drop=True)).to_numpy(float)
    fold = folds_of(pd.factorize(table["configuration"])[0])
    slow = np.empty(len(table))
    for number in range(10):
        held_out = fold == number
        trees = GradientBoostingRegressor(max_leaf_nodes=4, min_samples_leaf=5, random_state=0)
        trees.fit(features[~held_out], table["target"][~held_out])
        slow[held_out] = trees.predict(features[held_out])
    np.testing.assert_allclose(table["prediction"], slow, atol=0.01)


def test_a_users_predictor_is_scored(small_zoo: Zoo, tmp_path: Path) -> None:
    record = run(small_zoo, tmp_path, "class Mine(Base): pass")
    assert (record.status, record.method, record.kind, record.citation) == ("ok", "mine", "predictor", "this test")
    assert not record.control


def test_a_users_measure_is_one_function(small_zoo: Zoo, tmp_path: Path) -> None:
    code = '''
    def Mine(context):
        """Sum of squares of all weights."""
        return sum(value.flatten(1).square().sum(1) for value in context.parameters.values())
    '''
    record = run(small_zoo, tmp_path, code, "generalization-gap")
    assert (record.status, record.kind, record.formula) == ("ok", "measure", "Sum of squares of all weights.")
    row = record.predictions().iloc[0]
    network = small_zoo.module(row["model_id"])
    truth = sum(value.square().sum().item() for value in network.parameters())
    assert row["prediction"] == pytest.approx(truth, rel=1e-5)


# One method each: what `predict` does, and words of the reason in its record.
BAD = {
    "raises": ("raise RuntimeError('no idea')", "RuntimeError: no idea"),
    "short": ("return np.zeros(3)", "the prediction has shape (3,), expected ("),
    "nan": (
        "return np.full(view.size, np.nan)",
        "is NaN without a reason: return Prediction(values, reasons={row: why})",
    ),
    "infinite": ("return np.full(view.size, np.inf)", "the prediction of model 0 is infinite"),
    "words": ("return ['good'] * view.size", "the prediction does not consist of numbers"),
    "peeks": ("return view.hyperparameters", "view.hyperparameters is not part of access level 'weights'"),
    "killed": ("os.kill(os.getpid(), 9)", "its process was killed by signal 9"),
    "leaves": ("os._exit(3)", "its process ended with code 3"),
    "calls": ("socket.create_connection(('127.0.0.1', 9), timeout=2)", "OSError: [Errno 101] Network is unreachable"),
    "reads": ("import pandas; return pandas.read_parquet(ZOO + '/checkpoints/part-00000.parquet')", "Error: "),
    "records": ("import glob; assert glob.glob(RESULTS + '/*/*/*'), 'nothing to see'", "nothing to see"),
    "fitless": ("pass", "fit returned None: it must return the fitted predictor"),
    "opens": ("return list(open(ZOO + '/checkpoints/part-00000.parquet', 'rb'))", "a method reads its view alone"),
}


@pytest.fixture(scope="module")
def bad_records(small_zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    folder = tmp_path_factory.mktemp("bad")
    file = folder / "bad.py"
    classes = [
        f"class {name.title()}(Base):\n    name = {name!r}\n    def predict(self, view):\n        {line}\n"
        for name, (line, _) in BAD.items()
    ]
    classes.append("Fitless.fit = lambda *arguments: None")
    places = f"ZOO = {str(small_zoo.root)!r}\nRESULTS = {str(folder / 'results')!r}\n"
    file.write_text("import os, socket\n" + places + HEAD + "\n".join(classes))
    task = find_task("test-accuracy", small_zoo.name)
    evaluate(task, find_methods(["hyperparameters"], task), small_zoo, folder / "results")
    methods = find_methods([f"{file}:{name.title()}" for name in BAD], task, workers=2)
    records = evaluate(task, methods, small_zoo, folder / "results", workers=2)
    return {record.method: record for record in records}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_method_is_a_failed_record_with_the_reason(bad_records: dict[str, Record], name: str) -> None:
    record = bad_records[name]
    assert record.status == "failed"
    assert BAD[name][1] in (record.reason or "")
    assert record.scores == {}


def test_a_method_sees_labels_of_the_other_splits_alone(small_zoo: Zoo, tmp_path: Path) -> None:
    code = """
    import json, os
    from pathlib import Path
    import pandas as pd
    class Mine(Base):
        def predict(self, view):
            labels = pd.read_parquet(Path(os.environ["HOME"]) / "labels.parquet")["target"]
            job = json.loads((Path(os.environ["HOME"]) / "job.json").read_text())
            assert labels.iloc[job["test"]].isna().all()
            assert labels.iloc[job["train"]].notna().all()
            assert "SECRET" not in os.environ
            return np.arange(view.size) / 7
    """
    assert run(small_zoo, tmp_path, code).status == "ok"


def test_partly_defined_predictions_carry_reasons_and_coverage(small_zoo: Zoo, tmp_path: Path) -> None:
    code = """
    class Mine(Base):
        def predict(self, view):
            values = np.arange(view.size) / view.size
            values[:2] = np.nan
            return Prediction(values, {0: "too thin", 1: "too wide"})
    """
    record = run(small_zoo, tmp_path, code)
    assert record.status == "ok"
    assert record.coverage == pytest.approx(1 - 2 / record.models)
    assert record.predictions()["reason"].iloc[:2].tolist() == ["too thin", "too wide"]


def test_not_applicable_and_timeout_are_told_apart_from_failure(small_zoo: Zoo, tmp_path: Path) -> None:
    code = "class Mine(Base):\n def predict(self, view): raise NotApplicable('needs two seeds')"
    record = run(small_zoo, tmp_path, code)
    assert (record.status, record.reason) == ("not applicable", "needs two seeds")
    sleepy = "import time\nclass Mine(Base):\n def predict(self, view): time.sleep(600)"
    record = run(small_zoo, tmp_path, sleepy, timeout=6)
    assert (record.status, record.reason) == ("timeout", "took longer than 6 s")


@pytest.mark.parametrize(
    ("code", "task", "words"),
    [
        ("Mine = 3", "test-accuracy", r"is not a method: expected a function of a MeasureContext"),
        (
            "class Mine(Base): access = 'wieghts'",
            "test-accuracy",
            r"did you mean 'weights'\?\): use one of hyperparameters",
        ),
        ("class Mine(Base): name = 'random'", "test-accuracy", r"is called 'random' like a built-in method"),
        (
            "class Mine(Base): access = 'train-data'",
            "test-accuracy",
            r"it reads 'train-data', and test-accuracy gives 'wei",
        ),
        (
            "def Mine(context): return 0",
            "test-accuracy",
            r"a complexity measure says how large the generalization gap is",
        ),
        (
            "Mine = Measure('mine', len, 'weights', 'cheap', '', '')",
            "complexity",
            r"unknown cost 'cheap' of measure 'mine': use one of free, weights",
        ),
        (
            "Mine = Measure('mine', len, 'hyperparameters', 'free', '', '')",
            "complexity",
            r"unknown access level 'hyperparameters' of measure 'mine': use one of weights, train-data, trajectory",
        ),
        ("1 / 0", "test-accuracy", r"cannot be loaded: ZeroDivisionError"),
        ("class Other(Base): pass", "test-accuracy", r"has no 'Mine'"),
    ],
)
def test_what_cannot_enter_is_refused_before_anything_runs(
    small_zoo: Zoo, tmp_path: Path, code: str, task: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        run(small_zoo, tmp_path, code, task)
    assert not (tmp_path / "results").exists()


def test_unknown_references_are_named(tmp_path: Path) -> None:
    task = find_task("test-accuracy", "small")
    with pytest.raises(InputError, match=r"unknown method 'nfn-mp' \(did you mean 'nfn-np'\?\)"):
        find_methods(["nfn-mp"], task)
    with pytest.raises(InputError, match=r"unknown method 'oracle-0.2' \(did you mean 'oracle-0.02'\?\)"):
        find_methods(["oracle-0.2"], task)
    with pytest.raises(InputError, match=r"benchmark.evaluation.oracle:Oracle cannot be loaded: "):
        find_methods(["benchmark.evaluation.oracle:Oracle"], task)
    own = tmp_path / "own.py"
    own.write_text("from benchmark.evaluation.oracle import Oracle\nMine = Oracle(0.0)\n")
    with pytest.raises(InputError, match=r"own.py:Mine is not a method"):
        find_methods([f"{own}:Mine"], task)
    with pytest.raises(InputError, match=r"there is no file .*nothing.py"):
        find_methods([f"{tmp_path}/nothing.py:Mine"], task)
