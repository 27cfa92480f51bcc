"""Wrong layouts are found and named; right ones, and other faults, are not called layouts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddranking import api
from ddranking.data.space import Standardized
from ddranking.distilled import doctor
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.candidates import candidates, cosine
from ddranking.distilled.layout import compare, inverted
from ddranking.distilled.mistakes import COLOUR, LAYOUTS, make
from ddranking.methods.baselines import make as baseline

DIGITS = api.dataset("digits")
GOOD = baseline("random", DIGITS, 3)
CHOICES = candidates(GOOD, DIGITS)
GREY = [name for name in LAYOUTS if name not in COLOUR]


def spoilt(name: str, made: DistilledSet = GOOD) -> DistilledSet:
    return replace(made, images=make(name, made.images, ((0,), (1,))))


def placed(number: int) -> DistilledSet:
    choice = CHOICES[number]
    images = choice.fitted.apply(np.rint(GOOD.images * 255).astype(np.uint8))
    card = GOOD.card.model_copy(update={"space": choice.space})
    return replace(GOOD, images=images, card=card)


@pytest.mark.parametrize("number", range(4))
def test_the_right_layout_is_right_in_every_space(number) -> None:
    seen = compare(placed(number), CHOICES)
    assert (seen.mistake, seen.wrong, seen.doubted) == ("", False, False)


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", GREY)
def test_a_wrong_layout_is_named_and_undone(name, number) -> None:
    made = spoilt(name, placed(number))
    seen = compare(made, CHOICES)
    assert (seen.mistake, seen.wrong) == (name, True)
    right = doctor.upright(made, CHOICES).set
    np.testing.assert_array_equal(right.images, placed(number).images)


def test_the_finding_names_the_flag_and_the_rest_is_said_of_the_images_undone() -> None:
    found = {each.subject: each for each in doctor.examine(spoilt("transposed"), DIGITS)}
    assert (found["layout"].severity, found["layout"].fix) == ("wrong", "--undo transposed")
    assert found["space"].severity == found["class order"].severity == "ok"
    assert found["real images"].evidence["same"] == len(GOOD)


def test_another_class_order_is_no_layout() -> None:
    chance = np.random.default_rng(0)
    for _ in range(20):
        labels = chance.permutation(10)[GOOD.labels]
        assert not compare(replace(GOOD, labels=labels), CHOICES).wrong
        assert inverted(replace(GOOD, labels=labels), CHOICES[0]) is None


def test_ahead_and_error_agree_with_a_slow_jackknife() -> None:
    made = spoilt("upside-down")
    seen = compare(made, CHOICES)
    kept = []
    for left_out in [None, *range(10)]:
        keep = [k for k in range(10) if k != left_out]
        means = np.stack([as_float(made.images)[made.labels == k].mean(0) for k in keep])
        turned = means[:, :, ::-1].reshape(len(keep), -1)
        by_name = {each.name: each.means[keep] for each in CHOICES}
        full = np.stack([as_float(made.images)[made.labels == k].mean(0) for k in range(10)])
        given = max(by_name, key=lambda c: cosine(full.reshape(10, -1), dict_of(c)))
        a = cosine(turned, by_name[seen.space])
        kept.append(a - cosine(means.reshape(len(keep), -1), by_name[given]))
    whole, *parts = kept
    assert seen.ahead == pytest.approx(whole)
    assert seen.error == pytest.approx(float(np.sqrt(np.var(parts) * 9)), rel=1e-4)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_negatives_are_named_and_undone(number) -> None:
    made = placed(number)
    space = made.card.space
    constants = (space.mean, space.std) if isinstance(space, Standardized) else ((0,), (1,))
    wrong = replace(made, images=make("inverted", made.images, constants))
    found = {each.subject: each for each in doctor.examine(wrong, DIGITS, choices=CHOICES)}
    assert (found["layout"].severity, found["layout"].fix) == ("wrong", "--undo inverted")
    assert found["space"].severity == found["class order"].severity == "ok"
    right = doctor.upright(wrong, CHOICES).set
    np.testing.assert_allclose(right.images, made.images, atol=1e-6)
    assert inverted(made, CHOICES[number]) is None
    zca = CHOICES[2]
    assert inverted(replace(made, images=-made.images), zca) is None


def dict_of(name: str) -> np.ndarray:
    return next(each.means for each in CHOICES if each.name == name)


def test_mirror_images_of_symmetric_classes_are_not_told_apart() -> None:
    pixels = np.asarray(DIGITS.train.pixels)
    both = np.maximum(pixels, pixels[..., ::-1])
    symmetric = replace(DIGITS, train=replace(DIGITS.train, pixels=both))
    choices = candidates(GOOD, symmetric)
    images = np.maximum(GOOD.images, GOOD.images[..., ::-1])
    images = images + np.linspace(0, 0.2, 8, dtype=np.float32)
    made = replace(GOOD, images=images)
    for each in (made, spoilt("mirrored", made)):
        assert compare(each, choices).mistake == ""


def test_colour_is_reversed_and_reshaped() -> None:
    tint = np.array([1.0, 0.6, 0.2])[:, None, None]
    labels = np.asarray(DIGITS.train.labels)
    pixels = (np.asarray(DIGITS.train.pixels) * tint).astype(np.uint8)
    test = np.repeat(np.asarray(DIGITS.test.pixels), 3, axis=1)
    colour = replace(
        DIGITS,
        name="tinted",
        mean=(0.3,) * 3,
        std=(0.3,) * 3,
        train=replace(DIGITS.train, pixels=pixels),
        test=replace(DIGITS.test, pixels=test),
    )
    chosen = np.concatenate([np.flatnonzero(labels == k)[:3] for k in range(10)])
    card = GOOD.card.model_copy(update={"dataset": "tinted"})
    made = replace(GOOD, images=pixels[chosen], labels=labels[chosen].astype(np.int64), card=card)
    choices = candidates(made, colour)
    assert compare(made, choices).mistake == ""
    for name in COLOUR:
        seen = compare(spoilt(name, made), choices)
        assert (seen.mistake, seen.wrong) == (name, True)
