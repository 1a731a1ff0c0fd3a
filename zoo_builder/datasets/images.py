"""Encoded images -> pixels."""

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from zoo_builder.errors import InputError

# Listed, because PIL otherwise tries some 40 formats on every file, which takes longer than decoding a small image.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "PPM", "TIFF")

# EXIF orientation -> what turns the stored pixels upright. Orientation 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# PIL's readers raise these on broken bytes, depending on the format and the damage.
_DAMAGE = (OSError, SyntaxError, TypeError, ValueError, EOFError, struct.error, Image.DecompressionBombError)

# An encoded image: its place (for error messages) and a function that returns its bytes.
Source = tuple[str, Callable[[], bytes | None]]


def decode(sources: Sequence[Source]) -> Tensor:
    """Decodes images of one size with 8 bits per channel.

    In one thread: for 32x32 images most of the work holds Python's lock.

    Returns:
        uint8 [len(sources), 3, H, W], red, green, blue, turned upright by the EXIF orientation, as Hugging Face
        datasets does; transparency is dropped.

    Raises:
        InputError: a source is not an image, is truncated, or differs in size from the first one; named.
    """
    height, width, _ = _pixels(sources[0]).shape
    images = np.empty((len(sources), 3, height, width), np.uint8)
    for image, source in zip(images, sources, strict=True):
        pixels = _pixels(source)
        if pixels.shape[:2] != (height, width):
            raise InputError(
                f"{source[0]}: the image is {pixels.shape[0]}x{pixels.shape[1]} (height x width), but {sources[0][0]} "
                f"is {height}x{width}: resize them to one size"
            )
        image[:] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(images)


def is_image(path: Path) -> bool:
    """Whether a file begins as an image does, whatever its name."""
    try:
        if not path.is_file():
            return False
        with Image.open(path, formats=FORMATS):
            return True
    except _DAMAGE:
        return False


def _pixels(source: Source) -> np.ndarray:
    """uint8 [H, W, 3]."""
    where, read = source
    try:
        encoded = read()
        if encoded is None:
            raise InputError(f"{where}: no image bytes, expected an encoded image ({', '.join(FORMATS)})")
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{where}: pixels of mode {image.mode!r}, expected 8 bits per channel: convert it")
            pixels = image.convert("RGB")
            turn = _UPRIGHT.get(_orientation(image))
            return np.asarray(pixels if turn is None else pixels.transpose(turn))
    except InputError:
        raise
    except UnidentifiedImageError as error:  # its message has the address of the bytes in memory
        formats = ", ".join(FORMATS)
        raise InputError(
            f"{where}: not a readable image (in none of the formats {formats}); replace or remove it"
        ) from error
    except _DAMAGE as error:
        raise InputError(
            f"{where}: not a readable image ({error or type(error).__name__}); replace or remove it"
        ) from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image; 1 if it has none, or broken EXIF. PIL turns TIFF images itself."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return 1
