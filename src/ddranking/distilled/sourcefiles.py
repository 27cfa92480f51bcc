"""Which files a source consists of, and the parts they hold, read by kind.

One kind a source: torch files, NumPy files, picture grids, a folder of class folders, or one set
that this package wrote. Parts that belong together are told by their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddranking.data.catalog import DATASETS, DatasetFacts
from ddranking.distilled import artifact
from ddranking.distilled.arrayfile import read_npy, read_npz
from ddranking.distilled.folder import class_folders, labels_of_folders, natural, read_folder
from ddranking.distilled.grid import blank_images, read_grid
from ddranking.distilled.released import PART_OF_NAME, Released, from_parts, from_tree, one_rate
from ddranking.distilled.torchfile import Limits, read_torch
from ddranking.errors import BadDistilledSet, BadFile

#: Suffix to kind. Anything else in a folder is passed over; named on its own it is an error.
KINDS = {
    ".pt": "torch",
    ".pth": "torch",
    ".npz": "npz",
    ".npy": "npy",
    ".png": "grid",
    ".safetensors": "set",
}
#: What lies beside released files and is not data.
COMPANIONS = (".json", ".md", ".txt", ".yaml", ".yml", ".csv", ".log", ".py", ".sh", "")


@dataclass(frozen=True)
class Reading:
    """How to read: the dataset if it is known already, the experiment, and the limits."""

    facts: DatasetFacts | None = None
    experiment: int = -1
    limits: Limits = field(default_factory=Limits)


def read_source(source: Sequence[Path], reading: Reading) -> tuple[Released, list[Path]]:
    """The parts of a source and the files (or the folder) that they came from.

    Raises:
        BadFile: nothing there, several kinds at once, or a file that cannot be read.
        BadDistilledSet: files that can be read and do not fit together.
    """
    if not source:
        raise BadFile("source", expected="at least one file or folder", got="none")
    if len(source) == 1 and source[0].is_dir() and class_folders(source[0]):
        return _read_class_folders(source[0], reading), list(source)
    files = list_files(source)
    kinds = sorted({KINDS[file.suffix.lower()] for file in files})
    if len(kinds) > 1:
        names = ", ".join(file.name for file in files[:6])
        raise BadFile(
            "source",
            expected="files of one kind",
            got=f"{' and '.join(kinds)} ({names})",
            hint="Name the files that are meant.",
        )
    return READERS[kinds[0]](files, reading), files


def list_files(source: Iterable[Path]) -> list[Path]:
    """Data files of the paths given, folders opened one level, in natural order, each once.

    Raises:
        BadFile: a path that is not there, a file of an unknown kind, or no data at all.
    """
    files: dict[Path, None] = {}
    source = list(source)
    for path in source:
        if path.is_dir():
            inside = sorted((each for each in path.iterdir() if each.is_file()), key=natural)
            files.update(dict.fromkeys(each for each in inside if each.suffix.lower() in KINDS))
        elif not path.is_file():
            raise BadFile(
                str(path), expected="a file or folder", got="nothing there", hint=_near(path)
            )
        elif path.suffix.lower() in KINDS:
            files[path] = None
        elif path.suffix.lower() not in COMPANIONS:
            raise BadFile(
                str(path), expected=f"one of {', '.join(KINDS)}", got=path.suffix or "no suffix"
            )
    if not files:
        raise BadFile(
            ", ".join(map(str, source[:3])),
            expected=f"files that end in {', '.join(KINDS)}, or a folder for each class",
            got="none",
        )
    return sorted(files, key=natural)


def _read_class_folders(folder: Path, reading: Reading) -> Released:
    images, labels, jpegs = read_folder(folder, reading.facts, reading.limits.bytes)
    names = labels_of_folders([each.name for each in class_folders(folder)], reading.facts)
    order = tuple(sorted(names, key=lambda name: names[name]))
    complete = sorted(names.values()) == list(range(len(names)))
    found = Released(images=images, labels=labels, class_order=order if complete else None)
    found = found.noting(f"{folder}: {len(images)} pictures in {len(names)} class folders")
    if jpegs:
        found = found.noting(
            f"{folder}: {jpegs} are JPEG; what was lost in saving is lost in the score too"
        )
    return found


def _read_torch_files(files: list[Path], reading: Reading) -> Released:
    trees = read_torch(files, reading.limits)
    if len(files) == 1:
        return from_tree(trees[0], files[0].name, reading.experiment)
    return join_named(dict(zip(files, trees, strict=True)))


def _read_npy_files(files: list[Path], reading: Reading) -> Released:
    arrays: dict[Path, Any] = {file: read_npy(file, reading.limits.bytes) for file in files}
    if len(files) == 1:
        return Released(images=arrays[files[0]])
    return join_named(arrays)


def _read_npz_file(files: list[Path], reading: Reading) -> Released:
    file = _only(files, "an .npz file holds a whole set")
    return from_parts(read_npz(file, reading.limits.bytes), file.name)


def _read_grid_file(files: list[Path], reading: Reading) -> Released:
    file = _only(files, "a grid holds a whole set")
    known = reading.facts
    sizes = [known.image_size] if known else sorted({each.image_size for each in DATASETS.values()})
    images, geometry = read_grid(
        file, sizes, known.channels if known else None, reading.limits.bytes
    )
    blank = blank_images(images)
    if blank and blank == list(range(blank[0], len(images))) and blank[0] > 0:
        raise BadDistilledSet(
            str(file),
            expected=f"{geometry.rows}x{geometry.columns} images",
            got=f"{len(blank)} empty cells at the end",
            hint="Cut the grid by hand and give the images as .npy or as class folders.",
        )
    return Released(images=images, grid=(geometry.rows, geometry.columns)).noting(
        f"{file.name}: a grid of {geometry.rows} rows x {geometry.columns} columns of "
        f"{geometry.size}x{geometry.size} pixels, padding {geometry.padding}",
        f"{file.name}: 8 bits and clipped to [0, 255]; the set its authors trained on may not be",
    )


def _read_set_file(files: list[Path], reading: Reading) -> Released:
    made = artifact.load(_only(files, "a distilled set is one file"))
    return Released(
        images=made.images,
        labels=made.labels,
        soft_labels=made.soft_labels,
        learning_rate=made.learning_rate,
        class_order=made.card.class_order,
        card=made.card.model_dump(by_alias=False, exclude={"schema_"}),
    )


READERS: dict[str, Callable[[list[Path], Reading], Released]] = {
    "torch": _read_torch_files,
    "npy": _read_npy_files,
    "npz": _read_npz_file,
    "grid": _read_grid_file,
    "set": _read_set_file,
}


def join_named(trees: dict[Path, Any]) -> Released:
    """Several files whose names tell their parts: ``images_best``, ``labels_best``, ``lr_best``.

    Files of one part are joined in natural order of their names, so ``images_2`` comes before
    ``images_10``. Whether they are parts of one set is decided where its size is known.

    Raises:
        BadDistilledSet: a name that tells no part, no images, or unequal numbers of parts.
    """
    parts: dict[str, dict[Path, Any]] = {}
    for file, tree in trees.items():
        part = part_of_file(file)
        if part is None:
            raise BadDistilledSet(
                str(file),
                expected="a name with images, labels, soft_labels or lr in it",
                got=file.name,
                hint="Name the files that are meant, or give one file.",
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


def _only(files: list[Path], why: str) -> Path:
    if len(files) > 1:
        raise BadFile(
            "source",
            expected=f"one file ({why})",
            got=f"{len(files)}: {', '.join(file.name for file in files[:4])}",
            hint="Pack them one at a time.",
        )
    return files[0]


def _near(path: Path) -> str:
    """A pattern that matched nothing reaches us unexpanded, as a name with a star."""
    return "No file matches this pattern." if any(mark in path.name for mark in "*?[") else ""
