"""Altered images: float [N, C, H, W] in [-1, 1] -> the same, each image in its own way where there are draws.

What is drawn belongs to an image of the data set, so that all models see the same alteration of it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def flipped(images: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(-1)


def brightened(images: Tensor, by: float | Tensor) -> Tensor:
    """``by`` in units of the range of pixels, without clipping."""
    return images + 2 * by


def centre(images: Tensor, share: float) -> Tensor:
    """The middle ``share`` of height and width, whole pixels, resized to the full size (bilinear)."""
    height, width = images.shape[-2:]
    top, left = (int((size - size * share) / 2) for size in (height, width))
    inner = images[..., top : height - top, left : width - left]
    return F.interpolate(inner, size=(height, width), mode="bilinear", align_corners=False)


def zoomed(images: Tensor, scale: Tensor) -> Tensor:
    """The middle ``scale`` [N] of the way between the outermost pixels, stretched to the full size (bilinear)."""
    identity = torch.eye(2, 3).expand(len(images), -1, -1)
    grid = F.affine_grid(identity * scale[:, None, None], list(images.shape), align_corners=True)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=True)


def horizontal_sobel(images: Tensor) -> Tensor:
    """The horizontal Sobel derivative d of pixels in [0, 1] as the picture d / 4 + 1/2; the border is reflected."""
    derivative = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernel = derivative.expand(images.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), kernel, groups=images.shape[1]) / 4


def erased(images: Tensor, draws: Tensor) -> Tensor:
    """A black rectangle in each image; ``draws`` [N, 4] in [0, 1) give its height, width, top and left.

    Its sides are uniform between those of squares of 0.02 * 0.3 and of 0.4 / 0.3 of the area, at most the image's.
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
    """The difference to each channel's mean times ``factor`` [N]."""
    mean = images.mean((-2, -1), keepdim=True)
    return torch.lerp(mean, images, factor[:, None, None, None])


def recoloured(images: Tensor, turn: Tensor, factor: Tensor) -> Tensor:
    """The hue turned by ``turn`` (1 is full circle), the saturation times ``factor``, at most 1; both [N]; RGB."""
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
