"""The C++ source of one architecture: its shapes as types, its layers as calls to ``layers.hpp``.

A state is an image in memory. Convolutions and pools write a new one; other layers change theirs in place, unless its
values are still needed by a shortcut, or as an activation's outputs in the backward pass.

A chunk of examples passes through all layers up to the next norm, and continues when the whole batch is there.
"""

from dataclasses import dataclass, field
from itertools import groupby

from zoo_builder.networks.architecture import (
    Activation,
    Architecture,
    Conv,
    Dropout,
    GlobalAveragePool,
    InPlace,
    Linear,
    MaxPool,
    Norm,
    Place,
    Residual,
    Shape,
    shortcut_stride,
)

# The size of a chunk: bytes of activations and their gradients that fit in a core's second-level cache beside the
# weights, so that several examples share each read of the weights. Weights too large for the cache are read again for
# every chunk, which is then larger too: this many times the size of the weights.
_CHUNK_BYTES, _CHUNK_WEIGHTS, _MOST_EXAMPLES = 128 << 10, 2, 32


def supports(architecture: Architecture) -> bool:
    """Whether a convolution or linear layer reads the images, and no shortcut does."""
    return isinstance(architecture.layers[0], Conv | Linear) and 0 not in _shortcut_starts(architecture)


def source(architecture: Architecture) -> str:
    """The text of a C++ file that exports train, differentiate and evaluate for this architecture."""
    return _Source(architecture).text()


def _shortcut_starts(architecture: Architecture) -> set[int]:
    """The rows whose input a shortcut reads."""
    return {row - layer.span for row, layer in enumerate(architecture.layers) if isinstance(layer, Residual)}


@dataclass(frozen=True)
class _Once:
    """A call that needs the whole batch."""

    call: str


@dataclass
class _State:
    shape: Shape
    padding: int = 0
    holds_activation: bool = False  # read by the backward pass of an activation
    source: bool = False  # of a shortcut: its gradient is a sum

    @property
    def floats(self) -> int:
        channels, height, width = (*self.shape, 1, 1)[:3]
        return channels * (height + 2 * self.padding) * (width + 2 * self.padding)


@dataclass
class _Source:
    architecture: Architecture
    states: list[_State] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    buffers: list[tuple[str, str, str]] = field(default_factory=list)  # C++ type, name, size in floats
    # Calls for the m examples from e on; backward calls are inserted in front.
    forward: list[str | _Once] = field(default_factory=list)
    backward: list[str | _Once] = field(default_factory=list)
    weighted: list[str] = field(default_factory=list)
    norms: list[str] = field(default_factory=list)
    transposed: list[str] = field(default_factory=list)
    dropouts: int = 0

    def text(self) -> str:
        places = self.architecture.places
        starts = _shortcut_starts(self.architecture)
        self.states.append(_State(self.architecture.input_shape))
        seen = []  # the state that each row reads
        for row, place in enumerate(places):
            seen.append(len(self.states) - 1)
            self.states[-1].source |= row in starts
            in_place = isinstance(place.layer, InPlace)
            needed = self.states[-1].source and not isinstance(place.layer, Conv | Linear)
            if in_place and not isinstance(place.layer, Dropout):
                needed |= self.states[-1].holds_activation
            if needed:
                self._copy()
            if not in_place:
                self.states.append(_State(place.output_shape))
            self._layer(row, place, seen)
            self.states[-1].holds_activation |= isinstance(place.layer, Activation)
        return self._text()

    def _copy(self) -> None:
        before = len(self.states) - 1
        at = before + 1
        self.states.append(_State(self.states[before].shape))
        self.forward.append(f"move<Image{before}, Image{at}, false>({_value(before)}, {_value(at)}, m);")
        add = str(self.states[before].source).lower()
        self.backward.insert(0, f"move<Image{at}, Image{before}, {add}>({_grad(at)}, {_grad(before)}, m);")

    def _layer(self, row: int, place: Place, seen: list[int]) -> None:
        at = len(self.states) - 1
        before = at if isinstance(place.layer, InPlace) else at - 1
        name, value, grad = f"Layer{row}", _value(at), _grad(at)
        kept = f"kept_{name} + e * {name}::KEPT"
        match place.layer:
            case Conv() | Linear() as layer:
                if isinstance(layer, Conv):
                    shape = f"{layer.kernel}, {layer.kernel}, {layer.stride}, {layer.padding}"
                    self.states[before].padding = max(self.states[before].padding, layer.padding)
                else:
                    shape = f"Image{before}::H, Image{before}::W, 1, 0"
                kind = f"Convolution<Image{before}, Image{at}, {shape}>"
                self.weighted.append(name)
                self.forward.append(f"{name}::forward(w + AT_{name}, {_value(before)}, {value}, m);")
                if before:
                    self.transposed.append(name)
                    self.buffers.append(("float", f"transposed_{name}", f"{name}::TRANSPOSED"))
                    add = str(self.states[before].source).lower()
                    call = f"{name}::backward_input<{add}>(transposed_{name}, {grad}, {_grad(before)}, m);"
                    self.backward.insert(0, call)
                bias = "!training" if f"{place.name}.bias" in self.architecture.cancelled else "true"
                call = f"{name}::backward_weights({_value(before)}, {grad}, gradient + AT_{name}, {bias}, m);"
                self.backward.insert(0, call)
            case Norm():
                kind = f"Norm<Image{at}>"
                self.weighted.append(name)
                self.norms.append(name)
                self.buffers.append(("float", f"kept_{name}", f"{name}::KEPT * n"))
                self.buffers.append(("float", f"moments_{name}", f"{name}::PACKED"))
                self.forward += [
                    f"if (training) {name}::gather({value}, sums_{name}, e == 0, m);",
                    _Once(f"{name}::finish(sums_{name}, running + RUNNING_AT_{name}, moments_{name}, training, n);"),
                    f"{name}::forward(w + AT_{name}, moments_{name}, {value}, {kept}, m);",
                ]
                self.backward[:0] = [
                    f"{name}::gather_grads({grad}, {kept}, sums_{name}, e == 0, m);",
                    _Once(f"{name}::add_gradient(sums_{name}, gradient + AT_{name});"),
                    f"{name}::backward(w + AT_{name}, moments_{name}, {kept}, sums_{name}, {grad}, training, n, m);",
                ]
            case Activation(word):
                kind = f"Activation<Image{at}, Kind::{word.replace('-', '_')}>"
                self.buffers.append(("float", f"kept_{name}", f"{name}::KEPT * n"))
                self.forward.append(f"{name}::forward({value}, {kept}, m);")
                self.backward.insert(0, f"{name}::backward({grad}, {value}, {kept}, m);")
            case Dropout():
                kind = f"Dropout<Image{at}>"
                self.buffers.append(("int16_t", f"kept_{name}", f"{name}::KEPT / 2 * n"))
                arguments = f"{kept}, dropout, seeds[{self.dropouts}], first + int(e), m"
                self.forward.append(f"if (dropout.active) {name}::forward({value}, {arguments});")
                self.backward.insert(0, f"if (dropout.active) {name}::backward({grad}, {kept}, dropout, m);")
                self.dropouts += 1
            case Residual(span):
                earlier = seen[row - span]
                stride = shortcut_stride(self.states[earlier].shape, self.states[at].shape)
                kind = f"Shortcut<Image{earlier}, Image{at}, {stride}>"
                self.forward.append(f"{name}::forward({_value(earlier)}, {value}, m);")
                self.backward.insert(0, f"{name}::backward({grad}, {_grad(earlier)}, m);")
            case GlobalAveragePool():
                kind = f"GlobalAveragePool<Image{before}, Image{at}>"
                self.forward.append(f"{name}::forward({_value(before)}, {value}, m);")
                self.backward.insert(0, f"{name}::backward({grad}, {_grad(before)}, m);")
            case MaxPool(size):
                kind = f"MaxPool<Image{before}, Image{at}, {size}>"
                self.forward.append(f"{name}::forward({_value(before)}, {value}, m);")
                call = f"{name}::backward({_value(before)}, {value}, {grad}, {_grad(before)}, m);"
                self.backward.insert(0, call)
        self.types.append(f"using {name} = {kind};")

    def _text(self) -> str:
        last = len(self.states) - 1
        images, buffers = [], []
        for number, state in enumerate(self.states):
            channels, height, width = (*state.shape, 1, 1)[:3]
            planar = ", true" if number == 0 else ""
            images.append(f"using Image{number} = Image<{channels}, {height}, {width}, {state.padding}{planar}>;")
            buffers.append(("float", f"value{number}", f"Image{number}::SIZE * n"))
            if number:
                buffers.append(("float", f"grad{number}", f"Image{number}::SIZE * n"))
        buffers += self.buffers
        clear = [
            f"std::memset(grad{number}, 0, sizeof(float) * Image{number}::SIZE * n);"
            for number, state in enumerate(self.states)
            if state.source
        ]
        each = 8 * sum(state.floats for state in self.states)
        at_once = max(_CHUNK_BYTES, _CHUNK_WEIGHTS * 4 * self.architecture.size)
        chunk = min(max(at_once // each, 1), _MOST_EXAMPLES)
        lines = [
            *images,
            *self.types,
            *_offsets("AT", "PACKED", self.weighted),
            *_offsets("FLAT_AT", "FLAT", self.weighted),
            *_offsets("RUNNING_AT", "PACKED", self.norms),
            *_offsets("RUNNING_FLAT_AT", "FLAT", self.norms),
            "static constexpr int PACKED = AT_END, RUNNING = RUNNING_AT_END;",
            f"static constexpr int CLASSES = {self.architecture.classes}, CHUNK = {chunk};",
            f"static constexpr bool WHOLE_BATCHES = {str(bool(self.norms)).lower()};",
            *(f"{name}::Sums sums_{name};" for name in self.norms),
            f"using Input = Image0;\nusing Output = Image{last};",
            *(f"{kind}* {name};" for kind, name, _ in buffers),
            *_function(
                "size_t place(float* memory, size_t n)",
                "Memory take{memory};",
                *(f"{name} = take.next<{kind}>({floats});" for kind, name, floats in buffers),
                "return take.used;",
            ),
            *_function(
                "static void pack(const float* flat, float* packed)",
                *(f"{name}::pack(flat + FLAT_AT_{name}, packed + AT_{name});" for name in self.weighted),
            ),
            *_function(
                "static void unpack(const float* packed, float* flat)",
                *(f"{name}::unpack(packed + AT_{name}, flat + FLAT_AT_{name});" for name in self.weighted),
            ),
            *_function(
                "static void pack_running(const float* flat, float* packed)",
                *(f"{name}::pack(flat + RUNNING_FLAT_AT_{name}, packed + RUNNING_AT_{name});" for name in self.norms),
            ),
            *_function(
                "static void unpack_running(const float* packed, float* flat)",
                *(f"{name}::unpack(packed + RUNNING_AT_{name}, flat + RUNNING_FLAT_AT_{name});" for name in self.norms),
            ),
            *_function(
                "void transpose(const float* w)",
                *(f"{name}::transpose(w + AT_{name}, transposed_{name});" for name in self.transposed),
            ),
            *_function(
                "void forward(const float* w, float* running, const DropoutStep& dropout, const uint64_t* seeds, "
                "bool training, int first, int n)",
                *_in_chunks(self.forward),
            ),
            *_function(
                "void backward(const float* w, float* gradient, const DropoutStep& dropout, bool training, int n)",
                *clear,
                *_in_chunks(self.backward),
            ),
            *_function("float* input()", "return value0;"),
            *_function("const float* output()", f"return value{last};"),
            *_function("float* output_grad()", f"return grad{last};"),
        ]
        body = "\n".join(f"    {line}" for line in lines)
        return f'#include "network.hpp"\n\nstruct Network {{\n{body}\n}};\n\nEXPORT(Network)\n'


def _value(state: int) -> str:
    return f"value{state} + e * Image{state}::SIZE"


def _grad(state: int) -> str:
    return f"grad{state} + e * Image{state}::SIZE"


def _in_chunks(calls: list[str | _Once]) -> list[str]:
    """The calls, looped over a batch in chunks of examples; each loop ends where the whole batch is needed."""
    lines = []
    for kind, group in groupby(calls, key=type):
        if kind is _Once:
            lines += [once.call for once in group if isinstance(once, _Once)]
        else:
            lines += [
                "for (size_t e = 0; e < size_t(n); e += CHUNK) {",
                "    const int m = std::min(CHUNK, n - int(e));",
            ]
            lines += [*(f"    {call}" for call in group), "}"]
    return lines


def _offsets(prefix: str, size: str, names: list[str]) -> list[str]:
    """Where each layer's numbers begin in an array that holds those of all, and where the array ends."""
    lines, end = [], "0"
    for name in names:
        lines.append(f"static constexpr int {prefix}_{name} = {end};")
        end = f"{prefix}_{name} + {name}::{size}"
    return [*lines, f"static constexpr int {prefix}_END = {end};"]


def _function(head: str, *body: str) -> list[str]:
    return [f"{head} {{", *(f"    {line}" for line in body), "}"]
