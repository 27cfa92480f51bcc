"""What a dataset is: a digest of its images as published, and of its labels, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def image_hash(encoded: bytes | memoryview) -> bytes:
    """SHA-256 (32 bytes) of one image as it was published: its file's bytes, or raw pixels."""
    return hashlib.sha256(encoded).digest()


def digest_of(
    shape: tuple[int, int, int],
    train: tuple[Iterable[bytes], np.ndarray],
    test: tuple[Iterable[bytes], np.ndarray],
) -> str:
    """What a dataset is, independent of the JPEG decoder that reads it.

    SHA-256 over a line with (C, H, W) of the images after resizing, then train, then test: a line
    with the count, then per image in order its :func:`image_hash` and its label as 8 bytes little
    endian. Decoded JPEG pixels differ by a level or two between decoders and so are no part of it.

    Args:
        shape: (C, H, W).
        train: hashes and labels.
        test: hashes and labels.
    """
    whole = hashlib.sha256("ddranking.dataset/1 {} {} {}\n".format(*shape).encode())
    for half, (hashes, labels) in (("train", train), ("test", test)):
        whole.update(f"{half} {len(labels)}\n".encode())
        for one, label in zip(hashes, labels, strict=True):
            whole.update(one)
            whole.update(int(label).to_bytes(8, "little"))
    return f"sha256:{whole.hexdigest()}"


def digest_of_pixels(
    train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]
) -> str:
    """:func:`digest_of` for lossless images, whose C-ordered CHW bytes are their encoding.

    Args:
        train: pixels uint8 ``[N, C, H, W]`` and labels ``[N]``.
        test: likewise.
    """
    halves = [(map(_pixel_hash, pixels), labels) for pixels, labels in (train, test)]
    channels, height, width = train[0].shape[1:]
    return digest_of((channels, height, width), *halves)


def _pixel_hash(image: np.ndarray) -> bytes:
    return image_hash(np.ascontiguousarray(image).data)
