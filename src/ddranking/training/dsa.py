"""Differentiable siamese augmentation: one family for each batch, parameters for each image.

kornia and torchvision have no batched DSA: their colour operations clip to [0, 1], and their crops
and cutouts draw from other distributions than the published ones.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddranking.protocol.augmentations import Dsa
from ddranking.training.drawn import Drawn, per_image, uniform
from ddranking.training.geometry import erase, mirror, shift


@dataclass(frozen=True)
class DsaDraw(Drawn):
    """One batch's family and the parameters of each image (meaning depends on the family).

    ``first`` and ``second`` are [N] tensors, ``third`` too for the colour family:
    colour: brightness shift, saturation factor, contrast factor; crop and cutout: vertical and
    horizontal offsets in pixels (int64); flip: 1.0 where flipped; scale: vertical and horizontal
    factors; rotate: radians.
    """

    family: str
    first: Tensor
    second: Tensor | None = None
    third: Tensor | None = None


def draw_dsa(rules: Dsa, shape: Sequence[int], generator: torch.Generator) -> DsaDraw:
    """Draws one family for the batch and its parameters for each image.

    Args:
        rules: families and ranges.
        shape: (N, C, H, W) of the batch.
        generator: the trial's CPU generator; advanced.

    Distributions (Zhao and Bilen 2021, and their code): family uniform; brightness
    U(-b/2, b/2), saturation U(0, s), contrast U(c, 1 + c); crop U{-r..r} with
    r = floor(crop * side + 1/2); cutout centre U over the side; flip Bernoulli; scale
    U(1/s, s) for each axis; rotation U(-r, r) degrees.
    """
    n, _, height, width = shape

    def between(low: float, high: float) -> Tensor:
        return uniform(n, low, high, generator)

    def integers(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (n,), generator=generator)

    choice = int(torch.randint(len(rules.families), (), generator=generator))
    family = rules.families[choice]
    if family == "color":
        return DsaDraw(
            family,
            between(-0.5 * rules.brightness, 0.5 * rules.brightness),
            between(0.0, rules.saturation),
            between(rules.contrast, 1.0 + rules.contrast),
        )
    if family == "crop":
        reach = [int(side * rules.crop + 0.5) for side in (height, width)]
        return DsaDraw(family, *(integers(-r, r + 1) for r in reach))
    if family == "cutout":
        holes = [int(side * rules.cutout + 0.5) for side in (height, width)]
        sides = zip((height, width), holes, strict=True)
        return DsaDraw(family, *(integers(0, side + 1 - hole % 2) for side, hole in sides))
    if family == "flip":
        return DsaDraw(family, (between(0.0, 1.0) < rules.flip).float())
    if family == "scale":
        low, high = 1.0 / rules.scale, rules.scale
        return DsaDraw(family, between(low, high), between(low, high))
    return DsaDraw(family, torch.deg2rad(between(-rules.rotate, rules.rotate)))


def apply_dsa(rules: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Applies what was drawn to ``images`` [N,C,H,W]; same shape back, nothing clipped."""
    return _DSA_FAMILIES[draw.family](rules, images, draw)


def _color(_: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Brightness is added; saturation scales about the pixel's grey, contrast about the mean."""
    assert draw.second is not None and draw.third is not None
    brighter = images + per_image(draw.first)
    grey = brighter.mean(dim=1, keepdim=True)
    saturated = (brighter - grey) * per_image(draw.second) + grey
    mean = saturated.mean(dim=(1, 2, 3), keepdim=True)
    return (saturated - mean) * per_image(draw.third) + mean


def _crop(_: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Shifts by whole pixels: ``out[y, x] = in[y + first, x + second]``, zero outside."""
    assert draw.second is not None
    return shift(images, draw.first, draw.second)


def _cutout(rules: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Zeroes a rectangle around the drawn centre, clipped at the border."""
    assert draw.second is not None
    # The source clamps indices of the rectangle to the image, so a rectangle that hangs over the
    # border still erases the border's row or column.
    spans = []
    for side, centre in zip(images.shape[2:], (draw.first, draw.second), strict=True):
        hole = int(side * rules.cutout + 0.5)
        first = centre - hole // 2
        if hole == 0:
            return images
        spans.append((first.clamp(0, side - 1), (first + hole).clamp(1, side)))
    return erase(images, *spans)


def _flip(_: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    return mirror(images, draw.first > 0)


def _scale(_: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Samples at coordinates multiplied by the factors: above 1 shrinks, below 1 enlarges.

    The source's first factor multiplies the horizontal coordinate.
    """
    assert draw.second is not None
    zero = torch.zeros_like(draw.first)
    return _affine(images, (draw.first, zero, zero, draw.second))


def _rotate(_: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    cos, sin = draw.first.cos(), draw.first.sin()
    return _affine(images, (cos, -sin, sin, cos))


def _affine(images: Tensor, matrix: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Bilinear sampling on an affine grid, zeros outside, corners not aligned (as the source)."""
    a, b, c, d = matrix
    zero = torch.zeros_like(a)
    theta = torch.stack([a, b, zero, c, d, zero], dim=1).reshape(-1, 2, 3).to(images.dtype)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


_DSA_FAMILIES = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
