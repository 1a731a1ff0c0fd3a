"""What a complexity measure is: a function on a stack, and the row that describes it."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from baselines.measures.context import MeasureContext
from zoo_builder.errors import one_of

# What a measure costs, from least to most: nothing, arithmetic on weights, one forward pass over the training images,
# several passes (or gradients) over them, a perturbation search or an iteration of many passes over a thousand of them.
COSTS = ("free", "weights", "pass", "multi-pass", "search")
# The access levels of measures; each includes those before it.
MEASURE_ACCESS = ("weights", "train-data", "trajectory")


@dataclass(frozen=True)
class Measure:
    """A complexity measure: one unfitted number per model; a larger value predicts a larger generalization gap.

    Attributes:
        function: takes a MeasureContext, returns float64 [M] for the M models of its stack.
        access: the least of ``MEASURE_ACCESS`` that has what the function reads.
        cost: one of ``COSTS``.
        formula: one line.
        citation: where the measure is defined.
        control: shown on every board for comparison, without a rank.
        version: raised with every change of the values, so that stored values of an older version are not used.

    Raises:
        InputError: there is no such cost, or no such access level for a measure.
    """

    name: str
    function: "Callable[[MeasureContext], Tensor]"
    access: str
    cost: str
    formula: str
    citation: str
    control: bool = False
    version: int = 1

    def __post_init__(self) -> None:
        one_of("cost", self.cost, COSTS, f" of measure {self.name!r}")
        one_of("access level", self.access, MEASURE_ACCESS, f" of measure {self.name!r}")
