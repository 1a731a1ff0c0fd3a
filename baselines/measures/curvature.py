"""Curvature of the training loss at the trained weights.

L(w) is the mean cross-entropy in eval mode on the first images of a model's own training set (they are in a random
order), as a function of all weights and biases. Norms are folded first: with a norm, the scale of the weights before it
is arbitrary, and so is the curvature. Random draws come from fixed seeds and are the same for every model of an
architecture, so that models are compared on equal terms.

Means over images are estimated with separate probes for each chunk of images: one probe for all images would cost as
much, and the errors of separate probes average out. The values have standard errors.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from baselines.measures.chunks import model_chunks
from baselines.measures.context import Group, MeasureContext
from baselines.measures.measure import Measure
from baselines.measures.training_loss import (
    IMAGES,
    SAMPLE,
    draws_for,
    logits_at,
    mean_and_error,
    repeats_of,
)
from zoo_builder.networks.architecture import Activation, Architecture
from zoo_builder.networks.stack import cross_entropy, flat

LANCZOS_CHUNK, LANCZOS_STEPS, LANCZOS_TOLERANCE = 128, 40, 0.02
# The least number of random probes in total (at least 4 for each chunk of images), and the images in a chunk.
PROBES, PROBE_CHUNK = 64, 32


def hessian_top_eigenvalue(context: MeasureContext) -> Tensor:
    """The largest eigenvalue of the Hessian of L, by Lanczos iteration.

    Where the iteration converged, the value is within 2 % of an eigenvalue; the error is usually far smaller, since it
    falls with the square of the residual. There is no reorthogonalization: it would only prevent copies of eigenvalues
    that have already converged (Paige 1972), and would need the memory to keep all vectors of M models.
    """
    architecture = context.folded_architecture
    values = torch.empty(len(context), dtype=torch.float64)
    converged = torch.empty(len(context), dtype=torch.bool)
    for group in context.groups(IMAGES):
        values[group.members], converged[group.members] = _lanczos(group, architecture)
    context.remark(~converged, f"Lanczos iteration did not converge to 2 % in {LANCZOS_STEPS} steps")
    return values


def _lanczos(group: Group, architecture: Architecture) -> tuple[Tensor, Tensor]:
    """The largest Ritz value of each model, float64 [m], and whether its residual is small enough, bool [m]."""
    weights = flat(architecture, group.stack.parameters)
    values = torch.empty(len(weights), dtype=torch.float64)
    converged = torch.zeros(len(weights), dtype=torch.bool)
    active = torch.arange(len(weights))  # the models that have not converged
    start = torch.randn(weights.shape[1], generator=draws_for("lanczos"), dtype=torch.float64)
    vectors = (start / start.norm()).expand(len(weights), -1)
    before = torch.zeros_like(vectors)
    diagonal, beside = torch.zeros(2, len(weights), 0, dtype=torch.float64)
    for _ in range(LANCZOS_STEPS):
        products = _hessian_product(group, architecture, active, weights[active], vectors.float()).double()
        diagonal = torch.cat([diagonal, (products * vectors).sum(1, keepdim=True)], dim=1)
        products -= diagonal[:, -1:] * vectors
        if beside.shape[1]:
            products -= beside[:, -1:] * before
        length = products.norm(dim=1, keepdim=True)
        matrix = diagonal.diag_embed() + beside.diag_embed(1) + beside.diag_embed(-1)
        ritz, coordinates = torch.linalg.eigh(matrix)
        values[active] = ritz[:, -1]
        done = length[:, 0] * coordinates[:, -1, -1].abs() <= LANCZOS_TOLERANCE * ritz[:, -1].abs()
        converged[active] = done
        if done.all():
            break
        active, diagonal, beside = active[~done], diagonal[~done], torch.cat([beside, length], dim=1)[~done]
        before, vectors = vectors[~done], (products / length)[~done]
    return values, converged


def _hessian_product(
    group: Group, architecture: Architecture, models: Tensor, weights: Tensor, vectors: Tensor
) -> Tensor:
    """Hessian-vector products of some models of the group: weights and vectors [k, P] -> [k, P]."""
    total = torch.zeros_like(vectors)
    for images, labels in group.chunks(LANCZOS_CHUNK):
        share = images.shape[1] / group.indices.shape[1]
        for chunk in model_chunks(len(models), images.shape[1], architecture.units):
            gradient, at = _gradient(architecture, weights[chunk], images[models[chunk]], labels[models[chunk]])
            total[chunk] += share * torch.autograd.grad(gradient, at, vectors[chunk])[0]
    return total


def _gradient(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient [m, P] of each model's loss, differentiable with respect to the second tensor, the weights."""
    at = weights.detach().requires_grad_()
    loss = cross_entropy(logits_at(architecture, at, images), labels)
    return torch.autograd.grad(loss.sum(), at, create_graph=True)[0], at


def hessian_trace(context: MeasureContext) -> Tensor:
    """The trace of the Hessian of L.

    By Hutchinson's estimator with Rademacher probes, E v^T H v. Where the outputs are piecewise linear in each single
    weight, as in ReLU networks, the second derivatives of the outputs add nothing to the diagonal of the Hessian: its
    trace is that of the Fisher information, whose estimate serves both.
    """
    if _is_piecewise_linear(context.folded_architecture):
        return _with_error(context, context.once(_fisher))

    def products(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor, probes: list[Tensor]):
        gradient, at = _gradient(architecture, weights, images, labels)
        for probe in probes:
            signs = probe[: weights.shape[1]].expand_as(weights)
            yield (torch.autograd.grad(gradient, at, signs, retain_graph=True)[0] * signs).sum(1)

    return _with_error(context, _estimated(context, products))


def _is_piecewise_linear(architecture: Architecture) -> bool:
    """Whether the outputs are so in each single weight: a path through the layers holds each weight once."""
    kinds = {layer.kind for layer in architecture.layers if isinstance(layer, Activation)}
    return kinds <= {"relu", "leaky-relu"}


def fisher_trace(context: MeasureContext) -> Tensor:
    """The trace of the Fisher information, mean over images of E_{y ~ p(y|x)} ||grad ln p(y|x)||^2.

    The labels y are drawn from the model's own predictions; their mean is in closed form. The Fisher matrix of an image
    is J^T (diag(p) - p p^T) J with the Jacobian J of its logits, which is also its Gauss-Newton matrix, and
    diag(p) - p p^T = R R^T with R = diag(sqrt(p)) - p sqrt(p)^T. For random signs v, one set for each image, the
    expectation of ||sum over images of J^T R v||^2 is the sum of the traces, which takes one backward pass in total.
    """
    return _with_error(context, context.once(_fisher))


def _fisher(context: MeasureContext) -> tuple[Tensor, Tensor]:
    def cotangent(logits: Tensor, labels: Tensor, signs: Tensor) -> Tensor:
        share = logits.softmax(-1)
        signed = share.sqrt() * signs
        return signed - share * signed.sum(-1, keepdim=True)

    return _estimated(context, _squared_gradients(cotangent))


def empirical_fisher_trace(context: MeasureContext) -> Tensor:
    """Mean over images of ||grad of the image's cross-entropy||^2, with the labels of the data.

    This is not the Fisher information (Kunstner et al. 2019): it vanishes where every image is fitted and can be large
    where the model is wrong. It is estimated like ``fisher_trace``, with one sign per image.
    """

    def cotangent(logits: Tensor, labels: Tensor, signs: Tensor) -> Tensor:
        errors = logits.softmax(-1)
        return (errors - torch.nn.functional.one_hot(labels, errors.shape[-1])) * signs[..., :1]

    return _with_error(context, _estimated(context, _squared_gradients(cotangent)))


def _squared_gradients(cotangent: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Iterator[Tensor]]:
    """|| sum over images of J^T u ||^2 / images, with u = cotangent(logits, labels, signs [images, classes])."""

    def squares(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor, probes: list[Tensor]):
        at = weights.detach().requires_grad_()
        logits = logits_at(architecture, at, images)
        for probe in probes:
            signs = probe[: logits[0].numel()].view(logits.shape[1:])
            gradient = torch.autograd.grad(logits, at, cotangent(logits.detach(), labels, signs), retain_graph=True)[0]
            yield gradient.double().square().sum(1) / images.shape[1]

    return squares


def _with_error(context: MeasureContext, estimate: tuple[Tensor, Tensor]) -> Tensor:
    means, errors = estimate
    context.standard_error(errors)
    return means


def _estimated(context: MeasureContext, estimates: Callable[..., Iterator[Tensor]]) -> tuple[Tensor, Tensor]:
    """The mean over images of an estimate from chunks of images and random signs, and its error: float64 [M] each.

    Args:
        estimates: estimates(architecture, weights [m, P], images, labels, probes) yields one estimate [m] per probe.
    """
    architecture = context.folded_architecture
    signs_needed = max(architecture.size, PROBE_CHUNK * architecture.classes)
    means, errors = torch.empty(2, len(context), dtype=torch.float64)
    for group in context.groups(IMAGES):
        weights, total_images = flat(architecture, group.stack.parameters), group.indices.shape[1]
        stream = draws_for("probes")
        # Where there are few images, each chunk has more probes.
        repeats = repeats_of(PROBES, total_images, PROBE_CHUNK)
        totals = torch.zeros(repeats, len(weights), dtype=torch.float64)
        for images, labels in group.chunks(PROBE_CHUNK):
            probes = [torch.randint(2, (signs_needed,), generator=stream) * 2.0 - 1 for _ in range(repeats)]
            share = images.shape[1] / total_images
            for chunk in model_chunks(len(weights), images.shape[1], architecture.units):
                found = estimates(architecture, weights[chunk], images[chunk], labels[chunk], probes)
                for number, values in enumerate(found):
                    totals[number, chunk] += share * values.double()
        means[group.members], errors[group.members] = mean_and_error(totals)
    return means, errors


_PROBED = f"at least {PROBES} random probes; {SAMPLE}"

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
        cost="multi-pass",
        formula=f"trace of the Hessian of the training loss (of ReLU networks: fisher-trace); norms folded; {_PROBED}",
        citation="estimator of Hutchinson 1990; Yao et al. 2020, arXiv:1912.07145",
        version=2,
    ),
    Measure(
        name="fisher-trace",
        function=fisher_trace,
        access="train-data",
        cost="multi-pass",
        formula=f"mean over x of E_(y ~ p(y|x)) ||grad ln p(y|x)||^2; norms folded; {_PROBED}",
        citation="Jastrzebski et al. 2021, arXiv:2012.14193",
    ),
    Measure(
        name="empirical-fisher-trace",
        function=empirical_fisher_trace,
        access="train-data",
        cost="multi-pass",
        formula=f"mean over (x, y) of ||grad ln p(y|x)||^2, y = the training label; norms folded; {_PROBED}",
        citation="as named by Kunstner et al. 2019, arXiv:1905.12558",
    ),
)
