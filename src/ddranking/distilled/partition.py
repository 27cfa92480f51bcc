"""Cuts images that hold several smaller ones: IDC's multi-formation, and what grew from it (DREAM).

An image of factor F is F x F images of a class in one, each enlarged to the full size before it is
trained on. Kim et al., Dataset Condensation via Efficient Synthetic-Data Parameterization, ICML
2022, section 3; ``decode_zoom`` in their code.
"""

from __future__ import annotations

import numpy as np

from ddranking.errors import BadDistilledSet

#: What is added at the right and bottom where the size does not divide, as in the source: grey.
FILL = 0.5
LARGEST = 4


def cut(images: np.ndarray, factor: int) -> np.ndarray:
    """``[N, C, S, S]`` into ``[N * F * F, C, S, S]``, the parts of one image one after the other.

    Raises:
        BadDistilledSet: images that are not square floats, or a factor out of range.
    """
    if factor == 1:
        return images
    size = images.shape[-1]
    if images.ndim != 4 or images.shape[2] != size or images.dtype.kind != "f":
        raise BadDistilledSet(
            "--partition",
            expected="square images of floats",
            got=f"{images.dtype.name} {list(images.shape)}",
        )
    if not 1 < factor <= min(LARGEST, size):
        raise BadDistilledSet("--partition", expected=f"1 to {LARGEST}", got=str(factor))
    many, channels = images.shape[:2]
    rest = (factor - size % factor) % factor
    padded = np.pad(images, ((0, 0), (0, 0), (0, rest), (0, rest)), constant_values=FILL)
    side = padded.shape[-1] // factor
    parts = padded.reshape(many, channels, factor, side, factor, side).transpose(0, 2, 4, 1, 3, 5)
    weights = bilinear(side, size)
    parts = parts.reshape(-1, channels, side, side).astype(np.float64)
    enlarged = np.einsum("ys,ncst,xt->ncyx", weights, parts, weights, optimize=True)
    return enlarged.astype(images.dtype)


def bilinear(small: int, large: int) -> np.ndarray:
    """Weights ``[large, small]`` of bilinear resizing, those of ``torch.nn.Upsample``.

    Corners are not aligned: pixel i lies at ``(i + 0.5) * small / large - 0.5``, at least 0.
    """
    place = np.maximum((np.arange(large) + 0.5) * small / large - 0.5, 0)
    low = np.minimum(place.astype(int), small - 1)
    high = np.minimum(low + 1, small - 1)
    share = place - low
    weights = np.zeros((large, small))
    rows = np.arange(large)
    np.add.at(weights, (rows, low), 1 - share)
    np.add.at(weights, (rows, high), share)
    return weights
