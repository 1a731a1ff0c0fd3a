"""Altered images by hand, against scipy, colorsys and torchvision."""

import colorsys

import numpy as np
import pytest
import torch
from scipy.ndimage import sobel
from torchvision.transforms import functional as vision

from baselines.measures import transformations as to


def pictures(number: int, channels: int, height: int, width: int) -> torch.Tensor:
    stream = torch.Generator().manual_seed(1)
    return torch.rand(number, channels, height, width, generator=stream, dtype=torch.float64) * 2 - 1


def test_flip_and_brightness_by_hand():
    images = torch.tensor([[[[0.0, 0.5], [-1, 1]]]])
    assert to.flipped(images).tolist() == [[[[0.5, 0], [1, -1]]]]
    assert to.brightened(images, 0.25).tolist() == [[[[0.5, 1], [-0.5, 1.5]]]]


def test_centre_against_torchvision():
    images = pictures(2, 3, 32, 28)
    crop = vision.center_crop(images, [30, 26])
    truth = vision.resize(crop, [32, 28], antialias=False)
    torch.testing.assert_close(to.centre(images, 0.9), truth)


def test_zoom_of_a_ramp_is_a_flatter_ramp():
    ramp = torch.linspace(-1, 1, 9)
    images = torch.stack([ramp.expand(7, 9), torch.linspace(-1, 1, 7)[:, None].expand(7, 9)])[:, None].expand(
        2, 3, 7, 9
    )
    zoomed = to.zoomed(images, torch.tensor([0.85, 0.6]))
    torch.testing.assert_close(zoomed[0], 0.85 * images[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(zoomed[1], 0.6 * images[1], atol=1e-5, rtol=0)
    same = pictures(2, 1, 8, 8).float()
    torch.testing.assert_close(to.zoomed(same, torch.ones(2)), same, atol=1e-5, rtol=0)


def test_sobel_against_scipy():
    images = pictures(2, 3, 6, 5)
    pixels = (images.numpy() + 1) / 2
    truth = np.stack([[sobel(channel, axis=1, mode="mirror") for channel in image] for image in pixels])
    np.testing.assert_allclose(to.horizontal_sobel(images.float()), (truth / 4 + 0.5) * 2 - 1, atol=1e-5)


@pytest.mark.parametrize("size", [(6, 6), (20, 12), (1, 1)])
def test_erased_rectangles(size):
    height, width = size
    draws = torch.rand(500, 4, generator=torch.Generator().manual_seed(0))
    images = torch.full((500, 2, *size), 0.25)
    erased = to.erased(images, draws)
    black = erased[:, 0] == -1
    assert torch.equal(erased[:, 0], erased[:, 1])
    assert torch.equal(erased[:, 0] == 0.25, ~black)
    low = round(np.sqrt(0.006 * height * width))
    high = [min(side, round(np.sqrt(4 / 3 * height * width))) for side in size]
    for axis, length in enumerate(size):
        lines = black.any(2 - axis)  # the shadow on one axis
        sides = lines.sum(1)
        # One stretch, and a whole rectangle.
        assert ((lines[:, 1:] != lines[:, :-1]).sum(1) <= 2).all()
        assert (black.sum((1, 2)) == black.any(2).sum(1) * black.any(1).sum(1)).all()
        # Uniform, where the other side is not 0.
        expected = low + (draws[:, axis] * (high[axis] - low)).long()
        assert torch.equal(sides[sides > 0], expected[sides > 0])
        assert sides.max() <= length


def test_contrast_keeps_the_mean():
    images = pictures(3, 2, 4, 4)
    factor = torch.tensor([1, 0.5, 0], dtype=torch.float64)
    found = to.contrasted(images, factor)
    torch.testing.assert_close(found.mean((2, 3)), images.mean((2, 3)))
    torch.testing.assert_close(found.std((2, 3)), images.std((2, 3)) * factor[:, None])


def test_colours_against_colorsys():
    images = pictures(4, 3, 5, 5)
    images[:, :, 0, 0] = images[:, :1, 0, 0]  # grey
    images[:, :, 0, 1] = -1
    images[:, :, 0, 2] = torch.tensor([1.0, -1, -1])
    turn = torch.tensor([0, 0.05, -0.3, 0.9], dtype=torch.float64)
    factor = torch.tensor([1, 0.6, 1.6, 0], dtype=torch.float64)
    truth = torch.empty_like(images)
    for image, y, x in np.ndindex(4, 5, 5):
        hue, saturation, value = colorsys.rgb_to_hsv(*((images[image, :, y, x] + 1) / 2).tolist())
        saturation = min(saturation * factor[image].item(), 1)
        rgb = colorsys.hsv_to_rgb((hue + turn[image].item()) % 1, saturation, value)
        truth[image, :, y, x] = torch.tensor(rgb) * 2 - 1
    torch.testing.assert_close(to.recoloured(images, turn, factor), truth, atol=1e-6, rtol=0)
    torch.testing.assert_close(to.recoloured(images, turn * 0, factor * 0 + 1), images)


def test_hue_against_torchvision():
    images = pictures(2, 3, 6, 6)
    one = torch.ones(2, dtype=torch.float64)
    truth = vision.adjust_hue((images + 1) / 2, 0.2) * 2 - 1
    torch.testing.assert_close(to.recoloured(images, 0.2 * one, one), truth, atol=1e-5, rtol=0)
