"""Networks as entrants read them: without norms."""

from baselines.interface import NotApplicable
from zoo_builder import networks
from zoo_builder.networks import Stack


def without_norms(stack: Stack) -> Stack:
    """The same functions with every norm folded into the layer before it, so that all a network does is in its weights.

    Raises:
        NotApplicable: a norm cannot be folded.
    """
    try:
        return networks.folded(stack)
    except ValueError as error:
        raise NotApplicable(f"the networks have a norm that cannot be folded into weights: {error}") from None
