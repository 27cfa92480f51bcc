"""Reads a folder that holds a folder of pictures for each class.

Class folders may be called by number (``0``, ``00007``, SRe2L's ``new007``), by the dataset's class
names, or by WordNet ids as ImageNet's are. Which label each one gets is decided here and nowhere
else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddranking.data.catalog import DatasetFacts
from ddranking.distilled.guarded import Limits
from ddranking.distilled.picturefile import PICTURE_SUFFIXES, read_pictures
from ddranking.errors import BadDistilledSet

#: Also followed by the class's name, as in ``n01440764_tench``.
WORDNET_ID = re.compile(r"n\d{8}(?![0-9])")
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
    """The label that each class folder's (or class's) name stands for.

    Numbers are labels, also behind words that all names share or before a name; a dataset's class
    names are its labels; WordNet ids in sorted order are the sorted ImageNet-1K classes of the
    dataset. Names of a dataset that is not in the catalogue are taken in sorted order.

    Raises:
        BadDistilledSet: the names are none of these, or not one for each class.

    >>> labels_of_folders(["new001", "new000"], None)
    {'new001': 1, 'new000': 0}
    """
    wordnet = all(WORDNET_ID.match(name) for name in names)
    numbers = None if wordnet else _numbers(names)
    if numbers is not None:
        return as_labels(numbers, facts)
    ordered = sorted(names)
    if facts is None:
        return {name: label for label, name in enumerate(ordered)}
    if wordnet:
        if len(names) != facts.num_classes:
            raise BadDistilledSet(
                "classes",
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
            "classes",
            expected=f"numbers, WordNet ids or the class names of {facts.name}",
            got=f"{len(unknown)} unknown, the first {unknown[0]!r}"[:120],
            hint="Call them by label: 0, 1, 2, ...",
        )
    return {name: known[_bare(name)] for name in names}


def read_folder(
    folder: Path, facts: DatasetFacts | None, limits: Limits
) -> tuple[np.ndarray, np.ndarray, int]:
    """Images uint8 ``[N, C, H, W]`` in class order, labels int64 ``[N]``, and how many are JPEG.

    Raises:
        BadDistilledSet: folder names that do not fit; too many pictures.
        BadFile: damaged pictures, or of several sizes.
    """
    folders = class_folders(folder)
    labels = labels_of_folders([each.name for each in folders], facts)
    listed = [(labels[each.name], path) for each in folders for path in pictures(each)]
    return read_listed(listed, facts, limits)


def read_listed(
    listed: Sequence[tuple[int, Path]], facts: DatasetFacts | None, limits: Limits
) -> tuple[np.ndarray, np.ndarray, int]:
    """As :func:`read_folder`, of pictures with their labels; those of a class stay in order.

    Raises:
        BadDistilledSet: none, or too many pictures.
        BadFile: damaged pictures, or of several sizes.
    """
    if not 0 < len(listed) <= PICTURE_LIMIT:
        raise BadDistilledSet(
            "pictures", expected=f"1 to {PICTURE_LIMIT} of them", got=str(len(listed))
        )
    ordered = sorted(listed, key=lambda one: one[0])
    files = [path for _, path in ordered]
    images = read_pictures(files, facts.channels if facts else 0, limits)
    jpegs = sum(path.suffix.lower() in (".jpg", ".jpeg") for path in files)
    return images, np.array([label for label, _ in ordered], np.int64), jpegs


def _numbers(names: Sequence[str]) -> dict[str, int] | None:
    """The number in each name, where all names hold one in the same place and no two the same."""
    for pattern in (r"([^\d]*)(\d{1,6})", r"()(\d{1,6})[-_. ].*"):
        found = [re.fullmatch(pattern, name, re.ASCII | re.DOTALL) for name in names]
        if all(found) and len({match[1] for match in found if match}) == 1:
            numbers = {
                name: int(match[2]) for name, match in zip(names, found, strict=True) if match
            }
            if len(set(numbers.values())) == len(names):
                return numbers
    return None


def as_labels(numbers: dict[str, int], facts: DatasetFacts | None) -> dict[str, int]:
    """Numbers are labels, unless they start at 1 or are a subset's classes of ImageNet-1K."""
    values = set(numbers.values())
    if facts and facts.class_indices and values == set(facts.class_indices):
        listed = list(facts.class_indices)
        return {name: listed.index(number) for name, number in numbers.items()}
    if facts and values == set(range(1, facts.num_classes + 1)):
        return {name: number - 1 for name, number in numbers.items()}
    return numbers


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
