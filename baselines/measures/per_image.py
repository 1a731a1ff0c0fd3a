"""The measures of the study of 40 measures as it was redone: per training image.

A bound on the gap falls with the number m of training images, so that arXiv:2010.11924 takes sqrt(v / m) of a measure
v, and (v - ln m) / 2 of the logarithm v of one. Where all models were trained on as many images, that orders them as v
does; where they were not, it adds what 1 / m says alone (the control ``inverse-train-size``).

Source: Dziugaite et al., "In Search of Robust Measures of Generalization", arXiv:2010.11924, its published program.
"""

import torch
from torch import Tensor

from baselines.measures import counts, magnitude_aware, norms, output, pac_bayes, path, sharpness, spectral
from baselines.measures.context import MeasureContext
from baselines.measures.measure import MEASURE_ACCESS, Measure

# The roots of param-norm and frob-distance.
LEFT_OUT = {"weight-norm", "distance-from-initialization"}
OUTPUT = {"inverse-margin"}


def per_image(measure: Measure) -> Measure:
    """``measure`` per training image; undefined where it is negative and no logarithm."""
    log = measure.name.startswith("log-")

    def function(context: MeasureContext) -> Tensor:
        values = measure.function(context)
        images = torch.tensor(context.train.subset_size, dtype=torch.float64)
        if log:
            return (values - images.log()) / 2
        context.undefined(values < 0, f"{measure.name} is negative")
        if context.errors is not None:  # of the values, times the derivative of the root
            context.standard_error(context.errors / (2 * (values * images).sqrt()))
        return (values / images).sqrt()

    return Measure(
        name=f"{measure.name}-per-image",
        function=function,
        access=max(measure.access, "train-data", key=MEASURE_ACCESS.index),
        cost=measure.cost,
        formula=f"(v - ln m) / 2, v = {measure.name}" if log else f"sqrt(v / m), v = {measure.name}",
        citation="arXiv:2010.11924",
        version=measure.version,
    )


MEASURES = tuple(
    per_image(measure)
    for module in (counts, output, norms, spectral, path, pac_bayes, magnitude_aware, sharpness)
    for measure in module.MEASURES
    if measure.name not in LEFT_OUT and (module is not output or measure.name in OUTPUT)
)
