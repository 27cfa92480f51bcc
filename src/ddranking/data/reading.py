"""What a reader found in a root: two halves, not yet decoded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddranking.data.decode import Encoded


@dataclass(frozen=True)
class Half:
    """Images of one split in order, read as they are asked for, and their labels int64 ``[N]``."""

    labels: np.ndarray
    images: Callable[[], Iterator[Encoded]]

    @classmethod
    def of_arrays(cls, pixels: np.ndarray, labels: np.ndarray) -> Half:
        """Lossless images, uint8 ``[N, C, H, W]``."""
        return cls(labels, lambda: (Encoded(f"image {i}", one) for i, one in enumerate(pixels)))

    @classmethod
    def of_files(cls, files: Sequence[Path], labels: np.ndarray) -> Half:
        return cls(labels, lambda: (Encoded(str(file), file) for file in files))


@dataclass(frozen=True)
class Reading:
    """A dataset that was found.

    Attributes:
        files: everything that is read, so that a change can be noticed without reading it.
        halves: gives train and test; the first moment that labels are read.
        class_names: what the files call their classes, if they say so.
    """

    files: tuple[Path, ...]
    halves: Callable[[], tuple[Half, Half]]
    class_names: tuple[str, ...] = ()

    def fingerprint(self) -> str:
        """A hash of every file's path, size and time of change: equal means not read again."""
        whole = hashlib.sha256()
        for file in self.files:
            status = file.stat()
            whole.update(f"{file.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return whole.hexdigest()
