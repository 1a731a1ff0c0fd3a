"""A data set in memory."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from zoo_builder.errors import InputError

# Whose pixels are held as float64.
_IMAGES_AT_A_TIME = 4096


class LabeledImages(NamedTuple):
    """One split of a source: uint8 images [N, 1 or 3, H, W] and int64 labels [N]."""

    images: Tensor
    labels: Tensor


class Splits(NamedTuple):
    """What a source holds.

    Attributes:
        classes: a name for each label.
        remarks: what a user must know, such as files that were left out; a line each.
    """

    classes: tuple[str, ...]
    train: LabeledImages
    test: LabeledImages
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A train and a test split in one colour. Neither is empty, and all images have one height and one width.

    Attributes:
        name: the name given to ``load``.
        colour: "grey" (C = 1) or "rgb" (C = 3).
        classes: a name for each label.
        train_images, test_images: uint8 [N, C, H, W].
        train_labels, test_labels: int64 [N], 0 .. len(classes) - 1.
        remarks: what a user must know, such as files that were left out; a line each.
        size: the height and width that the images were shrunk to; None if they are as the source has them.

    Raises:
        InputError: images without labels, labels outside the classes, splits of different image sizes.
    """

    name: str
    colour: str
    classes: tuple[str, ...]
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    remarks: tuple[str, ...] = ()
    size: int | None = None

    def __post_init__(self) -> None:
        def refuse(problem: str) -> None:
            raise InputError(f"data set {self.name!r}: {problem}")

        train, test = (
            LabeledImages(self.train_images, self.train_labels),
            LabeledImages(self.test_images, self.test_labels),
        )
        for split, (images, labels) in (("train", train), ("test", test)):
            if not 0 < len(images) == len(labels):
                refuse(f"{len(images)} {split} images with {len(labels)} labels: each image needs one")
            outside = torch.nonzero((labels < 0) | (labels >= len(self.classes)))
            if len(outside):
                row = int(outside[0])
                refuse(f"{split} image {row} has label {labels[row]}, expected 0 to {len(self.classes) - 1}")
        if train.images.shape[1:] != test.images.shape[1:]:
            sizes = " and ".join("x".join(map(str, split.images.shape[1:])) for split in (train, test))
            refuse(f"train and test images are {sizes} (channels x height x width), expected one size")

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over the shape and bytes of train images, train labels, test images, test labels."""
        digest = hashlib.sha256()
        for values in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str(tuple(values.shape)).encode())
            digest.update(values.contiguous().numpy().data)
        return digest.hexdigest()

    def share_memory(self) -> None:
        """Moves the images and labels to shared memory, so that worker processes read them without a copy."""
        for values in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            values.share_memory_()

    @cached_property
    def duplicates(self) -> int:
        """How many test images have the exact pixels of a training image, whatever their labels."""
        test = [image.tobytes() for image in self.test_images.numpy()]
        shared = set(test).intersection(image.tobytes() for image in self.train_images.numpy())
        return sum(image in shared for image in test)


def in_colour(images: Tensor, colour: str) -> Tensor:
    """uint8 [N, 1 or 3, H, W] -> the same images with one channel ("grey") or three ("rgb").

    Grey is the unweighted mean of red, green and blue, rounded to the nearest integer (a third never ties). A grey
    image becomes rgb by repeating its channel.
    """
    if colour == "rgb":
        return images.expand(-1, 3, -1, -1).contiguous()
    if images.shape[1] == 1:
        return images.contiguous()
    red, green, blue = images.split(1, dim=1)
    total = red.to(torch.int16).add_(green).add_(blue)
    return total.add_(1).div_(3, rounding_mode="floor").to(torch.uint8)


class TooSmall(InputError):
    """The images are smaller than they shall become."""


def shrunk(images: Tensor, size: int) -> Tensor:
    """uint8 [N, C, H, W] -> [N, C, size, size]: a pixel is the mean of those it covers, rounded, ties to even.

    Where ``size`` does not divide H or W, a pixel is the mean of all that it covers in part, and neighbors share some.

    Raises:
        TooSmall: the images are smaller than that.
    """
    if size > min(images.shape[2:]):
        height, width = images.shape[2:]
        raise TooSmall(f"`size` is {size}, and the images have {height}x{width} pixels: they can only be shrunk")
    # Sums of pixels are exact in float64, so that every machine rounds alike.
    parts = [torch.nn.functional.adaptive_avg_pool2d(part.double(), size) for part in images.split(_IMAGES_AT_A_TIME)]
    return torch.cat([part.round().to(torch.uint8) for part in parts])


def scaled(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 pixels, any shape -> ``dtype`` in [-1, 1]: x / 127.5 - 1."""
    return images.to(dtype, copy=True).div_(127.5).sub_(1)
