"""From the images of a source to those of a set: cut apart, put right, in their layout and space.

Every step gives its images together with notes, the words for the person who packs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ddranking.data.catalog import DatasetFacts
from ddranking.data.space import Pixel, Space, Standardized, Zca, standardize
from ddranking.distilled.declared import SPILL, PackOptions, shown_numbers
from ddranking.distilled.faults import PIXEL_TOLERANCE
from ddranking.distilled.meaning import (
    Labels,
    by_class,
    in_class_order,
    looks_like_bytes,
    nchw,
    plain_type,
)
from ddranking.distilled.mistakes import INTERLEAVED, INVERTED, Constants, undo
from ddranking.distilled.partition import cut
from ddranking.distilled.released import Released
from ddranking.errors import BadDistilledSet, BadFile, BadInput

#: Share of values in [0, 1] from which on images are pixels that were optimised without bounds.
INSIDE = 0.8
#: Bytes of images after cutting.
MOST_CUT = 4 << 30


def no_snapshots(released: Released, known: DatasetFacts, ipc: int | None) -> None:
    """MTT's code saves the whole set every few thousand steps: those files are no parts of one."""
    if len(released.parts) < 2:
        return
    whole = ipc and min(released.parts) >= ipc * known.num_classes
    if ipc is None or whole:
        raise BadDistilledSet(
            "source",
            expected="parts that make one set together",
            got=f"{len(released.parts)} files of {released.parts[0]} images, each a whole set"
            if whole
            else f"{len(released.parts)} files that may each be a whole set",
            hint="Name one images file and its labels." if whole else "Pass --ipc.",
        )


def final_images(
    released: Released, known: DatasetFacts, options: PackOptions
) -> tuple[Released, list[str]]:
    """The images in their final layout and type."""
    told = len(released.notes)
    released = by_class(released, known)
    images, notes = nchw(array_of(released), known)
    images, more = plain_type(images)
    size = images.shape[-1]
    if images.dtype == np.uint8 and size > known.image_size and released.card is None:
        raise BadDistilledSet(
            "pictures",
            expected=f"{known.image_size}x{known.image_size} pixels for {known.name}",
            got=f"{images.shape[-1]}x{images.shape[-2]}",
            hint="Is --dataset right? If so, resize them as the method's own evaluation does and "
            "save them as PNG: packing changes no pixel.",
        )
    asked = options.space
    pixel = asked == "pixel" or isinstance(asked, Pixel) or asked == {"kind": "pixel"}
    if pixel and looks_like_bytes(images):
        more.append("images hold whole numbers from 0 to 255: stored as uint8")
        images = images.astype(np.uint8)
    notes = [*released.notes[told:], *notes, *more]
    return replace(released, images=np.ascontiguousarray(images)), notes


def array_of(released: Released) -> np.ndarray:
    images = released.images
    if images is None or images.ndim == 0 or len(images) == 0:
        raise BadDistilledSet(
            "images", expected="at least one", got="none" if images is None else "an empty array"
        )
    return images


def cut_apart(
    released: Released, known: DatasetFacts, ipc: int | None, factor: int
) -> tuple[Released, int | None, list[str]]:
    """Images and labels after cutting, the new number of images per class, and notes."""
    if factor == 1:
        return released, ipc, []
    images = array_of(released)
    parts = factor * factor
    if images.nbytes * parts > MOST_CUT:
        raise BadFile("images", expected=f"at most {MOST_CUT} bytes after cutting", got="more")
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    made = replace(
        released,
        images=np.ascontiguousarray(cut(images, factor)),
        labels=None if released.labels is None else np.repeat(released.labels, parts, axis=0),
        soft_labels=None
        if released.soft_labels is None
        else np.repeat(released.soft_labels, parts, axis=0),
    )
    stored = len(images) // known.num_classes
    note = (
        f"each image cut into {factor} x {factor}: {len(images)} stored images became "
        f"{len(images) * parts}; random images are compared at that number, not at the {stored} "
        "per class that are stored"
    )
    return made, None if ipc is None else ipc * parts, [note]


def undone(
    images: np.ndarray, names: Sequence[str], space: Space, known: DatasetFacts, labels: Labels
) -> tuple[np.ndarray, list[str]]:
    """Images without the mistakes that a person names, undone in the given order."""
    for name in names:
        if name == INTERLEAVED:
            images = in_class_order(images, labels, known)
        elif name == INVERTED and isinstance(space, Zca):
            raise BadInput(
                f"--undo {name}",
                expected="pixels or standardized images",
                got="whitened ones, whose black and white cannot be told",
            )
        else:
            images = undo(name, images, _constants(name, space, known))
    return images, [f"undone, as asked: {name}" for name in names]


def _constants(name: str, space: Space, known: DatasetFacts) -> Constants:
    """Those that the mistake ``name`` was made with; those of pixels for their inversion."""
    if isinstance(space, Standardized):
        return space.mean, space.std
    channels = known.channels
    return ((0.0,) * channels, (1.0,) * channels) if name == INVERTED else (known.mean, known.std)


def room_for_pixels(
    space: str | Mapping[str, Any] | Space, images: np.ndarray
) -> tuple[str | Mapping[str, Any] | Space, list[str]]:
    """Pixels that were optimised without bounds, as a space without bounds and the same numbers."""
    pixel = space == "pixel" or isinstance(space, Pixel) or space == {"kind": "pixel"}
    if not pixel or images.dtype == np.uint8:
        return space, []
    low, high = float(images.min()), float(images.max())
    inside = float(((images >= 0) & (images <= 1)).mean())
    rounding = low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE
    if rounding or low < SPILL[0] or high > SPILL[1] or inside < INSIDE:
        return space, []
    channels = images.shape[1]
    words = f"pixels from {low:.4g} to {high:.4g}, {inside:.0%} of them in [0, 1]"
    return Standardized(mean=(0.0,) * channels, std=(1.0,) * channels), [
        f"space: {words}; kept as they are, as standardized:0/1 (mean 0 and std 1)"
    ]


def standardized(images: np.ndarray, space: Space) -> tuple[np.ndarray, list[str]]:
    """8-bit pixels in the standardised space that was asked for; other images as they are.

    What a method saves as pictures it often trains on standardised, as RDED with ImageNet's
    constants: real and random images are then shown to the network in that space, too.
    """
    if images.dtype != np.uint8 or not isinstance(space, Standardized):
        return images, []
    if len(space.mean) != images.shape[1]:
        return images, []  # an error that the set's validation words
    constants = f"mean {shown_numbers(space.mean)}, std {shown_numbers(space.std)}"
    return standardize(images, space), [f"8-bit pixels were standardised ({constants}), as asked"]
