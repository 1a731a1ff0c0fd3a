"""Made-up records that look like real ones: three tasks on two zoos, with boards for each access level."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmark.records import Record, read_records, write
from benchmark.reports.board_html import ZooSummary
from benchmark.reports.boards import populations
from benchmark.scoring.bootstrap import bootstrap_tau, interval, resample
from benchmark.scoring.kendall import kendall_tau, tie_ceiling, tie_fraction
from benchmark.scoring.regression import bootstrap_mae, mean_absolute_error

DRAWS = 200
BOARDS = (
    ("cifar10-gs/test-accuracy", "test accuracy", "larger is a higher test accuracy"),
    ("cifar10-gs/generalization-gap", "generalization gap", "larger is a larger gap, train minus test accuracy"),
    ("digits/test-accuracy", "test accuracy", "larger is a higher test accuracy"),
)
# name, kind, access, noise of the prediction (in standard deviations of the target), control
METHODS = (
    ("nfn-np", "predictor", "weights", 0.42, False),
    ("nfn-hnp", "predictor", "weights", 0.45, False),
    ("weight-statistics-boosting", "predictor", "weights", 0.47, False),
    ("weight-statistics-mlp", "predictor", "weights", 0.75, False),
    ("average-confidence", "estimator", "unlabeled-data", 0.6, False),
    ("hyperparameters-boosting", "predictor", "hyperparameters", 0.62, True),
    ("path-norm", "measure", "weights", 1.6, False),
    ("sum-log-spectral", "measure", "weights", 1.7, False),
    ("distance-from-initialization", "measure", "weights", 2.5, False),
    ("training-loss", "measure", "train-data", 0.3, True),
    ("random", "measure", "weights", 1e6, True),
    ("parameter-count", "measure", "weights", np.inf, False),
)


def zoo_table(name: str, n: int = 300) -> pd.DataFrame:
    """A zoo's final checkpoints: accuracies that depend on three of four hyperparameters."""
    rng = np.random.default_rng(len(name))
    learning_rate = 10 ** rng.uniform(-3.3, -1.3, n)
    dropout = rng.uniform(0, 0.7, n)
    fraction = rng.choice([0.1, 0.25, 0.5, 1.0], n)
    optimizer = rng.choice(["adam", "rmsprop", "sgd"], n)
    quality = (
        1.2 - 0.5 * (np.log10(learning_rate) + 2.4) ** 2 - dropout + 0.5 * np.log10(fraction) - (optimizer == "sgd")
    )
    test = 0.1 + 0.5 / (1 + np.exp(-2 * (quality + rng.normal(0, 0.3, n))))
    train = np.minimum(1, test + rng.exponential(0.05, n) / fraction**0.5)
    frame = pd.DataFrame(
        {
            "model_id": [f"{rng.integers(2**63):016x}" for _ in range(n)],
            "configuration": [f"{i // 2:016x}" for i in range(n)],
            "learning_rate": learning_rate,
            "dropout": dropout,
            "train_fraction": fraction,
            "optimizer": optimizer,
            "status": np.where(np.arange(n) % 60 == 7, "diverged", "ok"),
            "train_accuracy": train,
            "test_accuracy": test,
        }
    )
    frame.loc[frame["status"] == "diverged", ["train_accuracy", "test_accuracy"]] = np.nan
    return frame


def board_models(name: str, target: str) -> pd.DataFrame:
    table = zoo_table(name)
    table = table.drop(index=table.index[table["status"] != "ok"]).tail(130)
    values = table["test_accuracy"] if target == "test accuracy" else table["train_accuracy"] - table["test_accuracy"]
    return pd.DataFrame(
        {
            "model_id": table["model_id"],
            "configuration": table["configuration"],
            "prediction": np.nan,
            "error": np.nan,
            "reason": None,
            "target": values.round(3),
        }
    ).reset_index(drop=True)


def scored(record: Record, frame: pd.DataFrame) -> Record:
    """The record with the coverage, scores and flags of these predictions."""
    frame = frame.dropna(subset="prediction")
    target, clusters = frame["target"].to_numpy(), frame["configuration"].to_numpy()
    prediction = frame["prediction"].to_numpy()
    weights = resample(len(target), clusters, DRAWS)
    tau = kendall_tau(prediction, target)
    scores = {"tau": (tau.value, bootstrap_tau(prediction[None], target, weights)[0])}
    if record.kind != "measure":
        error = mean_absolute_error(prediction, target)
        scores["mae"] = (error, bootstrap_mae(prediction[None], target, weights)[0])
    return replace(
        record,
        coverage=len(frame) / record.models,
        flags=list(tau.flags),
        scores={
            name: {"value": float(value), "low": interval(draws).low, "high": interval(draws).high}
            for name, (value, draws) in scores.items()
        },
    )


@pytest.fixture(scope="session")
def results(tmp_path_factory, blank):
    """A folder of records: a dozen methods on three boards; on the first also a failed one, one that timed out, one
    that does not apply, and one that is defined on 80 % of the models."""
    folder = tmp_path_factory.mktemp("results")
    for task, target, orientation in BOARDS:
        zoo = task.partition("/")[0]
        frame = board_models(zoo, target)
        rng = np.random.default_rng(len(task))
        base = replace(
            blank,
            task=task,
            zoo=zoo,
            target=target,
            orientation=orientation,
            weights_hash=("b3d9" if zoo == "digits" else "4c1e") * 16,
            reference={
                "tie_ceiling": tie_ceiling(frame["target"]),
                "tie_fraction": tie_fraction(frame["target"]),
                "reliability": {"halves": 0.6, "ceiling": 0.8},
                "noise_floors": {"tau": {"median": 0.001, "p95": 0.094}},
            },
        )
        spread = frame["target"].std()
        for name, kind, access, noise, control in METHODS:
            noisy = frame["target"] + spread * noise * rng.normal(size=130) if np.isfinite(noise) else 4970.0
            predicted = frame.assign(prediction=noisy)
            if name == "path-norm":
                predicted.loc[:3, ["prediction", "reason"]] = [np.nan, "tanh network"]
            record = replace(
                base, method=name, kind=kind, access=access, control=control, seconds=10 * rng.random() ** 3
            )
            write(scored(record, predicted), predicted, folder)
        if task == BOARDS[0][0]:
            partial = frame.assign(prediction=frame["target"] ** 2 + spread * 0.1 * rng.normal(size=130))
            partial.loc[100:, ["prediction", "reason"]] = [np.nan, "negative margin"]
            write(scored(replace(base, method="inverse-margin"), partial), partial, folder)
            reason, log = (
                "ValueError: cannot reshape 4970 into (3, 3)",
                'Traceback ...\n  File "mine.py", line 12\nValueError',
            )
            write(
                replace(base, method="my-transformer", kind="predictor", status="failed", reason=reason, log=log),
                None,
                folder,
            )
            write(replace(base, method="hessian-trace", status="timeout", reason="stopped after 600 s"), None, folder)
        reason = "needs at least two seeds per configuration, this zoo has one"
        write(
            replace(base, method="disagreement", kind="estimator", status="not applicable", reason=reason),
            None,
            folder,
        )
    return folder


@pytest.fixture(scope="session")
def summaries() -> list[ZooSummary]:
    axes = ("learning_rate", "dropout", "train_fraction", "optimizer")
    return [
        ZooSummary(
            "4c1e" * 16, "Small CNNs on grey CIFAR-10 after Unterthiner et al. 2020", zoo_table("cifar10-gs"), axes
        ),
        ZooSummary("b3d9" * 16, "Small CNNs on the digits of scikit-learn", zoo_table("digits"), axes),
    ]


@pytest.fixture(scope="session")
def records(results):
    return read_records(results)


@pytest.fixture(scope="session")
def found(records):
    """The populations of the made-up records."""
    return populations(records)


@pytest.fixture(scope="session")
def task(found):
    """The population that has methods of every status."""
    return next(task for task in found if task.head.task == "cifar10-gs/test-accuracy")


HOSTILE = 'x|y\n</script><script>document.title="owned"</script><img src=x onerror=alert(1)>{{7*7}} [a](http://b) `'
# A name of a method has one line and at most 80 characters.
HOSTILE_NAME = "x|y</script><img src=x onerror=alert(1)>{{7*7}}[a](http://b)`<script>"


@pytest.fixture
def hostile(blank, small, tmp_path):
    """A population whose every text tries to break out of a page."""
    target = np.linspace(0, 1, 8)
    words = {"citation": HOSTILE, "formula": HOSTILE, "flags": [HOSTILE], "access": HOSTILE_NAME}
    failed = replace(blank, method=f"{HOSTILE_NAME}2", status="failed", reason=HOSTILE, log=HOSTILE)
    write(failed, None, tmp_path)
    return small(tmp_path, {HOSTILE_NAME: target}, target, [f"{i}" for i in range(8)], **words)


@pytest.fixture(scope="session")
def chromium():
    """The start of a command line that opens a page in a headless browser."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return [
        path,
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    ]
