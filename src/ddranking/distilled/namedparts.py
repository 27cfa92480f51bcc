"""Files of one set, each with a part of it that its name tells: ``images_best``, ``lr_best``."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ddranking.data.catalog import DatasetFacts
from ddranking.distilled.folder import labels_of_folders
from ddranking.distilled.released import PART_OF_NAME, Released, from_parts, one_rate
from ddranking.errors import BadDistilledSet


def join_named(trees: dict[Path, Any], known: DatasetFacts | None = None) -> Released:
    """Several files whose names tell their parts: ``images_best``, ``labels_best``, ``lr_best``.

    Files of one part are joined in natural order of their names, so ``images_2`` comes before
    ``images_10``. Whether they are parts of one set is decided where its size is known.

    Raises:
        BadDistilledSet: a name that tells no part, no images, or unequal numbers of parts.
    """
    if all(part_of_file(file) is None for file in trees):
        return _class_files(trees, known)
    parts: dict[str, dict[Path, Any]] = {}
    for file, tree in trees.items():
        part = part_of_file(file)
        if part is None:
            raise BadDistilledSet(
                str(file),
                expected="a name with images, labels, soft_labels or lr in it",
                got=file.name,
                hint="Name the files of one set; in a folder of several, --ipc chooses among them.",
            )
        parts.setdefault(part, {})[file] = tree
    if "images" not in parts:
        raise BadDistilledSet(
            "source", expected="a file of images", got=", ".join(file.name for file in trees)[:160]
        )
    images = _joined_part(parts["images"])
    found = Released(images=images, parts=tuple(len(each) for each in parts["images"].values()))
    if len(parts["images"]) > 1:
        names = ", ".join(file.name for file in parts["images"])
        found = found.noting(f"joined {len(parts['images'])} files of images in order: {names}")
    for part in ("labels", "soft_labels"):
        if part not in parts:
            continue
        if len(parts[part]) not in (1, len(parts["images"])):
            raise BadDistilledSet(
                part,
                expected=f"1 or {len(parts['images'])} files, as of images",
                got=str(len(parts[part])),
            )
        found = replace(found, **{part: _joined_part(parts[part])})
    if "learning_rate" in parts:
        rates = {one_rate(tree, file.name) for file, tree in parts["learning_rate"].items()}
        if len(rates) > 1:
            raise BadDistilledSet("learning rate", expected="one", got=f"{len(rates)} values")
        found = replace(found, learning_rate=rates.pop())
    return found


def part_of_file(file: Path) -> str | None:
    """The part that a file's name tells, or None.

    >>> part_of_file(Path("labels_best.pt")), part_of_file(Path("10images.pt"))
    ('labels', 'images')
    """
    words = re.sub(r"\d+", "_", file.stem.lower())
    for name in sorted(PART_OF_NAME, key=len, reverse=True):
        if re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", words):
            return PART_OF_NAME[name]
    return None


def _joined_part(files: dict[Path, Any]) -> np.ndarray:
    arrays = []
    for file, tree in files.items():
        if not isinstance(tree, np.ndarray) or tree.ndim == 0:
            raise BadDistilledSet(str(file), expected="one array", got=type(tree).__name__)
        arrays.append(tree)
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        raise BadDistilledSet(
            ", ".join(file.name for file in files)[:160],
            expected="parts of one shape",
            got=" and ".join(str(list(shape)) for shape in sorted(shapes))[:120],
        )
    return np.concatenate(arrays)


def _class_files(trees: dict[Path, Any], known: DatasetFacts | None) -> Released:
    """One file for each class, called as class folders are: ``3.npy``, ``class_3.npy``."""
    names = [file.stem for file in trees]
    try:
        labels = labels_of_folders(names, known)
    except BadDistilledSet:
        labels = {}
    numbered = known is not None or all(any(c.isdecimal() for c in name) for name in names)
    if not numbered or len(labels) != len(trees):
        raise BadDistilledSet(
            str(next(iter(trees))),
            expected="a name with images, labels, soft_labels or lr in it, or with a class",
            got=", ".join(file.name for file in trees)[:160],
            hint="Name the files of one set; in a folder of several, --ipc chooses among them.",
        )
    return from_parts({str(labels[file.stem]): tree for file, tree in trees.items()}, "files")
