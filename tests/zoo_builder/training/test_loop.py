"""Divergence and the stopping rule."""

import numpy as np
import pytest
import torch
from torch import Tensor

from zoo_builder.datasets.dataset import Dataset
from zoo_builder.engines.torch_engine import TorchEngine
from zoo_builder.networks.architecture import Architecture
from zoo_builder.recipes import grid
from zoo_builder.recipes.recipe import Recipe, builtin_recipes, load_recipe
from zoo_builder.training.loop import train


def test_a_diverged_run_is_kept_as_a_row_and_the_others_train_on(
    digits: Dataset, architecture: Architecture, table
) -> None:
    runs = table(4, learning_rate=[0.01, 1e30, 0.01, 0.01], optimizer="sgd", train_fraction=1.0)
    trained = train(TorchEngine(), architecture, runs, digits, [0, 1, 2])
    rows = trained.table[trained.table["run"] == 1]
    assert rows["status"].tolist() == ["ok", "diverged"]
    assert rows["epoch"].tolist() == [0, 1]
    assert rows.iloc[-1][["train_loss", "test_loss", "test_accuracy"]].isna().all()
    assert trained.outputs[1].isnan().all()
    assert rows.iloc[-1]["steps"] < trained.table["steps"].max()
    calm = train(TorchEngine(), architecture, runs.iloc[[0, 2, 3]], digits, [0, 1, 2])
    kept = trained.table[trained.table["run"] != 1].reset_index(drop=True)
    np.testing.assert_allclose(kept["test_loss"], calm.table["test_loss"], rtol=1e-3)


def test_a_run_stops_at_its_training_cross_entropy(digits: Dataset, architecture: Architecture, table) -> None:
    runs = table(3, learning_rate=[0.01, 0.01, 1e-6], optimizer="adam", l2=0.0, train_fraction=1.0)
    trained = train(TorchEngine(), architecture, runs, digits, [0, 8], stop_cross_entropy=0.5)
    last = trained.table.groupby("run").tail(1)
    assert last["status"].tolist() == ["ok", "ok", "not-converged"]
    assert (last["train_loss"].iloc[:2] <= 0.5).all()
    assert (last["epoch"].iloc[:2] < 8).all()
    assert last["epoch"].iloc[2] == 8
    longer = train(TorchEngine(), architecture, runs.iloc[:1], digits, list(range(9)))
    before = longer.table[longer.table["epoch"] == last["epoch"].iloc[0] - 1]
    assert len(before) == 1, "the run before its stop is an ordinary checkpoint"


CHANNELS = {"grey": 1, "rgb": 3}
SIZES = {"cifar10": 32, "svhn": 32, "mnist": 28, "fashion-mnist": 28, "digits": 8}


def synthetic(recipe: Recipe) -> Dataset:
    """Four training images and three test images of the recipe's shape."""
    stream = torch.Generator().manual_seed(0)
    size = SIZES[recipe.data.name]

    def draw(count: int) -> tuple[Tensor, Tensor]:
        images = torch.randint(256, (count, CHANNELS[recipe.data.colour], size, size), generator=stream)
        return images.to(torch.uint8), torch.arange(count) % 10

    (train_images, train_labels), (test_images, test_labels) = draw(4), draw(3)
    return Dataset(
        name=recipe.data.name,
        colour=recipe.data.colour,
        classes=tuple("0123456789"),
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )


@pytest.mark.parametrize("name", builtin_recipes())
def test_a_few_models_of_every_recipe_train(name: str) -> None:
    """The first and the last run, and those of the smallest and the largest architecture."""
    recipe = load_recipe(name)
    data, runs = synthetic(recipe), grid.runs(recipe)
    shape = tuple(data.train_images.shape[1:])
    keys = [key.name for key in grid.architecture_hyperparameters(recipe.family)]
    distinct = runs.drop_duplicates(keys)
    sizes = [grid.architecture_of(recipe.family, run, shape, 10).size for run in distinct.to_dict("records")]
    chosen = {0, len(runs) - 1, *distinct.index[[int(np.argmin(sizes)), int(np.argmax(sizes))]].tolist()}
    for number in sorted(chosen):
        run = runs.iloc[[number]].reset_index(drop=True)
        architecture = grid.architecture_of(recipe.family, run.loc[0], shape, 10)
        trained = train(TorchEngine(), architecture, run, data, [0, 1])
        assert trained.table["status"].tolist() == ["ok", "ok"]
        assert np.isfinite(trained.table[["test_loss", "test_accuracy"]].to_numpy()).all()
        assert np.isfinite(trained.table.loc[1, ["train_loss", "train_accuracy"]].to_numpy(float)).all()
        assert all(value.isfinite().all() for value in trained.weights.values())
        assert any((value[0] != value[1]).any() for value in trained.weights.values())
