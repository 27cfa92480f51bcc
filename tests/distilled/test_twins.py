"""Copies are found whatever the space, near ones are told from new ones; repeats are counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddranking import api
from ddranking.data.space import Pixel, fit, parse_space
from ddranking.distilled import twins
from ddranking.methods.baselines import make

DIGITS = api.dataset("digits")
PICKED = np.sort(np.random.default_rng(0).choice(len(DIGITS.train), 30, replace=False))


def placed(space: str, pixels: np.ndarray):
    """A set of given levels in a space, and the fitted space."""
    fitted = fit(parse_space(space, DIGITS), DIGITS.train)
    made = make("random", DIGITS, 3)
    card = made.card.model_copy(update={"space": fitted.space})
    return replace(made, images=fitted.apply(pixels), card=card), fitted


@pytest.mark.parametrize("space", ["pixel", "standardized", "zca", "zca-kip"])
def test_real_images_are_found_in_every_space(space) -> None:
    made, fitted = placed(space, np.asarray(DIGITS.train.pixels[PICKED]))
    found = twins.find(made, fitted, DIGITS)
    assert (found.looked_up, found.same, found.near) == (30, 30, 0)
    np.testing.assert_array_equal(found.index, PICKED)


def test_a_lossy_copy_is_near_and_a_new_image_is_not() -> None:
    levels = np.asarray(DIGITS.train.pixels[PICKED]).astype(float)
    chance = np.random.default_rng(1)
    lossy = np.clip(levels + chance.normal(0, 4, levels.shape), 0, 255).astype(np.uint8)
    made, fitted = placed("standardized", lossy)
    found = twins.find(made, fitted, DIGITS)
    assert (found.same, found.near) == (0, 30)
    made, fitted = placed("standardized", np.asarray(DIGITS.test.pixels[:30]))
    assert twins.find(made, fitted, DIGITS).same == 0
    noise = twins.find(make("noise", DIGITS, 3), fit(Pixel(), DIGITS.train), DIGITS)
    assert (noise.same, noise.near) == (0, 0)


def test_the_nearest_is_the_one_of_a_full_search() -> None:
    made = make("kmeans", DIGITS, 2)
    found = twins.find(made, fit(Pixel(), DIGITS.train), DIGITS)
    levels = made.images.reshape(len(made), -1) * 255.0
    train = np.asarray(DIGITS.train.pixels).reshape(len(DIGITS.train), -1).astype(float)
    distance = np.sqrt(((levels[:, None] - train[None]) ** 2).mean(2))
    assert (found.index == distance.argmin(1)).mean() >= 0.9
    assert found.nearest == pytest.approx(np.median(distance.min(1)), rel=0.02)


def test_repeats_and_images_of_one_colour() -> None:
    images = np.random.default_rng(0).normal(size=(6, 3, 8, 8)).astype(np.float32)
    assert (twins.repeated(images), twins.constant(images)) == (0, [])
    images[4], images[2] = images[1], images[1]
    images[3] = np.array([1, 2, 3], np.float32)[:, None, None]
    assert (twins.repeated(images), twins.constant(images)) == (2, [3])
