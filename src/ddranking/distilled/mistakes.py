"""What goes wrong between an author's array and a file, each mistake with what undoes it.

The table serves both sides: the doctor undoes every mistake in turn and sees whether the images
then fit real ones better, and ``ddranking pack --undo NAME`` applies the one that did. All of them
are affine, so that the class means of a set show them as well as its images do.

Shapes: images [N, C, H, W]; nothing is written in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ddranking.errors import BadInput, UnknownName

Constants = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each channel."""


@dataclass(frozen=True)
class Mistake:
    """One way to spoil an array of images.

    Attributes:
        what: what happened to the images, in words that follow "the images are".
        make: does it, for tests and measurements.
        undo: takes it back.
    """

    what: str
    make: Callable[[np.ndarray], np.ndarray]
    undo: Callable[[np.ndarray], np.ndarray]


def _turned(quarters: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.rot90(x, quarters, (2, 3))


def _swapped(x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 1, 3, 2)


def _anti(x: np.ndarray) -> np.ndarray:
    return _turned(2)(_swapped(x))


def _reversed(axis: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.flip(x, axis)


def _reshaped(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(x.shape)


def _reshaped_back(x: np.ndarray) -> np.ndarray:
    n, c, h, w = x.shape
    return np.ascontiguousarray(x).reshape(n, h, w, c).transpose(0, 3, 1, 2)


LAYOUTS: dict[str, Mistake] = {
    "bgr": Mistake("in reversed channel order (BGR)", _reversed(1), _reversed(1)),
    "transposed": Mistake("transposed (height and width swapped)", _swapped, _swapped),
    "mirrored": Mistake("mirrored left to right", _reversed(3), _reversed(3)),
    "upside-down": Mistake("upside down", _reversed(2), _reversed(2)),
    "half-turn": Mistake("turned by 180 degrees", _turned(2), _turned(2)),
    "left-turn": Mistake("turned by 90 degrees to the left", _turned(1), _turned(-1)),
    "right-turn": Mistake("turned by 90 degrees to the right", _turned(-1), _turned(1)),
    "anti-transposed": Mistake("transposed and turned by 180 degrees", _anti, _anti),
    "reshaped": Mistake(
        "channels-last data that was reshaped, not transposed", _reshaped, _reshaped_back
    ),
}
"""Values that lie in the wrong place."""

COLOUR = ("bgr", "reshaped")
"""What cannot happen to images of one channel."""

SCALES: dict[str, Mistake] = {
    "times-255": Mistake("multiplied by 255", lambda x: x * 255.0, lambda x: x / 255.0),
    "over-255": Mistake("divided by 255 once too often", lambda x: x / 255.0, lambda x: x * 255.0),
}
"""Values of the wrong scale."""

TWICE, BYTES = "standardized-twice", "standardized-bytes"
"""Standardised once more with the same constants; standardised without dividing by 255 before."""

INVERTED = "inverted"
"""Negatives: white where black should be, ``255 - x`` in 8-bit levels."""

WHAT = {name: each.what for name, each in LAYOUTS.items()} | {
    INVERTED: "negatives (black and white exchanged)"
}
"""What happened to the images, by the mistake that :mod:`ddranking.distilled.layout` found."""

NAMES = (*LAYOUTS, *SCALES, TWICE, BYTES, INVERTED)
"""Mistakes with the values of an image that ``--undo`` knows."""

INTERLEAVED = "interleaved"
"""Image i is of class ``i mod K``, and class order was assumed: the one mistake that ``--undo``
knows of the order of images, see :func:`ddranking.distilled.meaning.in_class_order`."""


def standardize(images: np.ndarray, constants: Constants) -> np.ndarray:
    """``(x - mean) / std`` per channel."""
    mean, std = (np.asarray(each, np.float64)[:, None, None] for each in constants)
    return (images - mean) / std


def destandardize(images: np.ndarray, constants: Constants) -> np.ndarray:
    """``x * std + mean`` per channel."""
    mean, std = (np.asarray(each, np.float64)[:, None, None] for each in constants)
    return images * std + mean


def negative(images: np.ndarray, constants: Constants) -> np.ndarray:
    """Black for white: ``1 - p`` for pixels p in [0, 1], whatever they are standardised with."""
    if images.dtype == np.uint8:
        return 255 - images
    mean, std = (np.asarray(each, np.float64)[:, None, None] for each in constants)
    return (1 - 2 * mean) / std - images


def make(name: str, images: np.ndarray, constants: Constants) -> np.ndarray:
    """Images with the mistake ``name``, as :func:`undo` takes it back: for tests, measurements."""
    if name in LAYOUTS:
        return np.ascontiguousarray(LAYOUTS[name].make(images))
    if name in SCALES:
        done = SCALES[name].make(images.astype(np.float64))
    elif name == INVERTED:
        done = negative(images, constants)
    elif name == TWICE:
        done = standardize(images, constants)
    else:
        done = standardize(destandardize(images, constants) * 255, constants)
    return done.astype(images.dtype)


def undo(name: str, images: np.ndarray, constants: Constants) -> np.ndarray:
    """Images [N, C, H, W] without the mistake ``name``; floats stay of their type.

    Args:
        name: one of ``NAMES``.
        images: 8-bit ones have no scale that could be wrong.
        constants: of the standardisation, for ``TWICE``, ``BYTES`` and ``INVERTED``.

    Raises:
        UnknownName: no such mistake.
        BadInput: a mistake that cannot have happened to these images.

    >>> undo("bgr", np.arange(3.0).reshape(1, 3, 1, 1), ((0,), (1,))).ravel()
    array([2., 1., 0.])
    """
    if name not in NAMES:
        raise UnknownName("mistake", name, (*NAMES, INTERLEAVED))
    if name in COLOUR and images.shape[1] == 1:
        raise BadInput(f"--undo {name}", expected="images of several channels", got="one channel")
    if name in LAYOUTS:
        return np.ascontiguousarray(LAYOUTS[name].undo(images))
    if name == INVERTED:
        return negative(images, constants).astype(images.dtype)
    if images.dtype == np.uint8:
        if name == "times-255":
            return images  # 8-bit values mean value / 255 already
        raise BadInput(
            f"--undo {name}", expected="float values", got="8-bit images, whose scale is fixed"
        )
    if name in SCALES:
        done = SCALES[name].undo(images.astype(np.float64))
    else:
        done = destandardize(images, constants)
        if name == BYTES:
            done = standardize(done / 255, constants)
    return done.astype(images.dtype)
