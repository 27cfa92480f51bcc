"""The parts of a set, read from files of one kind: a table of kinds and what reads each."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ddranking.data.catalog import DATASETS, DatasetFacts
from ddranking.distilled import artifact
from ddranking.distilled.arrayfile import read_npy, read_npz
from ddranking.distilled.flat import labels_of_pictures
from ddranking.distilled.folder import class_folders, labels_of_folders, read_folder, read_listed
from ddranking.distilled.grid import blank_images, read_grid
from ddranking.distilled.guarded import Limits
from ddranking.distilled.header import has_card, read_header, read_tensors
from ddranking.distilled.namedparts import join_named
from ddranking.distilled.parquetfile import choose_split, read_parquet
from ddranking.distilled.released import Released, from_parts, from_tree
from ddranking.distilled.torchfile import read_torch
from ddranking.errors import BadDistilledSet, BadFile


@dataclass(frozen=True)
class Reading:
    """How to read: dataset and images per class if they are known, what to choose, the limits."""

    facts: DatasetFacts | None = None
    ipc: int | None = None
    experiment: int = -1
    split: str | None = None
    limits: Limits = field(default_factory=Limits)


def read_class_folders(folder: Path, reading: Reading) -> Released:
    images, labels, jpegs = read_folder(folder, reading.facts, reading.limits)
    names = labels_of_folders([each.name for each in class_folders(folder)], reading.facts)
    first = min(names, key=lambda name: names[name])
    order = tuple(sorted(names, key=lambda name: names[name]))
    complete = sorted(names.values()) == list(range(len(names)))
    found = Released(images=images, labels=labels, class_order=order if complete else None)
    found = found.noting(f"{folder}: {len(images)} pictures in {len(names)} class folders")
    if re.sub(r"\D", "", first).strip("0") == "1" and names[first] == 0:
        found = found.noting(f"{folder}: numbers of folders start at 1; labels start at 0")
    if jpegs:
        found = found.noting(
            f"{folder}: {jpegs} are JPEG; what was lost in saving is lost in the score too"
        )
    return found


def _read_torch_files(files: list[Path], reading: Reading) -> Released:
    trees = read_torch(files, reading.limits)
    if len(files) == 1:
        return from_tree(trees[0], files[0].name, reading.experiment)
    return join_named(dict(zip(files, trees, strict=True)), reading.facts)


def _read_npy_files(files: list[Path], reading: Reading) -> Released:
    arrays: dict[Path, Any] = {file: read_npy(file, reading.limits.bytes) for file in files}
    if len(files) == 1:
        return Released(images=arrays[files[0]])
    return join_named(arrays, reading.facts)


def _read_npz_file(files: list[Path], reading: Reading) -> Released:
    file = _only(files, "an .npz file holds a whole set")
    return from_parts(read_npz(file, reading.limits.bytes), file.name)


def _read_pictures(files: list[Path], reading: Reading) -> Released:
    if len(files) > 1:
        return _read_flat_pictures(files, reading)
    if files[0].suffix.lower() != ".png":
        raise BadFile(
            str(files[0]),
            expected="a grid that lost nothing, or a picture for each image",
            got=files[0].suffix,
            hint="Give the folder that holds a folder for each class; a grid has to be a PNG.",
        )
    return _read_grid_file(files[0], reading)


def _read_grid_file(file: Path, reading: Reading) -> Released:
    known = reading.facts
    sizes = [known.image_size] if known else sorted({each.image_size for each in DATASETS.values()})
    images, geometry = read_grid(file, sizes, known.channels if known else None, reading.limits)
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


def _read_flat_pictures(files: list[Path], reading: Reading) -> Released:
    labels, notes = labels_of_pictures(files, reading.facts)
    listed = list(zip(labels, files, strict=True))
    images, hard, jpegs = read_listed(listed, reading.facts, reading.limits)
    found = Released(images=images, labels=hard).noting(*notes)
    lossy = f"{jpegs} are JPEG; what was lost in saving is lost in the score too"
    return found.noting(lossy) if jpegs else found


def _read_parquet_files(files: list[Path], reading: Reading) -> Released:
    chosen, notes = choose_split(files, reading.split)
    return read_parquet(chosen, reading.facts, reading.limits).noting(*notes)


def _read_set_file(files: list[Path], reading: Reading) -> Released:
    file = _only(files, "a distilled set is one file")
    if not has_card(read_header(file)):
        return from_parts(_plain_tensors(file, reading.limits.bytes), file.name)
    made = artifact.load(file)
    return Released(
        images=made.images,
        labels=made.labels,
        soft_labels=made.soft_labels,
        learning_rate=made.learning_rate,
        class_order=made.card.class_order,
        card=made.card.model_dump(by_alias=False, exclude={"schema_"}),
    )


def _plain_tensors(file: Path, byte_limit: int) -> dict[str, np.ndarray]:
    """The tensors of a ``.safetensors`` file that this package did not write, by name."""
    size = file.stat().st_size
    if size > byte_limit:
        raise BadFile(str(file), expected=f"at most {byte_limit} bytes", got=str(size))
    return read_tensors(file)


READERS: dict[str, Callable[[list[Path], Reading], Released]] = {
    "torch": _read_torch_files,
    "npy": _read_npy_files,
    "npz": _read_npz_file,
    "parquet": _read_parquet_files,
    "pictures": _read_pictures,
    "set": _read_set_file,
}


def _only(files: list[Path], why: str) -> Path:
    if len(files) > 1:
        raise BadFile(
            "source",
            expected=f"one file ({why})",
            got=f"{len(files)}: {', '.join(file.name for file in files[:4])}",
            hint="Pack them one at a time.",
        )
    return files[0]
