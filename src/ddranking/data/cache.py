"""Prepared copies on disk: uint8 arrays that are memory-mapped, written whole or not at all.

::

    <cache>/<name>/current.json              which copy the name means now
    <cache>/<name>/roots/<key>.json          which copy was made from which root, files and size
    <cache>/<name>/<digest prefix>/          train_pixels.npy train_labels.npy test_... dataset.json

The cache is $DDRANKING_CACHE, else ``~/.cache/ddranking/data``. A copy is written in a temporary
folder beside its place and renamed, so that a reader never sees half of one.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ddranking.data.images import Images
from ddranking.errors import BadInput, StoreUnusable
from ddranking.files import read_bounded, user_folder, write_whole

SCHEMA = "ddranking.dataset/1"
MAX_JSON_BYTES = 1 << 20
PREFIX = 16
"""Hex digits of the digest that name a copy's folder."""


def default_cache() -> Path:
    """$DDRANKING_CACHE, else ``ddranking/data`` in the user's cache (``~/.cache``)."""
    return user_folder("DDRANKING_CACHE", "data")


class CopyWriter:
    """Writes one prepared copy into a temporary folder; :meth:`finish` gives it its place."""

    def __init__(self, home: Path, building: Path) -> None:
        self.home, self.building = home, building

    @contextmanager
    def pixels(self, half: str, shape: tuple[int, ...]) -> Iterator[Callable[[np.ndarray], None]]:
        """A function that appends batches to ``<half>_pixels.npy`` of the given final shape.

        Plain writes, not a memory map: on a full disk a write fails with an error, while a page
        of a map kills the process.
        """
        with (self.building / f"{half}_pixels.npy").open("wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)

            def append(batch: np.ndarray) -> None:
                file.write(np.ascontiguousarray(batch).data)

            yield append

    def labels(self, half: str, labels: np.ndarray) -> None:
        np.save(self.building / f"{half}_labels.npy", labels)

    def open(self) -> tuple[Images, Images]:
        """What has been written so far."""
        return _open_halves(self.building)

    def finish(self, card: dict[str, Any]) -> Path:
        """Write ``dataset.json`` and rename the copy to its digest. Returns its folder.

        A copy with this digest that is already there stays: other processes may have it mapped.
        """
        card = {"schema": SCHEMA, **card}
        (self.building / "dataset.json").write_text(json.dumps(card, indent=1), "utf-8")
        place = self.home / folder_name(card["digest"])
        if read_card(place) is None:
            shutil.rmtree(place, ignore_errors=True)
            with suppress(OSError):  # another process may have finished the same copy just now
                self.building.rename(place)
            if read_card(place) is None:
                raise OSError(errno.EIO, "the finished copy cannot be read back", str(place))
        return place


@contextmanager
def writing(home: Path, needed_bytes: int) -> Iterator[CopyWriter]:
    """A temporary folder for one copy of the dataset in ``home``, removed whatever happens.

    Raises:
        StoreUnusable: not writable, or less than ``needed_bytes`` free.
    """
    with _clear_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
        if free < needed_bytes:
            raise StoreUnusable(
                f"dataset cache {home}",
                expected=f"{needed_bytes / 1e9:.1f} GB free",
                got=f"{free / 1e9:.1f} GB",
                hint="Free some space, or set DDRANKING_CACHE to a folder on another disk.",
            )
        _sweep(home)
        building = Path(tempfile.mkdtemp(prefix=f"{_building_prefix()}{os.getpid()}-", dir=home))
        try:
            building.chmod(0o755)  # mkdtemp's 0700 would hide a shared cache from colleagues
            yield CopyWriter(home, building)
        finally:
            shutil.rmtree(building, ignore_errors=True)


def _building_prefix() -> str:
    return f".building-{socket.gethostname()}-"


def _sweep(home: Path) -> None:
    """Remove what killed processes of this machine left half-built: it can be 200 GB."""
    for left in home.glob(f"{_building_prefix()}*"):
        process = left.name.removeprefix(_building_prefix()).split("-")[0]
        if Path("/proc/self").exists() and not Path("/proc", process).exists():
            shutil.rmtree(left, ignore_errors=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write under a temporary name and rename.

    Raises:
        StoreUnusable: not writable, or the disk is full.
    """
    with _clear_errors(path.parent):
        write_whole(path, content)


def read_card(folder: Path) -> dict[str, Any] | None:
    """The ``dataset.json`` of a complete copy; None if there is no such copy."""
    card = read_json(folder / "dataset.json")
    if card is None or card.get("schema") != SCHEMA or not _is_whole(card):
        return None
    names = [f"{half}_{what}.npy" for half in ("train", "test") for what in ("pixels", "labels")]
    return card if all((folder / name).is_file() for name in names) else None


_FIELDS: dict[str, tuple[type, ...]] = {
    "digest": (str,),
    "num_classes": (int,),
    "class_names": (str,),
    "mean": (float, int),
    "std": (float, int),
    "lossy": (bool,),
}
"""What a card holds, or holds a list of; a cache may be shared, and any file in it be damaged."""


def _is_whole(card: dict[str, Any]) -> bool:
    lists = ("class_names", "mean", "std")
    for name, kinds in _FIELDS.items():
        value = card.get(name)
        if name in lists and not isinstance(value, list):
            return False
        values = value if name in lists else [value]
        if not all(isinstance(each, kinds) for each in values or ()):
            return False
    return True


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None if the file is missing or not one."""
    try:
        value = json.loads(read_bounded(path, MAX_JSON_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def open_halves(folder: Path) -> tuple[Images, Images] | None:
    """Train and test of a copy, memory-mapped; None if a file is damaged."""
    try:
        return _open_halves(folder)
    except (OSError, BadInput, *_HEADER_FAULTS):
        return None


_HEADER_FAULTS = (
    *(ValueError, OverflowError, SyntaxError, TypeError, EOFError, RecursionError),
    tokenize.TokenError,
)
"""What NumPy raises on a damaged header, which it parses as a Python literal."""


def folder_name(digest: str) -> str:
    return digest.removeprefix("sha256:")[:PREFIX]


def _open_halves(folder: Path) -> tuple[Images, Images]:
    def half(name: str) -> Images:
        pixels = np.load(folder / f"{name}_pixels.npy", mmap_mode="r")
        return Images(pixels, np.load(folder / f"{name}_labels.npy", mmap_mode="r"))

    return half("train"), half("test")


@contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StoreUnusable(
            f"dataset cache {folder}",
            expected="a folder that can be written",
            got="no space left" if full else error.strerror or str(error),
            hint="Free some space, or set DDRANKING_CACHE to a folder that can be written.",
        ) from error
