import numpy as np
import pytest

from benchmark.evaluation.oracle import ORACLES, Oracle


def test_an_oracle_is_the_target_with_normal_noise_of_its_size() -> None:
    ids = [f"{number:016x}" for number in range(2000)]
    target = np.linspace(0, 1, len(ids))
    noise = (Oracle(0.05).values(target, ids) - target) / 0.05
    assert abs(noise.mean()) < 3 / len(noise) ** 0.5
    assert noise.std() == pytest.approx(1, abs=3 / (2 * len(noise)) ** 0.5)


def test_the_noise_of_a_model_depends_on_its_id_alone() -> None:
    large, small = (oracle.values(np.zeros(3), ["a", "b", "c"]) / oracle.noise for oracle in (Oracle(0.5), Oracle(0.1)))
    np.testing.assert_allclose(large, small)
    np.testing.assert_array_equal(Oracle(0.5).values(np.zeros(1), ["b"]), large[1:2] * 0.5)


def test_oracles_are_called_after_their_noise() -> None:
    assert list(ORACLES) == ["oracle-0.02", "oracle-0.05"]
