"""Mixup and CutMix: images mixed with others of the batch, and how their labels follow.

A draw of these kinds is a :class:`Mix`; the loop hands it on to the targets, so that labels cannot
be left behind. kornia mixes with parameters per image or per batch, but draws from the global
generator; torchvision's ``MixUp`` and ``CutMix`` mix one-hot labels only and do so before the loss
is known. So both are written here.

Shapes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.special import betaincinv
from torch import Tensor

from ddranking.protocol.augmentations import Cutmix, Mixup
from ddranking.training.drawn import Drawn, per_image
from ddranking.training.geometry import box


@dataclass(frozen=True)
class Mix(Drawn):
    """Image i is ``lam[i]`` itself and ``1 - lam[i]`` image ``partner[i]`` of the batch.

    Attributes:
        partner: int64 [N], a permutation.
        lam: float32 [N] in [0, 1], the share that labels follow.
    """

    partner: Tensor
    lam: Tensor

    def labels(self, targets: Tensor) -> Tensor:
        """``lam * t + (1 - lam) * t[partner]`` of float targets [N,K]."""
        lam = self.lam[:, None].to(targets.dtype)
        return lam * targets + (1 - lam) * targets[self.partner]


@dataclass(frozen=True)
class BoxMix(Mix):
    """A mix by one box, the same for all images of the batch, clipped to the image: int64 [1]."""

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor


def beta(alpha: float, generator: torch.Generator) -> float:
    """One number from Beta(alpha, alpha): the distribution's inverse at a uniform number.

    torch's own Beta draws from the global generator alone.
    """
    drawn = torch.rand((), generator=generator, dtype=torch.float64)
    return float(betaincinv(alpha, alpha, drawn.item()))


def draw_mixup(rules: Mixup, shape: Sequence[int], generator: torch.Generator) -> Mix:
    """Partners and one lam from Beta(alpha, alpha) for the batch."""
    lam = beta(rules.alpha, generator)
    return Mix(torch.randperm(shape[0], generator=generator), torch.full((shape[0],), lam))


def apply_mixup(rules: Mixup, images: Tensor, draw: Mix) -> Tensor:
    """``lam * x + (1 - lam) * x[partner]``."""
    lam = per_image(draw.lam).to(images.dtype)
    return lam * images + (1 - lam) * images[draw.partner]


def draw_cutmix(rules: Cutmix, shape: Sequence[int], generator: torch.Generator) -> BoxMix:
    """Partners, and one box for the batch: its centre uniform over the pixels.

    The box has sides ``floor(S sqrt(1 - lam))`` before it is clipped at the border, and then covers
    less than ``1 - lam`` of the image. Labels follow the pixels, so lam is computed anew from what
    is left (Yun et al. 2019, in their code; as mosaicml/composer's CutMix).
    """
    n, _, height, width = shape
    cut = (1 - beta(rules.alpha, generator)) ** 0.5
    partner = torch.randperm(n, generator=generator)
    edges = []
    for side in (height, width):
        length = int(side * cut)
        centre = torch.randint(side, (1,), generator=generator)
        edges += [(centre - length // 2).clamp(0, side), (centre + length // 2).clamp(0, side)]
    top, bottom, left, right = edges
    lam = 1 - ((bottom - top) * (right - left)) / (height * width)
    return BoxMix(partner, lam.float().expand(n), top, bottom, left, right)


def apply_cutmix(rules: Cutmix, images: Tensor, draw: BoxMix) -> Tensor:
    """The partner inside the box, the image itself outside."""
    inside = box(images.shape, (draw.top, draw.bottom), (draw.left, draw.right), images.device)
    return torch.where(inside, images[draw.partner], images)
