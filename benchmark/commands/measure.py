"""`gengap measures`, `gengap measure` and `gengap signatures`."""

import argparse
import sys
from typing import Any

from benchmark.commands.common import columns, cores, note, show


def _measures(options: argparse.Namespace) -> int:
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
    show(options, listed, f"{columns(rows + [tuple(measure.values()) for measure in listed])}\n\n{MEASURES_LEGEND}")
    return 0


MEASURES_LEGEND = """\
cost   free: training has recorded it; weights: arithmetic on the weights; pass: one forward pass over the training
       images; passes: several, or gradients; search: many passes over the first 1,000. "fast" is all up to pass
needs  the access level: weights (also at epoch 0), train-data (those and the training images), or trajectory (also
       what training recorded)

w      all weights and biases, omega of them; w0: the same at epoch 0; W_l: the weights of layer l of d, without biases
f_y    the output of the true label, f_j the largest other; a margin is f_y - f_j; gamma: the 10th percentile over the
       training images, of which there are m
sigma  the deviation of normal noise on w that costs .1 of training accuracy; sigma': noise sigma' w, and eps = .001
alpha  half the width of a box around w whose worst point costs .1 of it; alpha': the box is alpha' (|w_i| + 1)
f_{w^2}(1)   the outputs of the network with squared weights, for an input of ones
k_l, c_l     the width of layer l's kernel, and its output channels
p      softmax of the outputs; L: the mean cross-entropy of the training images; h: what a layer gives for an image
N images     not all, but the first N of a model's own training images, which stand in a random order
"""
MEASURE_EPILOG = """\
values lie in DIR/measures/part-*.parquet, one row per model and measure: value, status, reason, seconds;
`gengap run complexity` scores them without computing them again

  gengap measure zoos/digits                            what one pass gives, in minutes
  gengap measure zoos/digits --measures sharpness       one family
  gengap measure zoos/digits --measures all             searches too: hours for thousands of models
"""


def _measure(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from benchmark.evaluation.measuring import measure, select
    from zoo_builder.engines.torch_engine import resolve_device
    from zoo_builder.store.zoo import Zoo

    zoo, chosen = Zoo.open(options.zoo), select(options.measures)
    with tqdm(unit=" values", dynamic_ncols=True) as bar:
        table = measure(
            zoo,
            chosen,
            data_root=options.data,
            workers=options.workers or cores(),
            device=resolve_device(options.device),
            start=bar.reset,
            progress=bar.update,
            note=lambda line: tqdm.write(line, file=sys.stderr),
        )
    by_measure = table.groupby("measure")
    summary = [
        {
            "measure": name,
            "models": len(rows),
            "defined": int(rows["value"].notna().sum()),
            "median": float(rows["value"].median()) if rows["value"].notna().any() else None,
            "seconds": float(rows["seconds"].sum()),
            "reasons": {str(reason): int(count) for reason, count in rows["reason"].value_counts().items()},
        }
        for name, rows in ((one.name, by_measure.get_group(one.name)) for one in chosen)
    ]
    lines = [("measure", "defined", "median", "s / model", "not defined, or with a remark")]
    for row in summary:
        reasons = "; ".join(f"{reason} ({count})" for reason, count in row["reasons"].items())
        median = "" if row["median"] is None else f"{row['median']:.4g}"
        defined = f"{row['defined']}/{row['models']}"
        lines.append((row["measure"], defined, median, f"{row['seconds'] / row['models']:.3g}", reasons))
    show(options, summary, columns(lines))
    failed = table[table["status"] == "failed"]
    for name, rows in failed.groupby("measure"):
        note(f"gengap: error: {name}: {rows['reason'].iloc[0]} ({len(rows)} models)")
    return 2 if len(failed) else 0


SIGNATURES_EPILOG = """\
A signature is what the margins of the training images at some layers look like: quartiles and whiskers, or moments
(Jiang et al. 2019, arXiv:1810.00113). All of them, the input's alone and the output's alone are fitted to the gaps of
the zoo's finished models by least squares. R² is of the models fitted to; adjusted R² takes the number of features off
it; 10-fold R² is of models left out, folds by configuration, and falls below 0 where the mean would have done better.

  gengap signatures zoos/nin-cifar10-small
"""


def _signatures(options: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from benchmark.evaluation.signature_fits import signature_fits
    from zoo_builder.store.zoo import Zoo

    torch.set_num_threads(1)  # on small networks more cost more than they give
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
