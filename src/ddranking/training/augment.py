"""Augmentations: draw the parameters from the trial's generator, then apply them.

Every kind of :data:`ddranking.protocol.augmentations.Augmentation` has one entry in
:data:`AUGMENTATIONS`. ``draw`` is the random half, on the CPU and from the trial's own generator,
so that a seed draws the same numbers on every device; ``apply`` is deterministic, batched and
never writes into its input. A draw that is a :class:`ddranking.training.mixing.Mix` mixes labels.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddranking.protocol.augmentations import Augmentation, Torchvision
from ddranking.training.colour import (
    apply_color_jitter,
    apply_noise,
    draw_color_jitter,
    draw_noise,
)
from ddranking.training.drawn import mapped
from ddranking.training.dsa import DsaDraw as DsaDraw
from ddranking.training.dsa import apply_dsa, draw_dsa
from ddranking.training.geometry import (
    apply_crop,
    apply_cutout,
    apply_flip,
    apply_patch_shuffle,
    apply_resized_crop,
    draw_crop,
    draw_cutout,
    draw_flip,
    draw_patch_shuffle,
    draw_resized_crop,
)
from ddranking.training.mixing import Mix, apply_cutmix, apply_mixup, draw_cutmix, draw_mixup
from ddranking.training.named import apply_torchvision, check_torchvision, draw_torchvision

AUGMENTATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Tensor]]] = {
    "dsa": (draw_dsa, apply_dsa),
    "flip": (draw_flip, apply_flip),
    "crop": (draw_crop, apply_crop),
    "resized_crop": (draw_resized_crop, apply_resized_crop),
    "color_jitter": (draw_color_jitter, apply_color_jitter),
    "cutout": (draw_cutout, apply_cutout),
    "noise": (draw_noise, apply_noise),
    "patch_shuffle": (draw_patch_shuffle, apply_patch_shuffle),
    "mixup": (draw_mixup, apply_mixup),
    "cutmix": (draw_cutmix, apply_cutmix),
    "torchvision": (draw_torchvision, apply_torchvision),
}
"""Kind to its random half and its deterministic half."""


class Augmented(NamedTuple):
    """A batch after its augmentations: images [N,C,H,W], and how their labels must be mixed."""

    images: Tensor
    mixes: tuple[Mix, ...] = ()


def draw(
    augmentations: Sequence[Augmentation], shape: Sequence[int], generator: torch.Generator
) -> tuple[Any, ...]:
    """What every augmentation of a recipe draws for one batch, in the recipe's order.

    None changes the images' ``shape`` (N, C, H, W) or reads them, so a batch can be drawn for
    before it is there.
    """
    return tuple(AUGMENTATIONS[one.kind][0](one, shape, generator) for one in augmentations)


def apply(augmentations: Sequence[Augmentation], images: Tensor, drawn: Sequence[Any]) -> Augmented:
    """``images`` [N,C,H,W] after every augmentation; ``drawn`` by :func:`draw`, on their device."""
    for one, numbers in zip(augmentations, drawn, strict=True):
        images = AUGMENTATIONS[one.kind][1](one, images, numbers)
    return Augmented(images, tuple(numbers for numbers in drawn if isinstance(numbers, Mix)))


def augment(
    images: Tensor, augmentations: Sequence[Augmentation], generator: torch.Generator
) -> Augmented:
    """``images`` [N,C,H,W] after every augmentation of a recipe, drawn and applied.

    >>> from ddranking.protocol.augmentations import Flip, Mixup
    >>> batch = torch.rand(4, 3, 8, 8)
    >>> made = augment(batch, [Flip(), Mixup()], torch.Generator().manual_seed(0))
    >>> made.images.shape, len(made.mixes)
    (torch.Size([4, 3, 8, 8]), 1)
    """
    drawn = draw(augmentations, images.shape, generator)
    return apply(augmentations, images, mapped(drawn, lambda tensor: tensor.to(images.device)))


def check(augmentations: Sequence[Augmentation], shape: Sequence[int]) -> None:
    """What can only be known with the images' ``shape`` (C, H, W) and before any training.

    Raises:
        BadProtocol: a torchvision transform with parameters that it does not take.
    """
    for rules in augmentations:
        if isinstance(rules, Torchvision):
            check_torchvision(rules, shape)
