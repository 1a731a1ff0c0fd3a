"""Encoded images, intact and damaged."""

import functools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from zoo_builder.datasets.images import FORMATS, decode
from zoo_builder.errors import InputError


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_every_pixel(format, channels, samples):
    images = samples.pixels(4, channels=channels)
    options = {"lossless": True} if format == "WEBP" else {}
    files = [samples.encoded(image, format, **options) for image in images]
    decoded = decode([(str(row), functools.partial(bytes, file)) for row, file in enumerate(files)])
    assert samples.same(decoded, np.broadcast_to(images, (4, 3, 6, 5)))


# What is stored if an image is upright: images are [channels, H, W], and an orientation names the side of the stored
# pixels where the 0th row and the 0th column of the upright image are (EXIF 2.3, tag 274).
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, :, ::-1],  # top, right
    3: lambda upright: upright[:, ::-1, ::-1],  # bottom, right
    4: lambda upright: upright[:, ::-1],  # bottom, left
    5: lambda upright: upright.transpose(0, 2, 1),  # left, top
    6: lambda upright: upright.transpose(0, 2, 1)[:, ::-1],  # right, top
    7: lambda upright: upright.transpose(0, 2, 1)[:, ::-1, ::-1],  # right, bottom
    8: lambda upright: upright.transpose(0, 2, 1)[:, :, ::-1],  # left, bottom
}


def exif(orientation):
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_images_are_turned_upright(format, orientation, samples):
    upright = samples.pixels(1)[0]
    options = {"exif": exif(orientation), **({"lossless": True} if format == "WEBP" else {})}
    file = samples.encoded(np.ascontiguousarray(STORED[orientation](upright)), format, **options)
    assert samples.same(decode([("here", lambda: file)]), upright[None])


def test_the_orientation_of_a_jpeg_file(samples):
    stored = np.zeros((3, 8, 16), np.uint8)
    stored[:, :, 8:] = 255  # white on the right
    file = samples.encoded(stored, "JPEG", exif=exif(6))  # to be turned clockwise: white below
    [image] = decode([("here", lambda: file)])
    assert (image.shape, image[:, :8].max() < 10, image[:, 8:].min() > 245) == ((3, 16, 8), True, True)


@pytest.mark.parametrize("tags", [exif(0), exif(9), b"Exif\0\0broken", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_without_a_valid_orientation_the_pixels_stay(tags, samples):
    image = samples.pixels(1)[0]
    file = samples.encoded(image, "PNG", exif=tags)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert samples.same(decode([("here", lambda: file)]), image[None])


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 100])
def test_an_error_names_the_place_and_no_address_in_memory(content):
    with pytest.raises(InputError, match=r"^here: not a readable image \(in none of the formats PNG, [A-Z, ]*\)"):
        decode([("here", lambda: content)])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_images_raise_nothing_but_input_errors(samples, format, data):
    options = {"exif": exif(6)} if format in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    file = bytearray(samples.encoded(samples.pixels(1, 12, 12)[0], format, **options))
    for position in data.draw(st.lists(st.integers(0, len(file) - 1), max_size=4)):
        file[position] ^= data.draw(st.integers(0, 255))
    damaged = bytes(file[: data.draw(st.integers(0, len(file)))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL also warns about some damage
        try:
            decode([("here", lambda: damaged)])
        except InputError as error:
            message = str(error)
        else:
            message = "here: it can still be read"
    assert message.startswith("here: ")
    assert " at 0x" not in message
