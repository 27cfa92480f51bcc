"""Pictures: each space is turned back for the eye, and the set itself is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from ddranking.data.catalog import facts
from ddranking.data.images import Images
from ddranking.data.space import Pixel, Standardized, Zca, fit
from ddranking.distilled.picture import display, grid, thumbnails

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
LABELS = np.repeat(np.arange(10), 2)


def test_pixels_and_standardized_images_come_back_exactly(make_set):
    known = facts("digits")
    unit = (PIXELS / 255).astype(np.float32)
    standard = ((unit - known.mean[0]) / known.std[0]).astype(np.float32)
    for images, space in ((PIXELS, "pixel"), (unit, "pixel"), (standard, "standardized")):
        made = make_set(images=images, space=space)
        np.testing.assert_array_equal(display(made), PIXELS)


@pytest.mark.parametrize("space", [Pixel(), Standardized(mean=(0.3,), std=(0.4,)), Zca()])
def test_a_fit_turns_any_space_back(make_set, space):
    train = Images(PIXELS, LABELS)
    fitted = fit(space, train)
    images = np.clip(fitted.apply(PIXELS), 0, 1) if space == Pixel() else fitted.apply(PIXELS)
    shown = display(make_set(images=images, space=space), fitted)
    assert np.abs(shown.astype(int) - PIXELS).max() <= 1


def test_whitened_images_without_a_fit_are_stretched_one_by_one(make_set):
    images = np.random.default_rng(1).normal(size=(20, 1, 8, 8)).astype(np.float32)
    images[3] = 5.0  # one flat image must not divide by zero
    shown = display(make_set(images=images, space="zca"))
    flat = shown.reshape(20, -1)
    assert (flat[3] == 0).all()
    assert (np.delete(flat, 3, 0).min(1) == 0).all() and (np.delete(flat, 3, 0).max(1) == 255).all()


def test_clipping_happens_on_the_picture_only(make_set):
    images = np.linspace(-50, 50, 20 * 64, dtype=np.float32).reshape(20, 1, 8, 8)
    made = make_set(images=images)
    before = made.digest
    shown = display(made)
    assert shown.min() == 0 and shown.max() == 255
    assert made.digest == before and made.images.max() == 50


def test_grid_has_a_row_for_each_class(make_set):
    shuffled = np.random.default_rng(2).permutation(20)
    made = make_set(images=PIXELS[shuffled], labels=LABELS[shuffled], space="pixel", sorted=False)
    picture = np.asarray(grid(made))[::8, ::8, 0]  # 8 pixels become 64: a factor of 8
    assert picture.shape == (10 * 10 + 2, 2 * 10 + 2)
    for label in range(10):
        row = picture[2 + 10 * label : 10 + 10 * label]
        first = np.flatnonzero(made.labels == label)[0]
        np.testing.assert_array_equal(row[:, 2:10], made.images[first, 0])
    assert np.asarray(grid(made, classes=3, per_class=1)).shape == (32 * 8, 12 * 8, 3)


def test_thumbnails(make_set):
    made = make_set(images=PIXELS, space="pixel")
    small = thumbnails(made, count=15)
    assert len(small) == 15 and all(each.size == (8, 8) for each in small)
    np.testing.assert_array_equal(np.asarray(small[3])[..., 0], PIXELS[3, 0])
    assert [each.size for each in thumbnails(made, count=2, size=4)] == [(4, 4)] * 2
