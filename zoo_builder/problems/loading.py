"""From a recipe to its problem, with the data in memory."""

from pathlib import Path

from zoo_builder.problems.classification import Classification
from zoo_builder.problems.interface import Problem
from zoo_builder.recipes.hyperparameters import CLASSIFICATION
from zoo_builder.recipes.recipe import Recipe

PROBLEMS = {CLASSIFICATION: Classification}


def load_problem(recipe: Recipe, data_root: str | Path | None = None) -> Problem:
    """The problem that ``recipe`` names.

    Args:
        data_root: the folder of its data; None lets the source of the data choose.

    Raises:
        InputError: the data cannot be loaded.
    """
    return PROBLEMS[recipe.problem].load(recipe, data_root)
