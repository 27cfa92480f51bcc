"""Takes a picture grid apart that torchvision's ``save_image`` put together.

``make_grid`` lays N images of H x W pixels out in rows of ``columns``, with ``padding`` pixels of
one colour before each image and after the last, so the picture is
``rows * (H + padding) + padding`` pixels high. The field's code writes ``nrow=ipc``, so a row is
a class. The picture is 8 bits deep and clipped: a copy for looking at, and often all there is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ddranking.distilled.guarded import Limits
from ddranking.distilled.picturefile import read_pictures
from ddranking.errors import BadDistilledSet

#: torchvision's default first; no padding fits almost any size, so it comes last.
PADDINGS = (2, 1, 3, 4, 5, 6, 8, 10, 0)


@dataclass(frozen=True)
class Geometry:
    """Where the images of a grid lie: ``rows x columns`` of ``size`` pixels, ``padding`` apart."""

    rows: int
    columns: int
    size: int
    padding: int


def read_grid(
    path: Path, sizes: Iterable[int], channels: int | None, limits: Limits
) -> tuple[np.ndarray, Geometry]:
    """The images of a PNG grid, uint8 ``[N, C, H, W]`` in reading order, and their geometry.

    Args:
        path: a PNG file; a JPEG would have lost what is to be measured.
        sizes, channels: as :func:`images_of`.
        limits: of the process that decodes it.

    Raises:
        BadFile: not a PNG picture.
        BadDistilledSet: as :func:`images_of`.
    """
    [picture] = read_pictures([path], 0, limits, ("PNG",))
    return images_of(picture.transpose(1, 2, 0), str(path), sizes, channels)


def images_of(
    picture: np.ndarray, what: str, sizes: Iterable[int], channels: int | None
) -> tuple[np.ndarray, Geometry]:
    """The images of a decoded grid, uint8 ``[N, C, H, W]``, and their geometry.

    Args:
        picture: ``[H, W, C]``.
        what: what errors call it.
        sizes: image sizes to look for (one, where the dataset is known).
        channels: 1 makes one channel of three equal ones, as ``make_grid`` writes grey images
            as RGB; None keeps one where the three are equal.

    Raises:
        BadDistilledSet: no size and padding fit, padding is not of one colour, or images miss.
    """
    sizes = tuple(sizes)
    geometry = find_geometry(picture, sizes)
    if geometry is None:
        height, width = picture.shape[:2]
        wanted = ", ".join(f"{size}x{size}" for size in sizes)
        raise BadDistilledSet(
            what,
            expected=f"a grid of {wanted} images with a constant padding of 0 to 10 pixels",
            got=f"{width}x{height} pixels that do not divide so",
            hint="Is --dataset right? For one picture per image give a folder with a folder "
            "for each class.",
        )
    images = take_apart(picture, geometry)
    if channels == 1 or (channels is None and images.shape[1] == 3):
        equal = bool((images == images[:, :1]).all())
        if equal:
            images = images[:, :1]
        elif channels == 1:
            raise BadDistilledSet(what, expected="a grey picture", got="colours")
    if channels == 3 and images.shape[1] == 1:
        raise BadDistilledSet(what, expected="a picture in colour", got="a grey one")
    return np.ascontiguousarray(images), geometry


def find_geometry(picture: np.ndarray, sizes: Iterable[int]) -> Geometry | None:
    """The first size and padding that divide the picture and leave padding of one colour.

    ``picture`` is ``[H, W, C]``. Without any padding there is nothing to check but the size,
    so zero counts only where one size is asked for.
    """
    sizes = tuple(sizes)
    height, width = picture.shape[:2]
    for size in sizes:
        for padding in PADDINGS:
            pitch = size + padding
            rows, rest_y = divmod(height - padding, pitch)
            columns, rest_x = divmod(width - padding, pitch)
            if rest_y or rest_x or rows < 1 or columns < 1 or (padding == 0 and len(sizes) > 1):
                continue
            found = Geometry(rows, columns, size, padding)
            if padding == 0 or _padding_is_constant(picture, found):
                return found
    return None


def take_apart(picture: np.ndarray, geometry: Geometry) -> np.ndarray:
    """``[rows * columns, C, size, size]`` out of ``[H, W, C]``, row by row."""
    pitch, size, padding = geometry.size + geometry.padding, geometry.size, geometry.padding
    inner = picture[padding:, padding:]
    cells = inner.reshape(geometry.rows, pitch, geometry.columns, pitch, -1)
    cells = cells[:, :size, :, :size].transpose(0, 2, 4, 1, 3)  # [rows, columns, C, size, size]
    return cells.reshape(-1, *cells.shape[2:])


def _padding_is_constant(picture: np.ndarray, geometry: Geometry) -> bool:
    pitch = geometry.size + geometry.padding
    ys = np.arange(picture.shape[0]) % pitch < geometry.padding
    xs = np.arange(picture.shape[1]) % pitch < geometry.padding
    lines = ys[:, None] | xs[None, :]
    edge = picture[lines]
    return bool((edge == edge[0]).all())


def blank_images(images: np.ndarray) -> list[int]:
    """Indices of images of one value: the cells that a grid's last row leaves empty."""
    flat = images.reshape(len(images), -1)
    return np.flatnonzero((flat == flat[:, :1]).all(axis=1)).tolist()
