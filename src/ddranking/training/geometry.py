"""Augmentations that move or erase pixels: flip, crop, resized crop, cutout, patch shuffle.

torchvision draws one set of parameters for a whole batch; kornia draws per image, but from the
global generator, and crops image by image with other pixel centres than torchvision. So these are
written here, as one gather or one sampling grid for the whole batch.

Shapes: N images, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ddranking.protocol.augmentations import Crop, Cutout, Flip, PatchShuffle, ResizedCrop
from ddranking.training.drawn import Drawn, per_image, uniform

Span = tuple[Tensor, Tensor]
"""First and one past the last index of each image, int64 [N] both."""


# --- What pixels can do ---------------------------------------------------------------------------


def mirror(images: Tensor, chosen: Tensor) -> Tensor:
    """Images [N,C,H,W] with those ``chosen`` (bool [N]) mirrored left to right."""
    return torch.where(per_image(chosen), images.flip(3), images)


def rearrange(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """``out[n, c, y, x] = images[n, c, rows[n, y], columns[n, x]]``; int64 [N,H] and [N,W]."""
    n, channels, height, width = images.shape
    source = rows[:, :, None] * width + columns[:, None, :]
    index = source.reshape(n, 1, height * width).expand(n, channels, height * width)
    return images.reshape(n, channels, height * width).gather(2, index).reshape(images.shape)


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """``out[y, x] = in[y + down, x + right]``, zero outside; int64 [N] both."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device)[None, :] + down[:, None]
    columns = torch.arange(width, device=images.device)[None, :] + right[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    moved = rearrange(images, rows.clamp(0, height - 1), columns.clamp(0, width - 1))
    return moved * inside[:, None].to(images.dtype)


def erase(images: Tensor, rows: Span, columns: Span) -> Tensor:
    """Images with the rectangle ``rows`` by ``columns`` of each set to zero."""
    hole = box(images.shape, rows, columns, images.device)
    return images * (~hole).to(images.dtype)


def box(shape: Sequence[int], rows: Span, columns: Span, device: torch.device) -> Tensor:
    """Bool [N,1,H,W]: the pixels inside each image's rectangle."""

    def inside(side: int, span: Span) -> Tensor:
        place = torch.arange(side, device=device)[None, :]
        return (place >= span[0][:, None]) & (place < span[1][:, None])

    return (inside(shape[2], rows)[:, :, None] & inside(shape[3], columns)[:, None, :])[:, None]


# --- Flip -----------------------------------------------------------------------------------------


def draw_flip(rules: Flip, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Bool [N]: which images are mirrored."""
    return uniform(shape[0], 0.0, 1.0, generator) < rules.p


def apply_flip(rules: Flip, images: Tensor, draw: Tensor) -> Tensor:
    """Mirrors the images that were drawn."""
    return mirror(images, draw)


# --- Padded crop ----------------------------------------------------------------------------------


def draw_crop(rules: Crop, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """int64 [2,N]: shifts down and right, uniform over ``-padding .. padding``."""
    reach = rules.padding
    return torch.randint(-reach, reach + 1, (2, shape[0]), generator=generator)


def apply_crop(rules: Crop, images: Tensor, draw: Tensor) -> Tensor:
    """Pad and crop in one: shifted images, with zeros or reflections where nothing was."""
    if rules.mode == "zero":
        return shift(images, draw[0], draw[1])

    def reflected(side: int, offset: Tensor) -> Tensor:
        # A triangle wave of period 2 (side - 1): 2 1 0 1 2 ... side-1 ... 1 0 1
        place = torch.arange(side, device=images.device)[None, :] + offset[:, None]
        period = max(2 * (side - 1), 1)
        folded = place.remainder(period)
        return torch.minimum(folded, period - folded)

    height, width = images.shape[2:]
    return rearrange(images, reflected(height, draw[0]), reflected(width, draw[1]))


# --- Resized crop ---------------------------------------------------------------------------------

ATTEMPTS = 10
"""Boxes tried before the largest box in the middle is taken, as in torchvision."""


@dataclass(frozen=True)
class Boxes(Drawn):
    """One box an image, in whole pixels: int64 [N] each."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def draw_resized_crop(
    rules: ResizedCrop, shape: Sequence[int], generator: torch.Generator
) -> Boxes:
    """A random box for each image.

    The first of ten boxes with area U(scale) and ratio exp(U(log ratio)) that fits the image, at a
    uniform place; where none fits, the largest box of an allowed ratio, in the middle.
    """
    n, _, height, width = shape
    areas = uniform(ATTEMPTS * n, *rules.scale, generator).reshape(ATTEMPTS, n) * (height * width)
    logs = [math.log(ratio) for ratio in rules.ratio]
    ratios = uniform(ATTEMPTS * n, logs[0], logs[1], generator).reshape(ATTEMPTS, n).exp()
    places = torch.rand(2, n, generator=generator)
    widths = (areas * ratios).sqrt().round().long()
    heights = (areas / ratios).sqrt().round().long()
    fits = (widths > 0) & (widths <= width) & (heights > 0) & (heights <= height)
    first = fits.int().argmax(0, keepdim=True)  # the first largest, hence the first that fits
    found = fits.any(0)
    tall, wide = _largest_box(height, width, rules.ratio)
    box_height = torch.where(found, heights.gather(0, first)[0], tall)
    box_width = torch.where(found, widths.gather(0, first)[0], wide)
    top = (places[0] * (height - box_height + 1)).long().minimum(height - box_height)
    left = (places[1] * (width - box_width + 1)).long().minimum(width - box_width)
    return Boxes(
        torch.where(found, top, (height - tall) // 2),
        torch.where(found, left, (width - wide) // 2),
        box_height,
        box_width,
    )


def _largest_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Height and width of the largest box of an image with a ratio in the range."""
    if width / height < ratio[0]:
        return max(1, round(width / ratio[0])), width
    if width / height > ratio[1]:
        return height, max(1, round(height * ratio[1]))
    return height, width


def apply_resized_crop(rules: ResizedCrop, images: Tensor, draw: Boxes) -> Tensor:
    """Each box resized to the whole image, bilinear with pixel centres at halves.

    Output pixel i of S reads at ``(i + 1/2) b / S - 1/2`` of a box of b pixels, held inside the
    box; torch's ``interpolate(align_corners=False)``, with or without antialiasing, as b <= S.
    """

    def read(side: int, start: Tensor, length: Tensor) -> Tensor:
        steps = torch.arange(side, device=images.device, dtype=images.dtype) + 0.5
        inside = steps[None, :] * (length[:, None] / side) - 0.5
        inside = inside.clamp_min(0).minimum(length[:, None] - 1)
        return (2 * (start[:, None] + inside) + 1) / side - 1  # grid_sample: -1 to 1, at edges

    n, _, height, width = images.shape
    y = read(height, draw.top, draw.height)[:, :, None].expand(n, height, width)
    x = read(width, draw.left, draw.width)[:, None, :].expand(n, height, width)
    grid = torch.stack([x, y], dim=3).to(images.dtype)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


# --- Cutout ---------------------------------------------------------------------------------------


def draw_cutout(rules: Cutout, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """int64 [2,N]: the row and the column of each square's centre, uniform over the image."""
    n, _, height, width = shape
    sides = (torch.randint(side, (n,), generator=generator) for side in (height, width))
    return torch.stack(list(sides))


def apply_cutout(rules: Cutout, images: Tensor, draw: Tensor) -> Tensor:
    """Zeroes ``L = floor(side * S + 1/2)`` pixels from ``centre - L // 2``, inside the image."""

    def span(size: int, centre: Tensor) -> Span:
        length = int(size * rules.side + 0.5)
        return centre - length // 2, centre - length // 2 + length

    height, width = images.shape[2:]
    return erase(images, span(height, draw[0]), span(width, draw[1]))


# --- Patch shuffle --------------------------------------------------------------------------------


def draw_patch_shuffle(
    rules: PatchShuffle, shape: Sequence[int], generator: torch.Generator
) -> Tensor:
    """int64 [2,N,factor]: for each image, permutations of its row strips and column strips."""
    return torch.rand(2, shape[0], rules.factor, generator=generator).argsort(dim=2)


def apply_patch_shuffle(rules: PatchShuffle, images: Tensor, draw: Tensor) -> Tensor:
    """Output strip i of an axis is input strip ``draw[axis, n, i]``."""

    def shuffled(side: int, order: Tensor) -> Tensor:
        length = side // rules.factor
        place = torch.arange(length, device=images.device)
        moved = (order[:, :, None] * length + place).flatten(1)
        rest = torch.arange(length * rules.factor, side, device=images.device)
        return torch.cat([moved, rest.expand(len(order), -1)], dim=1)

    height, width = images.shape[2:]
    return rearrange(images, shuffled(height, draw[0]), shuffled(width, draw[1]))
