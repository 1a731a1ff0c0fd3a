"""Tasks, splits and views on a real small zoo."""

import numpy as np
import pandas as pd
import pytest
import torch

from baselines.access import ACCESS, AccessError
from benchmark.evaluation.views import load_view, make_view, save_view
from benchmark.split import split
from benchmark.tasks import TASKS, find_task
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo


def test_seed_twins_are_on_one_side_and_every_model_on_one(small_zoo: Zoo) -> None:
    parts = split(small_zoo)
    everyone = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(everyone) == list(range(len(parts.final)))
    sides = [set(parts.final["configuration"].iloc[rows]) for rows in (parts.train, parts.validation, parts.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_the_shares_are_those_of_the_design() -> None:
    from benchmark import split as splits

    positions = np.array([splits._position(f"{number:016x}") for number in range(20_000)])
    assert np.mean(positions < 0.4) == pytest.approx(0.4, abs=0.015)
    assert np.mean((positions >= 0.4) & (positions < 0.5)) == pytest.approx(0.1, abs=0.01)


def test_a_split_does_not_depend_on_the_other_models(small_zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = split(small_zoo)
    sides = {whole.final["model_id"].iloc[row]: "test" for row in whole.test}
    half = small_zoo.final.iloc[: len(small_zoo.final) * 3 // 4]
    monkeypatch.setitem(small_zoo.__dict__, "final", half)
    part = split(small_zoo)
    for row, model_id in enumerate(part.final["model_id"]):
        assert (model_id in sides) == (row in set(part.test))
    assert part.hash != whole.hash


def test_diverged_models_are_left_out_and_too_few_are_an_error(small_zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    final = small_zoo.final.copy()
    final.iloc[3, final.columns.get_loc("status")] = "diverged"
    monkeypatch.setitem(small_zoo.__dict__, "final", final)
    assert final["model_id"].iloc[3] not in set(split(small_zoo).final["model_id"])
    monkeypatch.setitem(small_zoo.__dict__, "final", final.iloc[:4])
    with pytest.raises(InputError, match=r"training, \d+ validation and \d+ test models, and a task needs 3 of each"):
        split(small_zoo)


def test_without_fitting_all_models_are_test_models(small_zoo: Zoo) -> None:
    parts = split(small_zoo, fitted=False)
    assert [len(parts.train), len(parts.validation), len(parts.test)] == [0, 0, len(small_zoo.final)]
    assert parts.hash != split(small_zoo).hash


def test_targets_are_what_they_are_called(small_zoo: Zoo) -> None:
    final = small_zoo.final
    np.testing.assert_array_equal(find_task("test-accuracy", "small").values(final), final["test_accuracy"])
    gap = find_task("small/generalization-gap", "small").values(final)
    np.testing.assert_array_equal(gap, final["train_accuracy"] - final["test_accuracy"])


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(InputError, match=r"unknown task 'test-acuracy' \(did you mean 'test-accuracy'\?\)"):
        find_task("test-acuracy", "small")
    with pytest.raises(
        InputError, match=r"is a task of the zoo 'digits', and this is the zoo 'small': use small/test-acc"
    ):
        find_task("digits/test-accuracy", "small")
    assert len({task.name for task in TASKS}) == len(TASKS)


@pytest.mark.parametrize("access", ACCESS)
def test_a_view_holds_what_its_level_allows_and_survives_the_disk(small_zoo: Zoo, access: str, tmp_path) -> None:
    final = small_zoo.final
    view = make_view(small_zoo, final, access)
    save_view(view, tmp_path)
    back = load_view(tmp_path)
    assert back.size == view.size == len(final)
    assert back.access == access
    for name in ("stacks", "initial", "hyperparameters", "configurations", "train", "target"):
        if name not in ACCESS[access]:
            for one in (view, back):
                with pytest.raises(AccessError, match=f"view.{name} is not part of access level '{access}'"):
                    getattr(one, name)
    if "stacks" in ACCESS[access]:
        for kind, rows in (("stacks", final.index), ("initial", final.index - 1)):
            for stack, same in zip(getattr(view, kind), getattr(back, kind), strict=True):
                assert stack.architecture == same.architecture
                np.testing.assert_array_equal(stack.rows, same.rows)
                for name, value in stack.parameters.items():
                    assert torch.equal(value, same.parameters[name])
                (truth,) = small_zoo.weights(rows[stack.rows[:1]])
                assert torch.equal(truth.parameters["conv1.weight"][0], stack.parameters["conv1.weight"][0])
    if "hyperparameters" in ACCESS[access]:
        pd.testing.assert_frame_equal(back.hyperparameters, view.hyperparameters)
    if "configurations" in ACCESS[access]:
        np.testing.assert_array_equal(back.configurations, view.configurations)
    if "train" in ACCESS[access]:
        assert torch.equal(back.train.images, small_zoo.data().train_images)
        np.testing.assert_array_equal(back.train.accuracy, final["train_accuracy"])
    if "target" in ACCESS[access]:
        np.testing.assert_array_equal(back.target.logits, view.target.logits)


@pytest.mark.parametrize("access", ACCESS)
def test_the_files_of_a_view_hold_no_test_label(small_zoo: Zoo, access: str, tmp_path) -> None:
    """Neither the accuracies nor the test labels are anywhere in the bytes, in any width."""
    save_view(make_view(small_zoo, small_zoo.final, access), tmp_path)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    accuracies = small_zoo.final["test_accuracy"].to_numpy()[:4]
    labels = small_zoo.data().test_labels.numpy()
    for secret in (accuracies, accuracies.astype(np.float32), labels[:16], labels[:16].astype(np.int8)):
        assert secret.tobytes() not in content
