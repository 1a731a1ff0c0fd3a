"""From a recipe to its table of runs, and from a run to its architecture.

Run i is configuration i // seeds with seed i % seeds. Configuration c takes grid cell c % cells and the c-th draw of
every sampled hyperparameter; each of these has its own random stream. A longer table therefore starts with the shorter
one, and sampling one more hyperparameter changes no other column.
"""

import hashlib
import json
from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pandas as pd

from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture, Shape
from zoo_builder.networks.families import FAMILIES, architecture_hyperparameters
from zoo_builder.recipes.recipe import Recipe, Sampled, vocabulary
from zoo_builder.streams import numpy_stream


def runs(recipe: Recipe) -> pd.DataFrame:
    """The table of runs: one row per run, in order.

    Columns: model_id, twin and configuration (16 hexadecimal digits each), every hyperparameter of the family, seed.
    The ids are hashes of the science only, without epochs, checkpoints and the recipe's name: the same run trained for
    longer is the same run. ``configuration`` hashes data and hyperparameters; ``model_id`` adds the seeds of recipe and
    run; ``twin`` is the model_id of the configuration's seed 0.

    Raises:
        InputError: two configurations are equal, because [sample] has too few values.
    """
    number = np.arange(recipe.configurations)
    columns = dict(recipe.fixed)
    cell = number % recipe.cells
    for name, values in reversed(recipe.grid.items()):  # the last axis varies fastest
        cell, position = np.divmod(cell, len(values))
        columns[name] = np.array(values)[position]
    for name, axis in recipe.sample.items():
        columns[name] = quantile(axis, numpy_stream(str(recipe.seed), name).random(len(number)))
    table = pd.DataFrame(columns, index=number, columns=list(vocabulary(recipe.family, recipe.problem)))
    table.insert(0, "configuration", _configurations(recipe, table))
    table = table.loc[np.arange(recipe.models) // recipe.seeds].reset_index(drop=True)
    table["seed"] = np.arange(recipe.models) % recipe.seeds
    twins = {key: _hash([key, recipe.seed, 0]) for key in table["configuration"].unique()}
    table.insert(0, "twin", table["configuration"].map(twins))
    identities = zip(table["configuration"], table["seed"], strict=True)
    table.insert(0, "model_id", [_hash([key, recipe.seed, seed]) for key, seed in identities])
    return table


def quantile(axis: Sampled, probability: np.ndarray) -> np.ndarray:
    """The inverse distribution function of a sampled axis, at probabilities in [0, 1)."""
    if axis.distribution == "choice":
        return np.array(axis.values)[(probability * len(axis.values)).astype(int)]
    low, high = axis.values
    if axis.distribution == "uniform":
        return low + (high - low) * probability
    # In decimal arithmetic: the last bit of a float exp differs between processors, and the ids hash every bit.
    exact = Context(prec=25)
    start, end = exact.ln(Decimal(low)), exact.ln(Decimal(high))
    return np.array([float(exact.exp(start + (end - start) * Decimal(p))) for p in probability.tolist()])


def architecture_of(family: str, run: Mapping[str, Any] | pd.Series, input_shape: Shape, outputs: int) -> Architecture:
    """The architecture of one run (a row of the table), for inputs (channels, height, width).

    Raises:
        InputError: there is none, for example because a kernel is larger than its input.
    """
    arguments = {key.name: key.kind(run[key.name]) for key in architecture_hyperparameters(family)}
    try:
        return FAMILIES[family](input_shape, outputs, **arguments)
    except InputError as error:
        raise InputError(f"{described(family, run, input_shape)}: {error}") from None


def described(family: str, run: Mapping[str, Any] | pd.Series, input_shape: Shape) -> str:
    """The settings that determine the architecture of one run, and the shape of its inputs, for messages."""
    settings = ", ".join(f"{key.name} = {run[key.name]}" for key in architecture_hyperparameters(family))
    return f"{family} ({settings}) on {'x'.join(map(str, input_shape))} inputs"


def _configurations(recipe: Recipe, table: pd.DataFrame) -> list[str]:
    # Values at their default are left out, so that a new hyperparameter in the vocabulary changes no existing id.
    defaults = {name: key.default for name, key in vocabulary(recipe.family, recipe.problem).items()}
    data = [recipe.data.name, recipe.data.colour, *([] if recipe.data.size is None else [recipe.data.size])]
    ids = [
        _hash([*data, recipe.family, {k: v for k, v in row.items() if v != defaults[k]}])
        for row in table.to_dict("records")
    ]
    first = {}
    for number, key in enumerate(ids):
        if first.setdefault(key, number) != number:
            raise InputError(
                f"recipe {recipe.name}: configurations {first[key]} and {number} are the same, because [sample] has "
                "too few values for so many models: use fewer models, or move the choices to [grid]"
            )
    return ids


def _hash(value: list) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
