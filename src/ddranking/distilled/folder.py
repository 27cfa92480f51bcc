"""Reads a folder that holds a folder of pictures for each class.

Class folders may be called by number (``0``, ``00007``), by the dataset's class names, or by
WordNet ids as ImageNet's are. Which label each one gets is decided here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddranking.data.catalog import DatasetFacts
from ddranking.distilled.picturefile import PICTURE_SUFFIXES, read_picture
from ddranking.errors import BadDistilledSet

WORDNET_ID = re.compile(r"n\d{8}")
#: A distilled set has thousands of pictures at most; a real dataset has more.
PICTURE_LIMIT = 1_000_000


def class_folders(folder: Path) -> list[Path]:
    """The subfolders that hold pictures, in natural order of their names; empty if none does."""
    inside = [each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")]
    return [each for each in sorted(inside, key=natural) if pictures(each)]


def pictures(folder: Path) -> list[Path]:
    """The picture files directly in a folder, in natural order."""
    files = (each for each in folder.iterdir() if each.suffix.lower() in PICTURE_SUFFIXES)
    return sorted((each for each in files if each.is_file()), key=natural)


def natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that puts ``part2`` before ``part10``."""
    pieces = re.split(r"(\d+)", path.name)
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p]


def labels_of_folders(names: Sequence[str], facts: DatasetFacts | None) -> dict[str, int]:
    """The label that each class folder's name stands for.

    Numbers are labels; a dataset's class names are its labels; WordNet ids in sorted order are the
    sorted ImageNet-1K classes of the dataset. Names of a dataset that is not in the catalogue are
    taken in sorted order.

    Raises:
        BadDistilledSet: the names are none of these, or not one for each class.

    >>> labels_of_folders(["1", "0"], None)
    {'1': 1, '0': 0}
    """
    if all(name.isdecimal() for name in names):
        return {name: int(name) for name in names}
    ordered = sorted(names)
    if facts is None:
        return {name: label for label, name in enumerate(ordered)}
    if all(WORDNET_ID.fullmatch(name) for name in names):
        if len(names) != facts.num_classes:
            raise BadDistilledSet(
                "class folders",
                expected=f"{facts.num_classes} WordNet ids for {facts.name}",
                got=str(len(names)),
            )
        # ImageNet-1K's classes are numbered in the order of their ids, so a subset's sorted ids
        # are its sorted class numbers; the subset's labels follow its own list.
        listed = list(facts.class_indices or range(facts.num_classes))
        return {name: listed.index(c) for name, c in zip(ordered, sorted(listed), strict=True)}
    known = {_bare(name): label for label, name in enumerate(facts.class_names)}
    unknown = [name for name in ordered if _bare(name) not in known]
    if unknown:
        raise BadDistilledSet(
            "class folders",
            expected=f"numbers, WordNet ids or the class names of {facts.name}",
            got=f"{len(unknown)} unknown, the first {unknown[0]!r}"[:120],
            hint="Name the folders by label: 0, 1, 2, ...",
        )
    return {name: known[_bare(name)] for name in names}


def read_folder(
    folder: Path, facts: DatasetFacts | None, byte_limit: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Images uint8 ``[N, C, H, W]`` in class order, labels int64 ``[N]``, and how many are JPEG.

    Raises:
        BadDistilledSet: folder names or picture sizes that do not fit; too many pictures.
        BadFile: a damaged picture.
    """
    folders = class_folders(folder)
    labels = labels_of_folders([each.name for each in folders], facts)
    listed = [
        (labels[each.name], path)
        for each in sorted(folders, key=lambda f: labels[f.name])
        for path in pictures(each)
    ]
    if len(listed) > PICTURE_LIMIT:
        raise BadDistilledSet(
            str(folder), expected=f"at most {PICTURE_LIMIT} pictures", got=str(len(listed))
        )
    images, left, first = [], byte_limit, None
    for _, path in listed:
        image = read_picture(path, left)
        if facts is not None and facts.channels == 1 and image.shape[2] == 3:
            image = _grey(image, path)
        if facts is not None and facts.channels == 3 and image.shape[2] == 1:
            image = np.repeat(image, 3, axis=2)
        first = first or image.shape
        if image.shape != first:
            raise BadDistilledSet(
                str(path),
                expected=f"{first[1]}x{first[0]} pixels and {first[2]} channel(s), as the first",
                got=f"{image.shape[1]}x{image.shape[0]} and {image.shape[2]}",
                hint="Save all images at the size they were distilled at.",
            )
        left -= image.nbytes
        images.append(image)
    stacked = np.stack(images).transpose(0, 3, 1, 2)
    jpegs = sum(path.suffix.lower() in (".jpg", ".jpeg") for _, path in listed)
    return np.ascontiguousarray(stacked), np.array([y for y, _ in listed], np.int64), jpegs


def _grey(image: np.ndarray, path: Path) -> np.ndarray:
    if not (image == image[..., :1]).all():
        raise BadDistilledSet(str(path), expected="a grey picture", got="colours")
    return image[..., :1]


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
