import numpy as np
import pytest

from benchmark.evaluation.oracle import ORACLES, Oracle
from benchmark.scoring.kendall import kendall_tau


def test_an_oracle_is_the_target_with_normal_noise_of_its_size() -> None:
    ids = [f"{number:016x}" for number in range(2000)]
    target = np.linspace(0, 1, len(ids))
    noise = (Oracle(0.05).values(target, ids) - target) / (0.05 * target.std())
    assert abs(noise.mean()) < 3 / len(noise) ** 0.5
    assert noise.std() == pytest.approx(1, abs=3 / (2 * len(noise)) ** 0.5)


@pytest.mark.parametrize("scale", [1e-3, 7.0])
def test_the_tau_of_an_oracle_follows_from_its_noise(scale) -> None:
    ids = [f"{number:016x}" for number in range(4000)]
    target = 3 + scale * np.random.default_rng(0).standard_normal(len(ids))
    taus = [kendall_tau(oracle.values(target, ids), target).value for oracle in ORACLES.values()]
    assert taus == pytest.approx([2 / np.pi * np.arcsin(1 / np.sqrt(1 + noise**2)) for noise in (0.5, 1)], abs=0.02)


def test_the_noise_of_a_model_depends_on_its_id_alone() -> None:
    target = np.array([-1.0, 0, 1]) * 1.5**0.5  # of standard deviation 1
    large, small = (
        (oracle.values(target, ["a", "b", "c"]) - target) / oracle.noise for oracle in (Oracle(0.5), Oracle(0.1))
    )
    np.testing.assert_allclose(large, small)
    np.testing.assert_allclose(Oracle(0.5).values(target[::-1], ["c", "b", "a"])[::-1] - target, large * 0.5)


def test_oracles_are_called_after_their_noise() -> None:
    assert list(ORACLES) == ["oracle-0.5-sd", "oracle-1-sd"]
