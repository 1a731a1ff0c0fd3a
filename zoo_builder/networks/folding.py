"""Folding of batch normalization into the layers before it."""

from zoo_builder.networks.architecture import NORM_EPSILON, Architecture, Norm, Residual
from zoo_builder.networks.stack import Stack


def folded(stack: Stack) -> Stack:
    """The same functions in eval mode without norms, each folded into the convolution or linear layer before it.

    Raises:
        ValueError: a norm does not follow such a layer, or a shortcut reads the output of that layer before the norm.
    """
    places = stack.architecture.places
    if not stack.architecture.buffers:
        return stack
    parameters = {name: stack.parameters[name] for name in stack.architecture.parameters if not name.startswith("norm")}
    rows: list = []
    for number, place in enumerate(places):
        match place.layer:
            case Norm():
                before = places[number - 1]
                if number == 0 or before not in stack.architecture.weighted:
                    raise ValueError(f"{place.name} does not follow a convolution or linear layer")
                weight, bias = f"{before.name}.weight", f"{before.name}.bias"
                gain, shift, mean, variance = (
                    stack.parameters[f"{place.name}.{kind}"]
                    for kind in ("weight", "bias", "running_mean", "running_var")
                )
                scale = gain / (variance + NORM_EPSILON).sqrt()
                per_output = scale.view(*scale.shape, *[1] * (parameters[weight].dim() - 2))
                parameters[weight] = parameters[weight] * per_output
                parameters[bias] = shift + scale * (parameters[bias] - mean)
            case Residual(span):
                if isinstance(places[number - span].layer, Norm):
                    raise ValueError(f"{place.name} reads the input of {places[number - span].name}")
                gone = sum(isinstance(other.layer, Norm) for other in places[number - span : number])
                rows.append(Residual(span - gone))
            case layer:
                rows.append(layer)
    return Stack(Architecture(stack.architecture.input_shape, tuple(rows)), parameters, stack.rows)
