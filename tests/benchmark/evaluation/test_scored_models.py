"""The test models of a real small zoo, and what their scores need."""

import numpy as np
import pytest

from benchmark.evaluation.scored_models import ScoredModels
from benchmark.tasks import find_task
from zoo_builder.errors import InputError
from zoo_builder.store.format import read_manifest, write_manifest
from zoo_builder.store.zoo import Zoo


def test_the_models_of_a_fitted_task_are_those_of_the_test_split(small_zoo: Zoo) -> None:
    models = ScoredModels.of(find_task("generalization-gap", "small"), small_zoo)
    assert len(models.labels) == len(small_zoo.final)
    assert len(models.target) == len(models.rows) == len(models.clusters) == len(models.split.test)
    gap = models.rows["train_accuracy"] - models.rows["test_accuracy"]
    np.testing.assert_array_equal(models.target, gap)
    same = models.rows["configuration"].to_numpy()
    np.testing.assert_array_equal(models.clusters[:, None] == models.clusters, same[:, None] == same)
    assert set(models.hyperparameters) == set(small_zoo.recipe.grid)
    assert models.test_examples == len(small_zoo.data().test_labels)


def test_the_reference_holds_the_ceilings_and_a_floor_for_each_score(small_zoo: Zoo, quick) -> None:
    models = ScoredModels.of(quick("complexity"), small_zoo)
    assert 0 < models.reference["tie_ceiling"] <= 1
    assert models.reference["noise_floors"].keys() == {"tau"}
    assert models.reference["reliability"]["ceiling"] <= 1
    assert 0 < models.reference["reliability"]["noise_share"] <= 1
    assert models.reference is models.reference, "computed once"


def test_a_zoo_without_outputs_has_no_reliability(zoo: Zoo, quick) -> None:
    manifest = read_manifest(zoo.root)
    for part in manifest["parts"]:
        part["files"] = {name: file for name, file in part["files"].items() if not name.startswith("outputs/")}
    write_manifest(zoo.root, manifest)
    models = ScoredModels.of(quick("complexity"), Zoo.open(zoo.root))
    assert (models.reliability, models.test_examples) == (None, None)
    assert "reliability" not in models.reference


def test_equal_targets_cannot_be_ordered(small_zoo: Zoo, quick, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(small_zoo.__dict__, "final", small_zoo.final.assign(test_accuracy=0.5))
    with pytest.raises(InputError, match="have the same test accuracy: nothing can be ordered"):
        ScoredModels.of(quick("test-accuracy"), small_zoo)
