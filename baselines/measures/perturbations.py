"""Perturbation searches: the largest perturbation of its weights that a network tolerates.

A network tolerates a perturbation if its accuracy on the training images falls by at most ``DROP`` (arXiv:1912.02178,
appendix C; the same 0.1 in arXiv:2010.11924). All weights and biases are perturbed, after norms are folded into them.
Where the accuracy is too low to fall so far, or the smallest perturbation is too large, the search ends at a bound of
[LOWEST, HIGHEST], and the measure has a remark. PAC-Bayes and sharpness measures share these searches.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.training_loss import mean_and_error
from zoo_builder.networks.stack import named
from zoo_builder.streams import torch_stream

DROP = 0.1
LOWEST, HIGHEST = 1e-6, 10.0
HALVINGS = 12  # of the range of the logarithm, which give the size to 0.4 %
# The worst perturbation is sought on at most this many of a model's training images.
IMAGES = 1000
# Enough steps to cross the box several times. Twice as many gave a size 1 % smaller on small networks.
ASCENT_STEPS, STRIDE = 10, 0.25
# Each draw of noise meets other images of a model. With more images per draw, the same precision takes more passes.
IMAGES_OF_A_DRAW = 128
# The first draws find the size to about 5 %; then each batch of draws adds precision.
FIRST_DRAWS, DRAWS, MOST_DRAWS = 16, 64, 1024
# The standard error of ln sigma that ends the search. Sizes of a zoo's networks differ by some 40 %, so that an error
# of 1 % leaves their order to tau .98 (5 %, as of 16 draws: .92).
PRECISION = 0.01
# How far a size moves at a time, in the logarithm, and the least slope to divide by: the accuracy per unit of it.
NEWTON_STEP, LEAST_SLOPE = 0.2, 0.02
# The noise of a weight of zero where noise grows with the weights.
EPSILON = 1e-3


# Takes the logarithm of sizes [k], the numbers of k models, and a draw; returns the accuracies, float64 [k].
Accuracy = Callable[[Tensor, Tensor, int], Tensor]
# Takes a context, and whether perturbations grow with the weights; returns the largest tolerated sizes, float64 [M],
# and the standard errors of their logarithms, [M], None where the search draws nothing at random.
Search = Callable[[MeasureContext, bool], tuple[Tensor, Tensor | None]]


def at_tolerated_size(
    context: MeasureContext, search: Search, value: Callable[[Tensor], Tensor], aware: bool = False
) -> Tensor:
    """``value(size)``, float64 [M], for the sizes that ``search`` found, once for all measures.

    Declares the standard error that follows from that of the size; leaves a remark where the search ended at a bound.
    """
    size, error = context.once(search, aware)
    context.remark(size == HIGHEST, f"at the bound {HIGHEST}: no perturbation up to there costs {DROP} of accuracy")
    context.remark(size == LOWEST, f"at the bound {LOWEST}: such a perturbation costs more than {DROP} of accuracy")
    if error is not None:
        context.standard_error((value(size * error.exp()) - value(size / error.exp())).abs() / 2)
    return value(size)


def sample_term(context: MeasureContext, size: Tensor) -> Tensor:
    """ln(m/size) + 10 for a size [M] and each model's m training images, the last term of all these bounds."""
    return (torch.from_numpy(context.train.subset_size) / size).log() + 10


def largest_noise(context: MeasureContext, aware: bool) -> tuple[Tensor, Tensor]:
    """sigma: the largest noise that is tolerated on average, float64 [M], and the standard error of ln sigma.

    The noise has standard deviation sigma; with ``aware``, variance sigma^2 w^2 + EPSILON^2. Every draw is tried on its
    own images of a model, which take turns. All models get the same draws, so that neither the order nor the number of
    the models matters. Bisection finds sigma for a few draws; then Newton's method follows the mean over more and more
    draws, until the standard error is ``PRECISION``, or after ``MOST_DRAWS``.
    """
    networks = _Networks(context)

    def accuracy(log_size: Tensor, models: Tensor, draw: int) -> Tensor:
        weights, sigma = networks.weights[models], log_size.exp()[:, None].to(networks.weights)
        spread = (sigma.square() * weights.square() + EPSILON**2).sqrt() if aware else sigma
        noise = torch.randn(weights.shape[1], generator=torch_stream("perturbations", f"noise/{draw}")).to(weights)
        images = range(draw * IMAGES_OF_A_DRAW, (draw + 1) * IMAGES_OF_A_DRAW)
        return networks.accuracy(weights + spread * noise, models, images)

    def mean_accuracy(log_size: Tensor) -> Tensor:
        draws = [accuracy(log_size, torch.arange(len(log_size)), draw) for draw in range(FIRST_DRAWS)]
        return torch.stack(draws).mean(0)

    least = _training_accuracy(context) - DROP
    size = _largest(least, mean_accuracy)
    error = torch.zeros_like(size)
    inside = torch.nonzero((size > LOWEST) & (size < HIGHEST))[:, 0]
    if len(inside):
        log_size, error[inside] = _refined(size[inside].log(), least[inside], inside, accuracy)
        size[inside] = log_size.exp().clamp(LOWEST, HIGHEST)
    return size, error


def _refined(start: Tensor, least: Tensor, models: Tensor, accuracy: Accuracy) -> tuple[Tensor, Tensor]:
    """The logarithm of the size at which the mean accuracy is ``least``, and its standard error, float64 [k] each.

    The slope is measured once, by the same draws on both sides of ``start``. Each draw then gives an estimate, one step
    of Newton's method from the mean of the estimates so far.
    """

    def batch(log_size: Tensor, members: Tensor, first: int) -> Tensor:
        return torch.stack([accuracy(log_size, members, draw) for draw in range(first, first + DRAWS)])

    below, above = (batch(start + step, models, FIRST_DRAWS).mean(0) for step in (-NEWTON_STEP, NEWTON_STEP))
    slope = ((below - above) / (2 * NEWTON_STEP)).clamp(min=LEAST_SLOPE)
    at = start + (((below + above) / 2 - least) / slope).clamp(-NEWTON_STEP, NEWTON_STEP)
    means, errors = torch.empty(2, len(start), dtype=torch.float64)
    left, estimates = torch.arange(len(start)), torch.empty(0, len(start), dtype=torch.float64)
    for first in range(FIRST_DRAWS + DRAWS, FIRST_DRAWS + DRAWS + MOST_DRAWS, DRAWS):
        risen = batch(at[left], models[left], first) - least[left]
        estimates = torch.cat([estimates, at[left] + risen / slope[left]])
        means[left], errors[left] = mean_and_error(estimates)
        at[left] += (means[left] - at[left]).clamp(-NEWTON_STEP, NEWTON_STEP)
        rough = errors[left] > PRECISION
        left, estimates = left[rough], estimates[:, rough]
        if not len(left):
            break
    return means, errors


def _training_accuracy(context: MeasureContext) -> Tensor:
    """On all training images of each model, float64 [M]; an output that overflows counts as wrong."""
    pairs = zip(context.logits, context.labels, strict=True)
    return torch.stack([_correct(logits, labels).double().mean() for logits, labels in pairs])


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    """bool [...] for logits [..., classes] and labels [...]."""
    return (logits.argmax(-1) == labels) & logits.isfinite().all(-1)


def largest_box(context: MeasureContext, aware: bool) -> tuple[Tensor, None]:
    """alpha: the largest box |u_i| <= alpha whose worst perturbation u is tolerated, float64 [M].

    With ``aware`` the box is |u_i| <= alpha (|w_i| + 1). The worst perturbation is found by gradient ascent on the
    cross-entropy from u = 0: steps of ``STRIDE`` half widths along the signs of the gradient (the steepest direction in
    a box, which needs no learning rate), clipped to the box. If the unperturbed network misclassifies many images, the
    ascent follows these, and alpha is larger than a search among all perturbations would find.
    """
    networks = _Networks(context, IMAGES)
    weights, models, images = networks.weights, torch.arange(len(context)), range(IMAGES)

    def accuracy(log_size: Tensor) -> Tensor:
        alpha = log_size.exp()[:, None].to(weights)
        box = alpha * (weights.abs() + 1) if aware else alpha.expand_as(weights)
        moved = torch.zeros_like(weights)
        for _ in range(ASCENT_STEPS):
            # Where outputs overflow, there is no gradient to follow.
            uphill = networks.gradient(weights + moved).sign().nan_to_num(0)
            moved = (moved + STRIDE * box * uphill).clamp(-box, box)
        return networks.accuracy(weights + moved, models, images)

    return _largest(networks.accuracy(weights, models, images) - DROP, accuracy), None


class _Networks:
    """M networks as points in weight space, each with its own training images.

    Attributes:
        weights: [M, P], weights and biases flat in the order of ``architecture.parameters``, on the engine's device.
    """

    def __init__(self, context: MeasureContext, images: int | None = None):
        """``images``: at most so many of each network; None for all."""
        self._engine, self._architecture = context.engine, context.folded_architecture
        device = self._engine.device
        self.weights = context.weights.to(device, self._engine.dtype)
        self._images, self._labels = context.train.images.to(device), context.train.labels.to(device)
        self._groups = context.groups(images)

    def accuracy(self, weights: Tensor, models: Tensor, images: range) -> Tensor:
        """The accuracies float64 [k] of k networks with the weights [k, P] on some of the images of ``models`` [k].

        Args:
            images: numbers of a network's own images, which begin anew after the last; never more than there are.
        """
        accuracy = torch.empty(len(models), dtype=torch.float64)
        for group in self._groups:
            rows = torch.nonzero(torch.isin(models, torch.from_numpy(group.members)))[:, 0]
            if len(rows):
                # ``models`` and the members of a group ascend.
                own = np.searchsorted(group.members, models[rows].numpy())
                count = group.indices.shape[1]
                indices = group.indices[own][:, np.array(images[:count]) % count]
                logits = self._engine.logits(
                    self._architecture, named(self._architecture, weights[rows]), self._images, indices
                ).cpu()
                accuracy[rows] = _correct(logits, self._labels[torch.from_numpy(indices)].cpu()).double().mean(1)
        return accuracy

    def gradient(self, weights: Tensor) -> Tensor:
        """The gradient of each network's mean cross-entropy at the weights [M, P]: [M, P]."""
        gradient = torch.empty_like(weights)
        for group in self._groups:
            gradient[group.members] = self._engine.gradient(
                self._architecture, weights[group.members], {}, self._images, self._labels, group.indices
            )
        return gradient


def _largest(least: Tensor, accuracy: Callable[[Tensor], Tensor]) -> Tensor:
    """The largest size at which each network has its ``least`` accuracy, float64 [M].

    By bisection of the logarithm, a bracket per network.

    Args:
        accuracy: returns the accuracies of the perturbed networks, float64 [M], for logarithms of sizes [M].
    """
    low = torch.full_like(least, math.log(LOWEST))
    high = torch.full_like(low, math.log(HIGHEST))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        tolerated = accuracy(middle) >= least - 1e-9  # accuracies are rounded quotients
        low, high = torch.where(tolerated, middle, low), torch.where(tolerated, high, middle)
    size = low.exp()
    size[low == math.log(LOWEST)] = LOWEST
    size[high == math.log(HIGHEST)] = HIGHEST
    return size
