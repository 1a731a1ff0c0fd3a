"""What all estimators of one accuracy per model share."""

import numpy as np
import pytest

from baselines.access import View
from baselines.estimators import estimators
from baselines.fields import Missing
from baselines.methods import NotApplicable
from zoo_builder.errors import InputError

every = pytest.mark.parametrize("estimator", estimators(), ids=lambda estimator: estimator.name)


@every
def test_no_target_data_is_not_applicable(estimator):
    view = View("unlabeled-data", 2, configurations=np.zeros(2), targets=Missing("the zoo has no outputs"))
    with pytest.raises(NotApplicable, match="the zoo has no outputs"):
        estimator.estimate(view)


@every
def test_several_targets_are_refused(estimator, target_view, votes):
    view = target_view(votes("01", "11"), votes("01", "11"))
    with pytest.raises(InputError, match=r"has 2 targets \(target 0, target 1\), and .* pass a view with one target"):
        estimator.estimate(view)


@every
def test_the_order_of_models_changes_no_estimate(estimator, target_view):
    logits = np.random.default_rng(0).normal(size=(8, 30, 3))
    given = target_view(logits, configurations=np.arange(8) // 2)
    order = np.random.default_rng(1).permutation(8)
    np.testing.assert_allclose(estimator.estimate(given.take(order)).values, estimator.estimate(given).values[order])
