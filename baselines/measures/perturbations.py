"""Perturbation searches: the largest perturbation of its weights that a network tolerates.

A network tolerates a perturbation if its accuracy on the training images falls by at most ``DROP`` (arXiv:1912.02178,
appendix C; the same 0.1 in arXiv:2010.11924). All weights and biases are perturbed, after norms are folded into them.
Where the accuracy is too low to fall so far, or the smallest perturbation is too large, the search ends at a bound of
[LOWEST, HIGHEST], and the measure has a remark. PAC-Bayes and sharpness measures share these searches.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from zoo_builder.networks.stack import named

DROP = 0.1
IMAGES = 1000  # at most this many of a model's training images
LOWEST, HIGHEST = 1e-6, 10.0
HALVINGS = 12  # of the range of the logarithm, which give the size to 0.4 %
DRAWS = 16
# Enough steps to cross the box several times. Twice as many gave a size 1 % smaller on small networks.
ASCENT_STEPS, STRIDE = 10, 0.25
# The noise of a weight of zero where noise grows with the weights.
EPSILON = 1e-3


def tolerated_size(
    context: MeasureContext, search: Callable[[MeasureContext, bool], Tensor], aware: bool = False
) -> Tensor:
    """``search(context, aware)``, computed once for all measures, float64 [M]; a remark where it ended at a bound."""
    size = context.once(search, aware)
    context.remark(size == HIGHEST, f"no perturbation up to {HIGHEST} cost {DROP} of accuracy: the size is that bound")
    context.remark(
        size == LOWEST,
        f"the smallest perturbation, {LOWEST}, cost more than {DROP} of accuracy: the size is that bound",
    )
    return size


def sample_term(context: MeasureContext, size: Tensor) -> Tensor:
    """ln(m/size) + 10 for a size [M] and each model's m training images, the last term of all these bounds."""
    return (torch.from_numpy(context.train.subset_size) / size).log() + 10


def largest_noise(context: MeasureContext, aware: bool) -> Tensor:
    """sigma: the largest noise that is tolerated on average over ``DRAWS`` draws, float64 [M].

    The noise has standard deviation sigma; with ``aware``, variance sigma^2 w^2 + EPSILON^2. All models and sizes get
    the same draws, so that the mean accuracy falls almost monotonically with the size, and neither the order nor the
    number of the models matters.
    """
    networks = _Networks(context)
    weights = networks.weights

    def accuracy(sigma: Tensor) -> Tensor:
        spread = (sigma.square() * weights.square() + EPSILON**2).sqrt() if aware else sigma
        stream = torch.Generator().manual_seed(0)
        total = torch.zeros(len(weights), dtype=torch.float64)
        for _ in range(DRAWS):
            noise = torch.randn(weights.shape[1], generator=stream).to(weights)
            total += networks.accuracy(weights + spread * noise)
        return total / DRAWS

    return _largest(networks, accuracy)


def largest_box(context: MeasureContext, aware: bool) -> Tensor:
    """alpha: the largest box |u_i| <= alpha whose worst perturbation u is tolerated, float64 [M].

    With ``aware`` the box is |u_i| <= alpha (|w_i| + 1). The worst perturbation is found by gradient ascent on the
    cross-entropy from u = 0: steps of ``STRIDE`` half widths along the signs of the gradient (the steepest direction in
    a box, which needs no learning rate), clipped to the box. If the unperturbed network misclassifies many images, the
    ascent follows these, and alpha is larger than a search among all perturbations would find.
    """
    networks = _Networks(context)
    weights = networks.weights

    def accuracy(alpha: Tensor) -> Tensor:
        box = alpha * (weights.abs() + 1) if aware else alpha.expand_as(weights)
        moved = torch.zeros_like(weights)
        for _ in range(ASCENT_STEPS):
            # Where outputs overflow, there is no gradient to follow.
            uphill = networks.gradient(weights + moved).sign().nan_to_num(0)
            moved = (moved + STRIDE * box * uphill).clamp(-box, box)
        return networks.accuracy(weights + moved)

    return _largest(networks, accuracy)


class _Networks:
    """M networks as points in weight space, each with its own training images.

    Attributes:
        weights: [M, P], weights and biases flat in the order of ``architecture.parameters``, on the engine's device.
    """

    def __init__(self, context: MeasureContext):
        self._engine, self._architecture = context.engine, context.folded_architecture
        device = self._engine.device
        self.weights = context.weights.to(device, self._engine.dtype)
        self._images, self._labels = context.train.images.to(device), context.train.labels.to(device)
        self._groups = context.groups(IMAGES)

    def accuracy(self, weights: Tensor) -> Tensor:
        """The accuracy with the weights [M, P], float64 [M]; an output that overflows counts as wrong."""
        accuracy = torch.empty(len(weights), dtype=torch.float64)
        for group in self._groups:
            parameters = named(self._architecture, weights[group.members])
            logits = self._engine.logits(self._architecture, parameters, self._images, group.indices).cpu()
            correct = (logits.argmax(2) == group.labels) & logits.isfinite().all(2)
            accuracy[group.members] = correct.double().mean(1)
        return accuracy

    def gradient(self, weights: Tensor) -> Tensor:
        """The gradient of each network's mean cross-entropy at the weights [M, P]: [M, P]."""
        gradient = torch.empty_like(weights)
        for group in self._groups:
            gradient[group.members] = self._engine.gradient(
                self._architecture, weights[group.members], {}, self._images, self._labels, group.indices
            )
        return gradient


def _largest(networks: _Networks, accuracy: Callable[[Tensor], Tensor]) -> Tensor:
    """The largest size that each network tolerates, float64 [M], by bisection of its logarithm, a bracket per network.

    Args:
        accuracy: returns the accuracy of the perturbed networks, float64 [M], for sizes [M, 1] of the weights' dtype.
    """
    weights = networks.weights
    least = networks.accuracy(weights) - DROP - 1e-9  # accuracies are rounded quotients
    low = torch.full((len(weights),), math.log(LOWEST), dtype=torch.float64)
    high = torch.full_like(low, math.log(HIGHEST))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tolerated = accuracy(middle.exp()[:, None].to(weights)) >= least
        low, high = torch.where(tolerated, middle, low), torch.where(tolerated, high, middle)
    size = low.exp()
    size[low == math.log(LOWEST)] = LOWEST
    size[high == math.log(HIGHEST)] = HIGHEST
    return size
