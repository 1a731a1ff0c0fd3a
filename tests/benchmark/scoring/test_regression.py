import numpy as np
import pytest

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import resample
from benchmark.scoring.regression import bootstrap_mae, mean_absolute_error


def test_in_accuracy_points():
    assert mean_absolute_error(np.array([0.50, 0.60, 0.90]), np.array([0.53, 0.60, 0.81])) == pytest.approx(4.0)


def test_draws_equal_a_loop_over_resamples():
    rng = np.random.default_rng(0)
    predictions, target, clusters = rng.random((2, 30)), rng.random(30), rng.integers(12, size=30)
    predictions[1, clusters == 3] = np.nan
    weights = resample(30, clusters, draws=60, seed=2)
    draws = bootstrap_mae(predictions, target, clusters, draws=60, seed=2)
    for entrant, prediction in enumerate(predictions):
        for draw, counts in enumerate(weights.T.astype(int)):
            counts = np.where(np.isnan(prediction), 0, counts)
            expected = mean_absolute_error(np.repeat(prediction, counts), np.repeat(target, counts))
            assert draws[entrant, draw] == pytest.approx(expected, abs=1e-12)


def test_a_draw_without_defined_models_is_nan():
    draws = bootstrap_mae(np.array([[0.5, np.nan]]), np.array([0.4, 0.4]), draws=50)
    assert np.isnan(draws).any()
    assert draws[~np.isnan(draws)] == pytest.approx(10)


@pytest.mark.parametrize(
    ("prediction", "target", "words"),
    [
        ([], [], "of no models"),
        ([0.5, np.nan], [0.5, 0.5], "NaN or infinite"),
        ([0.5], [0.5, 0.5], "1 predictions for 2"),
    ],
)
def test_bad_input(prediction, target, words):
    with pytest.raises(ScoreError, match=words):
        mean_absolute_error(np.array(prediction), np.array(target))
