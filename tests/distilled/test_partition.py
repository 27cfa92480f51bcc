"""Multi-formation: cutting is what IDC's code does, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddranking.distilled.partition import bilinear, cut
from ddranking.errors import BadDistilledSet


def decode_zoom(images: torch.Tensor, factor: int) -> torch.Tensor:
    """As in the paper's section 3.2, one part after the other: pad, crop, enlarge."""
    size = images.shape[-1]
    while images.shape[-1] % factor:
        images = F.pad(images, (0, 1, 0, 1), value=0.5)
    side = images.shape[-1] // factor
    parts = [
        F.interpolate(images[:, :, y : y + side, x : x + side], size=size, mode="bilinear")
        for y in range(0, factor * side, side)
        for x in range(0, factor * side, side)
    ]
    return torch.stack(parts, 1).flatten(0, 1)


@pytest.mark.parametrize("size", [28, 32, 17])
@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_parts_are_those_of_a_slow_reference(size, factor):
    images = np.random.default_rng(0).uniform(size=(3, 2, size, size)).astype(np.float32)
    found = cut(images, factor)
    wanted = decode_zoom(torch.from_numpy(images), factor).numpy()
    assert found.dtype == np.float32 and found.shape == (3 * factor**2, 2, size, size)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_weights_sum_to_one():
    np.testing.assert_allclose(bilinear(7, 32).sum(1), 1)


def test_what_cannot_be_cut():
    with pytest.raises(BadDistilledSet, match="1 to 4"):
        cut(np.zeros((1, 3, 32, 32), np.float32), 5)
    with pytest.raises(BadDistilledSet, match="square"):
        cut(np.zeros((1, 3, 32, 16), np.float32), 2)
