"""Normalisation layers by their short names.

The field's "instance norm" is GroupNorm with one group per channel and learned scale and shift; it
keeps no running statistics, so training and evaluation compute the same function.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Map = tuple[int, int, int]
"""A feature map: (channels, height, width)."""

LAYERS: dict[str, Callable[[Map], nn.Module]] = {
    "in": lambda shape: nn.GroupNorm(shape[0], shape[0], affine=True),
    "bn": lambda shape: nn.BatchNorm2d(shape[0], affine=True),
    "ln": lambda shape: nn.LayerNorm(list(shape), elementwise_affine=True),
    "gn": lambda shape: nn.GroupNorm(4, shape[0], affine=True),
}
"""What each name means. "none" is absent on purpose: no layer, and no index in the Sequential."""
