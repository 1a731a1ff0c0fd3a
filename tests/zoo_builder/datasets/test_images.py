"""Encoded images, intact and damaged."""

import functools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_damaged_images_raise_nothing_but_input_errors(samples, format, data):
    file = bytearray(samples.encoded(samples.pixels(1, 12, 12)[0], format))
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
