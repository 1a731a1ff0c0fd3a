import numpy as np
import pytest
import scipy.stats

from benchmark.scoring import ScoreError
from benchmark.scoring.bootstrap import resample
from benchmark.scoring.regression import bootstrap_mae, bootstrap_r2, folds_of, linear_fit, mean_absolute_error


def test_in_accuracy_points():
    assert mean_absolute_error(np.array([0.50, 0.60, 0.90]), np.array([0.53, 0.60, 0.81])) == pytest.approx(4.0)


def test_draws_equal_a_loop_over_resamples():
    rng = np.random.default_rng(0)
    predictions, target, clusters = rng.random((2, 30)), rng.random(30), rng.integers(12, size=30)
    predictions[1, clusters == 3] = np.nan
    weights = resample(30, clusters, draws=60, seed=2)
    draws = bootstrap_mae(predictions, target, weights)
    for method, prediction in enumerate(predictions):
        for draw, counts in enumerate(weights.T.astype(int)):
            counts = np.where(np.isnan(prediction), 0, counts)
            expected = mean_absolute_error(np.repeat(prediction, counts), np.repeat(target, counts))
            assert draws[method, draw] == pytest.approx(expected, abs=1e-12)


def test_a_draw_without_defined_models_is_nan():
    draws = bootstrap_mae(np.array([[0.5, np.nan]]), np.array([0.4, 0.4]), resample(2, draws=50))
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


def test_one_feature_is_the_squared_correlation_of_scipy():
    rng = np.random.default_rng(0)
    feature, noise = rng.random((2, 40))
    fit = linear_fit(feature[:, None], feature + noise)
    r2 = scipy.stats.linregress(feature, feature + noise).rvalue ** 2
    assert fit.r2 == pytest.approx(r2, abs=1e-12)
    assert fit.adjusted_r2 == pytest.approx(1 - (1 - r2) * 39 / 38, abs=1e-12)


@pytest.mark.parametrize("levels", [2, 10**9])
def test_draws_of_r2_equal_a_loop_over_resamples(levels):
    """Far from 0, where sums of squares about 0 would leave nothing of a variance; few levels tie whole draws."""
    rng = np.random.default_rng(levels)
    predictions = 1e6 + rng.integers(levels, size=(3, 5)) / levels
    predictions[1, 0], predictions[2] = np.nan, 0.1
    target, clusters = 1e6 + rng.integers(levels, size=5) / levels, np.array([0, 1, 1, 2, 3])
    weights = resample(5, clusters, draws=60, seed=2)
    draws = bootstrap_r2(predictions, target, weights)
    for draw, counts in enumerate(weights.T.astype(int)):
        for value, prediction in zip(draws[:, draw], predictions, strict=True):
            here = np.where(np.isnan(prediction), 0, counts)
            x, y = np.repeat(prediction, here), np.repeat(target, here)
            if not len(y) or np.ptp(y) == 0:
                assert np.isnan(value)
            elif np.ptp(x) == 0:
                assert value == 0
            else:
                assert value == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2, abs=1e-6)


def test_by_hand():
    """Through (0, 0), (1, 1), (2, 1), (3, 2): slope 0.6, intercept 0.1, squared errors 0.2 of 2; left out one by one
    the lines through the other three predict 1/3, 4/7, 10/7 and 5/3."""
    fit = linear_fit(np.arange(4)[:, None], np.array([0, 1, 1, 2]), folds=4)
    assert (fit.r2, fit.adjusted_r2) == pytest.approx((1 - 0.2 / 2, 1 - 0.1 * 3 / 2))
    assert fit.fold_r2 == pytest.approx(1 - (1 / 9 + 9 / 49 + 9 / 49 + 1 / 9) / 2)


def test_collinear_constant_and_huge_features_change_nothing():
    rng = np.random.default_rng(1)
    features, target = rng.random((60, 2)), rng.random(60)
    plain = linear_fit(features, target)
    more = np.column_stack([1e9 * features[:, 0], features, features @ [1, -2], np.full(60, 0.1)])
    assert vars(linear_fit(more, target)) == pytest.approx(vars(plain), abs=1e-9)
    nothing = linear_fit(np.ones((60, 1)), target)
    assert (nothing.r2, nothing.adjusted_r2) == (0, 0)
    assert -0.1 < nothing.fold_r2 < 0  # the mean of nine folds is a little worse than that of all


@pytest.mark.parametrize("size", [2.0**1000, 2.0**1023, 2.0**-1000])
def test_numbers_of_any_size_give_the_same_fit(size: float) -> None:
    """A method may predict any, and those of others are scored beside it."""
    rng = np.random.default_rng(0)
    feature, target = rng.uniform(-1.9, 1.9, (40, 1)), rng.normal(size=40)
    assert linear_fit(feature * size, target) == linear_fit(feature, target)
    assert linear_fit(np.full((40, 1), size), target).r2 == pytest.approx(0)


def test_folds_are_of_configurations():
    """Features that name the configuration predict its other seed, unless both are held out."""
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(40), 2)
    fold = folds_of(clusters)
    assert (fold[::2] == fold[1::2]).all()
    assert np.bincount(fold).tolist() == [8] * 10
    features = np.eye(40)[clusters]
    target = rng.random(40)[clusters]
    assert linear_fit(features, target, clusters).r2 == pytest.approx(1)
    assert linear_fit(features, target, clusters).fold_r2 < 0.1


@pytest.mark.parametrize(
    ("features", "target", "options", "words"),
    [
        ([[1]], [1], {}, "1 models have none"),
        (np.zeros((0, 1)), [], {}, "0 models have none"),
        ([[1], [2]], [3, 3], {}, "2 models have none"),
        ([[1], [np.nan]], [1, 2], {}, "features, column 0: 1 of 2 values are NaN or infinite"),
        ([[1], [2]], [1, np.inf], {}, "target: 1 of 2"),
        ([1, 2], [1, 2], {}, r"have shape \[2, F\], got \[2\]"),
        ([[1], [2]], [1, 2], {}, "2 configurations in 10 folds"),
        ([[1], [2]], [1, 2], {"folds": 1}, "2 configurations in 1 folds"),
        ([[1], [2]], [1, 2], {"folds": 2}, "2 coefficients fit 2 models exactly"),
        ([[1], [2], [3]], [1, 2, 1], {"folds": 2, "clusters": [0, 1]}, "2 cluster labels for 3 models"),
    ],
)
def test_what_cannot_be_fitted_is_an_error(features, target, options, words):
    with pytest.raises(ScoreError, match=words):
        linear_fit(np.array(features), np.array(target), **options)


def test_the_size_of_a_prediction_does_not_move_r2():
    rng = np.random.default_rng(5)
    target = rng.random(30)
    prediction = target + 0.3 * rng.random(30)
    plain, huge, small = bootstrap_r2(
        np.stack([prediction, 1e200 * prediction, 1e-200 * prediction]), target, resample(len(target), draws=50)
    )
    np.testing.assert_allclose(huge, plain, rtol=1e-9)
    np.testing.assert_allclose(small, plain, rtol=1e-9)
