"""ZCA whitening of images, in the field's two variants, fitted once and cached.

Both map an image x in R^d (d = C*H*W, pixels / 255) to ``(x' - m) W`` with a symmetric
``W = U diag(1 / sqrt(s + r)) U^T``, where U and s are eigenvectors and eigenvalues of a covariance:

- ``kornia`` (MTT, DATM): x' = x; m = mean training image; covariance with n - 1; r = eps.
  (kornia's ``ZCAWhitening(eps=0.1)``: eps is inside the root, added to every eigenvalue.)
- ``kip`` (KIP, RFAD): x' = each image minus its own mean, divided by its own L2 norm; m = 0; second
  moment ``X^T X / n``; r = eps * trace / d. Where n < d, the scale of the d - n directions that
  no image spans is 1, as in KIP's code.

The covariance is accumulated in float64 over chunks: CIFAR-10 (50,000 x 3,072) needs under 2 GB.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ddranking.data.cache import write_atomically
from ddranking.data.images import read_rows
from ddranking.errors import BadInput

Variant = Literal["kornia", "kip"]

CHUNK = 2048
MAX_DIMENSIONS = 16_384
"""A 16,384 x 16,384 covariance takes 2 GB and its eigenvectors an hour; 64x64x3 is 12,288."""


@dataclass(frozen=True)
class Whitening:
    """A fitted whitening. All arrays float32.

    ``mean`` ``[d]`` and ``matrix`` ``[d, d]`` are m and W above, ``inverse`` is W^-1.
    ``contrast`` and ``brightness`` ``[1]`` are the mean norm and mean level of training images
    before each is centred and scaled (1 and 0 for kornia): what ``kip`` takes away and a picture
    needs back.
    """

    mean: np.ndarray
    matrix: np.ndarray
    inverse: np.ndarray
    contrast: np.ndarray
    brightness: np.ndarray
    variant: Variant

    def whiten(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 ``[N, C, H, W]`` to whitened float32 of the same shape."""
        rows = _rows(pixels, self.variant).astype(np.float32)
        return ((rows - self.mean) @ self.matrix).reshape(pixels.shape)

    def colour(self, images: np.ndarray) -> np.ndarray:
        """Whitened float ``[N, C, H, W]`` back to [0, 1]-ish pixels, float32, not clipped.

        Exact for ``kornia``. For ``kip`` exact up to the level and norm of each single image,
        in whose place stand those of the average training image.
        """
        rows = np.asarray(images, np.float32).reshape(len(images), -1) @ self.inverse + self.mean
        return (rows * self.contrast + self.brightness).reshape(np.shape(images))


def fit(
    pixels: np.ndarray, variant: Variant, eps: float, cache_dir: str | Path | None = None
) -> Whitening:
    """Fit on training images uint8 ``[N, C, H, W]``; keep the result in ``cache_dir`` if given.

    The cached file's name is a hash of the pixels themselves, the variant and eps.

    Raises:
        BadInput: fewer than two images, or more than 16,384 values an image.
        StoreUnusable: ``cache_dir`` cannot be written.
    """
    dimensions = int(np.prod(pixels.shape[1:]))
    if len(pixels) < 2 or dimensions > MAX_DIMENSIONS:
        raise BadInput(
            "ZCA whitening",
            expected=f"at least 2 images of at most {MAX_DIMENSIONS:,} values",
            got=f"{len(pixels)} images of {dimensions:,} values",
            hint="Use the pixel or the standardized space for large images.",
        )
    if cache_dir is None:
        return _fit(pixels, variant, eps)
    path = Path(cache_dir) / f"zca-{variant}-{_key(pixels, variant, eps)}.safetensors"
    cached = _load(path, variant, dimensions)
    if cached is None:
        cached = _fit(pixels, variant, eps)
        arrays = {k: np.ascontiguousarray(v) for k, v in asdict(cached).items() if k != "variant"}
        write_atomically(path, save(arrays))
    return cached


def _fit(pixels: np.ndarray, variant: Variant, eps: float) -> Whitening:
    count, dimensions = len(pixels), int(np.prod(pixels.shape[1:]))
    total = np.zeros(dimensions)
    second = np.zeros((dimensions, dimensions))
    levels = norms = 0.0
    # Shifting by a guess of the mean keeps the subtraction below from losing digits.
    shift = 0.5 if variant == "kornia" else 0.0
    for start in range(0, count, CHUNK):
        block = read_rows(pixels, slice(start, start + CHUNK))
        rows = _rows(block, variant) - shift
        total += rows.sum(axis=0)
        second += rows.T @ rows
        if variant == "kip":
            _, level, norm = _centred(block)
            levels, norms = levels + level.sum(), norms + norm.sum()
    if variant == "kornia":
        mean = total / count
        covariance = (second - count * np.outer(mean, mean)) / (count - 1)
        mean, ridge = mean + shift, eps
        contrast, brightness = 1.0, 0.0
    else:
        covariance = second / count
        mean, ridge = np.zeros(dimensions), eps * np.trace(covariance) / dimensions
        contrast, brightness = norms / count, levels / count
    eigenvalues, vectors = np.linalg.eigh(covariance)
    # Rounding leaves the smallest eigenvalues a hair below zero.
    root = np.sqrt(np.maximum(eigenvalues, 0) + ridge)
    if variant == "kip" and count < dimensions:
        root[: dimensions - count] = 1.0
    return Whitening(
        mean=mean.astype(np.float32),
        matrix=((vectors / root) @ vectors.T).astype(np.float32),
        inverse=((vectors * root) @ vectors.T).astype(np.float32),
        contrast=np.array([contrast], np.float32),
        brightness=np.array([brightness], np.float32),
        variant=variant,
    )


def _rows(pixels: np.ndarray, variant: Variant) -> np.ndarray:
    """float64 ``[N, d]``: x' of the module's docstring."""
    return (
        _centred(pixels)[0]
        if variant == "kip"
        else (pixels.reshape(len(pixels), -1).astype(np.float64) / 255)
    )


def _centred(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Images - level) / norm ``[N, d]``, with each image's level ``[N]`` and norm ``[N]``."""
    rows = pixels.reshape(len(pixels), -1).astype(np.float64) / 255
    level = rows.mean(axis=1)
    rows -= level[:, None]
    norm = np.linalg.norm(rows, axis=1)
    # An image of one colour has no direction; it becomes the zero vector instead of NaN.
    return rows / np.where(norm > 0, norm, 1)[:, None], level, norm


def _key(pixels: np.ndarray, variant: Variant, eps: float) -> str:
    whole = hashlib.sha256(f"zca/1 {variant} {float(eps)!r} {pixels.shape}\n".encode())
    for start in range(0, len(pixels), CHUNK):
        whole.update(read_rows(pixels, slice(start, start + CHUNK)).data)
    return whole.hexdigest()[:32]


def _load(path: Path, variant: Variant, dimensions: int) -> Whitening | None:
    """The cached fit, or None when it has to be made (again)."""
    try:
        fitted = Whitening(**load_file(path), variant=variant)
    except (OSError, SafetensorError, TypeError):
        return None
    return fitted if fitted.matrix.shape == (dimensions, dimensions) else None
