"""Segments of a network between two of its layers, and networks cut in two at a hidden layer, for a whole stack."""

from dataclasses import dataclass

from torch import Tensor

from baselines.methods import NotApplicable
from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Activation, Architecture, GlobalAveragePool
from zoo_builder.networks.stack import Stack, forward


@dataclass(frozen=True)
class Segment:
    """The layers between two points that all paths go through; vectors enter and leave as images of 1 x 1.

    Attributes:
        rows: these layers, with average pooling after an image, because ``forward`` ends with a vector.
        image: the name of the last layer if its output is an image, otherwise None.
        names: {tensor: its name in the whole network}.
    """

    rows: Architecture
    image: str | None
    names: dict[str, str]

    @classmethod
    def between(cls, architecture: Architecture, start: int, end: int) -> "Segment":
        """The rows start .. end-1 of the architecture.

        Raises:
            InputError: a shortcut that ends in the segment starts before it.
        """
        originals = architecture.places[start:end]
        channels, *size = originals[0].input_shape
        ends_with_image = len(originals[-1].output_shape) == 3
        pooling = (GlobalAveragePool(),) if ends_with_image else ()
        rows = Architecture((channels, *(size or (1, 1))), (*architecture.layers[start:end], *pooling))
        places = rows.places[: end - start]
        names = {
            new: old
            for place, original in zip(places, originals, strict=True)
            for new, old in zip(
                (*place.parameters, *place.buffers), (*original.parameters, *original.buffers), strict=True
            )
        }
        return cls(rows, places[-1].name if ends_with_image else None, names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.rows.input_shape

    def __call__(self, stack: Stack, hidden: Tensor) -> Tensor:
        """[M, B, C, H, W] -> [M, B, C, H, W]; differentiable."""
        # All tensors are passed: a segment may have none, and ``forward`` takes the number of models from them.
        tensors = stack.parameters | {new: stack.parameters[old] for new, old in self.names.items()}
        if self.image is None:
            return forward(self.rows, tensors, hidden)[..., None, None]
        features: dict[str, Tensor] = {}
        forward(self.rows, tensors, hidden, features=features)
        return features[self.image]


@dataclass(frozen=True)
class Halves:
    """A network cut in two at a hidden layer."""

    lower: Segment
    upper: Segment

    def hidden(self, stack: Stack, images: Tensor) -> Tensor:
        """The representation at the cut: [M, B, C, H, W] for images [M, B, C, H, W]."""
        return self.lower(stack, images)

    def logits(self, stack: Stack, hidden: Tensor) -> Tensor:
        """[M, B, classes]; differentiable."""
        return self.upper(stack, hidden).flatten(2)


def at_first_hidden_layer(architecture: Architecture) -> Halves:
    """Cut after the first hidden layer: the first activation or, in a linear network, the first layer with weights.

    Raises:
        NotApplicable: there is no hidden layer, or a shortcut bypasses it.
    """
    rows = [number for number, layer in enumerate(architecture.layers) if isinstance(layer, Activation)]
    return _cut(architecture, 1 + (rows[0] if rows else architecture.places.index(architecture.weighted[0])))


def at_last_hidden_layer(architecture: Architecture) -> Halves:
    """Cut before the last layer with weights.

    Raises:
        NotApplicable: there is no hidden layer, or a shortcut bypasses it.
    """
    return _cut(architecture, architecture.places.index(architecture.weighted[-1]))


def _cut(architecture: Architecture, row: int) -> Halves:
    before, after = architecture.places[:row], architecture.places[row:]
    if not set(before) & set(architecture.weighted) or not set(after) & set(architecture.weighted):
        raise NotApplicable("the networks have no hidden layer")
    try:
        upper = Segment.between(architecture, row, len(architecture.places))
    except InputError as error:
        raise NotApplicable(f"a shortcut bypasses the hidden layer: {error}") from None
    return Halves(Segment.between(architecture, 0, row), upper)
