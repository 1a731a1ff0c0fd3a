from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import resample
from benchmark.scoring.granulated import granulated_tau
from benchmark.scoring.kendall import kendall_tau
from benchmark.scoring.scorecard import scorecard
from benchmark.scoring.within import architecture_share, axes_within, tau_within


def loop(prediction, target, architectures):
    """Pair by pair."""
    difference = untied_prediction = untied_target = 0
    for i, j in combinations(range(len(target)), 2):
        if architectures[i] == architectures[j]:
            signs = np.sign(prediction[i] - prediction[j]), np.sign(target[i] - target[j])
            difference += signs[0] * signs[1]
            untied_prediction += signs[0] != 0
            untied_target += signs[1] != 0
    if not untied_target:
        return np.nan
    return difference / np.sqrt(untied_prediction * untied_target) if untied_prediction else 0.0


models = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2), st.integers(0, 3))


@settings(max_examples=60)
@given(st.lists(models, min_size=2, max_size=14))
def test_equals_a_loop_over_pairs_and_resamples(table):
    prediction, target, architectures, clusters = np.array(table).T
    assume(len(set(architectures)) > 1)
    assume(not np.isnan(loop(prediction, target, architectures)))
    ((value,),) = tau_within(prediction[None], target, architectures)
    assert value == pytest.approx(loop(prediction, target, architectures), abs=1e-12)
    assume(len(set(clusters)) > 1)
    weights = resample(len(table), clusters, draws=10)
    (draws,) = tau_within(prediction[None], target, architectures, weights)
    rows = [np.repeat(np.arange(len(table)), counts) for counts in weights.T]
    expected = [loop(prediction[drawn], target[drawn], architectures[drawn]) for drawn in rows]
    np.testing.assert_allclose(draws, expected, atol=1e-12)


def test_what_a_function_of_the_architecture_adds_does_not_count():
    rng = np.random.default_rng(0)
    architectures, target, measure = rng.integers(4, size=200), rng.random(200), rng.random(200)
    offset = np.array([40.0, -10, 0, 30])[architectures]
    found = tau_within(np.stack([measure, measure + offset, offset]), target, architectures)[:, 0]
    assert found[1] == found[0]
    assert found[2] == 0
    np.testing.assert_array_equal(tau_within(measure[None], target + offset, architectures)[:, 0], found[0])


def test_is_tau_where_every_architecture_has_the_same_models():
    rng = np.random.default_rng(1)
    target, measure = rng.random((2, 50))
    ((value,),) = tau_within(np.tile(measure, 3)[None], np.tile(target, 3), np.repeat(["a", "b", "c"], 50))
    assert value == pytest.approx(kendall_tau(measure, target).value, abs=1e-12)


def test_the_share_of_the_architecture():
    architectures = np.array(["a", "a", "b", "b"])
    # Ranks 1, 2, 3, 4 have variance 1.25, and the means 1.5 and 3.5 have variance 1: 1 - .2 (4 - 1) / (4 - 2).
    assert architecture_share(np.array([-5, 0, 7, 1e9]), architectures) == pytest.approx(0.7)
    # Ranks 1.5, 3.5, 1.5, 3.5: both means are 2.5.
    assert architecture_share(np.array([0, 1, 0, 1]), architectures) == 0
    assert architecture_share(np.array([3, 3, 1, 1]), architectures) == 1
    assert architecture_share(np.ones(4), architectures) == 0
    assert architecture_share(np.arange(4), np.zeros(4)) == 0
    assert architecture_share(np.arange(4), np.arange(4)) == 0


def test_a_random_measure_of_many_architectures_is_no_function_of_them():
    """Without the adjustment its share would be 59 / 79 on average."""
    rng = np.random.default_rng(4)
    shares = [architecture_share(rng.random(80), np.arange(80) % 60) for _ in range(300)]
    assert np.mean(shares) < 0.2
    assert np.mean(np.array(shares) > 0.8) < 0.01


def test_psi_within_leaves_out_hyperparameters_that_change_the_architecture():
    width, rate, seed = (axis.ravel() for axis in np.meshgrid([8, 16], [0.1, 0.2, 0.3], [0, 1], indexing="ij"))
    codes = np.stack([width, rate, seed * 0], axis=1)
    rng = np.random.default_rng(2)
    measure, target = rng.random((2, len(width)))
    card = scorecard(measure[None], target, codes, architectures=width, scores=["psi", "psi-within"], random_measures=9)
    (within,) = card["psi-within"].entries
    (score,) = granulated_tau(measure[None], target, codes)
    assert within.value == score.psi[1] == card["psi"].entries[0].detail["psi"][1]
    assert within.detail["psi"] == (None, score.psi[1], None)
    assert (within.value, within.flipped) == (score.psi[1], -np.float64(score.psi[1]))
    np.testing.assert_array_equal(axes_within(codes, width), [1])


@pytest.mark.parametrize(
    ("architectures", "reason"),
    [
        (np.zeros(12), "all models have one architecture"),
        (np.arange(12), "no two models of one architecture have different targets"),
        (None, "no architectures were given"),
    ],
)
def test_undefined(architectures, reason):
    rng = np.random.default_rng(3)
    card = scorecard(rng.random((1, 12)), rng.random(12), architectures=architectures, scores=["tau-within"])
    assert card["tau-within"].undefined == reason


def test_bad_input():
    with pytest.raises(ScoreError, match="3 architectures for 4 models; give one label per model"):
        tau_within(np.zeros((1, 4)), np.arange(4), np.arange(3))
    with pytest.raises(ScoreError, match="every hyperparameter changes the architecture"):
        axes_within(np.array([[0], [1]]), np.array([0, 1]))
