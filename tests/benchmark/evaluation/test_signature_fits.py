"""The fits of margin signatures against scikit-learn."""

import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from baselines.predictors.margin_signature import margin_signatures, signature
from benchmark.evaluation.signature_fits import signature_fits
from benchmark.evaluation.views import make_view
from benchmark.scoring.regression import folds_of


def test_fits_against_scikit_learn(small_zoo):
    fits = signature_fits(small_zoo)
    features, reasons = signature(make_view(small_zoo, small_zoo.final, "train-data"))
    known = features.index.difference(list(reasons))
    final = small_zoo.final.iloc[known]
    gaps = (final["train_accuracy"] - final["test_accuracy"]).to_numpy()
    folds = PredefinedSplit(folds_of(final["configuration"].to_numpy()))
    assert list(fits.index) == [predictor.name for predictor in margin_signatures()]
    for predictor in margin_signatures():
        x, fit = features.loc[known, predictor.columns].to_numpy(), fits.loc[predictor.name]
        n, count = x.shape
        r2 = r2_score(gaps, LinearRegression().fit(x, gaps).predict(x))
        assert (fit["models"], fit["features"]) == (n, count)
        assert fit["r2"] == pytest.approx(r2, rel=1e-6)
        assert fit["adjusted_r2"] == pytest.approx(1 - (1 - r2) * (n - 1) / (n - count - 1), rel=1e-6)
        held_out = cross_val_predict(LinearRegression(), x, gaps, cv=folds)
        assert fit["fold_r2"] == pytest.approx(r2_score(gaps, held_out), rel=1e-4)
    assert fits.loc["margin-signature", "r2"] >= fits.loc["margin-signature-input", "r2"]
