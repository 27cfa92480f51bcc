"""Images in one folder per class: a user's own, TinyImageNet, ImageNet-1K and its subsets.

Class k is the k-th folder name in sorted order, as in torchvision's ``ImageFolder``; files are
taken in the sorted order of their paths, at any depth below their class.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ddranking.data.catalog import DatasetFacts
from ddranking.data.reading import Half, Reading
from ddranking.errors import BadFile
from ddranking.files import read_bounded

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff"})

MAX_LIST_BYTES = 64 << 20
"""Of a file that says which class each image has; ImageNet's has 2 MB."""

TEST_NAMES = ("test", "val", "validation", "valid")
IMAGENET_TEST_NAMES = ("val", "validation", "valid")  # its test folder has no labels

INNER_ROOTS = ("", "tiny-imagenet-200", "ILSVRC/Data/CLS-LOC", "ILSVRC2012", "imagenet")
"""Where the dataset may lie below the given root, as the official and Kaggle archives unpack."""

ByClass = dict[str, list[Path]]


def find_folders(root: Path, facts: DatasetFacts) -> Reading | None:
    """A user's ``train/<class>`` and ``test/<class>`` (or ``val/<class>``)."""
    return _find(root, TEST_NAMES, None)


def find_imagenet(root: Path, facts: DatasetFacts) -> Reading | None:
    """``train/<wnid>`` and ``val/<wnid>``, or a flat ``val`` with a file that maps it to wnids."""
    return _find(root, IMAGENET_TEST_NAMES, facts.num_classes)


def find_imagenet_subset(root: Path, facts: DatasetFacts) -> Reading | None:
    """Ten classes out of an ImageNet-1K root, or a root that holds just these ten.

    Class indices of ImageNet are positions in the sorted list of all 1,000 wnids. Where only the
    ten folders are there, the i-th of them is the i-th smallest index.
    """

    def chosen(names: Sequence[str]) -> tuple[str, ...]:
        if len(names) == len(facts.class_indices):
            ascending = sorted(facts.class_indices)
            return tuple(names[ascending.index(index)] for index in facts.class_indices)
        return tuple(names[index] for index in facts.class_indices)

    return _find(root, IMAGENET_TEST_NAMES, (1000, len(facts.class_indices)), chosen)


def _find(
    root: Path,
    test_names: Sequence[str],
    classes: int | tuple[int, ...] | None,
    chosen: Callable[[Sequence[str]], tuple[str, ...]] = tuple,
) -> Reading | None:
    for inner in INNER_ROOTS:
        base = root / inner
        if not (base / "train").is_dir():
            continue
        train = _by_folder(base / "train")
        tests = (_test_half(base / name, root, train) for name in test_names)
        test = next(filter(None, tests), None)
        if not train or test is None:
            continue
        allowed = (classes,) if isinstance(classes, int) else classes
        if allowed and len(train) not in allowed:
            raise BadFile(
                str(base / "train"),
                expected=" or ".join(f"{count:,}" for count in allowed) + " class folders",
                got=f"{len(train):,}",
            )
        names = chosen(sorted(train))
        return _reading(*({name: half.get(name, []) for name in names} for half in (train, test)))
    return None


def _reading(train: ByClass, test: ByClass) -> Reading:
    files = tuple(file for half in (train, test) for some in half.values() for file in some)
    return Reading(files, lambda: (_half(train), _half(test)), tuple(train))


def _half(by_class: ByClass) -> Half:
    files = [file for some in by_class.values() for file in some]
    counts = [len(some) for some in by_class.values()]
    return Half.of_files(files, np.repeat(np.arange(len(counts), dtype=np.int64), counts))


def _by_folder(split: Path) -> ByClass:
    """Class folders that hold images, in sorted order."""
    names = sorted(entry.name for entry in os.scandir(split) if entry.is_dir())
    found = {name: sorted(_images_below(split / name)) for name in names if name[0] != "."}
    return {name: files for name, files in found.items() if files}


def _images_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            if os.path.splitext(name)[1].lower() in SUFFIXES and name[0] != ".":  # noqa: PTH122
                yield Path(place, name)


def _test_half(split: Path, root: Path, train: ByClass) -> ByClass | None:
    """Test images by class, from class folders or from a flat folder and its mapping."""
    if not split.is_dir():
        return None
    found = _by_folder(split)
    if set(found) & set(train):
        if unknown := sorted(set(found) - set(train)):
            raise BadFile(
                str(split / unknown[0]),
                expected=f"only classes that {split.parent / 'train'} has",
                got=f"the class {unknown[0]!r}",
            )
        return found
    flat = split / "images" if (split / "images").is_dir() else split
    files = sorted(file for file in flat.iterdir() if file.suffix.lower() in SUFFIXES)
    return _by_mapping(files, (split, split.parent, root), train) if files else None


def _by_mapping(files: list[Path], places: Sequence[Path], train: ByClass) -> ByClass | None:
    for name, read in MAPPINGS.items():
        for place in places:
            if (mapping_file := place / name).is_file():
                mapping = read(mapping_file, files)
                by_class: ByClass = {wnid: [] for wnid in sorted(train)}
                for file in files:
                    wnid = mapping.get(file.stem)
                    if wnid not in by_class:
                        raise BadFile(
                            str(mapping_file),
                            expected=f"a class of the training folder for {file.name}",
                            got=repr(wnid),
                        )
                    by_class[wnid].append(file)
                return by_class
    raise BadFile(
        str(files[0].parent),
        expected=f"one folder per class, or one of {', '.join(MAPPINGS)} beside it",
        got=f"{len(files):,} images without classes",
        hint="Fetch the mapping file that came with the images.",
    )


def _tab_separated(path: Path, files: list[Path]) -> Mapping[str, str]:
    """TinyImageNet: ``val_0.JPEG<tab>n03444034<tab>...``"""
    rows = (line.split("\t") for line in _lines(path))
    return {Path(row[0]).stem: row[1] for row in rows if len(row) > 1}


def _kaggle(path: Path, files: list[Path]) -> Mapping[str, str]:
    """Kaggle's ImageNet: ``ILSVRC2012_val_00048981,n03995372 85 1 499 272``"""
    rows = (line.split(",", 1) for line in _lines(path))
    return {row[0]: row[1].split()[0] for row in rows if len(row) == 2 and row[1].split()}


def _one_per_line(path: Path, files: list[Path]) -> Mapping[str, str]:
    """TensorFlow's list: the wnid of the n-th validation image on the n-th line."""
    wnids = [line.strip() for line in _lines(path) if line.strip()]
    if len(wnids) != len(files):
        raise BadFile(str(path), expected=f"{len(files):,} lines", got=f"{len(wnids):,}")
    return {file.stem: wnid for file, wnid in zip(files, wnids, strict=True)}


def _lines(path: Path) -> list[str]:
    try:
        return read_bounded(path, MAX_LIST_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(str(path), expected="a text file", got=str(error)[:120]) from error


MAPPINGS: dict[str, Callable[[Path, list[Path]], Mapping[str, str]]] = {
    "val_annotations.txt": _tab_separated,
    "LOC_val_solution.csv": _kaggle,
    "imagenet_2012_validation_synset_labels.txt": _one_per_line,
}
"""Files that say which class each image of a flat validation folder has."""
