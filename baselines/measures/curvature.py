"""Curvature of the training loss at the trained weights, and how fast the loss rises around them.

All are of L(w), the mean cross-entropy in eval mode on the first images of a model's own training set (they are in a
random order), as a function of all weights and biases of the network without norms: each norm is folded first, because
with it the scale of the weights before it, and with the scale the curvature, would be arbitrary. Random draws come
from fixed seeds and are the same for every model of an architecture, so that models are compared on equal terms.

What is a mean over images is estimated with probes of their own for every few images: a probe for the whole set would
cost as much as all of these, whose errors average out. A value whose standard error is above 20 % carries a remark.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from baselines.interface import Measure
from baselines.measures.context import Group, MeasureContext
from baselines.measures.passes import slices
from zoo_builder.architecture import Architecture
from zoo_builder.engines.loop import cross_entropy, flat, named
from zoo_builder.networks import forward
from zoo_builder.streams import torch_stream

# Images a model for the curvatures and the average sharpness, and for the worst-case sharpness.
_IMAGES, _IMAGES_OF_WORST = 1000, 512

_LANCZOS_IMAGES_AT_ONCE, _LANCZOS_STEPS, _LANCZOS_TOLERANCE = 128, 40, 0.02
# Random probes in all (at least, and 4 for each share of the images), and the images that share theirs.
_PROBES, _IMAGES_OF_A_PROBE = 64, 32
_DRAWS, _IMAGES_OF_A_DRAW = 50, 50
_ASCENT_BATCH, _ASCENT_STEPS = 128, 10
_RHO_WORST, _RHO_AVERAGE = 0.008, 0.1  # from the ranges for convolutional networks in Andriushchenko et al. 2023

Loss = Callable[[Tensor, Tensor], Tensor]


def hessian_top_eigenvalue(context: MeasureContext) -> Tensor:
    """The largest eigenvalue of the Hessian of L, by Lanczos iteration.

    A value within 2 % of an eigenvalue is sure where the iteration converged; the error is usually far smaller, since
    it falls with the square of the residual. There is no reorthogonalization: it would only spare copies of eigenvalues
    that have converged already (Paige 1972), and the vectors of M models would take the most memory.
    """
    values = torch.empty(len(context), dtype=torch.float64)
    converged = torch.empty(len(context), dtype=torch.bool)
    for group in _groups(context, _IMAGES):
        values[group.members], converged[group.members] = _lanczos(group, context.architecture)
    context.remark(~converged, f"Lanczos iteration did not converge to 2 % in {_LANCZOS_STEPS} steps")
    return values


def _lanczos(group: Group, architecture: Architecture) -> tuple[Tensor, Tensor]:
    """The largest Ritz value of each model, float64 [m], and whether its residual is small enough, bool [m]."""
    weights = flat(architecture, group.stack.parameters)
    values = torch.empty(len(weights), dtype=torch.float64)
    converged = torch.zeros(len(weights), dtype=torch.bool)
    left = torch.arange(len(weights))  # the models that go on
    start = torch.randn(weights.shape[1], generator=_stream("lanczos"), dtype=torch.float64)
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
    loss = cross_entropy(_logits(architecture, at, images), labels)
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
        logits = _logits(architecture, at, images)
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
    for group in _groups(context, _IMAGES):
        weights, images_in_all = flat(architecture, group.stack.parameters), group.indices.shape[1]
        stream = _stream("probes")
        # Where there are few images, each of them has more probes.
        repeats = _repeats(_PROBES, images_in_all, _IMAGES_OF_A_PROBE)
        totals = torch.zeros(repeats, len(weights), dtype=torch.float64)
        for images, labels in group.blocks(_IMAGES_OF_A_PROBE):
            probes = [torch.randint(2, (signs_needed,), generator=stream) * 2.0 - 1 for _ in range(repeats)]
            share = images.shape[1] / images_in_all
            for some in slices(len(weights), images.shape[1], architecture.units):
                found = estimates(architecture, weights[some], images[some], labels[some], probes)
                for number, values in enumerate(found):
                    totals[number, some] += share * values.double()
        means[group.members], errors[group.members] = _mean_and_error(totals)
    _remark_on_chance(context, means, errors)
    return means


def adaptive_sharpness_worst(context: MeasureContext) -> Tensor:
    """Mean over batches of max L(w + u) - L(w) over |u_i| <= rho |w_i|."""
    return context.once(_worst, cross_entropy)


def adaptive_sharpness_worst_normalized(context: MeasureContext) -> Tensor:
    """``adaptive_sharpness_worst`` with normalized logits: larger logits alone change nothing."""
    return context.once(_worst, _normalized_cross_entropy)


def _worst(context: MeasureContext, loss: Loss) -> Tensor:
    """The rise that projected sign ascent finds; it starts at 0, so the rise is never negative.

    A lower bound of the maximum. On small CNNs neither twice the steps nor the paper's APGD found 1.001 times as much.
    """
    architecture = context.architecture
    rises = torch.zeros(len(context), dtype=torch.float64)
    for group in _groups(context, _IMAGES_OF_WORST):
        weights = flat(architecture, group.stack.parameters)
        for images, labels in group.blocks(_ASCENT_BATCH):
            share = images.shape[1] / group.indices.shape[1]
            for some in slices(len(weights), images.shape[1], architecture.units):
                rise = _ascent(architecture, weights[some], images[some], labels[some], loss)
                rises[group.members[some]] += share * rise
    return rises


def _ascent(architecture: Architecture, weights: Tensor, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """The largest loss on the way less the loss at its start, [m]."""
    moves = torch.zeros_like(weights)  # in units of |w|
    heights = []
    for step in range(_ASCENT_STEPS + 1):
        at = (weights + moves * weights.abs()).requires_grad_()
        height = loss(_logits(architecture, at, images), labels)
        (slope,) = torch.autograd.grad(height.sum(), at)
        heights.append(height.detach())
        # From corner to corner at first, in ever smaller steps later.
        length = 2 * _RHO_WORST * (1 - step / _ASCENT_STEPS)
        moves = (moves + length * slope.sign()).clamp(-_RHO_WORST, _RHO_WORST)
    return torch.stack(heights).amax(0) - heights[0]


def adaptive_sharpness_average(context: MeasureContext) -> Tensor:
    """E L(w + u) - L(w) for normal u with standard deviation rho |w_i|."""
    mean, error = context.once(_average)[0]
    _remark_on_chance(context, mean, error)
    return mean


def adaptive_sharpness_average_normalized(context: MeasureContext) -> Tensor:
    """``adaptive_sharpness_average`` with normalized logits: larger logits alone change nothing."""
    mean, error = context.once(_average)[1]
    _remark_on_chance(context, mean, error)
    return mean


def _average(context: MeasureContext) -> Tensor:
    """Both average sharpnesses (plain, normalized), each with its standard error: float64 [2, 2, M].

    Draws come in pairs u, -u: what is linear in u, most of the noise, cancels.
    """
    architecture, images, labels = context.architecture, context.train.images, context.train.labels
    found = torch.empty(2, 2, len(context), dtype=torch.float64)
    for group in _groups(context, _IMAGES):
        weights, images_in_all = flat(architecture, group.stack.parameters), group.indices.shape[1]
        stream = _stream("noise")
        repeats = _repeats(_DRAWS, images_in_all, _IMAGES_OF_A_DRAW)
        totals = torch.zeros(repeats, 2, len(weights), dtype=torch.float64)
        for first in range(0, images_in_all, _IMAGES_OF_A_DRAW):
            block = group.indices[:, first : first + _IMAGES_OF_A_DRAW]
            own = labels[torch.from_numpy(block)]

            def heights(at: Tensor, block: np.ndarray = block, own: Tensor = own) -> Tensor:
                logits = context.engine.logits(architecture, named(architecture, at), images, block).cpu().double()
                return torch.stack([loss(logits, own) for loss in (cross_entropy, _normalized_cross_entropy)])

            share, base = block.shape[1] / images_in_all, heights(weights)
            for total in totals:
                noise = _RHO_AVERAGE * weights.abs() * torch.randn(weights.shape[1], generator=stream)
                total += share * ((heights(weights + noise) + heights(weights - noise)) / 2 - base)
        found[:, :, group.members] = torch.stack(_mean_and_error(totals), dim=1)
    return found


def _repeats(draws: int, images: int, images_of_a_draw: int) -> int:
    """How many draws each block of images needs for so many in all; at least 4, which tell the standard error."""
    return max(4, -(-draws // -(-images // images_of_a_draw)))


def _mean_and_error(estimates: Tensor) -> tuple[Tensor, Tensor]:
    """Of independent estimates [repeats, ...]: their mean and its standard error, [...]."""
    return estimates.mean(0), estimates.std(0) / len(estimates) ** 0.5


def _remark_on_chance(context: MeasureContext, means: Tensor, errors: Tensor) -> None:
    context.remark(errors > 0.2 * means.abs(), "the standard error of the estimate is above 20 % of the value")


def _normalized_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits that are centred and divided by their Euclidean norm, image by image: -> [M]."""
    centred = logits - logits.mean(-1, keepdim=True)
    return cross_entropy(centred / centred.norm(dim=-1, keepdim=True).clamp_min(1e-10), labels)


def _groups(context: MeasureContext, most: int) -> list[Group]:
    _ = context.architecture  # raises where a norm cannot be folded, which passes alone would not mind
    return context.groups(most)


def _logits(architecture: Architecture, weights: Tensor, images: Tensor) -> Tensor:
    """[m, B, classes] in float64: of well fitted images float32 would round the cross-entropy, and its slope, to 0."""
    return forward(architecture, named(architecture, weights), images).double()


def _stream(purpose: str) -> torch.Generator:
    return torch_stream("curvature", purpose)


_SAMPLE = f"{_IMAGES:,} images"
_PROBED = f"at least {_PROBES} random probes; {_SAMPLE}"
_WORST = (
    f"max over |u_i| <= {_RHO_WORST} |w_i| of L(w + u) - L(w), {_ASCENT_STEPS} steps; mean over batches of "
    f"{_ASCENT_BATCH} of {_IMAGES_OF_WORST} images"
)
_MEAN = f"E L(w + u) - L(w), u_i ~ N(0, ({_RHO_AVERAGE} w_i)^2), at least {_DRAWS} pairs u, -u; {_SAMPLE}"
_NORMALIZED = "; logits centred, of norm 1"
_SHARPNESS = "Andriushchenko et al. 2023, arXiv:2302.07011; scaling of Kwon et al. 2021, arXiv:2102.11600"

MEASURES = (
    Measure(
        name="hessian-top-eigenvalue",
        function=hessian_top_eigenvalue,
        access="train-data",
        cost="search",
        formula=f"largest eigenvalue of the Hessian of the training loss by Lanczos iteration; norms folded; {_SAMPLE}",
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
    *(
        Measure(
            name=f"adaptive-sharpness-{name}",
            function=function,
            access="train-data",
            cost=cost,
            formula=formula,
            citation=_SHARPNESS,
        )
        for name, function, cost, formula in (
            ("worst", adaptive_sharpness_worst, "search", _WORST),
            ("worst-normalized", adaptive_sharpness_worst_normalized, "search", _WORST + _NORMALIZED),
            ("average", adaptive_sharpness_average, "passes", _MEAN),
            ("average-normalized", adaptive_sharpness_average_normalized, "passes", _MEAN + _NORMALIZED),
        )
    ),
)
