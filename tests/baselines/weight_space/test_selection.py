"""Kendall's tau on validation models."""

import numpy as np
import pytest

from baselines.weight_space.selection import validation_tau


def test_validation_tau():
    assert validation_tau(np.array([1, 2, 3.0]), np.array([0.1, 0.2, 0.3])) == pytest.approx(1)
    assert validation_tau(np.ones(3), np.arange(3)) == 0
    assert validation_tau(np.arange(3), np.ones(3)) == 0
