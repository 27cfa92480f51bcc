"""Augmentations of values: colour jitter and Gaussian noise.

torchvision's ``ColorJitter`` draws once for a whole batch, and it and kornia's clip to [0, 1],
where standardised images have no reason to stay; so the operations are written here, per image
and without a range.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ddranking.protocol.augmentations import ColorJitter, Noise
from ddranking.training.drawn import Drawn, per_image, uniform

GREY = (0.2989, 0.587, 0.114)
"""Weights of R, G and B in grey, torchvision's (ITU-R BT.601)."""


@dataclass(frozen=True)
class JitterDraw(Drawn):
    """The batch's order of operations, and their parameters for each image: float32 [N] each."""

    order: tuple[str, ...]
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor


def draw_color_jitter(
    rules: ColorJitter, shape: Sequence[int], generator: torch.Generator
) -> JitterDraw:
    """Order uniform; factors U(max(0, 1 - x), 1 + x); hue U(-hue, hue) in turns."""
    names = tuple(JITTERS)
    order = tuple(names[i] for i in torch.randperm(len(names), generator=generator).tolist())

    def factor(strength: float) -> Tensor:
        return uniform(shape[0], max(0.0, 1 - strength), 1 + strength, generator)

    return JitterDraw(
        order,
        brightness=factor(rules.brightness),
        contrast=factor(rules.contrast),
        saturation=factor(rules.saturation),
        hue=uniform(shape[0], -rules.hue, rules.hue, generator),
    )


def apply_color_jitter(rules: ColorJitter, images: Tensor, draw: JitterDraw) -> Tensor:
    """The operations of nonzero strength, in the drawn order; nothing is clipped."""
    for name in draw.order:
        if getattr(rules, name) > 0:
            strength = getattr(draw, name).to(images.dtype)
            images = JITTERS[name](images, per_image(strength))
    return images


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """``factor * x``; factors [N,1,1,1]."""
    return images * factor


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """``factor * x + (1 - factor) * m`` with m the mean grey of the image."""
    return torch.lerp(_grey(images).mean(dim=(2, 3), keepdim=True), images, factor)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """``factor * x + (1 - factor) * g`` with g the grey of the pixel; RGB only."""
    return torch.lerp(_grey(images), images, factor) if images.shape[1] == 3 else images


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Each pixel's hue turned, with value V = max(R,G,B) and chroma D = V - min(R,G,B) kept.

    With h in [0, 6) the hue in sixths, from which channel is largest, the result is
    ``V - D * clamp(min(k, 4 - k), 0, 1)`` for ``k = (n + h + 6 turns) mod 6``, n = 5, 3, 1 for R, G
    and B. It is the HSV formula with D in place of S V, and so needs no range: it commutes with a
    common shift and a positive scale of all channels. RGB only.
    """
    if images.shape[1] != 3:
        return images
    value, largest = images.max(dim=1, keepdim=True)
    chroma = value - images.amin(dim=1, keepdim=True)
    red, green, blue = images.split(1, dim=1)
    part = chroma.clamp_min(torch.finfo(images.dtype).tiny)
    sextants = torch.stack(
        [(green - blue) / part, 2 + (blue - red) / part, 4 + (red - green) / part]
    )
    hue = sextants.gather(0, largest[None])[0]
    offsets = _constant((5.0, 3.0, 1.0), images.dtype, images.device)
    k = (offsets[None, :, None, None] + hue + 6 * turns).remainder(6)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


JITTERS = {"brightness": brighten, "contrast": contrast, "saturation": saturate, "hue": turn_hue}


def _grey(images: Tensor) -> Tensor:
    """[N,1,H,W]: the weighted sum of RGB, or the mean of any other channels."""
    if images.shape[1] != 3:
        return images.mean(dim=1, keepdim=True)
    weights = _constant(GREY, images.dtype, images.device)
    return (images * weights[None, :, None, None]).sum(dim=1, keepdim=True)


@cache
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers on the device, brought there once: a recorded step may not bring any."""
    return torch.tensor(values, dtype=dtype, device=device)


def draw_noise(rules: Noise, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Standard normal numbers [N,C,H,W]."""
    return torch.randn(*shape, generator=generator)


def apply_noise(rules: Noise, images: Tensor, draw: Tensor) -> Tensor:
    """``x + std * draw``."""
    return images + rules.std * draw
