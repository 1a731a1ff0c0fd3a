"""Controls: the size and the fit of the training data, and chance, which a useful measure beats."""

import hashlib

import torch
from torch import Tensor

from baselines.measures.context import MeasureContext
from baselines.measures.measure import Measure


def negative_training_loss(context: MeasureContext) -> Tensor:
    """Minus the cross-entropy on the model's own training images: a better fit predicts a larger gap."""
    return -torch.tensor(context.train.loss, dtype=torch.float64)


def training_accuracy(context: MeasureContext) -> Tensor:
    """Accuracy on the model's own training images: a better fit predicts a larger gap."""
    return torch.tensor(context.train.accuracy, dtype=torch.float64)


def inverse_train_size(context: MeasureContext) -> Tensor:
    """1 / m for the m images that the model was trained on: fewer images predict a larger gap."""
    return 1 / torch.tensor(context.train.subset_size, dtype=torch.float64)


def random(context: MeasureContext) -> Tensor:
    """A number in [0, 1) from a hash of the weights, so that it depends on neither zoo, order nor stack."""
    digests = [hashlib.sha256() for _ in range(len(context))]
    for value in context.parameters.values():
        # Sorted, because permuting hidden units does not change the network.
        for digest, weights in zip(digests, value.flatten(1).sort(dim=1).values.numpy(), strict=True):
            digest.update(weights.tobytes())
    draws = [int.from_bytes(digest.digest()[:8], "little") / 2**64 for digest in digests]
    return torch.tensor(draws, dtype=torch.float64)


MEASURES = (
    Measure(
        name="negative-training-loss",
        function=negative_training_loss,
        access="train-data",
        cost="free",
        formula="-L, L = mean cross-entropy on the training data",
        citation="control",
        control=True,
    ),
    Measure(
        name="training-accuracy",
        function=training_accuracy,
        access="train-data",
        cost="free",
        formula="accuracy on the training data",
        citation="control",
        control=True,
    ),
    Measure(
        name="inverse-train-size",
        function=inverse_train_size,
        access="train-data",
        cost="free",
        formula="1 / m, m = number of training images",
        citation="control",
        control=True,
    ),
    Measure(
        name="random",
        function=random,
        access="weights",
        cost="weights",
        formula="u ~ Uniform[0, 1), drawn by a hash of the weights",
        citation="control",
        control=True,
    ),
)
