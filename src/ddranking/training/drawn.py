"""What an augmentation has drawn for one batch: the numbers that make it deterministic."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Drawn:
    """Parameters of one batch; tensors are drawn on the CPU and move with :meth:`to`."""

    def to(self, device: torch.device) -> Self:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved = {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """[count] float32 numbers from U(low, high)."""
    return torch.rand(count, generator=generator) * (high - low) + low


def per_image(values: Tensor) -> Tensor:
    """[N] as [N,1,1,1], to meet images [N,C,H,W]."""
    return values[:, None, None, None]
