"""Sensitivity of the outputs to the input."""

import torch
from torch import Tensor

from baselines.measures.chunks import chunks
from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure
from zoo_builder.datasets.dataset import scaled
from zoo_builder.networks.stack import forward

IMAGES = 250


def input_jacobian_norm(context: MeasureContext) -> Tensor:
    """The mean Frobenius norm of d logits / d input."""
    return context.once(jacobian_norms)[0]


def probability_jacobian_norm(context: MeasureContext) -> Tensor:
    """The mean Frobenius norm of d softmax / d input."""
    return context.once(jacobian_norms)[1]


def jacobian_norms(context: MeasureContext) -> Tensor:
    """The means over training images of ||J|| and ||S J||, J = d logits / d input, S = diag(p) - p p^T: float64 [2, M].

    Both follow from J J^T, which takes one backward pass per class.
    """
    pixels, classes = context.train.images, context.architecture.classes
    means = torch.zeros(2, len(context), dtype=torch.float64)
    for group in context.groups(IMAGES):
        own = torch.from_numpy(group.indices)
        for at, stack in chunks(group.stack, own.shape[1]):
            images = scaled(pixels[own[at]]).requires_grad_()
            logits = forward(stack.architecture, stack.parameters, images)
            rows = [torch.autograd.grad(logits[..., k].sum(), images, retain_graph=True)[0] for k in range(classes)]
            jacobian = torch.stack(rows, 2).flatten(3).double()
            gram = jacobian @ jacobian.transpose(2, 3)
            p = logits.detach().double().softmax(-1)
            softmax_jacobian = p.diag_embed() - p[..., :, None] * p[..., None, :]
            for number, matrix in enumerate((gram, softmax_jacobian @ gram @ softmax_jacobian)):
                norms = matrix.diagonal(dim1=2, dim2=3).sum(2).clamp(min=0).sqrt()
                means[number, group.members[at[0]]] += norms.sum(1) / own.shape[1]
    return means


MEASURES = (
    Measure(
        name="input-jacobian-norm",
        function=input_jacobian_norm,
        access="train-data",
        cost="multi-pass",
        formula="mean ||d logits / d input||_F; 250 images",
        citation="after Novak et al. 2018, arXiv:1802.08760, with logits",
    ),
    Measure(
        name="input-jacobian-norm-softmax",
        function=probability_jacobian_norm,
        access="train-data",
        cost="multi-pass",
        formula="mean ||d softmax / d input||_F; 250 images",
        citation="Novak et al. 2018, arXiv:1802.08760, on training images",
    ),
)
