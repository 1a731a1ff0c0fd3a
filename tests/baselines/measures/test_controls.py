"""Controls: the random number of a network."""

import numpy as np

from baselines.measures import measures
from baselines.measures.compute import compute

ALL = {measure.name: measure for measure in measures()}


def test_random_is_uniform_and_drawn_by_the_weights(relu_network, draw_stack, make_view):
    view = make_view([draw_stack(relu_network, 400)])
    values = np.sort(compute(view, [ALL["random"]])["random"].values)
    # Kolmogorov-Smirnov at the 0.1 % level.
    assert np.abs(values - (np.arange(400) + 0.5) / 400).max() < 1.95 / np.sqrt(400)
    nudged = draw_stack(relu_network, 400)
    nudged.parameters["conv1.bias"] += 1e-3
    assert not np.intersect1d(values, compute(make_view([nudged]), [ALL["random"]])["random"].values).size
