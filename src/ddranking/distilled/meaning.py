"""What raw released arrays mean: the layout and type of images, and the kind of labels.

Shape letters: N images, C channels, H height, W width, K classes, V views per image.
Every function returns what it made together with notes, the words for the person who packs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ddranking.data.catalog import DATASETS, DatasetFacts
from ddranking.distilled.released import Released
from ddranking.errors import BadDistilledSet, BadInput


@dataclass(frozen=True)
class Labels:
    """Hard labels int64 ``[N]``, soft ones float32 ``[N, K]`` or ``[N, V, K]`` or None, notes.

    ``derived``: the hard labels are the largest of the soft ones, as the source has no others.
    """

    hard: np.ndarray
    soft: np.ndarray | None
    notes: tuple[str, ...]
    derived: bool = False


def by_class(released: Released, known: DatasetFacts) -> Released:
    """Images (and labels) out of ``[K, ipc, C, H, W]``, ``[N, ...]`` as everything else takes them.

    Channels may be last, and missing where the dataset has one. Images that lie otherwise are left
    as they are.
    """
    images = released.images
    if images is None or images.ndim < 4 or images.shape[0] != known.num_classes:
        return released
    if images.shape[2:] not in _layouts(known) or images.shape[1:] in _layouts(known):
        return released
    classes, ipc = images.shape[:2]
    labels, soft = (
        each.reshape(classes * ipc, *each.shape[2:])
        if each is not None and each.shape[:2] == (classes, ipc) and each.ndim >= least
        else each
        for each, least in ((released.labels, 2), (released.soft_labels, 3))
    )
    made = replace(
        released, images=images.reshape(-1, *images.shape[2:]), labels=labels, soft_labels=soft
    )
    return made.noting(f"images {list(images.shape)}: {classes} classes of {ipc} images")


def nchw(images: np.ndarray, known: DatasetFacts) -> tuple[np.ndarray, list[str]]:
    """``[N, C, H, W]`` out of ``[N, H, W, C]``, ``[N, H, W]`` (grey) or itself.

    Which axis holds the channels is read from the dataset's number of channels.

    Raises:
        BadDistilledSet: another number of dimensions.
    """
    if images.ndim == 3 and known.channels == 1:
        return images[:, None], [f"images {list(images.shape)} have one channel, made explicit"]
    shape = (known.channels, known.image_size, known.image_size)
    if images.ndim == 2 and images.shape[1] == math.prod(shape):
        return images.reshape(-1, *shape), [
            f"images {list(images.shape)} are flat, taken as {list(shape)} each"
            + (" (--undo reshaped if channels were last)" if known.channels > 1 else "")
        ]
    if images.ndim != 4:
        raise BadDistilledSet(
            "images",
            expected=f"shape [N, {known.channels}, {known.image_size}, {known.image_size}] "
            f"for {known.name}",
            got=str(list(images.shape)),
        )
    if images.shape[1] != known.channels and images.shape[3] == known.channels:
        turned = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return turned, [f"images {list(images.shape)} have their channels last, moved to the front"]
    return images, []


def plain_type(images: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Images as float32, float16 or uint8, from any type that loses nothing by it.

    Raises:
        BadDistilledSet: numbers of another kind, or integers outside 0..255.
    """
    if images.dtype in (np.dtype(np.float32), np.dtype(np.float16), np.dtype(np.uint8)):
        return images, []
    if images.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what overflows is found and reported as infinite
            return images.astype(np.float32), [
                f"images stored as {images.dtype.name} became float32"
            ]
    if images.dtype.kind in "iu" and images.size and images.min() >= 0 and images.max() <= 255:
        return images.astype(np.uint8), [f"images stored as {images.dtype.name} became uint8"]
    raise BadDistilledSet("images", expected="floats, or integers in 0..255", got=images.dtype.name)


def looks_like_bytes(images: np.ndarray) -> bool:
    """Float images that hold 8-bit pixel values: whole numbers in 0..255, some above one."""
    if images.dtype == np.uint8 or images.size == 0:
        return False
    low, high = float(images.min()), float(images.max())
    return low >= 0 and 1 < high <= 255 and bool((images == np.rint(images)).all())


def read_labels(
    released: Released, known: DatasetFacts, ipc: int | None, *, drop_soft: bool
) -> Labels:
    """Sort out hard and soft labels, or take class order where there are none.

    Float labels that are whole numbers and rows with a single one are hard labels. Without hard
    labels an image's class is the largest of its (mean) soft label. Without any labels the images
    are taken as ``ipc`` of class 0, then ``ipc`` of class 1, and so on.

    Raises:
        BadDistilledSet: numbers of images and labels that differ, labels that are neither whole
            numbers nor rows of K, or no labels and no way to tell the images per class.
    """
    images, raw, soft = released.images, released.labels, released.soft_labels
    many = 0 if images is None else len(images)
    notes: list[str] = []
    hard, derived = None, False
    if raw is not None:
        raw = raw[:, 0] if raw.ndim == 2 and raw.shape[1] == 1 and known.num_classes > 1 else raw
        if raw.ndim == 1:
            hard, more = _whole_numbers(raw)
            notes += more
        elif soft is not None:
            raise BadDistilledSet(
                "labels",
                expected=f"one number an image beside soft labels {list(soft.shape)}",
                got=f"shape {list(raw.shape)}",
            )
        else:
            soft = raw
    if soft is not None:
        soft = _soft(soft, many, known)
        if soft.ndim == 2 and _one_hot(soft):
            notes.append("labels are one-hot rows: taken as hard labels")
            hard, soft = (soft.argmax(axis=1) if hard is None else hard), None
        elif hard is None:
            mean = soft.mean(axis=1) if soft.ndim == 3 else soft
            hard, derived = mean.argmax(axis=1), True
            notes.append("class of each image: the largest of its soft label")
    if soft is not None and drop_soft:
        notes.append(f"soft labels {list(soft.shape)} were left out, as asked")
        soft = None
    if hard is None:
        hard, more = _class_order(many, known, ipc, released.grid)
        notes += more
    if len(hard) != many:
        raise BadDistilledSet(
            "labels", expected=f"one for each of {many} images", got=str(len(hard))
        )
    return Labels(hard.astype(np.int64), soft, tuple(notes), derived)


def renumber(
    labels: Labels, classes: Sequence[int], known: DatasetFacts, *, columns: bool = True
) -> Labels:
    """Labels of a set that numbers the classes otherwise: label j is class ``classes[j]``.

    Columns of soft labels move likewise, unless told not to.

    Raises:
        BadInput: not every class once.
    """
    _each_once("--classes", "label", classes, known)
    if labels.hard.min() < 0 or labels.hard.max() >= known.num_classes:
        return labels  # an error that the set's validation words
    moved = _in_order(labels.soft, classes) if columns and labels.soft is not None else labels.soft
    return replace(labels, hard=np.asarray(classes, np.int64)[labels.hard], soft=moved)


def reorder_columns(labels: Labels, classes: Sequence[int], known: DatasetFacts) -> Labels:
    """Soft labels that number the classes otherwise than the hard ones: column j is ``classes[j]``.

    Raises:
        BadInput: not every class once, no soft labels, or no hard ones beside them.
    """
    _each_once("--soft-classes", "column of soft labels", classes, known)
    if labels.soft is None or labels.derived:
        raise BadInput(
            "--soft-classes",
            expected="soft labels, and hard ones that number the classes rightly",
            got="no soft labels" if labels.soft is None else "no hard labels",
            hint="" if labels.soft is None else "Pass --classes: classes are read from columns.",
        )
    return replace(labels, soft=_in_order(labels.soft, classes))


def _in_order(soft: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Soft labels whose column ``classes[j]`` is what column j was."""
    return np.ascontiguousarray(soft[..., np.argsort(classes)])


def _each_once(flag: str, what: str, classes: Sequence[int], known: DatasetFacts) -> None:
    if sorted(classes) != list(range(known.num_classes)):
        raise BadInput(
            flag,
            expected=f"each of 0 to {known.num_classes - 1} once, the true class of each {what}",
            got=f"{len(classes)} numbers: " + ",".join(map(str, list(classes)[:12])),
        )


def reordered(names: tuple[str, ...] | None, classes: Sequence[int]) -> tuple[str, ...] | None:
    """Names of classes after :func:`renumber`: name j is that of class ``classes[j]``."""
    if names is None or len(names) != len(classes):
        return names
    return tuple(names[int(j)] for j in np.argsort(classes))


def in_class_order(images: np.ndarray, labels: Labels, known: DatasetFacts) -> np.ndarray:
    """Images in class order out of images whose classes take turns (0, 1, ..., K-1, 0, 1, ...).

    Raises:
        BadInput: labels that are not in class order, or soft labels: these came with the images.
    """
    many, classes = len(images), known.num_classes
    right = many % classes == 0 and np.array_equal(
        labels.hard, np.repeat(np.arange(classes), many // classes)
    )
    if labels.soft is not None or not right:
        raise BadInput(
            "--undo interleaved",
            expected="images that were taken in class order, as many of each class",
            got="soft labels" if labels.soft is not None else "labels of another order",
        )
    turned = images.reshape(many // classes, classes, *images.shape[1:])
    return np.ascontiguousarray(turned.swapaxes(0, 1)).reshape(images.shape)


def dataset_of_shape(released: Released) -> DatasetFacts:
    """The one dataset of the catalogue that images and labels of these shapes can belong to.

    Raises:
        BadDistilledSet: none, or more than one, with the flag to pass.
    """
    images = released.images
    shape = () if images is None else images.shape
    classes = _class_count(released)
    fitting = [
        each
        for each in DATASETS.values()
        if _fits(shape, each) and (classes is None or classes == each.num_classes)
    ]
    if len(fitting) == 1:
        return fitting[0]
    names = [each.name for each in fitting]
    raise BadDistilledSet(
        "dataset",
        expected="a name, as neither file names nor shapes tell it",
        got=f"images {list(shape)}" + (f" of {classes} classes" if classes else ""),
        hint=f"Pass --dataset {' or '.join(names[:6])}." if names else "Pass --dataset NAME.",
    )


def _fits(shape: tuple[int, ...], known: DatasetFacts) -> bool:
    """Whether images of this shape are ``[N, ...]`` or ``[K, ipc, ...]`` of the dataset."""
    layouts = _layouts(known)
    whole = len(shape) > 3 and shape[0] == known.num_classes and shape[2:] in layouts
    return shape[1:] in layouts or whole


def _layouts(known: DatasetFacts) -> set[tuple[int, ...]]:
    size, channels = known.image_size, known.channels
    layouts = {(channels, size, size), (size, size, channels)}
    return layouts | {(size, size)} if channels == 1 else layouts


def _class_count(released: Released) -> int | None:
    for soft in (released.soft_labels, released.labels):
        if soft is not None and soft.ndim in (2, 3) and soft.shape[-1] > 1:
            return soft.shape[-1]
    if released.labels is not None and released.labels.ndim == 1 and released.labels.size:
        return len(np.unique(released.labels))
    return released.grid[0] if released.grid else None


def _whole_numbers(raw: np.ndarray) -> tuple[np.ndarray, list[str]]:
    if raw.dtype.kind in "iu":
        return raw, []
    if raw.dtype.kind != "f" or not np.isfinite(raw).all() or not (raw == np.rint(raw)).all():
        raise BadDistilledSet("labels", expected="whole numbers", got=f"{raw.dtype.name} values")
    if raw.size and np.abs(raw).max() > 2**31:
        raise BadDistilledSet("labels", expected="class numbers", got=f"up to {raw.max():.4g}")
    return raw.astype(np.int64), [f"labels stored as {raw.dtype.name} are whole numbers"]


def _soft(soft: np.ndarray, many: int, known: DatasetFacts) -> np.ndarray:
    fits = soft.ndim in (2, 3) and len(soft) == many and soft.shape[-1] == known.num_classes
    if not fits or 0 in soft.shape or soft.dtype.kind not in "fiub":
        raise BadDistilledSet(
            "soft labels",
            expected=f"[{many}, {known.num_classes}] or [{many}, V, {known.num_classes}] "
            f"for {known.name}",
            got=f"{soft.dtype.name} {list(soft.shape)}",
        )
    with np.errstate(over="ignore"):
        return soft.astype(np.float32)


def _one_hot(soft: np.ndarray) -> bool:
    return bool(((soft == 0) | (soft == 1)).all() and (soft.sum(axis=1) == 1).all())


def _class_order(
    many: int, known: DatasetFacts, ipc: int | None, grid: tuple[int, int] | None
) -> tuple[np.ndarray, list[str]]:
    if ipc is None and many % known.num_classes == 0:
        ipc = many // known.num_classes
    if not ipc or ipc * known.num_classes != many:
        wanted = f"{ipc} of each of" if ipc else "the same number for each of"
        raise BadDistilledSet(
            "images",
            expected=f"{wanted} {known.num_classes} classes of {known.name}, as no labels say more",
            got=f"{many} images",
            hint="Correct --ipc or --dataset, or give the labels too.",
        )
    hard = np.repeat(np.arange(known.num_classes), ipc)
    if grid == (known.num_classes, ipc):
        return hard, ["labels: row r of the grid is class r"]
    if grid == (ipc, known.num_classes):
        return hard, [
            f"labels: the grid is read row by row in class order, {ipc} a class; --undo "
            "interleaved if column c is class c"
        ]
    return hard, [f"no labels in the source: images taken in class order, {ipc} a class"]
