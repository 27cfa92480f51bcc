"""Pictures of a distilled set, for eyes only. Clipping happens here and never in the artefact.

What is shown depends on the space: pixels as they are; standardised images with mean and std put
back; whitened ones through their fit where one is given, else each image stretched from its own
smallest value to its largest, which shows shapes and not colours.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ddranking.data.space import FittedSpace, Pixel, Space, Standardized
from ddranking.distilled.artifact import DistilledSet, as_float

#: Rows of classes and images of each class that a picture shows at most.
CLASSES_SHOWN = 20
IMAGES_SHOWN = 10
BACKGROUND = 255


def display(distilled: DistilledSet, fitted_space: FittedSpace | None = None) -> np.ndarray:
    """The images as uint8 ``[N, C, H, W]`` for looking at, clipped to 0..255.

    Args:
        distilled: the set; it is not changed.
        fitted_space: its space with the fit that whitening needs; optional.
    """
    return _display(as_float(distilled.images), distilled.card.space, fitted_space)


def grid(
    distilled: DistilledSet,
    fitted_space: FittedSpace | None = None,
    *,
    classes: int = CLASSES_SHOWN,
    per_class: int = IMAGES_SHOWN,
) -> Image.Image:
    """One row for each class, the first ``per_class`` images of each, 2 pixels apart.

    Small images are enlarged by a whole factor, so that a pixel stays a sharp square.

    Args:
        distilled: the set.
        fitted_space: as in :func:`display`.
        classes: rows at most; the first classes are shown.
        per_class: columns at most.
    """
    rows = [np.flatnonzero(distilled.labels == label)[:per_class] for label in range(classes)]
    rows = [row for row in rows[: distilled.num_classes] if len(row)]
    chosen = np.concatenate(rows)
    shown = _display(as_float(distilled.images[chosen]), distilled.card.space, fitted_space)
    size, columns, gap = shown.shape[2], max(map(len, rows)), 2
    canvas = np.full(
        (len(rows) * (size + gap) + gap, columns * (size + gap) + gap, 3), BACKGROUND, np.uint8
    )
    taken = 0
    for y, row in enumerate(rows):
        for x in range(len(row)):
            top, left = gap + y * (size + gap), gap + x * (size + gap)
            canvas[top : top + size, left : left + size] = _rgb(shown[taken])
            taken += 1
    factor = max(1, 64 // size)
    picture = Image.fromarray(canvas)
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )


def thumbnails(
    distilled: DistilledSet,
    fitted_space: FittedSpace | None = None,
    *,
    count: int = 10,
    size: int = 64,
) -> list[Image.Image]:
    """Small pictures for a page: one image of each of the first classes, in class order.

    With fewer classes than ``count`` each class gives several. A side is at most ``size`` pixels.
    """
    per_class = math.ceil(count / distilled.num_classes)
    chosen = [
        index
        for label in range(distilled.num_classes)
        for index in np.flatnonzero(distilled.labels == label)[:per_class]
    ][:count]
    shown = _display(as_float(distilled.images[chosen]), distilled.card.space, fitted_space)
    pictures = [Image.fromarray(_rgb(image)) for image in shown]
    if shown.shape[2] > size:
        pictures = [each.resize((size, size), Image.Resampling.LANCZOS) for each in pictures]
    return pictures


def _display(images: np.ndarray, space: Space, fitted_space: FittedSpace | None) -> np.ndarray:
    if fitted_space is not None:
        values = fitted_space.invert_to_pixels(images)
    elif isinstance(space, Pixel):
        values = images
    elif isinstance(space, Standardized):
        mean = np.array(space.mean, np.float32)[:, None, None]
        std = np.array(space.std, np.float32)[:, None, None]
        values = images * std + mean
    else:
        low = images.min(axis=(1, 2, 3), keepdims=True)
        span = images.max(axis=(1, 2, 3), keepdims=True) - low
        values = (images - low) / np.where(span > 0, span, 1)
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _rgb(image: np.ndarray) -> np.ndarray:
    """``[C, H, W]`` to ``[H, W, 3]``: grey repeated; of more channels the first three."""
    rgb = np.repeat(image[:1], 3, axis=0) if len(image) < 3 else image[:3]
    return np.ascontiguousarray(rgb.transpose(1, 2, 0))
