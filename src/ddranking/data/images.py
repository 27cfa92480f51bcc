"""Images with labels, and a dataset of two halves of them.

Shapes: N images, C channels, H height, W width. Pixels are uint8 as they were published; labels
are int64 in [0, K). Nothing here knows files, colour spaces or PyTorch.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddranking.data.digest import digest_of_pixels
from ddranking.data.draws import Split, random_subset, stratified_split
from ddranking.errors import BadInput

Constants = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of pixels scaled to [0, 1]."""

MIN_CLASSES, MAX_CLASSES = 2, 1000

MAPPED_BYTES = 64 << 20
"""What a process may hold of one memory map; CIFAR's test images are 31 MB."""

LARGE_VALUES = 16_384
"""An image of more values is summed alone: 4,096 of 224 px would be 5 GB in float64."""


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images. ``pixels`` uint8 ``[N, C, H, W]`` (may be a memory map), ``labels`` ``[N]``.

    Raises:
        BadInput: wrong dtype or shape, or a negative label.
    """

    pixels: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        _check_pixels("pixels", self.pixels)
        _check_labels("labels", self.labels, len(self.pixels))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """One image's (C, H, W)."""
        channels, height, width = self.pixels.shape[1:]
        return channels, height, width

    def take(self, indices: np.ndarray) -> Images:
        """The images at ``indices``, in that order, copied into memory."""
        return Images(read_rows(self.pixels, indices), np.asarray(self.labels[indices]))

    def __reduce__(self):
        """A memory map travels to another process as its file's name, never as its content."""
        return _images, (_portable(self.pixels), _portable(self.labels))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Images):
            return NotImplemented
        return np.array_equal(self.labels, other.labels) and np.array_equal(
            self.pixels, other.pixels
        )


@dataclass(frozen=True)
class Dataset:
    """A dataset as everything above this room sees it: train and test images, and what they are.

    ``mean`` and ``std`` are the constants the field standardises with, not statistics of these
    pixels; ``lineages`` names further constants in use (see :mod:`ddranking.data.catalog`).
    ``title`` says which copy it is, as in "CIFAR-10 (JPEG copy)". ``digest`` is "sha256:..." of
    the encoded images and labels; see
    :mod:`ddranking.data.digest`.
    """

    name: str
    title: str
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    train: Images
    test: Images
    digest: str
    lineages: Mapping[str, Constants] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.name, self.digest))

    @property
    def channels(self) -> int:
        return self.train.shape[0]

    @property
    def image_size(self) -> int:
        """Height and width in pixels: images are square."""
        return self.train.shape[1]

    @classmethod
    def from_arrays(
        cls,
        name: str,
        train_pixels: np.ndarray,
        train_labels: np.ndarray,
        test_pixels: np.ndarray,
        test_labels: np.ndarray,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        title: str = "",
        class_names: Sequence[str] = (),
    ) -> Dataset:
        """A dataset of a user's own arrays, checked and digested.

        Args:
            name: how records and tracks call it.
            train_pixels: uint8 ``[N, C, S, S]``; ``[N, S, S]`` is read as one channel.
            train_labels: any integers ``[N]``, in [0, K) with every class present.
            test_pixels: as ``train_pixels``, same C and S.
            test_labels: as ``train_labels``; no class that training images lack.
            mean: per channel, of pixels / 255; measured on the training images when left out.
            std: likewise.
            title: what people read; ``name`` when left out.
            class_names: K names, or none.

        Raises:
            BadInput: what is wrong with which array.

        >>> pixels = np.zeros((4, 1, 8, 8), np.uint8)
        >>> Dataset.from_arrays("mine", pixels, [0, 1, 0, 1], pixels, [0, 1, 0, 1]).num_classes
        2
        """
        halves = {}
        given = (("train", train_pixels, train_labels), ("test", test_pixels, test_labels))
        for half, pixels, labels in given:
            pixels = np.asarray(pixels)
            pixels = pixels[:, None] if pixels.ndim == 3 else pixels
            _check_pixels(f"{half}_pixels", pixels)
            labels = _as_int64(f"{half}_labels", labels)
            _check_labels(f"{half}_labels", labels, len(pixels))
            halves[half] = Images(np.ascontiguousarray(pixels), labels)
        train, test = halves["train"], halves["test"]
        num_classes = check_halves(train, test, class_names=tuple(class_names))
        measured = channel_constants(train.pixels) if mean is None or std is None else None
        return cls(
            name=name,
            title=title or name,
            num_classes=num_classes,
            mean=_constants("mean", mean, measured and measured[0], train.shape[0]),
            std=_constants("std", std, measured and measured[1], train.shape[0]),
            class_names=tuple(class_names),
            train=train,
            test=test,
            digest=digest_of_pixels((train.pixels, train.labels), (test.pixels, test.labels)),
        )


def read_rows(array: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """``array[rows]``, copied; of a large read-only memory map no page stays in this process.

    The system keeps what was read as long as it has room for it, once for all processes. Pages of
    a map of at most ``MAPPED_BYTES`` stay, as asking for them anew takes longer than copying them.
    """
    if isinstance(rows, slice):
        chosen = np.array(array[rows], order="C")
    else:
        chosen = np.take(np.asarray(array), rows, axis=0)
    if array.nbytes > MAPPED_BYTES and not array.flags.writeable:
        _let_go(array)
    return chosen


def _let_go(array: np.ndarray) -> None:
    """Gives the pages of a memory map back; Windows has no such call."""
    source: object = array
    while isinstance(source, np.ndarray):
        source = source.base
    if isinstance(source, mmap.mmap) and hasattr(source, "madvise"):
        source.madvise(mmap.MADV_DONTNEED)


def channel_constants(pixels: np.ndarray, chunk: int | None = None) -> Constants:
    """Mean and standard deviation per channel of ``pixels / 255``, over all N, H, W.

    ``chunk`` images are summed at a time: 4,096, or one where images are larger than 16,384 values.
    """
    chunk = chunk or (4096 if pixels[0].size <= LARGE_VALUES else 1)
    total = np.zeros(pixels.shape[1])
    squares = np.zeros(pixels.shape[1])
    for start in range(0, len(pixels), chunk):
        block = read_rows(pixels, slice(start, start + chunk)).astype(np.float64) / 255
        total += block.sum(axis=(0, 2, 3))
        squares += np.square(block).sum(axis=(0, 2, 3))
    values = len(pixels) * pixels.shape[2] * pixels.shape[3]
    mean = total / values
    std = np.sqrt(np.maximum(squares / values - mean**2, 0))
    return tuple(map(float, mean)), tuple(map(float, std))


def check_halves(
    train: Images, test: Images, *, num_classes: int | None = None, class_names: Sequence[str] = ()
) -> int:
    """Check that two halves make one dataset; return its number of classes.

    Raises:
        BadInput: shapes differ or are not square, labels out of range, a class without images.
    """
    if train.shape != test.shape or train.shape[1] != train.shape[2]:
        raise BadInput(
            "image shape",
            expected="square images of one size in train and test",
            got=f"{train.shape} and {test.shape} (channels, height, width)",
        )
    count = num_classes or len(class_names) or int(train.labels.max()) + 1
    if not MIN_CLASSES <= count <= MAX_CLASSES:
        raise BadInput("classes", expected=f"{MIN_CLASSES} to {MAX_CLASSES:,}", got=str(count))
    for half, labels in (("train", train.labels), ("test", test.labels)):
        if labels.max() >= count:
            raise BadInput(
                f"{half} labels", expected=f"0 to {count - 1}", got=f"the label {labels.max()}"
            )
    present = np.bincount(train.labels, minlength=count)
    if not present.all():
        raise BadInput(
            "train labels",
            expected=f"images of every class from 0 to {count - 1}",
            got=f"none of class {int(np.flatnonzero(present == 0)[0])}",
        )
    if class_names and len(class_names) != count:
        raise BadInput("class names", expected=f"{count} names", got=str(len(class_names)))
    return count


def _check_pixels(what: str, pixels: np.ndarray) -> None:
    if pixels.dtype != np.uint8:
        raise BadInput(
            what,
            expected="uint8 in [0, 255]",
            got=f"dtype {pixels.dtype}",
            hint="Convert values in [0, 1] with (255 * x).round().astype('uint8').",
        )
    if pixels.ndim != 4 or 0 in pixels.shape:
        raise BadInput(
            what, expected="an array [N, C, H, W] with N >= 1", got=f"shape {list(pixels.shape)}"
        )


def _check_labels(what: str, labels: np.ndarray, count: int) -> None:
    if labels.dtype != np.int64:
        raise BadInput(what, expected="int64", got=f"dtype {labels.dtype}")
    if labels.shape != (count,):
        raise BadInput(what, expected=f"{count} labels, one per image", got=str(labels.shape))
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise BadInput(what, expected=f"0 to {MAX_CLASSES - 1}", got=f"the label {wrong}")


def _as_int64(what: str, labels: Any) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu":
        raise BadInput(what, expected="integers", got=f"dtype {labels.dtype}")
    return labels.astype(np.int64)


def _constants(
    what: str, given: Sequence[float] | None, measured: tuple[float, ...] | None, channels: int
) -> tuple[float, ...]:
    values = tuple(float(v) for v in (given if given is not None else measured or ()))
    positive = all(v > 0 for v in values) if what == "std" and given is not None else True
    if len(values) != channels or not np.isfinite(values).all() or not positive:
        kind = "positive numbers" if what == "std" else "finite numbers"
        raise BadInput(what, expected=f"{channels} {kind}, one per channel", got=str(values))
    # A channel without contrast would divide by zero; any scale is right for it.
    return tuple(v or 1.0 for v in values) if what == "std" else values


class _OnDisk(NamedTuple):
    path: str


def _portable(array: np.ndarray) -> np.ndarray | _OnDisk:
    """A memory map over one whole ``.npy`` becomes its path; anything else stays an array."""
    name = getattr(array, "filename", None)
    if isinstance(array, np.memmap) and name and re.search(r"\.npy$", str(name)):
        whole = np.load(name, mmap_mode="r")
        if (whole.offset, whole.shape, whole.strides) == (array.offset, array.shape, array.strides):
            return _OnDisk(str(Path(name).resolve()))
    return np.asarray(array)


def _images(pixels: np.ndarray | _OnDisk, labels: np.ndarray | _OnDisk) -> Images:
    return Images(_opened(pixels), _opened(labels))


def _opened(array: np.ndarray | _OnDisk) -> np.ndarray:
    return np.load(array.path, mmap_mode="r") if isinstance(array, _OnDisk) else array


__all__ = [
    "Constants",
    "Dataset",
    "Images",
    "Split",
    "channel_constants",
    "check_halves",
    "random_subset",
    "read_rows",
    "stratified_split",
]
