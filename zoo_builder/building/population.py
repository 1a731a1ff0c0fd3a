"""The population that a recipe describes: its problem, its table of runs, and their architectures."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.families import architecture_hyperparameters
from zoo_builder.problems.interface import Problem
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Population:
    """A recipe with its problem, its runs and their architectures: the input of training.

    Attributes:
        runs: ``recipes.grid.runs`` with the column architecture, the key of each run's network.
        architectures: the distinct ones, by key.
    """

    recipe: Recipe
    problem: Problem
    runs: pd.DataFrame
    architectures: dict[str, Architecture]

    @classmethod
    def of(cls, recipe: Recipe, problem: Problem) -> "Population":
        """Makes the runs and architectures of ``recipe``, and checks that they can be trained.

        Raises:
            InputError: an architecture that its inputs do not fit, or that its runs cannot train.
        """
        runs = grid.runs(recipe)
        names = [key.name for key in architecture_hyperparameters(recipe.family)]
        # One object for equal settings: an architecture is much larger than its settings.
        made: dict[tuple, Architecture] = {}
        keys = []
        for run in runs[names].to_dict("records"):
            settings = tuple(run.values())
            if settings not in made:
                made[settings] = grid.architecture_of(recipe.family, run, problem.input_shape, problem.outputs)
            keys.append(made[settings].key)
        architectures = {architecture.key: architecture for architecture in made.values()}
        for key, group in runs.groupby(np.array(keys)):
            problem.check(architectures[key], group)
        return cls(recipe, problem, runs.assign(architecture=keys), architectures)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of what all parts of a zoo share: the recipe (see ``without_size``) and the data."""
        value = json.dumps([without_size(self.recipe.to_json()), self.problem.fingerprint], sort_keys=True)
        return hashlib.sha256(value.encode()).hexdigest()

    def total_examples(self) -> dict[str, int]:
        """How many training examples the runs of each architecture see in all epochs."""
        seen = pd.Series(self.problem.examples(self.runs) * self.recipe.epochs, index=self.runs.index)
        return seen.groupby(self.runs["architecture"]).sum().to_dict()


def without_size(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe (as JSON) without its number of models and its description, which a resumed build may change."""
    return {name: value for name, value in recipe.items() if name not in ("models", "description")}
