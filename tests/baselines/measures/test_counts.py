"""Counts against sums written out."""

from math import log2

import numpy as np

from baselines.measures import measures
from baselines.measures.compute import compute
from zoo_builder.networks.architecture import Activation, Architecture, Conv, GlobalAveragePool, Linear, MaxPool

ALL = {measure.name: measure for measure in measures()}


def test_the_vc_dimension_counts_layers_with_weights(draw_stack, make_view):
    """Two convolutions (3x3: 2 -> 4, 1x1: 4 -> 5) and two linear layers (5 -> 6 -> 3) on images of 8 x 10."""
    architecture = Architecture(
        (2, 8, 10),
        (Conv(4), Activation("relu"), MaxPool(), Conv(5, kernel=1), GlobalAveragePool(), Linear(6), Linear(3)),
    )
    result = compute(make_view([draw_stack(architecture, 2)]), [ALL["vc-dim"]])["vc-dim"]
    weights = 9 * 2 * (4 + 1) + 1 * 4 * (5 + 1) + 5 * (6 + 1) + 6 * (3 + 1)
    np.testing.assert_allclose(result.values, 4 * log2(6 * 4 * 10) ** 3 * weights, rtol=1e-12)
