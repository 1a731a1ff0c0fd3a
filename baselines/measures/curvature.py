"""Curvature of the training loss at the trained weights, and how fast the loss rises around them.

All are of L(w), the mean cross-entropy in eval mode on the first images of a model's own training set (they are in a
random order), as a function of all weights and biases of the network without norms: each norm is folded first, because
with it the scale of the weights before it, and with the scale the curvature, would be arbitrary. Random draws come
from fixed seeds and are the same for every model of an architecture, so that models are compared on equal terms.

What is a mean over images is estimated with probes of their own for every few images: a probe for the whole set would
cost as much as all of these, whose errors average out. A value whose standard error is above 20 % carries a remark.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from baselines.measures.chunks import slices
from baselines.measures.context import Group, MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.training_loss import (
    IMAGES,
    SAMPLE,
    draw_stream,
    logits_at,
    mean_and_error,
    remark_on_chance,
    repeats_of,
    sampled_groups,
)
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.stack import cross_entropy, flat

# Images a model for the curvatures and the average sharpness, and for the worst-case sharpness.

_LANCZOS_IMAGES_AT_ONCE, _LANCZOS_STEPS, _LANCZOS_TOLERANCE = 128, 40, 0.02
# Random probes in all (at least, and 4 for each share of the images), and the images that share theirs.
_PROBES, _IMAGES_OF_A_PROBE = 64, 32


def hessian_top_eigenvalue(context: MeasureContext) -> Tensor:
    """The largest eigenvalue of the Hessian of L, by Lanczos iteration.

    A value within 2 % of an eigenvalue is sure where the iteration converged; the error is usually far smaller, since
    it falls with the square of the residual. There is no reorthogonalization: it would only spare copies of eigenvalues
    that have converged already (Paige 1972), and the vectors of M models would take the most memory.
    """
    values = torch.empty(len(context), dtype=torch.float64)
    converged = torch.empty(len(context), dtype=torch.bool)
    for group in sampled_groups(context, IMAGES):
        values[group.members], converged[group.members] = _lanczos(group, context.architecture)
    context.remark(~converged, f"Lanczos iteration did not converge to 2 % in {_LANCZOS_STEPS} steps")
    return values


def _lanczos(group: Group, architecture: Architecture) -> tuple[Tensor, Tensor]:
    """The largest Ritz value of each model, float64 [m], and whether its residual is small enough, bool [m]."""
    weights = flat(architecture, group.stack.parameters)
    values = torch.empty(len(weights), dtype=torch.float64)
    converged = torch.zeros(len(weights), dtype=torch.bool)
    left = torch.arange(len(weights))  # the models that go on
    start = torch.randn(weights.shape[1], generator=draw_stream("lanczos"), dtype=torch.float64)
    vectors = (start / start.norm()).expand(len(weights), -1)
    before = torch.zeros_like(vectors)
    diagonal, beside = torch.zeros(2, len(weights), 0, dtype=torch.float64)
    for _ in range(_LANCZOS_STEPS):
        products = _hessian_product(group, architecture, left, weights[left], vectors.float()).double()
        diagonal = torch.cat([diagonal, (products * vectors).sum(1, keepdim=True)], dim=1)
        products -= diagonal[:, -1:] * vectors
        if beside.shape[1]:
            products -= beside[:, -1:] * before
        length = products.norm(dim=1, keepdim=True)
        matrix = diagonal.diag_embed() + beside.diag_embed(1) + beside.diag_embed(-1)
        ritz, coordinates = torch.linalg.eigh(matrix)
        values[left] = ritz[:, -1]
        done = length[:, 0] * coordinates[:, -1, -1].abs() <= _LANCZOS_TOLERANCE * ritz[:, -1].abs()
        converged[left] = done
        if done.all():
            break
        left, diagonal, beside = left[~done], diagonal[~done], torch.cat([beside, length], dim=1)[~done]
        before, vectors = vectors[~done], (products / length)[~done]
    return values, converged


def _hessian_product(
    group: Group, architecture: Architecture, models: Tensor, weights: Tensor, vectors: Tensor
) -> Tensor:
    """Hessian times vector for some models of the group: weights and vectors [k, P] -> [k, P]."""
    total = torch.zeros_like(vectors)
    for images, labels in group.blocks(_LANCZOS_IMAGES_AT_ONCE):
        share = images.shape[1] / group.indices.shape[1]
        for some in slices(len(models), images.shape[1], architecture.units):
            slope, at = _slope(architecture, weights[some], images[models[some]], labels[models[some]])
            total[some] += share * torch.autograd.grad(slope, at, vectors[some])[0]
    return total


def _slope(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient [m, P] of each model's loss, itself differentiable by the second tensor, a copy of the weights."""
    at = weights.detach().requires_grad_()
    loss = cross_entropy(logits_at(architecture, at, images), labels)
    return torch.autograd.grad(loss.sum(), at, create_graph=True)[0], at


def hessian_trace(context: MeasureContext) -> Tensor:
    """The trace of the Hessian of L, by Hutchinson's estimator with Rademacher probes: E v^T H v."""

    def products(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor, probes: list[Tensor]):
        slope, at = _slope(architecture, weights, images, labels)
        for probe in probes:
            signs = probe[: weights.shape[1]].expand_as(weights)
            yield (torch.autograd.grad(slope, at, signs, retain_graph=True)[0] * signs).sum(1)

    return _estimated(context, products)


def fisher_trace(context: MeasureContext) -> Tensor:
    """The trace of the Fisher information, mean over images of E_{y ~ p(y|x)} ||grad ln p(y|x)||^2.

    The labels are the model's own, not those of the data. Their mean is in closed form: an image's Fisher matrix is
    J^T (diag(p) - p p^T) J with the Jacobian J of its logits, which is also its Gauss-Newton matrix, and
    diag(p) - p p^T = R R^T with R = diag(sqrt(p)) - p sqrt(p)^T. For random signs v, one set for each image,
    ||sum over images of J^T R v||^2 has the sum of the traces as its mean, and takes one backward pass for all.
    """

    def outwards(logits: Tensor, labels: Tensor, signs: Tensor) -> Tensor:
        share = logits.softmax(-1)
        signed = share.sqrt() * signs
        return signed - share * signed.sum(-1, keepdim=True)

    return _estimated(context, _squared_gradients(outwards))


def empirical_fisher_trace(context: MeasureContext) -> Tensor:
    """Mean over images of ||grad of the image's own cross-entropy||^2: the labels are those of the data.

    Not the Fisher information (Kunstner et al. 2019): it vanishes where every image is fitted and can be large where
    the model is wrong. Estimated as ``fisher_trace`` is, with a sign for each image.
    """

    def outwards(logits: Tensor, labels: Tensor, signs: Tensor) -> Tensor:
        errors = logits.softmax(-1)
        return (errors - torch.nn.functional.one_hot(labels, errors.shape[-1])) * signs[..., :1]

    return _estimated(context, _squared_gradients(outwards))


def _squared_gradients(outwards: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Iterator[Tensor]]:
    """|| sum over images of J^T u ||^2 / images, where u = outwards(logits, labels, signs [images, classes])."""

    def squares(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor, probes: list[Tensor]):
        at = weights.detach().requires_grad_()
        logits = logits_at(architecture, at, images)
        for probe in probes:
            signs = probe[: logits[0].numel()].view(logits.shape[1:])
            towards = outwards(logits.detach(), labels, signs)
            gradient = torch.autograd.grad(logits, at, towards, retain_graph=True)[0]
            yield gradient.double().square().sum(1) / images.shape[1]

    return squares


def _estimated(context: MeasureContext, estimates: Callable[..., Iterator[Tensor]]) -> Tensor:
    """The mean over images of an estimate that a few images and some random signs give, float64 [M]."""
    architecture = context.architecture
    signs_needed = max(architecture.size, _IMAGES_OF_A_PROBE * architecture.classes)
    means, errors = torch.empty(2, len(context), dtype=torch.float64)
    for group in sampled_groups(context, IMAGES):
        weights, images_in_all = flat(architecture, group.stack.parameters), group.indices.shape[1]
        stream = draw_stream("probes")
        # Where there are few images, each of them has more probes.
        repeats = repeats_of(_PROBES, images_in_all, _IMAGES_OF_A_PROBE)
        totals = torch.zeros(repeats, len(weights), dtype=torch.float64)
        for images, labels in group.blocks(_IMAGES_OF_A_PROBE):
            probes = [torch.randint(2, (signs_needed,), generator=stream) * 2.0 - 1 for _ in range(repeats)]
            share = images.shape[1] / images_in_all
            for some in slices(len(weights), images.shape[1], architecture.units):
                found = estimates(architecture, weights[some], images[some], labels[some], probes)
                for number, values in enumerate(found):
                    totals[number, some] += share * values.double()
        means[group.members], errors[group.members] = mean_and_error(totals)
    remark_on_chance(context, means, errors)
    return means


_PROBED = f"at least {_PROBES} random probes; {SAMPLE}"

MEASURES = (
    Measure(
        name="hessian-top-eigenvalue",
        function=hessian_top_eigenvalue,
        access="train-data",
        cost="search",
        formula=f"largest eigenvalue of the Hessian of the training loss by Lanczos iteration; norms folded; {SAMPLE}",
        citation="Keskar et al. 2017, arXiv:1609.04836; computed as in Yao et al. 2020, arXiv:1912.07145",
    ),
    Measure(
        name="hessian-trace",
        function=hessian_trace,
        access="train-data",
        cost="passes",
        formula=f"trace of the Hessian of the training loss; norms folded; {_PROBED}",
        citation="estimator of Hutchinson 1990; Yao et al. 2020, arXiv:1912.07145",
    ),
    Measure(
        name="fisher-trace",
        function=fisher_trace,
        access="train-data",
        cost="passes",
        formula=f"mean over x of E_(y ~ p(y|x)) ||grad ln p(y|x)||^2; norms folded; {_PROBED}",
        citation="Jastrzebski et al. 2021, arXiv:2012.14193",
    ),
    Measure(
        name="empirical-fisher-trace",
        function=empirical_fisher_trace,
        access="train-data",
        cost="passes",
        formula=f"mean over (x, y) of ||grad ln p(y|x)||^2, y = the training label; norms folded; {_PROBED}",
        citation="as named by Kunstner et al. 2019, arXiv:1905.12558",
    ),
)
