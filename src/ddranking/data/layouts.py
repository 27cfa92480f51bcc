"""``READERS``: for each dataset, the layouts that are looked for in a root, in order.

To add a dataset, add its facts to the catalog and name a row of this table there; a dataset with a
layout of its own gets a row here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ddranking.data import folder, originals, parquet
from ddranking.data.catalog import DatasetFacts
from ddranking.data.reading import Half, Reading
from ddranking.errors import MissingData


class Layout(NamedTuple):
    """One way in which a dataset lies on disk."""

    looks_for: str
    find: Callable[[Path, DatasetFacts], Reading | None]


def _find_parquet(root: Path, facts: DatasetFacts) -> Reading | None:
    found = parquet.find_splits(root)
    if found is None:
        return None
    return Reading(
        found[0].files + found[1].files,
        lambda: (
            Half(found[0].labels(), found[0].images),
            Half(found[1].labels(), found[1].images),
        ),
        found[0].label_names,
    )


_PARQUET = Layout("train*.parquet and test*.parquet", _find_parquet)
_FOLDERS = Layout("train/<class>/ and test/<class>/ (or val/<class>/)", folder.find_folders)
_IMAGENET = Layout("train/<wnid>/ and val/<wnid>/", folder.find_imagenet)
_SUBSET = Layout(
    "train/<wnid>/ and val/<wnid>/ of ImageNet-1K or of these classes", folder.find_imagenet_subset
)

READERS: dict[str, tuple[Layout, ...]] = {
    "digits": (),
    "mnist": (Layout("MNIST/raw/train-images-idx3-ubyte[.gz]", originals.find_idx), _PARQUET),
    "fashion-mnist": (
        Layout("FashionMNIST/raw/train-images-idx3-ubyte[.gz]", originals.find_idx),
        _PARQUET,
    ),
    "svhn": (Layout("train_32x32.mat and test_32x32.mat", originals.find_svhn), _PARQUET),
    "cifar10": (Layout("cifar-10-batches-py/", originals.find_cifar), _PARQUET),
    "cifar100": (Layout("cifar-100-python/", originals.find_cifar), _PARQUET),
    "tiny-imagenet": (_IMAGENET, _PARQUET),
    "imagenet-1k": (_IMAGENET, _PARQUET),
    "imagenet-subset": (_SUBSET,),
    "folder": (_PARQUET, _FOLDERS),
}


def find(facts: DatasetFacts, root: Path) -> Reading:
    """What the first layout that fits finds in ``root``.

    Raises:
        MissingData: no such folder, or none of the layouts; says what was looked for and is there.
        BadFile: a layout that fits, with files that cannot be right.
    """
    layouts = READERS[facts.reader]
    if not root.is_dir():
        got = "a file" if root.exists() else "no such folder"
        raise MissingData(f"{facts.title} in {root}", expected="a folder", got=got)
    try:
        for layout in layouts:
            if reading := layout.find(root, facts):
                return reading
        inside = sorted(entry.name for entry in root.iterdir())
    except OSError as error:
        raise MissingData(
            f"{facts.title} in {root}",
            expected="a folder that can be read",
            got=f"{error.strerror or error} ({error.filename})",
        ) from error
    shown = ", ".join(inside[:6]) + (", ..." if len(inside) > 6 else "")
    raise MissingData(
        f"{facts.title} in {root}",
        expected=" or ".join(layout.looks_for for layout in layouts),
        got=shown or "an empty folder",
        hint="Point --root at the folder that holds these.",
    )
