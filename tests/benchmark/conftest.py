"""A blank record, boards of made-up predictions, a small zoo, and tables of predictions."""

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from benchmark.records import Record, read_records, write
from benchmark.reports.boards import populations
from zoo_builder.building.build import build
from zoo_builder.recipes.recipe import Recipe, load_recipe
from zoo_builder.store.zoo import Zoo


@pytest.fixture(scope="session")
def blank() -> Record:
    return Record(
        task="cifar10-gs/test-accuracy",
        task_version=1,
        zoo="cifar10-gs",
        target="test accuracy",
        orientation="larger is a higher test accuracy",
        method="someone",
        kind="measure",
        access="weights",
        control=False,
        citation="Unterthiner et al. 2020, arXiv:2002.11448",
        formula="E[accuracy | weights]",
        zoo_manifest="a" * 64,
        weights_hash="b" * 64,
        split_hash="c" * 64,
        package_version="0.1.0",
        commit="0123456789abcdef0123456789abcdef01234567",
        environment={"python": "3.11.7"},
        created="2026-11-23T09:00:00+00:00",
        seconds=1.0,
        peak_memory_mib=300.0,
        status="ok",
        reason=None,
        log=None,
        models=130,
        coverage=1.0,
        flags=[],
        headline="tau",
        scores={},
        undefined={},
        reference={},
    )


@pytest.fixture(scope="session")
def small_zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """64 real networks of 32 configurations, trained for one epoch on digits."""
    value = load_recipe("digits").to_json() | {
        "name": "small",
        "models": 64,
        "seeds": 2,
        "epochs": 1,
        "checkpoints": [0, 1],
    }
    value["fixed"].pop("activation")
    value["grid"] = {
        "learning_rate": [0.003, 0.03],
        "l2": [0.0, 0.01],
        "dropout": [0.0, 0.3],
        "train_fraction": [0.1, 0.3],
        "activation": ["relu", "tanh"],
    }
    return build(Recipe.from_json(value), tmp_path_factory.mktemp("zoos") / "small", device="cpu")


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    gap = rng.random(40).round(2)
    return pd.DataFrame(
        {
            "model": [f"model-{i}" for i in range(40)],
            "hp.width": np.arange(40) // 4,
            "hp.optimizer": ["SGD", "Adam"] * 20,
            "gap": gap,
            "measure.good": gap + 0.1 * rng.random(40),
            "measure.twin": 2 * gap,
            "measure.random": rng.random(40),
        }
    )


@pytest.fixture
def write_table(tmp_path):
    def write(table, name="table.csv"):
        path = tmp_path / name
        table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)
        return path

    return write


@pytest.fixture
def grid():
    """3 x 2 x 2 configurations with four seeds each."""
    rng = np.random.default_rng(1)
    rows = [row for row in product([1, 2, 4], ["adam", "sgd"], [0.0, 0.5]) for _ in range(4)]
    table = pd.DataFrame(rows, columns=["hp.width", "hp.optimizer", "hp.dropout"])
    table["seed"] = list(range(4)) * 12
    table["gap"] = 0.1 * table["hp.width"] + 0.2 * (table["hp.optimizer"] == "sgd") + 0.02 * rng.standard_normal(48)
    table["measure.good"] = table["gap"] + 0.02 * rng.standard_normal(48)
    table["measure.poor"] = table["gap"] + 0.5 * rng.standard_normal(48)
    return table


@pytest.fixture
def small(blank):
    """Writes records of some predictions, and returns the populations that a folder of them makes."""

    def small(folder, predictions: dict[str, np.ndarray], target: np.ndarray, configuration: list[str], **changes):
        for name, prediction in predictions.items():
            frame = pd.DataFrame(
                {
                    "model_id": [f"{i:04x}" for i in range(len(target))],
                    "configuration": configuration,
                    "prediction": prediction,
                    "error": np.nan,
                    "reason": None,
                    "target": target,
                }
            )
            defined = ~np.isnan(prediction)
            tau = float(kendalltau(prediction[defined], target[defined]).statistic)
            scores = {"tau": {"value": tau, "low": tau - 0.1, "high": tau + 0.1}}
            record = replace(blank, method=name, models=len(target), coverage=float(defined.mean()), scores=scores)
            write(replace(record, **changes), frame, folder)
        return populations(read_records(folder))

    return small
