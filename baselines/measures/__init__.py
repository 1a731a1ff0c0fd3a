"""Complexity measures, a family per file."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.interface import Measure


def measures() -> "tuple[Measure, ...]":
    """Every built-in measure."""
    from baselines.measures import controls, counts, norms, output, path, spectral

    families = (counts, output, norms, spectral, path, controls)
    return tuple(measure for family in families for measure in family.MEASURES)
