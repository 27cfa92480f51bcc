"""Augmentations: draw the parameters from the trial's generator, then apply them.

Every kind of :data:`ddranking.protocol.rules.Augmentation` has one entry in :data:`AUGMENTATIONS`.
``draw`` is the random half, on the CPU and from the trial's own generator, so that a seed draws the
same numbers on every device; ``apply`` is deterministic, batched and never writes into its input.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddranking.protocol.rules import Augmentation, Dsa


@dataclass(frozen=True)
class DsaDraw:
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

    def to(self, device: torch.device) -> DsaDraw:
        moved = [None if t is None else t.to(device) for t in (self.first, self.second, self.third)]
        assert moved[0] is not None
        return DsaDraw(self.family, moved[0], moved[1], moved[2])


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

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=generator) * (high - low) + low

    def integers(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (n,), generator=generator)

    choice = int(torch.randint(len(rules.families), (), generator=generator))
    family = rules.families[choice]
    if family == "color":
        return DsaDraw(
            family,
            uniform(-0.5 * rules.brightness, 0.5 * rules.brightness),
            uniform(0.0, rules.saturation),
            uniform(rules.contrast, 1.0 + rules.contrast),
        )
    if family == "crop":
        reach = [int(side * rules.crop + 0.5) for side in (height, width)]
        return DsaDraw(family, *(integers(-r, r + 1) for r in reach))
    if family == "cutout":
        holes = [int(side * rules.cutout + 0.5) for side in (height, width)]
        sides = zip((height, width), holes, strict=True)
        return DsaDraw(family, *(integers(0, side + 1 - hole % 2) for side, hole in sides))
    if family == "flip":
        return DsaDraw(family, (uniform(0.0, 1.0) < rules.flip).float())
    if family == "scale":
        low, high = 1.0 / rules.scale, rules.scale
        return DsaDraw(family, uniform(low, high), uniform(low, high))
    return DsaDraw(family, torch.deg2rad(uniform(-rules.rotate, rules.rotate)))


def apply_dsa(rules: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Applies what was drawn to ``images`` [N,C,H,W]; same shape back, nothing clipped."""
    return _DSA_FAMILIES[draw.family](rules, images, draw)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _color(_: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Brightness is added; saturation scales about the pixel's grey, contrast about the mean."""
    assert draw.second is not None and draw.third is not None
    brighter = images + _per_image(draw.first)
    grey = brighter.mean(dim=1, keepdim=True)
    saturated = (brighter - grey) * _per_image(draw.second) + grey
    mean = saturated.mean(dim=(1, 2, 3), keepdim=True)
    return (saturated - mean) * _per_image(draw.third) + mean


def _crop(_: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Shifts by whole pixels: ``out[y, x] = in[y + first, x + second]``, zero outside."""
    assert draw.second is not None
    n, channels, height, width = images.shape
    rows = torch.arange(height, device=images.device)[None, :] + draw.first[:, None]
    columns = torch.arange(width, device=images.device)[None, :] + draw.second[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    source = rows.clamp(0, height - 1)[:, :, None] * width + columns.clamp(0, width - 1)[:, None, :]
    index = source.reshape(n, 1, height * width).expand(n, channels, height * width)
    moved = images.reshape(n, channels, height * width).gather(2, index)
    return moved.reshape(images.shape) * inside[:, None].to(images.dtype)


def _cutout(rules: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    """Zeroes a rectangle around the drawn centre, clipped at the border."""
    assert draw.second is not None

    def inside(side: int, centre: Tensor) -> Tensor:
        # The source clamps indices of the rectangle to the image, so a rectangle that hangs over
        # the border still erases the border's row or column.
        hole = int(side * rules.cutout + 0.5)
        first = (centre - hole // 2).clamp(0, side - 1)
        last = (centre - hole // 2 + hole - 1).clamp(0, side - 1)
        place = torch.arange(side, device=images.device)[None, :]
        return (place >= first[:, None]) & (place <= last[:, None]) & (hole > 0)

    height, width = images.shape[2:]
    erased = inside(height, draw.first)[:, :, None] & inside(width, draw.second)[:, None, :]
    return images * (~erased)[:, None].to(images.dtype)


def _flip(_: Dsa, images: Tensor, draw: DsaDraw) -> Tensor:
    return torch.where(_per_image(draw.first) > 0, images.flip(3), images)


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

AUGMENTATIONS = {"dsa": (draw_dsa, apply_dsa)}
"""Kind to its random half and its deterministic half."""


def augment(
    images: Tensor, augmentations: Sequence[Augmentation], generator: torch.Generator
) -> Tensor:
    """``images`` [N,C,H,W] after every augmentation of a recipe, in the recipe's order."""
    for rules in augmentations:
        draw, apply = AUGMENTATIONS[rules.kind]
        images = apply(rules, images, draw(rules, images.shape, generator).to(images.device))
    return images
