"""What can be wrong with a distilled set, one check each, in the order a person would look.

Every check raises :class:`BadDistilledSet` with one line, or returns nothing. Shape letters as in
:mod:`ddranking.distilled.artifact`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ddranking.data.space import Standardized
from ddranking.errors import BadDistilledSet

if TYPE_CHECKING:
    from ddranking.distilled.artifact import DistilledSet

IMAGE_DTYPES = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.uint8))

#: Sums of float16 or rounded probabilities stray this far from one, wrong labels much further.
PROBABILITY_TOLERANCE = 1e-3
#: A pixel written as float and read back strays this far from [0, 1].
PIXEL_TOLERANCE = 1e-3
#: No released set stores a rate above 1; above 10 it is no rate of any optimiser here.
LARGEST_RATE = 10.0


@dataclass(frozen=True)
class Frame:
    """What a dataset asks of images: number of classes, of channels, and size; None is anything."""

    num_classes: int
    channels: int | None = None
    image_size: int | None = None


def check(distilled: DistilledSet, frame: Frame) -> None:
    """Run every check of ``CHECKS`` against the facts of the set's dataset."""
    for one in CHECKS:
        one(distilled, frame)


def images_fit(distilled: DistilledSet, frame: Frame) -> None:
    """Type, number of dimensions, channels and size."""
    images = distilled.images
    if images.dtype not in IMAGE_DTYPES:
        raise BadDistilledSet("images", expected="float32, float16 or uint8", got=images.dtype.name)
    if images.ndim != 4 or len(images) == 0:
        raise BadDistilledSet(
            "images", expected="shape [N, C, H, W] with N > 0", got=str(list(images.shape))
        )
    name, size = distilled.card.dataset, frame.image_size
    if distilled.num_classes != frame.num_classes:
        raise BadDistilledSet(
            "num_classes",
            expected=f"{frame.num_classes} for {name}",
            got=str(distilled.num_classes),
        )
    if frame.channels is not None and images.shape[1] != frame.channels:
        last = images.shape[-1] == frame.channels
        raise BadDistilledSet(
            "images",
            expected=f"{frame.channels} channel(s) for {name}",
            got=f"{images.shape[1]} in shape {list(images.shape)}",
            hint="The channels seem to come last: transpose to [N, C, H, W]." if last else "",
        )
    if images.shape[2] != images.shape[3] or size not in (None, images.shape[2]):
        raise BadDistilledSet(
            "images",
            expected=f"{size}x{size} pixels for {name}" if size else "square images",
            got=f"{images.shape[2]}x{images.shape[3]}",
            hint="Is --dataset right?",
        )


def pixels_are_finite(distilled: DistilledSet, frame: Frame) -> None:
    """No NaN and no infinity; says how many and where the first one is."""
    require_finite(distilled.images)


def require_finite(images: np.ndarray) -> None:
    """As :func:`pixels_are_finite`, for images ``[N, C, H, W]`` that are in no set yet."""
    if images.dtype == np.uint8:
        return
    bad = ~np.isfinite(images)
    count = int(bad.sum())
    if count:
        n, c, h, w = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
        raise BadDistilledSet(
            "images",
            expected="finite pixels",
            got=f"{count} NaN or infinite, the first in image {n}, channel {c}, row {h}, "
            f"column {w}",
        )


def pixels_fit_space(distilled: DistilledSet, frame: Frame) -> None:
    """uint8 is pixels; pixel floats lie in [0, 1]. Other spaces have no bounds."""
    images, kind = distilled.images, distilled.card.space.kind
    if images.dtype == np.uint8:
        if kind != "pixel":
            raise BadDistilledSet(
                "images",
                expected=f"float values in {kind} space",
                got="uint8",
                hint="8-bit images are pixels: use --space pixel.",
            )
        return
    if kind != "pixel":
        return
    low, high = float(images.min()), float(images.max())
    if low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE:
        return
    if low >= 0 and 2 < high <= 255:
        hint = "These look like 0..255 values: store them as uint8, or divide by 255."
    elif low >= -1 - PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE:
        hint = (
            "Pixels stored in [-1, 1] are --space standardized:half; pixels that left [0, 1] while "
            "being optimised are --space standardized:0/1."
        )
    else:
        hint = (
            "If they are standardised use --space standardized; if they are pixels that left "
            "[0, 1] while being optimised, use --space standardized:0/1."
        )
    raise BadDistilledSet(
        "images",
        expected="values in [0, 1] in pixel space",
        got=f"{low:.4g} to {high:.4g}",
        hint=hint,
    )


def constants_fit(distilled: DistilledSet, frame: Frame) -> None:
    """A standardised space has one mean and one std for each channel."""
    space, channels = distilled.card.space, distilled.images.shape[1]
    if isinstance(space, Standardized) and len(space.mean) != channels:
        raise BadDistilledSet(
            "space", expected=f"{channels} mean(s) and std(s)", got=str(len(space.mean))
        )


def labels_fit(distilled: DistilledSet, frame: Frame) -> None:
    """int64 ``[N]`` in [0, K)."""
    labels, many = distilled.labels, len(distilled.images)
    if labels.dtype != np.int64:
        raise BadDistilledSet("labels", expected="int64", got=labels.dtype.name)
    if labels.shape != (many,):
        raise BadDistilledSet(
            "labels", expected=f"one for each of {many} images", got=f"shape {list(labels.shape)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= frame.num_classes:
        raise BadDistilledSet(
            "labels",
            expected=f"0 to {frame.num_classes - 1} for {distilled.card.dataset}",
            got=f"{low} to {high}",
            hint="Labels that start at 1 must be lowered by one." if low == 1 else "",
        )


def counts_fit(distilled: DistilledSet, frame: Frame) -> None:
    """``ipc`` images of each class, or an unbalanced set that is declared and no larger."""
    card, classes = distilled.card, frame.num_classes
    many = len(distilled.labels)
    if not card.balanced:
        # An unbalanced set is compared with ipc random images of each class, so it may not be
        # larger than they are together.
        if many > card.ipc * classes:
            raise BadDistilledSet(
                "images",
                expected=f"at most {card.ipc * classes} for ipc {card.ipc} and {classes} classes",
                got=str(many),
            )
        return
    counts = np.bincount(distilled.labels, minlength=classes)
    wrong = np.flatnonzero(counts != card.ipc)
    if len(wrong):
        worst = int(wrong[0])
        raise BadDistilledSet(
            "labels",
            expected=f"{card.ipc} image(s) of each of {classes} classes",
            got=f"{many} images, {len(wrong)} class(es) with another count, the first class "
            f"{worst} with {int(counts[worst])}",
            hint="Correct --ipc, or declare the set unbalanced.",
        )


def order_fits(distilled: DistilledSet, frame: Frame) -> None:
    """Labels never decrease unless the card says that they do; named classes are all named."""
    card = distilled.card
    if card.sorted and bool((np.diff(distilled.labels) < 0).any()):
        first = int(np.flatnonzero(np.diff(distilled.labels) < 0)[0]) + 1
        raise BadDistilledSet(
            "labels",
            expected="labels in class order",
            got=f"class {int(distilled.labels[first])} after a higher one at image {first}",
            hint="Sort the set by class, or declare sorted: false in its card.",
        )
    if card.class_order is not None and len(card.class_order) != frame.num_classes:
        raise BadDistilledSet(
            "class_order",
            expected=f"{frame.num_classes} names for {card.dataset}",
            got=str(len(card.class_order)),
        )


def soft_labels_fit(distilled: DistilledSet, frame: Frame) -> None:
    """Type, shape and, for probabilities, values in [0, 1] that sum to one for every image."""
    soft, kind = distilled.soft_labels, distilled.card.soft_label_kind
    if soft is None:
        if kind is not None:
            raise BadDistilledSet(
                "soft_label_kind", expected="none, as there are no soft labels", got=kind
            )
        return
    if kind is None:
        raise BadDistilledSet(
            "soft_labels",
            expected="a declaration of what they are",
            got="none",
            hint="Add --soft-label-kind logits or --soft-label-kind probabilities.",
        )
    if soft.dtype != np.float32:
        raise BadDistilledSet("soft_labels", expected="float32", got=soft.dtype.name)
    many, classes = len(distilled.images), frame.num_classes
    if (
        soft.ndim not in (2, 3)
        or soft.shape[0] != many
        or soft.shape[-1] != classes
        or not (soft.size)
    ):
        raise BadDistilledSet(
            "soft_labels",
            expected=f"shape [{many}, {classes}] or [{many}, V, {classes}]",
            got=str(list(soft.shape)),
        )
    bad = ~np.isfinite(soft)
    if bad.any():
        first = int(np.argwhere(bad)[0][0])
        raise BadDistilledSet(
            "soft_labels",
            expected="finite numbers",
            got=f"{int(bad.sum())} NaN or infinite, the first for image {first}",
        )
    if kind == "probabilities":
        _probabilities_fit(soft)


def _probabilities_fit(soft: np.ndarray) -> None:
    off = np.abs(soft.sum(axis=-1, dtype=np.float64) - 1)
    worst = np.unravel_index(int(off.argmax()), off.shape)
    row = soft[worst].astype(np.float64)
    # A row may sum to one with values outside [0, 1] (regression targets do): look at both.
    outside = np.maximum(-soft, soft - 1).max(axis=-1)
    if off[worst] <= PROBABILITY_TOLERANCE:
        worst = np.unravel_index(int(outside.argmax()), outside.shape)
        row = soft[worst].astype(np.float64)
        if outside[worst] <= PROBABILITY_TOLERANCE:
            return
    where = f"image {int(worst[0])}" + (f", view {int(worst[1])}" if len(worst) > 1 else "")
    percent = math.isclose(float(row.sum()), 100, rel_tol=1e-2) and row.min() >= 0
    raise BadDistilledSet(
        "soft_labels",
        expected="probabilities: values in [0, 1] that sum to one",
        got=f"{where} with sum {row.sum():.4g} and values {row.min():.4g} to {row.max():.4g}, "
        "the worst",
        hint="This looks like a percentage: divide by 100."
        if percent
        else "If they are logits, declare --soft-label-kind logits.",
    )


def rate_fits(distilled: DistilledSet, frame: Frame) -> None:
    """A stored learning rate is finite, above 0 and at most ``LARGEST_RATE``."""
    rate = distilled.learning_rate
    if rate is None or (math.isfinite(rate) and 0 < rate <= LARGEST_RATE):
        return
    raise BadDistilledSet(
        "learning_rate",
        expected=f"a finite number above 0 and at most {LARGEST_RATE:g}",
        got=repr(rate),
        hint="This looks like a percentage: write 0.01 for 1 %."
        if math.isfinite(rate) and rate > LARGEST_RATE
        else "",
    )


CHECKS = (
    images_fit,
    pixels_are_finite,
    pixels_fit_space,
    constants_fit,
    labels_fit,
    counts_fit,
    order_fits,
    soft_labels_fit,
    rate_fits,
)
