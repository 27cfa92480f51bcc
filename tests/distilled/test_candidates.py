"""The true space comes first for sets made in each space; statistics against slow references."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddranking import api
from ddranking.data.space import Standardized, Zca, parse_space
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.candidates import (
    Candidate,
    candidates,
    cosine,
    open_question,
    rank,
    real_images,
    statistics,
)
from ddranking.methods.baselines import make

DIGITS = api.dataset("digits")
PLAIN = make("random", DIGITS, 5)
SPACES = ("pixel", "standardized", "zca", "zca-kip")


@pytest.fixture(scope="module")
def choices() -> list[Candidate]:
    return candidates(PLAIN, DIGITS)


def put(choice: Candidate, noise: float, seed: int = 0) -> DistilledSet:
    """Random real digits in a space, with noise of a share of their spread."""
    images = choice.fitted.apply(np.rint(PLAIN.images * 255).astype(np.uint8))
    images = images + noise * images.std() * np.random.default_rng(seed).normal(size=images.shape)
    card = PLAIN.card.model_copy(update={"space": choice.space})
    return replace(PLAIN, images=images.astype(np.float32), card=card)


@pytest.mark.parametrize("scale", [1.0, 7.0])
@pytest.mark.parametrize("noise", [0.2, 1.0])
@pytest.mark.parametrize("number", range(len(SPACES)), ids=SPACES)
def test_the_true_space_comes_first_under_noise_and_scale(choices, number, noise, scale) -> None:
    made = put(choices[number], noise)
    standings = rank(replace(made, images=made.images * scale), choices)
    assert standings[0].candidate.name == SPACES[number]
    assert not any(standing.proven for standing in standings)


@pytest.mark.parametrize("name", ["pixel", "standardized", "zca"])
def test_whole_levels_prove_a_space(choices, name) -> None:
    made = put(choices[SPACES.index(name)], 0.0)
    first, *others = rank(made, choices)
    assert (first.candidate.name, first.proven) == (name, True)
    assert all(other.apart and not other.proven for other in others)
    assert not open_question([first, *others])


def test_half_precision_proves_nothing(choices) -> None:
    made = put(choices[1], 0.0)
    halves = rank(replace(made, images=made.images.astype(np.float16)), choices)
    assert {each.whole_levels for each in halves} == {None}
    assert halves[0].candidate.name == "standardized"


def test_names_for_the_same_constants_are_one_candidate() -> None:
    mean, std = DIGITS.mean, DIGITS.std
    lineages = {"same": (mean, std), "other": ((0.4,), (0.2,))}
    found = candidates(PLAIN, replace(DIGITS, lineages=lineages))
    names = {each.name: each.also for each in found}
    assert names["standardized"] == ("standardized:same",)
    assert "standardized:other" in names and len(found) == 6


@pytest.mark.parametrize("space", [Standardized(mean=(0.1,), std=(0.7,)), Zca(eps=0.5)])
def test_a_declared_space_without_a_name_is_a_candidate(space) -> None:
    card = PLAIN.card.model_copy(update={"space": space})
    *_, last = candidates(replace(PLAIN, card=card), DIGITS)
    assert (last.space, last.name) == (space, "(as declared)")


def test_spaces_that_class_means_cannot_tell_apart_are_alike() -> None:
    mean, std = DIGITS.mean[0], DIGITS.std[0]
    # A scale of one channel changes no cosine at all.
    scaled = replace(DIGITS, lineages={"wider": ((mean,), (2 * std,))})
    found = candidates(PLAIN, scaled)
    standings = rank(put(found[2], 0.3), found)
    assert [each.candidate.name for each in standings[:2]] == ["standardized", "standardized:wider"]
    assert standings[1].alike and not standings[1].apart
    assert not open_question(standings)


def test_noise_without_classes_leaves_the_question_open(choices) -> None:
    images = np.random.default_rng(3).normal(size=PLAIN.images.shape).astype(np.float32)
    standings = rank(replace(PLAIN, images=images), choices)
    assert open_question(standings)


def test_behind_and_error_agree_with_a_slow_jackknife(choices) -> None:
    made = put(choices[2], 1.0)
    first, second, *_ = rank(made, choices)
    own = np.stack([as_float(made.images)[made.labels == k].mean(0).ravel() for k in range(10)])
    parts = []
    for left_out in range(10):
        keep = [k for k in range(10) if k != left_out]
        a, b = (each.candidate.means[keep] for each in (first, second))
        parts.append(cosine(own[keep], a) - cosine(own[keep], b))
    spread = np.var(parts, ddof=0) * 10 * 9 / 10
    assert second.error == pytest.approx(float(np.sqrt(spread)), rel=1e-4)
    assert second.behind == pytest.approx(first.cosine - second.cosine)


def test_statistics_against_loops() -> None:
    images = np.random.default_rng(0).normal(size=(3, 2, 4, 4))
    images = np.cumsum(images, axis=3)
    up = down = 0.0
    pairs = {"right": [], "below": []}
    for image in images:
        for channel in image:
            x = channel - channel.mean()
            for i in range(4):
                for j in range(4):
                    down += x[i, j] ** 2 / images.size
                    if j < 3:
                        pairs["right"].append(x[i, j] * x[i, j + 1])
                    if i < 3:
                        pairs["below"].append(x[i, j] * x[i + 1, j])
    up = (np.mean(pairs["right"]) + np.mean(pairs["below"])) / 2
    found = statistics(images)
    assert found.neighbours == pytest.approx(up / down)
    assert found.mean == pytest.approx([images[:, c].mean() for c in range(2)])
    assert found.std == pytest.approx([images[:, c].std() for c in range(2)])


def test_whitening_takes_neighbours_away(choices) -> None:
    pixel, _, zca, *_ = (statistics(each.real).neighbours for each in choices)
    assert zca < pixel - 0.1


def test_real_images_are_balanced_and_of_the_training_half() -> None:
    real = real_images(DIGITS)
    counts = np.bincount(real.labels)
    assert counts.min() >= 100
    assert parse_space("pixel", DIGITS).kind == "pixel"
    train = {row.tobytes() for row in np.asarray(DIGITS.train.pixels)}
    assert all(row.tobytes() in train for row in real.pixels)


def test_pixels_without_bounds_are_the_pixel_candidate() -> None:
    boundless = Standardized(mean=(0.0,), std=(1.0,))
    card = PLAIN.card.model_copy(update={"space": boundless})
    first, *others = candidates(replace(PLAIN, card=card), DIGITS)
    assert (first.name, first.space) == ("pixel", boundless)
    assert "pixel" not in {each.name for each in others} and len(others) == 4
    shifted = Standardized(mean=(1.0,), std=(1.0,))
    card = PLAIN.card.model_copy(update={"space": shifted})
    assert candidates(replace(PLAIN, card=card), DIGITS)[-1].name == "(as declared)"
