"""Networks without norms: each norm folded into the layer before it."""

from baselines.access import NotApplicable
from zoo_builder.networks.folding import folded
from zoo_builder.networks.stack import Stack


def without_norms(stack: Stack) -> Stack:
    """The same functions with every norm folded into the layer before it, so that they depend only on weights.

    Raises:
        NotApplicable: a norm cannot be folded.
    """
    try:
        return folded(stack)
    except ValueError as error:
        raise NotApplicable(f"the networks have a norm that cannot be folded into weights: {error}") from None
