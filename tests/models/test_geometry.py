"""Pooling to a target size, and the 28 px rule."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddranking.models.geometry import average_to, first_padding, map_size

sides = st.integers(1, 60)


@given(height=sides, width=sides, target=st.integers(1, 7))
def test_pooling_leaves_the_promised_size_and_reads_every_pixel(height, width, target):
    pool, size = average_to((height, width), target)
    x = torch.ones(1, 1, height, width, requires_grad=True)
    out = pool(x)
    assert out.shape[2:] == size == (min(height, target), min(width, target))
    torch.testing.assert_close(out, torch.ones_like(out))
    out.sum().backward()
    assert x.grad is not None
    assert (x.grad > 0).all()


@pytest.mark.parametrize("side", [4, 8, 12, 28])
def test_pooling_equals_adaptive_pooling_where_the_target_divides_the_side(side):
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    pool, _ = average_to((side, side), 4)
    torch.testing.assert_close(pool(x), torch.nn.functional.adaptive_avg_pool2d(x, 4))


def test_only_28_px_images_are_padded_to_32():
    assert (first_padding((1, 28, 28), 1), map_size((1, 28, 28))) == (3, (32, 32))
    assert (first_padding((3, 28, 28), 2), map_size((3, 28, 28))) == (4, (32, 32))
    assert (first_padding((1, 28, 30), 1), map_size((1, 28, 30))) == (1, (28, 30))
    assert (first_padding((1, 32, 32), 1), map_size((1, 32, 32))) == (1, (32, 32))
