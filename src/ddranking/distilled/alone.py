"""What a set says of its space by itself, where no real images are at hand.

Three kinds of evidence, from the catalogue's constants alone:

- standardised images have negative values: a set without any is not standardised;
- values that are whole 8-bit levels under known constants prove these;
- in photographs colour varies far less than brightness at low frequencies, and whitening takes that
  away: at one cycle an image the power of colour is 0.07 of that of brightness in CIFAR-10, and
  1.1 after whitening. In between, the geometric mean 0.27, the cut is drawn.

What cannot be decided: which constants a set was standardised with, unless its values prove them,
and how it was whitened. What the method's authors usually do is said instead.

Shapes: images [N, C, H, W].
"""

from __future__ import annotations

import numpy as np

from ddranking.data.catalog import DATASETS, DatasetFacts
from ddranking.data.space import (
    Pixel,
    Space,
    Standardized,
    Zca,
    constants_in_use,
    parse_space,
)
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.candidates import WHOLE_SHARE, statistics, whole_levels
from ddranking.distilled.faults import PIXEL_TOLERANCE
from ddranking.distilled.finding import Finding
from ddranking.distilled.inference import LINEAGES, WHITENED_METHODS
from ddranking.distilled.mistakes import destandardize

COLOUR_CUT = 0.27
"""Colour over brightness at one cycle an image, above which images look whitened."""

SURE = 1.5
"""Nearer to the cut than this factor, nothing is said."""

LOW_CONTRAST = 0.05
"""Standard deviation of pixels below which values were scaled once too often: photographs have
0.2 to 0.3, digits 0.3, class means of CIFAR-10 0.09."""


def space_alone(distilled: DistilledSet) -> Finding:
    """The declared space against the values themselves."""
    known = DATASETS.get(distilled.card.dataset)
    declared = distilled.card.space
    images = as_float(distilled.images)
    low, high = float(images.min()), float(images.max())
    own = statistics(images)
    colour = colour_share(images)
    proven = _proven(distilled, images, known) if known else []
    evidence = {
        "lowest": low,
        "highest": high,
        "mean": [round(value, 4) for value in own.mean],
        "std": [round(value, 4) for value in own.std],
        "neighbours": round(own.neighbours, 4),
        "colour": None if colour is None else round(colour, 4),
        "whole_levels_in": [name for name, _ in proven],
    }
    if distilled.images.dtype == np.uint8:
        return Finding("ok", "space", "8-bit images are pixels", evidence)
    if proven:
        if any(each == declared for _, each in proven):
            text = "every value is a whole 8-bit level in the declared space"
            return Finding("ok", "space", text, evidence)
        name = proven[0][0]
        text = f"every value is a whole 8-bit level in {name}, not in the declared space"
        return Finding("wrong", "space", text, evidence, f"--space {name}")
    if not isinstance(declared, Pixel) and low >= 0:
        bytes_ = " --undo times-255" if high > 2 else ""
        text = f"declared {declared.kind}, but no value is negative ({low:.3g} to {high:.3g})"
        return Finding("wrong", "space", text, evidence, f"--space pixel{bytes_}")
    if isinstance(declared, Pixel):
        if float(np.mean(own.std)) < LOW_CONTRAST:
            text = f"pixels of hardly any contrast: standard deviation {np.mean(own.std):.3g}"
            return Finding("note", "space", text, evidence, "--undo over-255, if they were")
        text = f"values from {low:.3g} to {high:.3g}"
        if low < -PIXEL_TOLERANCE or high > 1 + PIXEL_TOLERANCE:
            half = low >= -1 - PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE
            fix = "--space standardized:half" if half else "--space standardized"
            return Finding("wrong", "space", f"{text} are no pixels", evidence, fix)
        return Finding("ok", "space", f"{text} can be pixels", evidence)
    return _whitened_or_not(distilled, known, colour, evidence)


def _whitened_or_not(
    distilled: DistilledSet, known: DatasetFacts | None, colour: float | None, evidence: dict
) -> Finding:
    declared = distilled.card.space
    if colour is None or COLOUR_CUT / SURE < colour < COLOUR_CUT * SURE:
        shown = "one channel" if colour is None else f"colour {colour:.2g} of brightness"
        text = f"{_kind(declared)} as declared, or not: {shown} does not tell without real images"
        return Finding("note", "space", text, evidence, _prepare(distilled))
    whitened = colour > COLOUR_CUT
    measured = (
        f"power of colour is {colour:.2g} of that of brightness at one cycle an image "
        "(photographs 0.07, whitened 1.1)"
    )
    if whitened == isinstance(declared, Zca):
        says = "whitened, as declared" if whitened else "not whitened, as declared"
        rest = "how" if whitened else "with which constants"
        return Finding(
            "ok", "space", f"{says}: {measured}; {rest} is not told without real images", evidence
        )
    lineage = LINEAGES.get(distilled.card.method, "")
    known_lineage = known is not None and lineage in known.lineages
    name = f"standardized:{lineage}" if known_lineage else "standardized"
    if whitened:
        name = WHITENED_METHODS.get(distilled.card.method, "zca")
    seems = "whitened (or full of noise)" if whitened else "not whitened"
    text = f"declared {_kind(declared)}, but the images look {seems}: {measured}"
    return Finding("note", "space", text, evidence, f"perhaps --space {name}")


def habit(distilled: DistilledSet) -> Finding | None:
    """What the method's authors usually do, where the card says otherwise; None where it does not.

    Distinguishes constants that no statistics can (``inference.LINEAGES``).
    """
    card, known = distilled.card, DATASETS.get(distilled.card.dataset)
    lineage = LINEAGES.get(card.method, "")
    whitened = WHITENED_METHODS.get(card.method)
    if known is None:
        return None
    if whitened and isinstance(card.space, Standardized):
        text = f"{card.method} mostly whitens its images; the card says standardized"
        return Finding("note", "habit", text, {}, f"--space {whitened}, if these are")
    if isinstance(card.space, Standardized) and lineage in known.lineages:
        usual = parse_space(f"standardized:{lineage}", known)
        if usual != card.space:
            text = f"{card.method} mostly standardises {known.title} with other constants"
            evidence = {"usual": usual.model_dump(mode="json")}
            return Finding("note", "habit", text, evidence, f"--space standardized:{lineage}")
    return None


def colour_share(images: np.ndarray) -> float | None:
    """Power of colour over power of brightness at one cycle an image; None for one channel.

    Brightness is the mean of the channels, colour what each channel adds to it. Power is taken of
    the discrete Fourier transform at distances from 0.5 to 1.5 of the origin.
    """
    if images.shape[1] == 1 or min(images.shape[2:]) < 4:
        return None
    brightness = images.mean(1, keepdims=True, dtype=np.float64)
    up, down = _one_cycle(images - brightness), _one_cycle(brightness)
    return up / down if down > 0 else None


def _one_cycle(images: np.ndarray) -> float:
    """Mean power of the eight coefficients around the origin."""
    power = np.abs(np.fft.fft2(images)[..., [-1, 0, 1], :][..., [-1, 0, 1]]) ** 2
    return float((power.sum((-2, -1)) - power[..., 1, 1]).mean())


def _proven(
    distilled: DistilledSet, images: np.ndarray, known: DatasetFacts
) -> list[tuple[str, Space]]:
    """Known spaces in which all values are whole 8-bit levels."""
    found: list[tuple[str, Space]] = []
    if distilled.images.dtype != np.float32:
        return found
    for name in (
        "pixel",
        "standardized",
        *(f"standardized:{each}" for each in constants_in_use(known)),
    ):
        space = parse_space(name, known)
        pixels = (
            destandardize(images, (space.mean, space.std))
            if isinstance(space, Standardized)
            else images
        )
        if whole_levels(pixels) >= WHOLE_SHARE:
            found.append((name, space))
    return found


def _kind(space: Space) -> str:
    return "whitened" if isinstance(space, Zca) else space.kind


def _prepare(distilled: DistilledSet) -> str:
    return f"ddranking data prepare {distilled.card.dataset}, then again"
