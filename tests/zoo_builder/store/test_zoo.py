"""The table, networks and outputs of a zoo agree, and an imported zoo opens without a recipe."""

from pathlib import Path

import numpy as np
import pytest
import torch

from zoo_builder.datasets.dataset import scaled
from zoo_builder.errors import InputError
from zoo_builder.store.format import read_manifest, write_manifest
from zoo_builder.store.zoo import Zoo
from zoo_builder.training.settings import subset_seeds


def test_the_table_has_a_row_per_checkpoint_and_the_runs_settings(zoo: Zoo) -> None:
    table = zoo.table
    assert len(table) == 20
    assert table["epoch"].tolist() == [0, 2] * 10
    assert (table["status"] == "ok").all()
    assert zoo.final["model_id"].is_unique
    assert zoo.final["epoch"].eq(2).all()
    assert {"learning_rate", "optimizer", "activation", "train_fraction", "batch_size"} <= set(zoo.hyperparameters)
    assert not {"seed", "epoch", "test_accuracy"} & set(zoo.hyperparameters)
    assert set(table["architecture"]) == set(zoo.architectures)
    assert len(zoo.architectures) == 2


def test_weights_outputs_and_modules_agree_with_the_table(zoo: Zoo) -> None:
    data = zoo.data()
    rows = zoo.final.index[[7, 0, 3, 9]]
    outputs, correct = zoo.outputs(rows), zoo.correct(rows)
    assert correct.shape == (4, 360)
    for position, row in enumerate(rows):
        module = zoo.module(zoo.table.loc[row, "model_id"])
        with torch.no_grad():
            logits = module(scaled(data.test_images))
        np.testing.assert_allclose(outputs[position], logits.numpy(), rtol=2e-3, atol=2e-3)
        accuracy = (logits.argmax(1) == data.test_labels).double().mean().item()
        assert zoo.table.loc[row, "test_accuracy"] == pytest.approx(accuracy, abs=1.1 / 360)
        assert correct[position].mean() == pytest.approx(accuracy, abs=1.1 / 360)


@pytest.mark.parametrize("order", ["ascending", "descending", "shuffled"])
def test_weights_come_in_the_requested_order(zoo: Zoo, order: str) -> None:
    rows = np.arange(len(zoo.table))
    rows = {"ascending": rows, "descending": rows[::-1], "shuffled": np.random.default_rng(0).permutation(rows)}[order]
    stacks = zoo.weights(rows)
    assert sorted(np.concatenate([stack.rows for stack in stacks])) == sorted(rows)
    for stack in stacks:
        assert stack.rows.tolist() == [row for row in rows if row in set(stack.rows)]
        assert set(zoo.table.loc[stack.rows, "architecture"]) == {stack.architecture.key}
        for position, row in enumerate(stack.rows[:3]):
            (single,) = zoo.weights([row])
            assert torch.equal(single.parameters["conv2.weight"][0], stack.parameters["conv2.weight"][position])


def test_unknown_models_and_epochs_are_named(zoo: Zoo) -> None:
    with pytest.raises(InputError, match="has no model 'nobody'"):
        zoo.module("nobody")
    with pytest.raises(InputError, match=r"has no checkpoint of epoch 1, only \[0, 2\]"):
        zoo.module(zoo.final["model_id"].iloc[0], epoch=1)


def test_axes_are_the_hyperparameters_that_vary(zoo: Zoo) -> None:
    assert zoo.provenance == "built"
    assert zoo.axes == ["optimizer", "train_fraction", "activation"]
    assert "learning_rate" in zoo.recipe.grid, "its first ten runs have one learning rate"


def test_an_imported_zoo_opens_without_a_recipe(zoo: Zoo, imported: Path) -> None:
    opened = Zoo.open(imported)
    assert (opened.name, opened.provenance, opened.recipe) == ("theirs", "imported", None)
    assert opened.description == "Somebody's networks"
    assert opened.problem == "classification"
    assert [part.runs for part in opened.parts] == [4, 4, 2]
    assert opened.axes == ["optimizer", "activation"]
    assert opened.final["model_id"].tolist() == zoo.final["model_id"].tolist()
    for ours, theirs in zip(zoo.weights(zoo.final.index), opened.weights(opened.final.index), strict=True):
        assert torch.equal(ours.parameters["conv1.weight"], theirs.parameters["conv1.weight"])
    assert opened.data().fingerprint == zoo.data().fingerprint
    assert not opened.has_outputs
    with pytest.raises(InputError, match="part-00000 has no outputs: use only what needs none"):
        opened.outputs(opened.final.index)
    with pytest.raises(InputError, match="the table has no column twin, varied, train_fraction"):
        subset_seeds(opened.final)


def test_a_zoo_of_unknown_data_opens(imported: Path) -> None:
    manifest = read_manifest(imported)
    del manifest["data"]
    write_manifest(imported, manifest)
    with pytest.raises(InputError, match="does not name its data set: use only what needs no data"):
        Zoo.open(imported).data()
