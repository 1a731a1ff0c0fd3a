"""`gengap measures`: lists the complexity measures."""

import argparse
from typing import Any

from benchmark.commands.common import add_command, columns, show

LEGEND = """\
cost   free: recorded during training; weights: arithmetic on the weights; pass: one forward pass over the training
       images; multi-pass: several passes, or gradients; search: a perturbation search, or another iteration of many
       passes over the first 1,000 images. "fast" stands for all up to pass
needs  the access level: weights (also at epoch 0), train-data (weights and the training images), or trajectory (also
       what training recorded)

w      all weights and biases, omega of them; w0: the same at epoch 0; W_l: the weights of layer l of d, without biases
f_y    the output of the true label, f_j the largest other; a margin is f_y - f_j; gamma: the 10th percentile over the
       training images, of which there are m
sigma  the deviation of normal noise on w that costs .1 of training accuracy; sigma': noise sigma' w, and eps = .001
alpha  half the width of a box around w whose worst point costs .1 of it; alpha': the box is alpha' (|w_i| + 1)
f_{w^2}(1)   the outputs of the network with squared weights, for an input of ones
k_l, c_l     the width of layer l's kernel, and its output channels
p      softmax of the outputs; L: the mean cross-entropy of the training images; h: the output of a layer for an image
N images     not all, but the first N of a model's own training images, which are in random order
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "measures", _run, "list the complexity measures by family", epilog=LEGEND)
    parser.add_argument(
        "measures", nargs="*", default=["all"], metavar="NAME", help="names, families, fast, or all (the default)"
    )


def _run(options: argparse.Namespace) -> int:
    from baselines.measures import families
    from benchmark.evaluation.measuring import select

    chosen = select(options.measures)
    fields = ("cost", "access", "formula", "citation")
    listed = [
        {"name": measure.name, "family": family} | {field: getattr(measure, field) for field in fields}
        for family, measures in families().items()
        for measure in measures
        if measure in chosen
    ]
    rows = [("measure", "family", "cost", "needs", "formula", "source")]
    show(options, listed, f"{columns(rows + [tuple(measure.values()) for measure in listed])}\n\n{LEGEND}")
    return 0
