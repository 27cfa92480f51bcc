"""Images that are there twice: repeated in the set, or taken from the real training images.

Distances are root mean squares in 8-bit levels. The nearest training image is looked for among
block averages first: the distance of block averages is never larger than that of the images, so
that no copy is missed. A whitening that forgets each image's brightness and contrast (``kip``) is
compared after both are taken away.

Shapes: N images of the set, M training images, C channels, H height, W width, D = C*H*W.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ddranking import seeds
from ddranking.data.images import Dataset, read_rows
from ddranking.data.space import FittedSpace, Zca
from ddranking.distilled.artifact import DistilledSet, as_float

SAME = 1.0
"""Levels that no value of a copy is off by more than: rounding to 8 bits, and one level more."""

BLOCKS = 64
"""Block averages a channel that the first search compares, about."""

SHORTLIST = 16
CHUNK_BYTES = 64 << 20
"""Images in float32 that are looked at together: 5,461 of 32 px, 111 of 224 px."""

MOST_IMAGES = 1000
"""Images of the set that are looked up at most, evenly spaced."""

SAMPLE = 200
"""Real images whose own nearest neighbour says what near is."""


@dataclass(frozen=True, eq=False)
class Twins:
    """Images of a set beside their nearest training images.

    Attributes:
        looked_up: how many images were.
        same: how many are a training image, value for value (``SAME``).
        near: how many more are nearer to one than half of ``usual``.
        nearest: the median distance to the nearest training image, in levels.
        usual: what one of 100 real images is nearer to another real image than, in levels.
        index: int64 [looked_up], the nearest training image of each.
    """

    looked_up: int
    same: int
    near: int
    nearest: float
    usual: float
    index: np.ndarray


def repeated(images: np.ndarray) -> int:
    """How many images [N, C, H, W] are an exact copy of an earlier one."""
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    return len(images) - len({row.tobytes() for row in rows})


def constant(images: np.ndarray) -> list[int]:
    """The images of a single colour: no channel varies."""
    flat = images.reshape(*images.shape[:2], -1)
    return [int(i) for i in np.flatnonzero((flat.max(2) == flat.min(2)).all(1))]


def find(distilled: DistilledSet, fitted: FittedSpace, dataset: Dataset) -> Twins:
    """Look the set's images up among the training images.

    Args:
        distilled: the set; at most ``MOST_IMAGES`` of it are looked up.
        fitted: the space that its images live in.
        dataset: the real images.
    """
    space = fitted.space
    blind = isinstance(space, Zca) and space.variant == "kip"
    step = max(1, math.ceil(len(distilled) / MOST_IMAGES))
    looked_up = np.arange(0, len(distilled), step)
    chance = seeds.generator(0, "doctor", "neighbours")
    sampled = np.sort(chance.permutation(len(dataset.train))[:SAMPLE])
    pixels = dataset.train.pixels

    def asked() -> Iterator[np.ndarray]:
        """Levels of the set's images, then of the real ones that say what is usual."""
        for rows in _chunks(looked_up, pixels):
            yield fitted.invert_to_pixels(as_float(distilled.images[rows])) * np.float32(255)
        for rows in _chunks(sampled, pixels):
            yield read_rows(pixels, rows).astype(np.float32)

    coarse = np.concatenate([_blocks(_plain(levels, blind)) for levels in asked()])
    listed = np.sort(_shortlist(coarse, pixels, blind))
    distance, worst = np.empty(listed.shape), np.empty(listed.shape)
    for row, image in enumerate(image for levels in asked() for image in levels):
        found = read_rows(pixels, listed[row]).astype(np.float32)
        off = _plain(found, blind) - _plain(image[None], blind)
        distance[row] = np.sqrt((off.reshape(len(off), -1) ** 2).mean(1))
        worst[row] = np.abs(off).reshape(len(off), -1).max(1)
    own = slice(0, len(looked_up))
    nearest = distance[own].argmin(1)
    rows = np.arange(len(looked_up))
    same = worst[own][rows, nearest] <= SAME
    # A real image's nearest training image is itself; a copy elsewhere is its neighbour.
    others = np.sort(distance[len(looked_up) :], axis=1)[:, 1]
    usual = float(np.quantile(others, 0.01))
    # Within half of it, no second real image of usual distance can be as near: no coincidence.
    near = ~same & (distance[own][rows, nearest] < usual / 2)
    return Twins(
        looked_up=len(looked_up),
        same=int(same.sum()),
        near=int(near.sum()),
        nearest=float(np.median(distance[own][rows, nearest])),
        usual=usual,
        index=listed[own][rows, nearest],
    )


def _shortlist(coarse: np.ndarray, pixels: np.ndarray, blind: bool) -> np.ndarray:
    """int64 [n, SHORTLIST]: the training images whose block averages are nearest to ``coarse``."""
    length = min(SHORTLIST, len(pixels))
    best = np.full((len(coarse), length), np.inf, np.float32)
    place = np.zeros((len(coarse), length), np.int64)
    for rows in _chunks(np.arange(len(pixels)), pixels):
        block = read_rows(pixels, slice(rows[0], rows[-1] + 1)).astype(np.float32)
        other = _blocks(_plain(block, blind))
        squares = (other**2).sum(1)[None] - 2 * coarse @ other.T
        joined = np.concatenate([best, squares], axis=1)
        places = np.concatenate([place, np.broadcast_to(rows, squares.shape)], axis=1)
        kept = np.argpartition(joined, length - 1, axis=1)[:, :length]
        best = np.take_along_axis(joined, kept, 1)
        place = np.take_along_axis(places, kept, 1)
    return place


def _chunks(rows: np.ndarray, images: np.ndarray) -> Iterator[np.ndarray]:
    """``rows`` of ``images``, as many at a time as ``CHUNK_BYTES`` hold in float32."""
    count = max(1, CHUNK_BYTES // (4 * images[0].size))
    for start in range(0, len(rows), count):
        yield rows[start : start + count]


def _plain(levels: np.ndarray, blind: bool) -> np.ndarray:
    """Levels, or images without brightness and of unit contrast on the scale of levels (x 64)."""
    if not blind:
        return levels
    flat = levels.reshape(len(levels), -1)
    flat = flat - flat.mean(1, keepdims=True)
    norm = np.sqrt((flat**2).mean(1, keepdims=True))
    return (64 * flat / np.where(norm > 0, norm, 1)).reshape(levels.shape).astype(np.float32)


def _blocks(images: np.ndarray) -> np.ndarray:
    """float32 [n, C * blocks]: block averages, or the images where no block divides them."""
    count, channels, height, width = images.shape
    side = max(1, round(height / math.sqrt(BLOCKS)))
    side = max(each for each in range(1, side + 1) if height % each == 0 == width % each)
    blocks = images.reshape(count, channels, height // side, side, width // side, side)
    return blocks.mean((3, 5)).reshape(count, -1)
