"""The reliability ceiling: the tau of a prediction without error against a target that is itself noisy.

A target that was measured on a test set contains the noise of that test set. Two disjoint halves of the test set give
two targets of the same models, and tau between them shows how much of the models' order is more than noise. From there:

1. tau is averaged over random splits.
2. r = sin(pi tau / 2) is the correlation of two normal variables with that tau: the reliability of half the test set.
3. R = 2 r / (1 + r) is the reliability of the whole (Spearman and Brown): twice the examples, half the noise variance.
4. sqrt(R) is the correlation of the whole's target with the true one, the target on infinitely many test examples.
5. The ceiling is the tau of that correlation, 2 / pi asin(sqrt(R)).

The ceiling is the expected tau of the true values. A prediction that knows the noise of this test set can exceed it,
and any prediction can by chance. Steps 2 and 5 assume normal true values and noise: for exponential true values the
ceiling was up to .02 too high. The ceiling is itself an estimate, and a square root: on 800 models its standard error
was .008 at .7, .03 at .4 and .06 at .1.

The ceiling of a gap is about the test set alone: the training accuracy is a part of the target, which methods may read.
But it is measured on a sample too, whose luck is in the gap. The share of noise counts both: train accuracy p of m
images has the variance p (1 - p) / m. Where models share training images, their errors are alike, and the noise of
their order is smaller than that.

Source: Spearman, "Correlation calculated from faulty data", British Journal of Psychology 3 (1910); the relation of tau
to the normal correlation is Greiner's (1909).
"""

import math
from dataclasses import dataclass

import numpy as np

from benchmark.scoring import ScoreError, finite
from benchmark.scoring.kendall import kendall_tau

SPLITS = 20
# Models in a chunk, whose correctness is held as float32.
MODEL_CHUNK = 256


@dataclass(frozen=True)
class Reliability:
    """How reliable a target is.

    Attributes:
        halves: tau-b between the targets of two halves of the test set, averaged over splits.
        ceiling: in [0, 1]; 0 where the halves are unrelated or opposed.
        noise_share: how much of the target's variance over the models is sampling noise, in [0, 1]. That of the test
            accuracy is a quarter of the variance of the difference of the halves.
    """

    halves: float
    ceiling: float
    noise_share: float


def reliability(
    correct: np.ndarray,
    train_accuracy: np.ndarray | None = None,
    train_examples: np.ndarray | None = None,
    splits: int = SPLITS,
    seed: int = 0,
) -> Reliability:
    """The reliability ceiling of test accuracy, or of the gap between train and test accuracy.

    Args:
        correct: [n, examples], bool or 0 and 1: which test examples each model classifies correctly.
        train_accuracy: [n] as fractions, for the gap; None for test accuracy.
        train_examples: [n], how many examples ``train_accuracy`` was measured on; None where it has no noise.
        splits: number of random splits to average over. Each leaves one example out if the number of examples is odd.

    Raises:
        ScoreError: another shape, other values than 0 and 1, fewer than 2 models or examples, no splits, or a half in
            which all models are equal.
    """
    correct = np.asarray(correct)
    if correct.ndim != 2:
        raise ScoreError(f"correctness of n models on test examples has shape [n, examples], got {list(correct.shape)}")
    n, examples = correct.shape
    if examples < 2 or splits < 1:
        raise ScoreError(f"{examples} test examples in {splits} splits; give at least 2 examples and 1 split")
    if correct.dtype != bool and not np.isin(correct, (0, 1)).all():
        raise ScoreError("correctness is 0 or 1 per model and test example; other values were given")
    offset = finite(np.zeros(n) if train_accuracy is None else train_accuracy, "train accuracy")
    if len(offset) != n:
        raise ScoreError(f"{len(offset)} train accuracies for {n} models; give one per model")
    of_training = 0.0
    if train_examples is not None:
        sizes = finite(train_examples, "train examples")
        if len(sizes) != n or (sizes < 1).any() or ((offset < 0) | (offset > 1)).any():
            raise ScoreError(f"{len(sizes)} numbers of train examples for {n} models: give one of at least 1 per model")
        of_training = (offset * (1 - offset) / sizes).mean()
    rng = np.random.default_rng(seed)
    half = examples // 2
    # Two columns per split, 1 for the examples of one half.
    members = np.zeros((examples, splits, 2), dtype=np.float32)
    for split in range(splits):
        order = rng.permutation(examples)
        members[order[:half], split, 0] = members[order[half : 2 * half], split, 1] = 1
    counts = [
        correct[start : start + MODEL_CHUNK].astype(np.float32) @ members.reshape(examples, -1)
        for start in range(0, n, MODEL_CHUNK)
    ]
    # Larger is better, for both kinds of target: tau between the halves does not depend on the direction.
    targets = np.concatenate(counts).reshape(n, splits, 2).astype(np.float64) / half - offset[:, None, None]
    taus = [kendall_tau(targets[:, split, 0], targets[:, split, 1]).value for split in range(splits)]
    halves = float(np.mean(taus))
    noise = np.diff(targets, axis=2).var(axis=0).mean() / 4 + of_training
    variance = (correct.mean(axis=1) - offset).var()
    return Reliability(halves, ceiling_of_halves(halves), float(noise / variance) if noise < variance else 1.0)


def ceiling_of_halves(tau: float) -> float:
    """The ceiling in [0, 1] from tau between the targets of two halves of the test set, in [-1, 1].

    >>> round(ceiling_of_halves(0.5), 3)
    0.728
    """
    if tau <= 0:
        return 0.0
    r = math.sin(math.pi / 2 * tau)
    return 2 / math.pi * math.asin(math.sqrt(2 * r / (1 + r)))
