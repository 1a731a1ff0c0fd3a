"""The rules for methods: one test over all built-in methods, on one small population."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.access import View
from baselines.estimators import estimators
from baselines.fields import TargetData, TrainData
from baselines.levels import ACCESS
from baselines.measures import measures
from baselines.measures.compute import compute
from baselines.measures.measure import Measure
from baselines.methods import Estimator, Prediction, Predictor
from baselines.predictors import predictors
from zoo_builder.networks.families import small_cnn
from zoo_builder.networks.stack import Stack, forward
from zoo_builder.training.results import STATISTICS

CONFIGURATIONS, SEEDS, IMAGES = 12, 2, 24
METHODS: tuple[Callable[[], tuple], ...] = (measures, predictors, estimators)
ROWS = [(kind, position) for kind in METHODS for position in range(len(kind()))]
NAMES = [kind()[position].name for kind, position in ROWS]


def population(access: str, models: int = CONFIGURATIONS * SEEDS) -> View:
    """Random networks of two activations, interleaved, with the fields of ``access``; a new copy per call."""
    random, stream = np.random.default_rng(0), torch.Generator().manual_seed(0)
    images = torch.from_numpy(random.integers(0, 256, (IMAGES, 1, 8, 8), dtype=np.uint8))

    def draw(activation: str, rows: np.ndarray) -> Stack:
        architecture = small_cnn((1, 8, 8), 3, width=4, depth=2, padding=1, activation=activation)
        shapes = architecture.parameters.items()
        return Stack(
            architecture,
            {name: 0.3 * torch.randn(len(rows), *shape, generator=stream) for name, shape in shapes},
            rows,
        )

    halves = {"relu": np.arange(0, models, 2), "tanh": np.arange(1, models, 2)}
    initial, stacks = ([draw(kind, rows) for kind, rows in halves.items()] for _ in range(2))
    logits = np.empty((models, IMAGES, 3), dtype=np.float16)
    for stack in stacks:
        logits[stack.rows] = forward(stack.architecture, stack.parameters, images / 127.5 - 1).half().numpy()
    content = {
        "stacks": stacks,
        "initial": initial,
        "hyperparameters": pd.DataFrame(
            {"learning_rate": random.random(models), "optimizer": random.choice(["sgd", "adam"], models)}
        ),
        "configurations": np.arange(models) // SEEDS,
        "train": TrainData(
            images=images,
            labels=torch.from_numpy(random.integers(0, 3, IMAGES)),
            subset_size=random.choice([6, IMAGES], models),
            subset_seed=random.integers(0, 2**62, models),
            loss=random.random(models),
            accuracy=random.random(models),
        ),
        "targets": {"digits": TargetData(images=images, logits=logits)},
        "statistics": pd.DataFrame(random.uniform(1, 100, (models, len(STATISTICS))), columns=list(STATISTICS)),
    }
    return View(access=access, size=models, **{k: v for k, v in content.items() if k in ACCESS[access]})


def answer(method: Measure | Predictor | Estimator, view: View) -> Prediction:
    """The prediction of a method for the models of ``view``; a predictor is fitted on the first half of them."""
    if isinstance(method, Measure):
        result = compute(view, [method])[method.name]
        assert result.log == ""
        return result
    if isinstance(method, Estimator):
        found = method.estimate(view)
    else:
        target = np.linspace(0.1, 0.9, view.size)
        train, validation = np.arange(view.size // 2), np.arange(view.size // 2, view.size)
        fitted = method.fit(view.take(train), target[train], view.take(validation), target[validation])
        assert fitted is method
        found = method.predict(view)
    return found if isinstance(found, Prediction) else Prediction(found)


def contents(view: View) -> dict[str, np.ndarray]:
    """Copies of all arrays of a view."""
    found = {}
    allowed = ACCESS[view.access]
    for kind in {"stacks", "initial"} & allowed:
        for number, stack in enumerate(getattr(view, kind)):
            found |= {f"{kind} {number} {name}": value.numpy().copy() for name, value in stack.parameters.items()}
            found[f"{kind} {number} rows"] = stack.rows.copy()
    if "train" in allowed:
        found |= {f"train {name}": np.asarray(value).copy() for name, value in vars(view.train).items()}
    if "targets" in allowed:
        target = view.targets["digits"]
        found |= {f"target {name}": np.asarray(value).copy() for name, value in vars(target).items()}
    if "hyperparameters" in allowed:
        found |= {name: column.to_numpy().copy() for name, column in view.hyperparameters.items()}
    if "configurations" in allowed:
        found["configurations"] = view.configurations.copy()
    return found


def test_names_are_distinct():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize(("kind", "position"), ROWS, ids=NAMES)
def test_a_method(kind, position):
    method = kind()[position]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", method.name)
    assert method.access in ACCESS
    assert method.citation.strip()
    assert isinstance(method, {measures: Measure, predictors: Predictor, estimators: Estimator}[kind])

    # It reads what its own level allows, and changes nothing.
    view = population(method.access)
    before = contents(view)
    prediction = answer(method, view)
    after = contents(view)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)

    # One float64 per model, and a reason for every NaN.
    values = prediction.values
    assert values.dtype == np.float64
    assert values.shape == (view.size,)
    assert not np.isinf(values).any()
    assert set(prediction.reasons) == set(np.flatnonzero(np.isnan(values)))
    assert all(reason.strip() for reason in prediction.reasons.values())

    # The same answer from a new object on a new copy of the same models.
    np.testing.assert_array_equal(answer(kind()[position], population(method.access)).values, values)
