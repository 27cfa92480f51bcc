"""From a reading to a prepared copy: labels checked, images decoded, digest taken, all cached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ddranking.data import cache as store
from ddranking.data.catalog import DatasetFacts, other_owner
from ddranking.data.decode import Encoded, decode_all, is_grey, size_of
from ddranking.data.digest import digest_of
from ddranking.data.images import channel_constants, check_halves
from ddranking.data.reading import Half, Reading
from ddranking.errors import BadFile

Progress = Callable[[str, int, int], None]
"""Called with what is being read, how many images are done, and how many there are."""


@dataclass(frozen=True)
class _Written:
    """What is known of a half once its images have been decoded."""

    labels: np.ndarray
    hashes: list[bytes]
    lossy: bool


def ingest(
    facts: DatasetFacts, reading: Reading, size: int, home: Path, progress: Progress
) -> Path:
    """Write a copy of ``size`` x ``size`` images below ``home``; returns its folder.

    Raises:
        BadFile: an image that cannot be decoded, labels out of range, nothing to read.
        BadInput: fewer than 2 or more than 1,000 classes.
        StoreUnusable: the cache cannot be written, or the disk is (or would be) full.
    """
    train_half, test_half = reading.halves()
    halves = {"train": train_half, "test": test_half}
    num_classes = _check_labels(facts, halves, reading)
    _check_images(facts, halves["train"], reading)
    channels = facts.channels or _channels(halves["train"])
    shape = (channels, size, size)
    needed = sum(len(half.labels) for half in halves.values()) * int(np.prod(shape))
    with store.writing(home, needed) as writer:
        done = {
            name: _write_half(writer, name, half, shape, progress) for name, half in halves.items()
        }
        train, test = writer.open()
        check_halves(train, test, num_classes=num_classes)
        mean, std = (facts.mean, facts.std) if facts.mean else channel_constants(train.pixels)
        written = done["train"], done["test"]
        digest = digest_of(shape, *((half.hashes, half.labels) for half in written))
        owner = other_owner(digest, facts.name)
        if owner is not None:
            raise BadFile(
                f"images in {reading.files[0].parent}",
                expected=facts.title,
                got=owner,
                hint="Give the root of the dataset that is named.",
            )
        names = facts.class_names or reading.class_names
        return writer.finish(
            {
                "name": facts.name,
                "digest": digest,
                "num_classes": num_classes,
                "class_names": list(names) if len(names) == num_classes else [],
                "mean": list(mean),
                "std": [value or 1.0 for value in std],
                "lossy": any(half.lossy for half in written),
            }
        )


def _write_half(
    writer: store.CopyWriter,
    name: str,
    half: Half,
    shape: tuple[int, int, int],
    progress: Progress,
) -> _Written:
    total = len(half.labels)
    hashes: list[bytes] = []
    lossy = False
    with writer.pixels(name, (total, *shape)) as append:
        progress(f"{name} images", 0, total)
        for batch in decode_all(half.images(), shape[0], shape[1]):
            append(batch.pixels)
            hashes += batch.hashes
            lossy |= batch.lossy
            progress(f"{name} images", len(hashes), total)
    if len(hashes) != total:
        raise BadFile(
            f"{name} images", expected=f"{total:,}, one per label", got=f"{len(hashes):,}"
        )
    writer.labels(name, half.labels)
    return _Written(half.labels, hashes, lossy)


def _check_labels(facts: DatasetFacts, halves: dict[str, Half], reading: Reading) -> int:
    """The number of classes; labels are looked at before the first image is decoded."""
    names = reading.class_names
    classes = facts.num_classes or len(names)
    for name, half in halves.items():
        if not len(half.labels):
            raise BadFile(f"{facts.title}, {name} images", expected="at least one", got="none")
        classes = classes or int(half.labels.max()) + 1
        low, high = int(half.labels.min()), int(half.labels.max())
        if low < 0 or high >= classes:
            raise BadFile(
                f"{facts.title}, {name} labels in {reading.files[0].parent}",
                expected=f"0 to {classes - 1}",
                got=f"the label {low if low < 0 else high}",
                hint="Check that the root holds this dataset.",
            )
    present = np.bincount(halves["train"].labels, minlength=classes)
    if not present.all():
        raise BadFile(
            f"{facts.title}, train labels in {reading.files[0].parent}",
            expected=f"images of every class from 0 to {classes - 1}",
            got=f"none of class {int(np.flatnonzero(present == 0)[0])}",
            hint="Check that the root holds this dataset, whole.",
        )
    return classes


def _check_images(facts: DatasetFacts, half: Half, reading: Reading) -> None:
    """Looks at names of classes and the first images: another dataset's differ."""
    wanted, folder = (facts.image_size, facts.image_size), reading.files[0].parent
    hint = "Give the root of the dataset that is named."
    ours, theirs = (
        {name.lower() for name in some} for some in (facts.class_names, reading.class_names)
    )
    if ours and theirs and not ours & theirs:
        raise BadFile(
            f"classes in {folder}",
            expected=f"{facts.title}: {', '.join(facts.class_names[:3])}, ...",
            got=f"{', '.join(reading.class_names[:3])}, ...",
            hint=hint,
        )
    for image in islice(half.images(), 16 if facts.fixed_size else 0):
        size = size_of(image)
        if size != wanted:
            raise BadFile(
                f"images in {folder}",
                expected=f"{facts.title}: {wanted[0]}x{wanted[1]} pixels",
                got=f"{size[0]}x{size[1]} pixels",
                hint=hint,
            )


def _channels(half: Half) -> int:
    """1 if 64 images spread over the half are all grey, else 3."""
    step = max(1, len(half.labels) // 64)
    some = (image for i, image in enumerate(half.images()) if i % step == 0)
    return 1 if all(_one_is_grey(image) for image in some) else 3


def _one_is_grey(image: Encoded) -> bool:
    content = image.content
    return content.shape[0] == 1 if isinstance(content, np.ndarray) else is_grey(content)
