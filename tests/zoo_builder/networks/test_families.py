"""Every family against the same network written by hand."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_builder.errors import InputError
from zoo_builder.networks.architecture import Architecture
from zoo_builder.networks.families import FAMILIES, fully_conv, mlp, nin, park, resnet, small_cnn, vgg
from zoo_builder.networks.stack import forward


class Block(nn.Module):
    """A basic block of He et al. 2016 with shortcuts of option A."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1)
        self.norm2 = nn.BatchNorm2d(after)
        self.stride, self.more = stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.norm1(self.conv1(x)).relu()))
        return (y + F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))).relu()


class Add(nn.Module):
    """act(conv(x) + x)."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.tanh(y + x[:, :, :: self.conv.stride[0], :: self.conv.stride[0]])


def conv(before: int, after: int, kernel: int = 3, stride: int = 1, norm: bool = False) -> list[nn.Module]:
    norms = [nn.BatchNorm2d(after)] if norm else []
    return [nn.Conv2d(before, after, kernel, stride, kernel // 2), *norms, nn.ReLU()]


POOL = (nn.AdaptiveAvgPool2d(1), nn.Flatten())


HANDWRITTEN = {
    "mlp": (
        mlp((1, 6, 6), 4, width=5, depth=2),
        [nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 4)],
    ),
    "nin": (
        nin((3, 9, 9), 4, width=5, depth=2),
        [
            *(*conv(3, 5, stride=2, norm=True), *conv(5, 5, 1, norm=True), *conv(5, 5, 1, norm=True)),
            *(*conv(5, 5, stride=2, norm=True), *conv(5, 5, 1, norm=True), *conv(5, 5, 1, norm=True)),
            *(nn.Conv2d(5, 4, 1), *POOL),
        ],
    ),
    "vgg": (
        vgg((3, 9, 9), 4, width=6, depth=2, dense=2),
        [
            *(*conv(3, 3), *conv(3, 3), nn.MaxPool2d(2), *conv(3, 6), *conv(6, 6), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(24, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 4)),
        ],
    ),
    "fully-conv": (
        fully_conv((3, 7, 7), 4, width=8, depth=4, norm="batch"),
        [
            *(*conv(3, 2, norm=True), *conv(2, 4, norm=True), *conv(4, 6, norm=True), *conv(6, 8, norm=True)),
            *(nn.Conv2d(8, 4, 1), *POOL),
        ],
    ),
    "fully-conv, widest first": (
        fully_conv((3, 7, 7), 4, width=8, depth=2, widest="first"),
        [*conv(3, 8), *conv(8, 4), nn.Conv2d(4, 4, 1), *POOL],
    ),
    "resnet": (
        resnet((3, 15, 15), 4, width=3, depth=14),
        [
            *(*conv(3, 3, norm=True), Block(3, 3, 1), Block(3, 3, 1), Block(3, 6, 2), Block(6, 6, 1)),
            *(Block(6, 12, 2), Block(12, 12, 1), *POOL, nn.Linear(12, 4)),
        ],
    ),
    "park": (
        park((1, 20, 20), 4, width=3, depth=4, kernel=5, activation="tanh", residual="add"),
        [
            *(nn.Conv2d(1, 3, 5, 2, 2), nn.Tanh(), Add(nn.Conv2d(3, 3, 5, 2, 2)), Add(nn.Conv2d(3, 3, 5, 2, 2))),
            *(Add(nn.Conv2d(3, 3, 5, 1, 2)), *POOL, nn.Linear(3, 4)),
        ],
    ),
}


@pytest.mark.parametrize(("architecture", "layers"), HANDWRITTEN.values(), ids=HANDWRITTEN)
def test_a_family_is_the_same_network_written_by_hand(architecture: Architecture, layers: list[nn.Module]) -> None:
    by_hand = nn.Sequential(*layers).double().eval()
    stream = torch.Generator().manual_seed(0)
    tensors, counts = {}, {"conv": 0, "norm": 0, "linear": 0}
    words = {nn.Conv2d: "conv", nn.BatchNorm2d: "norm", nn.Linear: "linear"}
    for layer in by_hand.modules():
        if type(layer) in words:
            word = words[type(layer)]
            counts[word] += 1
            for name, value in layer.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    value.uniform_(0.5 if name == "running_var" else -0.5, 1, generator=stream)
                    tensors[f"{word}{counts[word]}.{name}"] = value[None]
    assert {name: value.shape[1:] for name, value in tensors.items()} == architecture.tensors
    images = torch.randn(5, *architecture.input_shape, dtype=torch.float64, generator=stream)
    truth = by_hand(images)
    value = forward(architecture, tensors, images)[0]
    assert ((value - truth).norm() / truth.norm()).item() < 1e-12


def test_known_sizes() -> None:
    assert small_cnn((1, 32, 32), 10).size == 4970
    # 0.27 and 0.46 million (He et al. 2016, tab. 6), and the 688 and 1,136 biases of the convolutions.
    assert resnet((3, 32, 32), 10).size == 269722 + 688
    assert resnet((3, 32, 32), 10, depth=32).size == 464154 + 1136
    assert mlp((1, 28, 28), 10, width=64, depth=1).size == 784 * 64 + 64 + 640 + 10


@pytest.mark.parametrize("family", FAMILIES)
def test_families_end_with_one_number_per_class(family: str) -> None:
    for shape in ((3, 32, 32), (1, 28, 28)):
        architecture = FAMILIES[family](shape, 7)
        assert architecture.places[-1].output_shape == (7,)
        assert Architecture.from_json(architecture.to_json()) == architecture


@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_every_network_of_the_park_fits_every_image(kernel: int) -> None:
    for size in (1, 2, 8, 28, 32):
        for residual in ("none", "add"):
            assert park((1, size, size), 10, depth=8, kernel=kernel, residual=residual).classes == 10


BAD = {
    "resnet depth": (lambda: resnet((3, 32, 32), 10, depth=18), r"depth of a resnet is 18: .* 8, 14, 20, 32"),
    "resnet of two layers": (lambda: resnet((3, 32, 32), 10, depth=2), "it must be 6 n"),
    "norm": (lambda: nin((3, 32, 32), 10, norm="batchnorm"), "unknown norm 'batchnorm' .*use one of none, batch"),
    "residual": (lambda: park((3, 32, 32), 10, residual="sum"), "unknown residual 'sum': use one of none, add"),
    "widest": (lambda: fully_conv((3, 32, 32), 10, widest="middle"), "unknown widest 'middle': use one of last, first"),
    "activation": (lambda: mlp((3, 32, 32), 10, activation="swish"), "unknown activation 'swish': use one of relu,"),
    "too many poolings": (lambda: vgg((1, 8, 8), 10, depth=4), "layer pool4 .* reads a 1x1 image with squares of 2"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_arguments(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
