"""Encoded images -> pixels."""

import io
import struct
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from zoo_builder import files, limits
from zoo_builder.errors import InputError

# No network here reads larger images, and a few bytes can claim any size.
LARGEST = 4096 * 4096
_LARGEST_FILE = 8 * LARGEST
# Of a decoded image: red, green and blue, and as much again while colours become grey.
_PIXEL_BYTES = 6

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
_DAMAGE = (OSError, SyntaxError, TypeError, ValueError, EOFError, MemoryError, struct.error)

# An encoded image: its place (for error messages) and a function that returns its bytes or its file.
Source = tuple[str, Callable[[], bytes | Path | None]]


def decode(count: int, sources: Iterable[Source]) -> Tensor:
    """Decodes ``count`` (at least one) images of one size with 8 bits per channel.

    In one thread: for 32x32 images most of the work holds Python's lock. Sizes are read before pixels are decoded.

    Returns:
        uint8 [count, 3, H, W], red, green, blue, turned upright by the EXIF orientation, as Hugging Face datasets does;
        transparency is dropped.

    Raises:
        InputError: a source is not an image, is truncated, or differs in size from the first one; named. The images
            are larger than ``LARGEST`` pixels, or need more than this machine's memory.
    """
    images, first, (height, width) = np.empty(0, np.uint8), "", (0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # of images that are refused here
        for row, (where, read) in enumerate(sources):
            pixels = _pixels(where, read, first, (height, width))
            if not row:
                first, (height, width) = where, pixels.shape[:2]
                what = f"{where} and the images after it, {count:,} of {height}x{width} pixels,"
                limits.refuse_beyond_memory(what, count * height * width * _PIXEL_BYTES)
                images = np.empty((count, 3, height, width), np.uint8)
            elif pixels.shape[:2] != (height, width):
                raise _other_size(where, pixels.shape[:2], first, (height, width))
            images[row] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(images)


def _other_size(where: str, size: tuple[int, ...], first: str, expected: tuple[int, int]) -> InputError:
    return InputError(
        f"{where}: the image is {size[0]}x{size[1]} (height x width), but {first} is {expected[0]}x{expected[1]}: "
        "resize them to one size"
    )


def is_image(path: Path) -> bool:
    """Whether a file begins as an image does, whatever its name."""
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS):
                return True
    except Image.DecompressionBombError:
        return True  # ``decode`` says how large an image may be
    except _DAMAGE:
        return False


def _pixels(where: str, read: Callable[[], bytes | Path | None], first: str, expected: tuple[int, int]) -> np.ndarray:
    """uint8 [H, W, 3]; ``expected`` is the size of the ``first`` image, (0, 0) of the first image itself."""
    try:
        encoded = read()
        if encoded is None:
            raise InputError(f"{where}: no image bytes, expected an encoded image ({', '.join(FORMATS)})")
        if isinstance(encoded, Path):
            if not encoded.is_file():
                raise OSError("it is not a file")
            if (length := encoded.stat().st_size) > _LARGEST_FILE:
                raise _too_large(where, f"a file of {files.size_text(length)}")
        with Image.open(encoded if isinstance(encoded, Path) else io.BytesIO(encoded), formats=FORMATS) as image:
            size = image.height, image.width
            if size[0] * size[1] > LARGEST:
                raise _too_large(where, f"{size[0]}x{size[1]} (height x width)")
            if first and sorted(size) != sorted(expected):  # it may be turned
                raise _other_size(where, size, first, expected)
            if image.mode.startswith(("I", "F")):
                raise InputError(f"{where}: pixels of mode {image.mode!r}, expected 8 bits per channel: convert it")
            pixels = image.convert("RGB")
            turn = _UPRIGHT.get(_orientation(image))
            return np.asarray(pixels if turn is None else pixels.transpose(turn))
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(where, "far larger") from error
    except UnidentifiedImageError as error:  # its message has the address of the bytes in memory
        formats = ", ".join(FORMATS)
        raise InputError(
            f"{where}: not a readable image (in none of the formats {formats}); replace or remove it"
        ) from error
    except _DAMAGE as error:
        raise InputError(
            f"{where}: not a readable image ({error or type(error).__name__}); replace or remove it"
        ) from error


def _too_large(where: str, size: str) -> InputError:
    return InputError(
        f"{where}: the image is {size}, and images of more than {LARGEST:,} pixels are not read: resize them"
    )


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image; 1 if it has none, or broken EXIF. PIL turns TIFF images itself."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return 1
