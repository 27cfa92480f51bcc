"""Permuted classes are found, right ones are left alone, and chance is what it says."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from ddranking import api
from ddranking.data.space import Pixel, fit
from ddranking.distilled.artifact import as_float
from ddranking.distilled.candidates import class_means
from ddranking.distilled.classorder import compare
from ddranking.methods.baselines import make

DIGITS = api.dataset("digits")
REAL = fit(Pixel(), DIGITS.train).apply(np.asarray(DIGITS.train.pixels)).reshape(-1, 64)
LABELS = np.asarray(DIGITS.train.labels)


def means(method: str, ipc: int, seed: int = 0) -> np.ndarray:
    made = make(method, DIGITS, ipc, seed=seed)
    return class_means(as_float(made.images), made.labels, np.arange(10))


@pytest.mark.parametrize("ipc", [1, 10])
@pytest.mark.parametrize("seed", range(4))
def test_right_order_is_right(seed, ipc) -> None:
    seen = compare(means("random", ipc, seed), REAL, LABELS, ipc)
    assert not seen.permuted and not seen.unrelated
    assert seen.matched >= 7


@pytest.mark.parametrize("seed", range(4))
def test_a_permutation_is_caught_and_named(seed) -> None:
    order = np.random.default_rng(seed).permutation(10)
    seen = compare(means("kmeans", 5)[order], REAL, LABELS, 5)
    assert seen.permuted and seen.unrelated == (seen.chance > 0.01)
    np.testing.assert_array_equal(seen.best, order)


def test_two_classes_swapped_are_caught() -> None:
    order = np.arange(10)
    order[[3, 7]] = 7, 3
    seen = compare(means("kmeans", 5)[order], REAL, LABELS, 5)
    assert seen.permuted and not seen.unrelated
    np.testing.assert_array_equal(seen.best, order)


def test_chance_agrees_with_all_orders_of_a_few_classes() -> None:
    few = LABELS < 6
    own = np.random.default_rng(0).normal(size=(6, 64))
    seen = compare(own, REAL[few], LABELS[few], 1)
    real = class_means(REAL[few], LABELS[few], range(6))
    a, b = own - own.mean(0), real - real.mean(0)
    matrix = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ (
        b / np.linalg.norm(b, axis=1, keepdims=True)
    ).T
    totals = [sum(matrix[k, p[k]] for k in range(6)) for p in permutations(range(6))]
    exact = np.mean(np.array(totals) >= np.trace(matrix))
    assert seen.chance == pytest.approx(exact, abs=0.05)  # a normal curve for 720 sums
    assert seen.diagonal == pytest.approx(np.trace(matrix) / 6)


def test_two_classes_have_no_other_order_to_find() -> None:
    few = LABELS < 2
    own = class_means(REAL[few], LABELS[few], range(2))[::-1]
    seen = compare(own, REAL[few], LABELS[few], 1)
    assert not seen.permuted and seen.unrelated
