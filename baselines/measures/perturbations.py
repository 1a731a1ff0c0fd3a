"""How large a perturbation of its weights a network bears: the searches that PAC-Bayes and sharpness measures share.

A size is borne where the accuracy on the training images falls by at most ``DROP`` (arXiv:1912.02178, appendix C; the
same 0.1 in arXiv:2010.11924). All weights and biases are perturbed, after norms are folded into them. Where accuracy is
too low to fall so far, or where the least perturbation is too large, the search ends at a bound of [LOWEST, HIGHEST],
which a measure's remark says.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from zoo_builder.networks.stack import named

DROP = 0.1
IMAGES = 1000  # at most so many of a model's training images
LOWEST, HIGHEST = 1e-6, 10.0
HALVINGS = 12  # of the logarithm's range: the size is found to 0.4 %
DRAWS = 16
# The ascent could cross its box several times. Twice as many steps found a size smaller by 1 % on small networks.
ASCENT_STEPS, STRIDE = 10, 0.25
# So much noise has even a weight of zero, where noise grows with the weights.
EPSILON = 1e-3


def searched(context: MeasureContext, search: Callable[[MeasureContext, bool], Tensor], aware: bool = False) -> Tensor:
    """``search(context, aware)``, once for all measures, float64 [M]; remarks where it ended at a bound."""
    size = context.once(search, aware)
    context.remark(size == HIGHEST, f"no perturbation up to {HIGHEST} cost {DROP} of accuracy: the size is that bound")
    context.remark(
        size == LOWEST, f"the least perturbation, {LOWEST}, cost more than {DROP} of accuracy: the size is it"
    )
    return size


def sample_term(context: MeasureContext, size: Tensor) -> Tensor:
    """ln(m/size) + 10 for a size [M] and each model's m training images: what ends all these bounds."""
    return (torch.from_numpy(context.train.subset_size) / size).log() + 10


def largest_noise(context: MeasureContext, aware: bool) -> Tensor:
    """sigma: the largest noise that is borne on average over ``DRAWS`` draws, float64 [M].

    Noise has the standard deviation sigma; with ``aware``, the variance sigma^2 w^2 + EPSILON^2. All models and sizes
    get the same draws, so that the mean accuracy falls almost steadily along the size, and neither the order of the
    models nor their number matters.
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
    """alpha: the largest box |u_i| <= alpha whose worst perturbation u is borne, float64 [M].

    With ``aware`` the box is |u_i| <= alpha (|w_i| + 1). The worst is what gradient ascent on the cross-entropy finds
    from u = 0: steps of ``STRIDE`` half widths along the signs of the gradient (the steepest direction in a box, which
    needs no learning rate), cut back to the box. Where a network is wrong about many images from the start, the ascent
    follows these, and alpha is larger than what a search among all perturbations would find.
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
    """M networks as points in the space of their weights, each with its own training images.

    Attributes:
        weights: [M, P], weights and biases flat in the order of ``architecture.parameters``, on the engine's device.
    """

    def __init__(self, context: MeasureContext):
        self._engine, self._architecture = context.engine, context.architecture
        device = self._engine.device
        self.weights = context.weights.to(device, self._engine.dtype)
        self._images, self._labels = context.train.images.to(device), context.train.labels.to(device)
        self._groups = context.groups(IMAGES)

    def accuracy(self, weights: Tensor) -> Tensor:
        """float64 [M] of networks with these weights [M, P]; an output that overflows is wrong."""
        accuracy = torch.empty(len(weights), dtype=torch.float64)
        for group in self._groups:
            parameters = named(self._architecture, weights[group.members])
            logits = self._engine.logits(self._architecture, parameters, self._images, group.indices).cpu()
            right = (logits.argmax(2) == group.labels) & logits.isfinite().all(2)
            accuracy[group.members] = right.double().mean(1)
        return accuracy

    def gradient(self, weights: Tensor) -> Tensor:
        """That of each network's mean cross-entropy, [M, P], at these weights."""
        gradient = torch.empty_like(weights)
        for group in self._groups:
            gradient[group.members] = self._engine.gradient(
                self._architecture, weights[group.members], {}, self._images, self._labels, group.indices
            )
        return gradient


def _largest(networks: _Networks, accuracy: Callable[[Tensor], Tensor]) -> Tensor:
    """The largest size that each network bears, float64 [M], by bisection of its logarithm: each has its own bracket.

    Args:
        accuracy: of perturbed networks, float64 [M], by the size of the perturbation, [M, 1] as the weights are.
    """
    weights = networks.weights
    least = networks.accuracy(weights) - DROP - 1e-9  # accuracies are quotients, rounded
    low = torch.full((len(weights),), math.log(LOWEST), dtype=torch.float64)
    high = torch.full_like(low, math.log(HIGHEST))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        borne = accuracy(middle.exp()[:, None].to(weights)) >= least
        low, high = torch.where(borne, middle, low), torch.where(borne, high, middle)
    size = low.exp()
    size[low == math.log(LOWEST)] = LOWEST
    size[high == math.log(HIGHEST)] = HIGHEST
    return size
