"""Transformations of images: float [N, C, H, W] in [-1, 1] -> the same shape.

Random parameters are arguments, one per image, so that all models see the same alteration of an image.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def flipped(images: Tensor) -> Tensor:
    """The horizontal mirror images."""
    return images.flip(-1)


def brightened(images: Tensor, by: float | Tensor) -> Tensor:
    """Brightness plus ``by``, in units of the range of pixels, without clipping."""
    return images + 2 * by


def centre(images: Tensor, share: float) -> Tensor:
    """The central ``share`` of height and width, in whole pixels, resized to the full size (bilinear)."""
    height, width = images.shape[-2:]
    top, left = (int((size - size * share) / 2) for size in (height, width))
    inner = images[..., top : height - top, left : width - left]
    return F.interpolate(inner, size=(height, width), mode="bilinear", align_corners=False)


def zoomed(images: Tensor, scale: Tensor) -> Tensor:
    """The central ``scale`` [N] of the distance between the outermost pixels, stretched to the full size (bilinear)."""
    identity = torch.eye(2, 3).expand(len(images), -1, -1)
    grid = F.affine_grid(identity * scale[:, None, None], list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=True)


def horizontal_sobel(images: Tensor) -> Tensor:
    """The horizontal Sobel derivative d of pixels in [0, 1] as an image d / 4 + 1/2, with reflection at the border."""
    derivative = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernel = derivative.expand(images.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), kernel, groups=images.shape[1]) / 4


def erased(images: Tensor, draws: Tensor) -> Tensor:
    """Each image with a black rectangle; ``draws`` [N, 4] in [0, 1) give its height, width, top and left.

    The sides are uniform between those of squares with 0.02 * 0.3 and 0.4 / 0.3 of the area, and fit the image.
    """
    size = torch.tensor(images.shape[-2:])
    area = float(size.prod())
    low = round((0.02 * 0.3 * area) ** 0.5)
    high = size.clamp(max=round((0.4 / 0.3 * area) ** 0.5))
    sides = low + (draws[:, :2] * (high - low)).long()
    corner = (draws[:, 2:] * (size - sides)).long()
    inside = []
    for axis, length in enumerate(size.tolist()):
        place = torch.arange(length)
        start = corner[:, axis, None]
        inside.append((place >= start) & (place < start + sides[:, axis, None]))
    black = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return images.masked_fill(black, -1)


def contrasted(images: Tensor, factor: Tensor) -> Tensor:
    """Contrast times ``factor`` [N]: the differences to each channel's mean are scaled."""
    mean = images.mean((-2, -1), keepdim=True)
    return torch.lerp(mean, images, factor[:, None, None, None])


def recoloured(images: Tensor, turn: Tensor, factor: Tensor) -> Tensor:
    """RGB images with the hue shifted by ``turn`` [N] (1 is a full circle), the saturation times ``factor`` [N]."""
    red, green, blue = ((images + 1) / 2).unbind(1)
    value, low = torch.stack([red, green, blue]).amax(0), torch.stack([red, green, blue]).amin(0)
    chroma = value - low
    step = chroma.clamp(min=torch.finfo(images.dtype).tiny)
    sixths = torch.where(
        value == red,
        (green - blue) / step,
        torch.where(value == green, (blue - red) / step + 2, (red - green) / step + 4),
    )
    sixths = sixths + 6 * turn[:, None, None]
    # Chroma is saturation times value.
    chroma = torch.minimum(chroma * factor[:, None, None], value)
    channels = []
    for offset in (5, 3, 1):
        where = (sixths + offset) % 6
        channels.append(value - chroma * torch.minimum(where, 4 - where).clamp(0, 1))
    return torch.stack(channels, 1) * 2 - 1
