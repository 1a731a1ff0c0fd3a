"""`gengap signatures`: regresses a zoo's generalization gaps on margin signatures."""

import argparse
from typing import Any

from benchmark.commands.common import add_command, add_data, add_zoo, columns, show

EPILOG = """\
A signature describes the distribution of the margins of the training images at some layers, by quartiles and whiskers
or by moments (Jiang et al. 2019, arXiv:1810.00113). Signatures of all layers, of only the input and of only the
output are fitted to the gaps of the zoo's models by least squares. R² is on the models fitted to; adjusted R² corrects
for the number of features; 10-fold R² is on held-out models, with folds by configuration, and is below 0 where the
mean would have predicted better.

  gengap signatures zoos/nin-cifar10-small
"""


def add(commands: Any) -> None:
    help = "compute the share of a zoo's generalization gaps that a linear regression on margin signatures explains"
    parser = add_command(commands, "signatures", _run, help, epilog=EPILOG)
    add_zoo(parser)
    add_data(parser)


def _run(options: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from benchmark.evaluation.signature_fits import signature_fits
    from zoo_builder.store.zoo import Zoo

    torch.set_num_threads(1)  # small networks are slower with more
    zoo = Zoo.open(options.zoo)
    with tqdm(total=(zoo.final["status"] == "ok").sum(), unit=" models", dynamic_ncols=True) as bar:
        fits = signature_fits(zoo, options.data, bar.update)
    found: dict[str, Any] = fits.to_dict("index")
    rows = [["signature", "models", "features", "R²", "adjusted R²", "10-fold R²"]]
    for name, fit in found.items():
        counts = [f"{fit[which]:.0f}" for which in ("models", "features")]
        rows.append([name, *counts, *(f"{fit[which]:.3f}" for which in ("r2", "adjusted_r2", "fold_r2"))])
    show(options, found, columns(rows))
    return 0
