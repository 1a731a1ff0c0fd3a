from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from zoo_builder.errors import InputError
from zoo_builder.recipes.grid import architecture_of, quantile, runs
from zoo_builder.recipes.recipe import Recipe, Sampled, load_recipe

GRID = {"optimizer": ["sgd", "adam"], "depth": [2, 3, 4], "dropout": [0.0, 0.3], "varied": ["everything", "data"]}
SAMPLE = {
    "learning_rate": {"log_uniform": [5e-4, 5e-2]},
    "l2": {"uniform": [0.0, 0.1]},
    "train_fraction": {"choice": [0.1, 0.5, 1.0]},
    "width": {"choice": [4, 8]},
    "initialization_std": {"log_uniform": [1e-3, 0.5]},
}
REQUIRED = {"learning_rate": 0.1, "optimizer": "sgd", "initialization": "he-normal", "batch_size": 32}


def recipe(grid=(), sample=(), **top) -> Recipe:
    """A recipe with these axes of GRID and SAMPLE."""
    return Recipe.from_json(
        {
            "name": "test",
            "epochs": 3,
            "data": {"name": "digits"},
            "architecture": {"family": "small-cnn"},
            "fixed": {name: value for name, value in REQUIRED.items() if name not in (*grid, *sample)},
            "grid": {name: GRID[name] for name in grid},
            "sample": {name: SAMPLE[name] for name in sample},
            **top,
        }
    )


# At least one real-valued axis, so that no two configurations are equal.
axes = st.sets(st.sampled_from(sorted(SAMPLE))).map(lambda names: tuple(sorted(names | {"learning_rate"})))
grids = st.sets(st.sampled_from(sorted(GRID))).map(lambda names: tuple(sorted(names)))


@settings(deadline=None, max_examples=30)
@given(grids, axes, st.integers(1, 40), st.integers(0, 40), st.integers(1, 5), st.integers(0, 3))
def test_a_longer_table_starts_with_the_shorter_one(grid, sample, models, more, seeds, seed):
    short = recipe(grid, sample, models=models, seeds=seeds, seed=seed)
    long = runs(short.cut(models=models + more))
    pd.testing.assert_frame_equal(runs(short), long[:models])
    assert long["model_id"].is_unique
    assert long.groupby("configuration")["seed"].nunique().max() <= seeds


@settings(deadline=None, max_examples=30)
@given(grids, axes, st.sampled_from(sorted(SAMPLE)), st.integers(1, 40))
def test_one_more_sampled_axis_changes_no_other_column(grid, sample, added, models):
    before = runs(recipe(grid, sample, models=models))
    after = runs(recipe(grid, tuple({*sample, added}), models=models))
    other = [name for name in before if name not in ("model_id", "twin", "configuration", added)]
    pd.testing.assert_frame_equal(before[other], after[other])


def test_a_grid_is_the_product_of_its_axes_with_the_last_axis_fastest():
    table = runs(recipe(["optimizer", "dropout", "depth"], seeds=3))
    expected = [(*cell, seed) for *cell, seed in product(GRID["optimizer"], GRID["dropout"], GRID["depth"], range(3))]
    assert list(table[["optimizer", "dropout", "depth", "seed"]].itertuples(index=False, name=None)) == expected
    assert len(set(table["configuration"])) == 12
    assert set(table.groupby("configuration").size()) == {3}


@pytest.mark.parametrize("varied", [[], ["varied"]])
def test_a_twin_is_the_first_seed_of_the_configuration(varied):
    table = runs(recipe(["depth", *varied], seeds=3))
    assert len(table) == 9 * (2 if varied else 1)
    first = table[table["seed"] == 0].set_index("configuration")["model_id"]
    assert table["twin"].tolist() == first[table["configuration"]].tolist()
    assert table.loc[table["seed"] == 0, "twin"].equals(table.loc[table["seed"] == 0, "model_id"])
    assert not set(table["twin"]) & set(table.loc[table["seed"] > 0, "model_id"])
    assert not set(table["twin"]) & set(runs(recipe(["depth", *varied], seed=1))["twin"])


def test_another_value_of_varied_is_another_configuration():
    plain, both = runs(recipe([], seeds=2)), runs(recipe(["varied"], seeds=2))
    assert both["varied"].tolist() == ["everything", "everything", "data", "data"]
    assert both["model_id"].is_unique
    assert both["model_id"][:2].tolist() == plain["model_id"].tolist(), "the default changes no id"


def test_sampled_configurations_go_round_the_grid():
    table = runs(recipe(["depth"], ["learning_rate"], models=10, seeds=2))
    assert table["depth"].tolist() == [2, 2, 3, 3, 4, 4, 2, 2, 3, 3]
    assert len(set(table["learning_rate"])) == 5


def test_every_row_is_complete():
    table = runs(load_recipe("cifar10-gs").cut(models=50))
    assert table.columns.tolist() == [
        *("model_id", "twin", "configuration", "learning_rate", "l2", "momentum", "optimizer", "dropout"),
        *("initialization", "initialization_std", "train_fraction", "batch_size", "varied"),
        *("width", "depth", "padding", "activation", "seed"),
    ]
    assert not table.isna().to_numpy().any()
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in table["model_id"])
    assert table[["momentum", "batch_size", "width", "seed"]].drop_duplicates().to_numpy().tolist() == [[0, 512, 16, 0]]
    assert table["batch_size"].dtype == table["seed"].dtype == np.int64


SAMPLED_DISTRIBUTIONS = {
    "learning_rate": stats.loguniform(5e-4, 5e-2),
    "l2": stats.loguniform(1e-8, 1e-2),
    "initialization_std": stats.loguniform(1e-3, 0.5),
    "dropout": stats.uniform(0, 0.7),
}


def test_sampled_axes_follow_their_distributions_independently():
    table = runs(load_recipe("cifar10-gs"))
    for name, distribution in SAMPLED_DISTRIBUTIONS.items():
        assert stats.kstest(table[name], distribution.cdf).pvalue > 1e-3
    for name in ("optimizer", "initialization", "train_fraction", "activation"):
        assert stats.chisquare(table[name].value_counts()).pvalue > 1e-3
    ranks = stats.spearmanr(table[[*SAMPLED_DISTRIBUTIONS]]).statistic - np.eye(len(SAMPLED_DISTRIBUTIONS))
    assert np.abs(ranks).max() < 4 / np.sqrt(len(table))


def test_quantiles_are_the_inverse_distribution_functions():
    probability = np.linspace(0, 1, 1000, endpoint=False)
    for low, high in ((5e-4, 5e-2), (1e-8, 1e-2), (0.3, 0.30000001)):
        for name, distribution in (
            ("log_uniform", stats.loguniform),
            ("uniform", lambda low, high: stats.uniform(low, high - low)),
        ):
            value = quantile(Sampled(name, (low, high)), probability)
            np.testing.assert_allclose(value, distribution(low, high).ppf(probability), rtol=1e-13)
            assert value[0] == low
            assert (value < high).all()
    largest = np.array([0.0, 0.5, np.nextafter(1, 0)])
    for count in range(1, 70):
        assert quantile(Sampled("choice", tuple(range(count))), largest).tolist() == [0, count // 2, count - 1]


def test_ids_hash_only_the_science():
    base = recipe(["dropout"], ["learning_rate"], models=8, seeds=2)
    ids = runs(base)[["model_id", "configuration"]]
    same = [
        replace(base, name="other", description="words"),
        replace(base, stop_cross_entropy=0.1),
        base.cut(epochs=90),
        replace(base, checkpoints=(1, 3)),
    ]
    for other in same:
        pd.testing.assert_frame_equal(runs(other)[["model_id", "configuration"]], ids)


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"name": "mnist"}},
        {"data": {"name": "digits", "colour": "rgb"}},
        {"data": {"name": "digits", "size": 4}},
        {"fixed": REQUIRED | {"batch_size": 33}},
        {"fixed": REQUIRED | {"momentum": 0.9}},
        {"fixed": REQUIRED | {"activation": "tanh"}},
    ],
)
def test_ids_change_with_the_science(change):
    ids, changed = runs(recipe(["dropout"])), runs(recipe(["dropout"], **change))
    for name in ("model_id", "configuration"):
        assert set(ids[name]).isdisjoint(changed[name])


def test_another_recipe_seed_trains_the_same_configurations_anew():
    first, second = (runs(recipe(["dropout"], seeds=2, seed=seed)) for seed in (0, 1))
    assert first["configuration"].tolist() == second["configuration"].tolist()
    assert set(first["model_id"]).isdisjoint(second["model_id"])
    drawn = [runs(recipe([], ["learning_rate"], models=4, seed=seed))["learning_rate"] for seed in (0, 1)]
    assert set(drawn[0]).isdisjoint(drawn[1])


def test_values_and_ids_are_the_same_on_every_machine():
    """Golden values: a zoo that is extended elsewhere, or by a later version, keeps its runs."""
    table = runs(recipe(["depth"], ["learning_rate", "width"], models=3, seeds=2, seed=1))
    assert table["learning_rate"].tolist() == [0.010029547158789568, 0.010029547158789568, 0.01604222850109612]
    assert table["width"].tolist() == [8, 8, 8]
    assert table["model_id"].tolist() == ["9351e168c521405a", "8b68ff0908ba3aea", "3590871fb6f03afa"]


def test_choices_that_run_out_are_an_error():
    few = recipe([], ["width"], models=3)
    with pytest.raises(
        InputError, match=r"recipe test: configurations \d and \d are the same, because \[sample\] has too few"
    ):
        runs(few)


def test_architecture_of_a_run():
    table = runs(load_recipe("cifar10-gs").cut(models=20))
    architectures = [architecture_of("small-cnn", run, (1, 32, 32), 10) for _, run in table.iterrows()]
    assert {architecture.size for architecture in architectures} == {4970}
    assert len({architecture.key for architecture in architectures}) == 2
    assert architectures[0] == architecture_of("small-cnn", {**table.loc[0]}, (1, 32, 32), 10)


def test_digits_shrink_to_one_pixel():
    run = runs(load_recipe("digits")).loc[0]
    places = architecture_of("small-cnn", run, (1, 8, 8), 10).places
    sizes = [place.output_shape[1:] for place in places if place.name.startswith("conv")]
    assert sizes == [(4, 4), (2, 2), (1, 1)]
