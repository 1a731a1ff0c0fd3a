"""The split of a real small zoo."""

import numpy as np
import pytest

from benchmark.split import position_of, split_zoo
from zoo_builder.errors import InputError
from zoo_builder.store.zoo import Zoo


def test_seed_twins_are_on_one_side_and_every_model_on_one(small_zoo: Zoo) -> None:
    split = split_zoo(small_zoo)
    everyone = np.concatenate([split.train, split.validation, split.test])
    assert sorted(everyone) == list(range(len(split.final)))
    sides = [set(split.final["configuration"].iloc[rows]) for rows in (split.train, split.validation, split.test)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


def test_the_shares_are_those_of_the_design() -> None:
    positions = np.array([position_of(f"{number:016x}") for number in range(20_000)])
    assert np.mean(positions < 0.4) == pytest.approx(0.4, abs=0.015)
    assert np.mean((positions >= 0.4) & (positions < 0.5)) == pytest.approx(0.1, abs=0.01)


def test_a_split_does_not_depend_on_the_other_models(small_zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = split_zoo(small_zoo)
    sides = {whole.final["model_id"].iloc[row]: "test" for row in whole.test}
    most = small_zoo.final.iloc[: len(small_zoo.final) * 3 // 4]
    monkeypatch.setitem(small_zoo.__dict__, "final", most)
    split = split_zoo(small_zoo)
    for row, model_id in enumerate(split.final["model_id"]):
        assert (model_id in sides) == (row in set(split.test))
    assert split.hash != whole.hash


def test_diverged_models_are_left_out_and_too_few_are_an_error(small_zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    final = small_zoo.final.copy()
    final.iloc[3, final.columns.get_loc("status")] = "diverged"
    monkeypatch.setitem(small_zoo.__dict__, "final", final)
    assert final["model_id"].iloc[3] not in set(split_zoo(small_zoo).final["model_id"])
    monkeypatch.setitem(small_zoo.__dict__, "final", final.iloc[:4])
    with pytest.raises(InputError, match=r"training, \d+ validation and \d+ test models, and a task needs 3 of each"):
        split_zoo(small_zoo)


def test_without_fitting_all_models_are_test_models(small_zoo: Zoo) -> None:
    split = split_zoo(small_zoo, fitted=False)
    assert [len(split.train), len(split.validation), len(split.test)] == [0, 0, len(small_zoo.final)]
    assert split.hash != split_zoo(small_zoo).hash
