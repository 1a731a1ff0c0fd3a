"""Complexity measures, one family per file."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.measures.measure import Measure


def families() -> "dict[str, tuple[Measure, ...]]":
    """{family: its measures}, every built-in one."""
    from baselines.measures import (
        adaptive_sharpness,
        augmentation,
        controls,
        counts,
        curvature,
        heavy_tails,
        jacobian,
        magnitude_aware,
        margins,
        mixup,
        norms,
        optimization,
        output,
        pac_bayes,
        path,
        per_image,
        representation,
        sharpness,
        spectral,
    )

    modules = (
        counts,
        output,
        norms,
        spectral,
        path,
        pac_bayes,
        magnitude_aware,
        sharpness,
        heavy_tails,
        optimization,
        curvature,
        adaptive_sharpness,
        representation,
        margins,
        mixup,
        augmentation,
        jacobian,
        per_image,
        controls,
    )
    return {module.__name__.rpartition(".")[2].replace("_", "-"): module.MEASURES for module in modules}


def measures() -> "tuple[Measure, ...]":
    """Every built-in measure."""
    return tuple(measure for family in families().values() for measure in family)
