"""What an augmentation has drawn for one batch: the numbers that make it deterministic.

And what all inputs of a training step have in common: values that hold tensors (tensors themselves,
tuples and dataclasses of them) beside what is no tensor, their form. Two inputs of one form differ
in the content of their tensors alone, so that whatever was recorded for one fits the other.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 16
"""Bytes: tensors that travel together begin at multiples of it, as their numbers ask for."""


@dataclass(frozen=True)
class Drawn:
    """Parameters of one batch; tensors are drawn on the CPU and move with :meth:`to`."""

    def to(self, device: torch.device) -> Self:
        return mapped(self, lambda tensor: tensor.to(device))


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """[count] float32 numbers from U(low, high)."""
    return torch.rand(count, generator=generator) * (high - low) + low


def per_image(values: Tensor) -> Tensor:
    """[N] as [N,1,1,1], to meet images [N,C,H,W]."""
    return values[:, None, None, None]


@contextmanager
def forked(seed: int, device: torch.device) -> Iterator[None]:
    """torch's global generators (the CPU's, and the device's) seeded, and put back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for one in devices:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        yield


# --- Values that hold tensors ---------------------------------------------------------------------


def tensors(value: Any) -> list[Tensor]:
    """The tensors in ``value``, in order; networks in it are none of its input."""
    if isinstance(value, Tensor):
        return [value]
    return [tensor for part in _parts(value) or () for tensor in tensors(part)]


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """``value`` with every tensor in it changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple):
        return tuple(mapped(part, change) for part in value)
    if names := _fields(type(value)):
        return replace(value, **{name: mapped(getattr(value, name), change) for name in names})
    return value


def form(value: Any) -> Hashable:
    """All of ``value`` but the content of its tensors: their shapes and types, and the rest."""
    if isinstance(value, Tensor):
        return value.shape, value.dtype, value.device
    parts = _parts(value)
    return value if parts is None else (type(value), tuple([form(part) for part in parts]))


def on_device(values: Sequence[Any], device: torch.device) -> list[Any]:
    """``values`` with their tensors on ``device``, in one transfer for all of them together.

    Every transfer has a price of its own, whatever it carries, and a step draws several short
    tensors. On a CPU they are already there.
    """
    every = [tensor for value in values for tensor in tensors(value)]
    if device.type == "cpu" or not every:
        return list(values)
    starts, end = [], 0
    for tensor in every:
        starts.append(end)
        end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    packed = torch.empty(end, dtype=torch.uint8, pin_memory=device.type == "cuda")
    plain = packed.numpy()  # a third of the time that as many copies by torch take
    for tensor, start in zip(every, starts, strict=True):
        content = tensor.contiguous().numpy().reshape(-1).view(np.uint8)
        plain[start : start + tensor.nbytes] = content
    there = packed.to(device, non_blocking=True)
    moved = iter(
        [_window(there, tensor, start) for tensor, start in zip(every, starts, strict=True)]
    )
    return [mapped(value, lambda _: next(moved)) for value in values]


def _window(packed: Tensor, like: Tensor, start: int) -> Tensor:
    """The bytes from ``start`` as a tensor of the shape and type of ``like``."""
    return packed[start : start + like.nbytes].view(like.dtype).view(like.shape)


def _parts(value: Any) -> Sequence[Any] | None:
    """Elements of a tuple, fields of a dataclass; None of anything else."""
    if isinstance(value, tuple):
        return value
    names = _fields(type(value))
    return None if names is None else [getattr(value, name) for name in names]


@cache
def _fields(kind: type) -> tuple[str, ...] | None:
    """A dataclass's fields, looked up once: a step asks for them a dozen times."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else None
