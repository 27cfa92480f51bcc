"""Have the values of a set the scale of their space? Contrast, range, clipping, done twice.

Shapes: N images [N, C, H, W]; K classes, D = C*H*W; ``M`` [K, D] are the set's class means, ``R``
the real ones in the same space.
"""

from __future__ import annotations

import numpy as np
from scipy.special import stdtrit

from ddranking import seeds
from ddranking.data.images import Dataset
from ddranking.data.space import FittedSpace, Standardized, Zca
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.candidates import (
    WHOLE_SHARE,
    Candidate,
    class_means,
    cosine,
    jackknife,
    real_images,
    statistics,
    whole_levels,
)
from ddranking.distilled.finding import Finding
from ddranking.distilled.mistakes import BYTES, TWICE, destandardize, standardize

LOST_CONTRAST = 0.1
"""Below this share of the real class means' contrast the scale is wrong, not the method."""

LARGE, HUGE = 16.0, 64.0
"""Class means that are so many times the real ones are noted, and wrong. Sets of real images have a
slope of 1, optimised ones up to 10 so far; standardising twice gives 3 to 5 times that, and not
dividing by 255 gives at least 255."""

BLACK_OR_WHITE = 1e-5
"""A value is cut off when it is so close to 0 or 1: an 8-bit level is 4e-3."""

DRAWS, LEVEL = 499, 0.01
"""Draws of real images that a share of cut values is compared with, and the probability below
which it is no chance."""


def contrast(
    distilled: DistilledSet, lives_in: Candidate, dataset: Dataset, *, declared: bool
) -> Finding:
    """The scale of the values: optimisation raises contrast, and even averaging keeps some.

    The average of all real images of a class has the least contrast that a sensible set can have.
    The largest is bounded by the slope of the set's class means on the real ones,
    ``sum(M R) / sum(R R)``.

    Args:
        distilled: the set.
        lives_in: the space it is judged in.
        dataset: for the constants that it may have been standardised with.
        declared: whether ``lives_in`` is the card's.
    """
    images, present = as_float(distilled.images), np.unique(distilled.labels)
    own = float(np.mean(statistics(images).std))
    shape = (len(lives_in.means), *distilled.images.shape[1:])
    least = float(np.mean(statistics(lives_in.means.reshape(shape)).std))
    real = float(np.mean(lives_in.statistics.std))
    means, reals = class_means(images, distilled.labels, present), lives_in.means[present]
    slope = float((means * reals).sum() / (reals * reals).sum())
    evidence = {"std": own, "real_std": real, "class_mean_std": least, "slope": slope}
    text = f"standard deviation {own:.3g}; real images {real:.3g}, their class means {least:.3g}"
    also = "" if declared else f" beside --space {lives_in.name}"
    if slope > HUGE:
        text = f"class means are {slope:.0f} times the real ones: values were not divided by 255"
        if _bytes(means.reshape(-1, *shape[1:]), reals, lives_in, slope, dataset):
            text += " before they were standardised"
            fix = f"--undo {BYTES} beside --space standardized"
        else:
            fix = f"--undo times-255{also}"
        return Finding("wrong", "contrast", text, evidence, fix)
    if slope > LARGE:
        fix = f"--undo {TWICE}, if they were"
        return Finding("note", "contrast", f"large: {text}", evidence, fix)
    if own < LOST_CONTRAST * least or (own < least and slope < 1 / LARGE):
        return Finding("wrong", "contrast", f"lost: {text}", evidence, f"--undo over-255{also}")
    if own < least:
        return Finding("note", "contrast", f"low: {text}", evidence, "is --space right?")
    return Finding("ok", "contrast", text, evidence)


def _bytes(
    means: np.ndarray, reals: np.ndarray, lives_in: Candidate, slope: float, dataset: Dataset
) -> bool:
    """Whether values of 0 to 255 were standardised with the constants for [0, 1].

    ``(255 p - mean) / std`` is nearly ``p * 255 / std``: pixels with another slope. Where it
    still fits standardised images best, undoing it must bring it nearer.

    Args:
        means: the set's class means [K, C, H, W].
        reals: the real ones [K, D].
    """
    constants = (dataset.mean, dataset.std)
    if lives_in.name == "pixel":
        return slope > 255 / float(np.sqrt(np.mean(dataset.std)))
    if not isinstance(lives_in.space, Standardized):
        return False
    undone = standardize(destandardize(means, constants) / 255, constants)
    rows = len(means), -1
    return cosine(undone.reshape(rows), reals) > cosine(means.reshape(rows), reals)


def black_to_white(distilled: DistilledSet, fitted: FittedSpace) -> Finding:
    """How many values leave [0, 1] when they are taken back to pixels."""
    pixels = fitted.invert_to_pixels(as_float(distilled.images))
    half = 0.5 / 255
    outside = float(((pixels < -half) | (pixels > 1 + half)).mean())
    evidence = {"outside": outside, "lowest": float(pixels.min()), "highest": float(pixels.max())}
    text = f"{100 * outside:.1f} % of the values lie beyond black and white"
    if outside <= 0.5:
        return Finding("ok", "range", text, evidence)
    return Finding("note", "range", f"{text}: do not clip them", evidence, "nothing, if intended")


def clipped(distilled: DistilledSet, fitted: FittedSpace, dataset: Dataset) -> Finding | None:
    """Values that are exactly black or white, more than as many real images have by chance.

    None where they are not, and in whitened spaces, where a cut value cannot be seen.
    """
    if isinstance(fitted.space, Zca):
        return None
    pixels = fitted.invert_to_pixels(as_float(distilled.images))
    if distilled.images.dtype == np.float16:
        return None
    edge = (np.abs(pixels) <= BLACK_OR_WHITE) | (np.abs(pixels - 1) <= BLACK_OR_WHITE)
    own = float(edge.mean())
    if pixels.min() < -BLACK_OR_WHITE or pixels.max() > 1 + BLACK_OR_WHITE or not own:
        return None
    real = np.asarray(real_images(dataset).pixels)
    shares = ((real == 0) | (real == 255)).reshape(len(real), -1).mean(1)
    chance = seeds.generator(0, "doctor", "clipped")
    # Draws larger than the real images at hand would say less, not more, than these.
    size = min(len(distilled), len(real))
    drawn = shares[chance.integers(len(real), size=(DRAWS, size))].mean(1)
    usual = float(np.quantile(drawn, 1 - LEVEL))
    if own <= usual:
        return None
    evidence = {"share": own, "usual": usual}
    text = (
        f"{100 * own:.1f} % of the values are exactly black or white (as many real images: less "
        f"than {100 * usual:.1f} %) and none is beyond: they were clipped when they were saved"
    )
    fix = "the authors' unclipped floats, if there are any"
    return Finding("note", "clipped", text, evidence, fix)


def done_twice(distilled: DistilledSet, lives_in: Candidate) -> Finding | None:
    """Whether the images were standardised twice; None where nothing speaks for it.

    Undone once they must be closer to real class means than they are, in a jackknife over
    classes at 1 %, or whole 8-bit levels, which prove it.
    """
    images, present = as_float(distilled.images), np.unique(distilled.labels)
    if not isinstance(lives_in.space, Standardized):
        return None
    constants = (lives_in.space.mean, lives_in.space.std)
    once = destandardize(images, constants)
    if whole_levels(once) >= WHOLE_SHARE:
        return None
    reals = lives_in.means[present]
    own, undone = (class_means(each, distilled.labels, present) for each in (images, once))
    ahead, error = jackknife((undone, reals), (own, reals))
    levels = whole_levels(destandardize(once, constants))
    proven = distilled.images.dtype == np.float32 and levels >= WHOLE_SHARE
    beyond_chance = len(present) > 2 and ahead > float(stdtrit(len(present) - 1, 0.99)) * error
    if not proven and not beyond_chance:
        return None
    evidence = {"ahead": ahead, "error": error, "whole_levels": levels}
    why = (
        "every value is a whole 8-bit level then"
        if proven
        else f"cosine of class means {ahead:.3f} +- {error:.3f} larger"
    )
    text = f"standardised twice: undone once they fit real images better ({why})"
    return Finding("wrong", "standardized twice", text, evidence, f"--undo {TWICE}")
