"""Real images that stay bytes until a batch of them is asked for.

As float32 the training images of ImageNet-1K at 224 px are 770 GB. Here they stay uint8, usually a
memory map that every worker of a machine shares, and a batch becomes float32 in the trial's space
when it is asked for. What a level of a channel becomes is looked up in a table, so a value has the
same bits in every batch and on every device.

Two kinds of sets are whole float32 tensors all the same: whitened images, as a matrix product for
each batch would take a fifth of an evaluation, and on a GPU those of at most ``RESIDENT_BYTES``.

Shapes: N images, B in a batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ddranking.data.images import MAPPED_BYTES, Images, read_rows
from ddranking.data.space import FittedSpace

CPU = torch.device("cpu")

RESIDENT_BYTES = 1 << 30
"""Sets that a GPU holds whole, as float32: CIFAR's 50,000 training images are 0.61 GB."""

FILLED = 512
"""Images at a time where a whole set is put on a GPU."""


@dataclass(frozen=True)
class Streamed:
    """What the training loop uses of a float32 tensor [N,C,H,W], made batch by batch.

    Attributes:
        pixels: uint8 [M,C,H,W], never copied whole.
        levels: float32 [C,256], what each level of each channel becomes.
        rows: int64 [N], which of ``pixels`` these images are, in order; None for all.
        device: where batches are made. Bytes travel there, a quarter of what floats would be.
    """

    pixels: np.ndarray
    levels: Tensor
    rows: np.ndarray | None = None
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.pixels if self.rows is None else self.rows)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        channels, height, width = self.pixels.shape[1:]
        return len(self), channels, height, width

    def __getitem__(self, chosen: Tensor | slice) -> Tensor:
        """float32 [B,C,H,W] on the device.

        Args:
            chosen: int64 [B], best on the CPU, or a slice.
        """
        places = chosen if isinstance(chosen, slice) else chosen.cpu().numpy()
        if self.rows is not None:
            places = self.rows[places]
        batch = torch.from_numpy(read_rows(self.pixels, places))
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        return looked_up(batch.to(self.device, non_blocking=True), self.levels)

    def split(self, size: int) -> Iterator[Tensor]:
        """Batches of ``size`` images in order, the last one possibly smaller."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def to(self, device: torch.device) -> Tensor | Streamed:
        """Made on ``device`` from now on; the whole tensor where a GPU is to hold it."""
        there = replace(self, levels=self.levels.to(device), device=device)
        if device.type == "cpu" or 4 * math.prod(self.shape) > RESIDENT_BYTES:
            return there
        whole = torch.empty(self.shape, device=device)
        for part, batch in zip(whole.split(FILLED), there.split(FILLED), strict=True):
            part.copy_(batch)
        return whole


def looked_up(pixels: Tensor, levels: Tensor) -> Tensor:
    """float32 [B,C,H,W]: ``levels[c, pixels[b, c, h, w]]``.

    Args:
        pixels: uint8 [B,C,H,W].
        levels: float32 [C,256] on the same device.
    """
    channels, count = levels.shape
    places = pixels.to(torch.int32)
    places += torch.arange(channels, dtype=torch.int32, device=pixels.device)[:, None, None] * count
    # On a CPU, a third of the time that indexing takes.
    return levels.flatten().index_select(0, places.flatten()).view(pixels.shape)


def in_space(
    images: Images, fitted: FittedSpace, rows: np.ndarray | None = None
) -> Tensor | Streamed:
    """Real images in a space: streamed where it has a table of levels, else whole.

    Of a few rows the bytes are copied: read where they lie, they would map the whole set.

    Args:
        images: of the real dataset.
        fitted: the space.
        rows: int64 [N], which of ``images``, in order; all where None.
    """
    few = rows is not None and len(rows) * images.pixels[0].size <= MAPPED_BYTES
    if rows is not None and (few or fitted.levels is None):
        images, rows = images.take(rows), None
    if fitted.levels is None:
        return torch.from_numpy(fitted.apply(images.pixels))
    return Streamed(images.pixels, torch.from_numpy(fitted.levels), rows)
