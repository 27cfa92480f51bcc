"""Every mistake can be undone, by name, against slow references."""

from __future__ import annotations

import numpy as np
import pytest

from ddranking.distilled.mistakes import (
    BYTES,
    COLOUR,
    LAYOUTS,
    NAMES,
    TWICE,
    destandardize,
    make,
    standardize,
    undo,
)
from ddranking.errors import BadInput, UnknownName

CONSTANTS = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
IMAGES = np.random.default_rng(0).normal(size=(4, 3, 6, 6)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_undoing_takes_the_mistake_back(name) -> None:
    before = IMAGES.copy()
    spoilt = make(name, IMAGES, CONSTANTS)
    assert spoilt.shape == IMAGES.shape and spoilt.dtype == IMAGES.dtype
    assert not np.allclose(spoilt, IMAGES)
    np.testing.assert_allclose(undo(name, spoilt, CONSTANTS), IMAGES, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(IMAGES, before)


def test_layouts_against_loops() -> None:
    n, c, h, w = IMAGES.shape
    last = np.zeros((n, h, w, c), np.float32)
    for i in range(h):
        for j in range(w):
            for k in range(c):
                last[:, i, j, k] = IMAGES[:, k, i, j]
                assert (make("bgr", IMAGES, CONSTANTS)[:, k, i, j] == IMAGES[:, 2 - k, i, j]).all()
                turned = make("left-turn", IMAGES, CONSTANTS)
                assert (turned[:, k, w - 1 - j, i] == IMAGES[:, k, i, j]).all()
                swapped = make("transposed", IMAGES, CONSTANTS)
                assert (swapped[:, k, j, i] == IMAGES[:, k, i, j]).all()
    np.testing.assert_array_equal(make("reshaped", IMAGES, CONSTANTS).ravel(), last.ravel())


def test_layouts_differ_from_one_another() -> None:
    seen = {make(name, IMAGES, CONSTANTS).tobytes() for name in LAYOUTS}
    assert len(seen) == len(LAYOUTS)


def test_scales_against_the_formula() -> None:
    pixels = np.random.default_rng(1).uniform(size=(2, 3, 4, 4))
    right = standardize(pixels, CONSTANTS)
    mean, std = (np.array(each)[:, None, None] for each in CONSTANTS)
    np.testing.assert_allclose(right, (pixels - mean) / std)
    np.testing.assert_allclose(destandardize(right, CONSTANTS), pixels)
    np.testing.assert_allclose(undo(TWICE, (right - mean) / std, CONSTANTS), right)
    np.testing.assert_allclose(undo(BYTES, (255 * pixels - mean) / std, CONSTANTS), right)


@pytest.mark.parametrize("name", COLOUR)
def test_one_channel_has_no_order(name) -> None:
    with pytest.raises(BadInput, match="several channels"):
        undo(name, IMAGES[:, :1], ((0.5,), (0.2,)))


def test_eight_bit_images_have_no_scale_to_undo() -> None:
    bytes_ = np.zeros((1, 3, 4, 4), np.uint8)
    assert undo("times-255", bytes_, CONSTANTS) is bytes_
    assert undo("bgr", bytes_, CONSTANTS).dtype == np.uint8
    with pytest.raises(BadInput, match="8-bit"):
        undo(TWICE, bytes_, CONSTANTS)


def test_a_wrong_name_lists_the_right_ones() -> None:
    with pytest.raises(UnknownName, match="transposed"):
        undo("transpose", IMAGES, CONSTANTS)


def test_a_negative_against_the_formula() -> None:
    pixels = np.random.default_rng(1).uniform(size=(2, 3, 4, 4))
    right = standardize(pixels, CONSTANTS)
    np.testing.assert_allclose(
        make("inverted", right, CONSTANTS), standardize(1 - pixels, CONSTANTS)
    )
    levels = np.array([0, 3, 255], np.uint8)[:, None, None, None]
    assert undo("inverted", levels, ((0.5,), (0.2,))).ravel().tolist() == [255, 252, 0]
