"""Encoded images, intact and damaged."""

import functools
import os
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from zoo_builder import limits
from zoo_builder.datasets.images import FORMATS, LARGEST, decode, is_image
from zoo_builder.errors import InputError


@pytest.mark.parametrize("format", ["PNG", "BMP", "PPM", "TIFF", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_formats_keep_every_pixel(format, channels, samples):
    images = samples.pixels(4, channels=channels)
    options = {"lossless": True} if format == "WEBP" else {}
    files = [samples.encoded(image, format, **options) for image in images]
    decoded = decode(4, [(str(row), functools.partial(bytes, file)) for row, file in enumerate(files)])
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
    assert samples.same(decode(1, [("here", lambda: file)]), upright[None])


def test_the_orientation_of_a_jpeg_file(samples):
    stored = np.zeros((3, 8, 16), np.uint8)
    stored[:, :, 8:] = 255  # white on the right
    file = samples.encoded(stored, "JPEG", exif=exif(6))  # to be turned clockwise: white below
    [image] = decode(1, [("here", lambda: file)])
    assert (image.shape, image[:, :8].max() < 10, image[:, 8:].min() > 245) == ((3, 16, 8), True, True)


@pytest.mark.parametrize("tags", [exif(0), exif(9), b"Exif\0\0broken", b"Exif\0\0II*\0\xff\xff\xff\xff"])
def test_without_a_valid_orientation_the_pixels_stay(tags, samples):
    image = samples.pixels(1)[0]
    file = samples.encoded(image, "PNG", exif=tags)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert samples.same(decode(1, [("here", lambda: file)]), image[None])


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 100])
def test_an_error_names_the_place_and_no_address_in_memory(content):
    with pytest.raises(InputError, match=r"^here: not a readable image \(in none of the formats PNG, [A-Z, ]*\)"):
        decode(1, [("here", lambda: content)])


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
            decode(1, [("here", lambda: damaged)])
        except InputError as error:
            message = str(error)
        else:
            message = "here: it can still be read"
    assert message.startswith("here: ")
    assert " at 0x" not in message


def png_bomb(height, width):
    """A black image of one bit per pixel, which takes a byte for some eight thousand pixels."""

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(9)
    row = bytes(1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row * 100) for _ in range(height // 100)) + packer.compress(row * (height % 100))
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows + packer.flush()) + chunk(b"IEND", b"")


BOMB = png_bomb(13_000, 13_000)


@pytest.mark.parametrize("size", [(13_000, 13_000), (1, LARGEST + 1), (60_000, 60_000)])
def test_images_of_any_number_of_pixels_are_refused_before_they_are_decoded(size, tmp_path):
    """The last one is beyond PIL's own limit, too."""
    file = png_bomb(*size) if size[0] == 1 else BOMB[:16] + struct.pack(">II", *size) + BOMB[24:]
    file = file[:29] + struct.pack(">I", zlib.crc32(file[12:29])) + file[33:]
    (tmp_path / "0.png").write_bytes(file)
    assert is_image(tmp_path / "0.png")
    for source in (lambda: file, lambda: tmp_path / "0.png"):
        with pytest.raises(InputError, match=r"^here: the image is .*images of more than 16,777,216 pixels are not"):
            decode(10, [("here", source)] * 10)


def test_images_that_no_memory_holds_are_refused_before_they_are_decoded(samples, monkeypatch):
    monkeypatch.setattr(limits, "memory", lambda: 10 * 6 * 5 * 6)
    file = samples.files[0]
    assert decode(10, [("here", lambda: file)] * 10).shape == (10, 3, 6, 5)
    with pytest.raises(
        InputError,
        match=r"^here and the images after it, 11 of 6x5 pixels, would need 1.9 KiB of memory, and this machine has 1",
    ):
        decode(11, [("here", lambda: file)] * 11)


def test_a_later_image_of_another_size_is_not_decoded(samples):
    images = iter([samples.files[0], png_bomb(4000, 4000)])
    with pytest.raises(InputError, match=r"here: the image is 4000x4000 \(height x width\), but here is 6x5"):
        decode(2, [("here", lambda: next(images))] * 2)


def test_a_pipe_and_a_giant_file_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"here: not a readable image .it is not a file"):
        decode(1, [("here", lambda: tmp_path / "pipe.png")])
    with open(tmp_path / "giant", "wb") as file:
        file.write(b"RIFF\xff\xff\xff\x7fWEBPVP8 ")
        file.truncate(2**36)
    assert not is_image(tmp_path / "giant")
    with pytest.raises(InputError, match=r"here: the image is a file of 64.0 GiB"):
        decode(1, [("here", lambda: tmp_path / "giant")])


LOAD = """
import resource, sys
from zoo_builder.datasets.loading import load
from zoo_builder.errors import InputError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load("bomb", sys.argv[1])
except InputError as error:
    print(str(error).replace(sys.argv[1], "ROOT"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("layout", ["parquet", "folder"])
def test_ten_bombs_take_little_memory(tmp_path, layout, samples):
    """12 GiB of pixels in some 20 kB a file, or 9 kB for all ten in a table."""
    for split in ("train", "test"):
        if layout == "parquet":
            samples.write_parquet(tmp_path / f"{split}.parquet", [BOMB] * 10, [0] * 10)
        else:
            (tmp_path / split / "cat").mkdir(parents=True)
            for row in range(10):
                (tmp_path / split / "cat" / f"{row}.png").write_bytes(BOMB)
    command = [sys.executable, "-W", "error", "-c", LOAD, str(tmp_path)]
    message, grown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    where = {"parquet": "ROOT/train.parquet, row 0", "folder": "ROOT/train/cat/0.png"}[layout]
    assert message.startswith(f"{where}: the image is 13000x13000 (height x width), and images of more than")
    assert int(grown) < 200_000  # KiB, most of it imports
