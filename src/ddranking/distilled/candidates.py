"""Which space do a distilled set's images live in? Every candidate is compared with real images.

The evidence is the cosine of class means. Let ``M`` [K, D] hold the mean image of each class of the
set, as stored, and ``R_c`` [K, D] the mean real image of each class in candidate space c. If the
set is ``M = a R_true + residual`` with a residual that does not follow the real class means, then

    cos(M, R_c) = cos(R_true, R_c) * constant

and by Cauchy and Schwarz it is largest for the true space. Nothing is subtracted from either side,
so a wrong zero level (pixel or standardised) costs as much as a wrong spectrum (whitened or not);
the scale of the set, which optimisation blows up, does not enter.

Two spaces with ``cos(R_a, R_b) > ALIKE`` cannot be told apart in this way: what optimisation does
to the contrast of a channel is larger. Whole 8-bit levels can: where the values of a set, taken
back to pixels, are integers, that space is proven.

Shapes: N images, C channels, H height, W width; K classes, D = C*H*W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.special import stdtrit

from ddranking import seeds
from ddranking.data.images import Dataset, Images
from ddranking.data.space import (
    HALF,
    FittedSpace,
    Pixel,
    Space,
    Standardized,
    Zca,
    fit,
    parse_space,
)
from ddranking.distilled.artifact import DistilledSet, as_float

ALIKE = 0.99
"""Spaces whose real class means have a larger cosine are not told apart by it."""

REAL_IMAGES, REAL_A_CLASS = 5_000, 100
"""Real images a comparison takes: so many together, but at least so many of each class."""

REAL_VALUES = 1 << 28
"""... and no more values than these (1 GiB as float32)."""

WHITENED_VALUES = 4_096
"""Largest image whose whitening is fitted unasked: time grows with the cube (3,072 is a minute)."""

CACHED_VALUES = 512
"""Smallest image whose fitted whitening is kept: below, fitting is as quick as reading."""

WHOLE_LEVEL, WHOLE_SHARE = 0.05, 0.999
"""A value is a whole level when it is this close to one (by chance 1 in 10 is); all but one in a
thousand must be. Float32 whitening is inverted to within 0.01 of a level."""


RARE = f"standardized:{HALF}"
"""A space that no method of the field trains in by default: it is first where whole levels prove
it, where it is declared, or where all values lie in [-1, 1] and it is ahead beyond chance. Its
zero level is nearly that of other constants, and of images standardised twice."""

RARE_BOUND = 1.001
"""Largest absolute value of images that may be pixels in [-1, 1], with some room for rounding."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A space, what ``--space`` calls it, and real images in it.

    Attributes:
        name: for ``--space``; of several names for the same constants the first.
        also: the other names.
        fitted: the space, with what it learned from the training images.
        means: float64 [K, D], the real class means.
        real: real images in the space, float32 [n, C, H, W], for statistics.
    """

    name: str
    also: tuple[str, ...]
    fitted: FittedSpace
    means: np.ndarray
    real: np.ndarray

    @property
    def space(self) -> Space:
        return self.fitted.space

    @cached_property
    def statistics(self) -> Statistics:
        """Of the real images."""
        return statistics(self.real)


@dataclass(frozen=True, eq=False)
class Standing:
    """How well a set fits one candidate.

    Attributes:
        candidate: the space.
        cosine: of class means, in [-1, 1]; see the module.
        whole_levels: share of the values that are whole 8-bit levels in this space; None where
            the set's type cannot tell.
        behind: how much smaller the cosine is than the first one's.
        error: standard error of ``behind`` (jackknife over classes).
        alike: whether class means cannot tell it from the first, whatever their cosines.
        apart: whether it is behind the first by more than chance (Student's t over classes, one
            side, 1 %), or the first one is proven and this one is not.
    """

    candidate: Candidate
    cosine: float
    whole_levels: float | None
    behind: float
    error: float
    alike: bool
    apart: bool

    @property
    def proven(self) -> bool:
        """Whole levels leave no doubt."""
        return self.whole_levels is not None and self.whole_levels >= WHOLE_SHARE


@dataclass(frozen=True)
class Statistics:
    """First and second moments of images: per channel, and between neighbouring pixels.

    ``neighbours`` is the correlation of a value with those right of and below it, after each
    image's own channel means are taken away: near 1 in photographs, lower in whitened ones.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    neighbours: float


def candidates(
    distilled: DistilledSet, dataset: Dataset, cache_dir: str | Path | None = None
) -> list[Candidate]:
    """Every space that a set of this dataset may live in, in the catalogue's order.

    Pixel, standardised with each known lineage's constants, both whitenings, pixels in [-1, 1],
    and the declared space where it is none of these. Whitening of images with more than
    ``WHITENED_VALUES`` values is only tried where it is declared.

    Args:
        distilled: for its declared space.
        dataset: the real images.
        cache_dir: where fitted whitenings are kept.
    """
    names = ["pixel", "standardized", *(f"standardized:{k}" for k in dataset.lineages)]
    if math.prod(dataset.train.shape) <= WHITENED_VALUES:
        names += ["zca", "zca-kip"]
    names.append(RARE)
    called: dict[Space, list[str]] = {}
    for name in names:
        called.setdefault(parse_space(name, dataset), []).append(name)
    declared = distilled.card.space
    if isinstance(declared, Standardized) and (set(declared.mean), set(declared.std)) == ({0}, {1}):
        # Pixels without bounds: the very numbers of pixels, so that one candidate is enough.
        called = {declared if key == Pixel() else key: each for key, each in called.items()}
    if declared not in called:
        named = {parse_space(each, dataset): each for each in ("zca", "zca-kip")}
        called[declared] = [named.get(declared, "(as declared)")]
    real = real_images(dataset)
    return [_candidate(space, names, dataset, real, cache_dir) for space, names in called.items()]


def real_images(dataset: Dataset) -> Images:
    """Training images for comparisons: the same number of each class where there are as many."""
    classes, values = dataset.num_classes, math.prod(dataset.train.shape)
    each = max(REAL_IMAGES // classes, REAL_A_CLASS)
    each = max(1, min(each, REAL_VALUES // (classes * values)))
    chance = seeds.generator(0, "doctor", "real")
    labels = np.asarray(dataset.train.labels)
    chosen = [chance.permutation(np.flatnonzero(labels == k))[:each] for k in range(classes)]
    return dataset.train.take(np.sort(np.concatenate(chosen)))


def _candidate(
    space: Space,
    names: list[str],
    dataset: Dataset,
    real: Images,
    cache_dir: str | Path | None,
) -> Candidate:
    kept = math.prod(dataset.train.shape) >= CACHED_VALUES
    fitted = fit(space, dataset.train, cache_dir if kept else None)
    images = fitted.apply(real.pixels)
    means = class_means(images, real.labels, range(dataset.num_classes))
    few = max(1, len(images) // 1000)
    return Candidate(names[0], tuple(names[1:]), fitted, means, images[::few].copy())


def class_means(images: np.ndarray, labels: np.ndarray, classes: range | np.ndarray) -> np.ndarray:
    """float64 [len(classes), D]: the mean image of each of ``classes``, which must be there."""
    return np.stack([images[labels == k].mean(0, dtype=np.float64).ravel() for k in classes])


def rank(distilled: DistilledSet, choices: list[Candidate]) -> list[Standing]:
    """The candidates, most likely first.

    A space proven by whole levels comes first. Else the largest cosine does, and what is alike
    to it follows in the catalogue's order, since there the order of cosines says nothing: the
    first of those alike is the one that the catalogue names first. ``RARE`` is first under its own
    conditions alone.
    """
    images = as_float(distilled.images)
    present = np.unique(distilled.labels)
    own = class_means(images, distilled.labels, present)
    means = [each.means[present] for each in choices]
    cosines = [cosine(own, each) for each in means]
    levels = [_whole_levels(distilled, images, each) for each in choices]
    proven = [share is not None and share >= WHOLE_SHARE for share in levels]
    chance = float(stdtrit(len(present) - 1, 0.99)) if len(present) > 2 else math.inf
    if any(proven):
        alike = proven
    else:
        largest = int(np.argmax(cosines))
        rare = choices[largest]
        if rare.name == RARE and rare.space != distilled.card.space and len(choices) > 1:
            second = int(np.argsort(cosines)[-2])
            behind, error = jackknife((own, means[largest]), (own, means[second]))
            sure = behind > chance * error and float(np.abs(images).max()) <= RARE_BOUND
            largest = largest if sure else second
        alike = [cosine(means[largest], each) > ALIKE for each in means]
    first = alike.index(True)
    standings = []
    for i in sorted(
        range(len(choices)), key=lambda i: (not alike[i], -cosines[i] * (not alike[i]))
    ):
        behind, error = jackknife((own, means[first]), (own, means[i]))
        apart = not alike[i] and (any(proven) or behind > chance * error)
        standings.append(
            Standing(choices[i], cosines[i], levels[i], behind, error, alike[i], apart)
        )
    return standings


def open_question(standings: list[Standing]) -> bool:
    """Whether a space of another kind than the first is not told from it: training may tell."""

    def kind(standing: Standing) -> tuple[str, str]:
        space = standing.candidate.space
        return space.kind, space.variant if isinstance(space, Zca) else ""

    return any(not each.apart and kind(each) != kind(standings[0]) for each in standings)


def statistics(images: np.ndarray) -> Statistics:
    """Moments of float images [N, C, H, W]."""
    mean = images.mean((0, 2, 3), dtype=np.float64)
    std = images.std((0, 2, 3), dtype=np.float64)
    centred = images - images.mean((2, 3), keepdims=True, dtype=np.float64)
    right = (centred[..., :, 1:] * centred[..., :, :-1]).mean()
    below = (centred[..., 1:, :] * centred[..., :-1, :]).mean()
    power = float((centred**2).mean())
    neighbours = float(right + below) / 2 / power if power > 0 else 0.0
    return Statistics(tuple(map(float, mean)), tuple(map(float, std)), neighbours)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two arrays taken as one long vector each; 0 where one is zero."""
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


Pair = tuple[np.ndarray, np.ndarray]
"""Class means of a set and real ones, each [K, D]."""


def jackknife(first: Pair, other: Pair) -> tuple[float, float]:
    """cos(*first) - cos(*other), and its standard error by leaving out one class of K in turn."""

    def difference(keep: np.ndarray) -> float:
        own, real = first
        others, reals = other
        return cosine(own[keep], real[keep]) - cosine(others[keep], reals[keep])

    count = len(first[0])
    everyone = np.arange(count)
    whole = difference(everyone)
    if count < 3:
        return whole, math.inf
    parts = np.array([difference(np.delete(everyone, k)) for k in everyone])
    return whole, float(np.sqrt((count - 1) / count * ((parts - parts.mean()) ** 2).sum()))


def _whole_levels(
    distilled: DistilledSet, images: np.ndarray, candidate: Candidate
) -> float | None:
    """Share of values that are whole levels; None for types without the digits to tell.

    8-bit images are whole levels of whatever made them, so they prove nothing.
    """
    if distilled.images.dtype != np.float32:
        return None
    return whole_levels(candidate.fitted.invert_to_pixels(images))


def whole_levels(pixels: np.ndarray) -> float:
    """Share of float pixels, black 0 and white 1, that are whole 8-bit levels."""
    levels = pixels * 255.0
    near = np.abs(levels - np.rint(levels)) <= WHOLE_LEVEL
    inside = (levels > -1) & (levels < 256)
    return float((near & inside).mean())
