"""The original files of MNIST, Fashion-MNIST, SVHN and CIFAR, as torchvision lays them out.

CIFAR and SVHN are read by torchvision, which checks their MD5 sums before it unpickles anything.
The idx files of the MNIST family are parsed here, compressed or not.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from ddranking.data.catalog import DatasetFacts
from ddranking.data.reading import Half, Reading
from ddranking.errors import BadFile, MissingData
from ddranking.files import open_regular, read_bounded

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)

FOLDERS = {
    "mnist": ("MNIST/raw", "raw", ""),
    "fashion-mnist": ("FashionMNIST/raw", "raw", ""),
    "cifar10": ("cifar-10-batches-py", ""),
    "cifar100": ("cifar-100-python", ""),
    "svhn": ("", "SVHN"),
}
"""Where the files may lie below the root; torchvision's own layout first."""

MAX_IDX_BYTES = 256 << 20
"""Of an unpacked idx file; the largest of the MNIST family has 47 MB."""

TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "svhn": "SVHN",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}


def find_idx(root: Path, facts: DatasetFacts) -> Reading | None:
    """The four idx files, plain or ``.gz``."""
    for inner in FOLDERS[facts.name]:
        folder = root / inner
        files = [_plain_or_gz(folder / name) for name in IDX_FILES]
        paths = tuple(file for file in files if file is not None)
        if len(paths) == len(IDX_FILES):
            return Reading(paths, partial(_idx_halves, paths))
    return None


def find_cifar(root: Path, facts: DatasetFacts) -> Reading | None:
    """The pickled batches of the python version."""
    for inner in FOLDERS[facts.name]:
        folder = root / inner
        if (folder / "meta").is_file() or (folder / "batches.meta").is_file():
            # torchvision looks for its own folder name below the root that it is given.
            if folder.name != FOLDERS[facts.name][0]:
                continue
            files = tuple(sorted(file for file in folder.iterdir() if file.is_file()))
            return Reading(files, partial(_torchvision_halves, facts.name, folder.parent))
    return None


def find_svhn(root: Path, facts: DatasetFacts) -> Reading | None:
    """``train_32x32.mat`` and ``test_32x32.mat``."""
    for inner in FOLDERS[facts.name]:
        folder = root / inner
        files = (folder / "train_32x32.mat", folder / "test_32x32.mat")
        if all(file.is_file() for file in files):
            return Reading(files, partial(_torchvision_halves, facts.name, folder))
    return None


def download(name: str, folder: Path) -> None:
    """Fetch the original files with torchvision into ``folder``.

    Raises:
        MissingData: the server cannot be reached or sent something else.
    """
    try:
        for half in (True, False):
            _torchvision(name, folder, half, download=True)
    except Exception as error:  # urllib, ssl, tarfile and torchvision raise a dozen kinds
        raise MissingData(
            f"download of {name}",
            expected="a connection to the server that torchvision names",
            got=f"{type(error).__name__}: {str(error)[:160]}",
            hint=f"Fetch the files by hand, then run: ddranking data prepare {name} --root DIR",
        ) from error


def read_idx(path: Path) -> np.ndarray:
    """An idx file of unsigned bytes: 2 zero bytes, type 8, rank, sizes as big-endian int32, data.

    Raises:
        BadFile: over ``MAX_IDX_BYTES``, another type, or fewer or more bytes than the sizes say.
    """
    try:
        if path.suffix == ".gz":
            with open_regular(path) as packed, gzip.open(packed) as stream:
                content = stream.read(MAX_IDX_BYTES + 1)  # a bomb is not unpacked any further
        else:
            content = read_bounded(path, MAX_IDX_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise BadFile(str(path), expected="a whole idx file", got=str(error)[:120]) from error
    if len(content) > MAX_IDX_BYTES:
        raise BadFile(
            str(path), expected=f"at most {MAX_IDX_BYTES:,} bytes", got="more when unpacked"
        )
    rank = content[3] if len(content) > 3 else 0
    start = 4 + 4 * rank
    sizes = np.frombuffer(content[4:start], ">i4").tolist() if len(content) >= start else []
    whole = content[:3] == b"\0\0\x08" and rank in (1, 3) and len(sizes) == rank
    if not whole or min(sizes) < 0 or len(content) - start != math.prod(sizes):
        raise BadFile(
            str(path),
            expected="a whole idx file of unsigned bytes",
            got=f"{len(content):,} bytes that do not fit its header",
            hint="Fetch this file again.",
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(sizes)


def _plain_or_gz(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _idx_halves(paths: tuple[Path, ...]) -> tuple[Half, Half]:
    def half(images: Path, labels: Path) -> Half:
        pixels, classes = read_idx(images), read_idx(labels)
        if pixels.ndim != 3 or classes.shape != pixels.shape[:1]:
            raise BadFile(
                str(labels), expected=f"{len(pixels):,} labels", got=f"shape {classes.shape}"
            )
        return Half.of_arrays(pixels[:, None], classes.astype(np.int64))

    return half(paths[0], paths[1]), half(paths[2], paths[3])


def _torchvision_halves(name: str, root: Path) -> tuple[Half, Half]:
    try:
        train, test = (_torchvision(name, root, half, download=False) for half in (True, False))
    except (RuntimeError, OSError) as error:
        raise BadFile(
            str(root),
            expected=f"the original files of {name}, by their MD5 sums",
            got=" ".join(str(error).split())[:120],
            hint="Fetch them again.",
        ) from error
    return train, test


def _torchvision(name: str, root: Path, train: bool, download: bool) -> Half:
    from torchvision import datasets  # takes seconds and imports torch: only when it is needed

    kind: Callable = getattr(datasets, TORCHVISION[name])
    which = {"split": "train" if train else "test"} if name == "svhn" else {"train": train}
    read = kind(root=str(root), download=download, **which)
    pixels = np.asarray(read.data)
    labels = np.asarray(read.labels if name == "svhn" else read.targets)
    if name.startswith("cifar"):
        pixels = pixels.transpose(0, 3, 1, 2)
    elif pixels.ndim == 3:
        pixels = pixels[:, None]
    return Half.of_arrays(pixels, labels.astype(np.int64))
