"""Ranks over all weights against dense sampling, which cannot miss more than it can see."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddranking.board.weights import breakpoints, pareto_front, rank_range
from ddranking.scoring.metrics import hlr as recovery
from ddranking.scoring.metrics import ior as improvement

POINTS = st.lists(
    st.tuples(st.integers(-8, 8), st.integers(-8, 8)).map(lambda p: (p[0] / 16, p[1] / 16)),
    min_size=1,
    max_size=7,
)


def exact_places(hlr, ior, w: Fraction) -> list[int]:
    alpha = [w * Fraction(i) - (1 - w) * Fraction(h) for h, i in zip(hlr, ior, strict=True)]
    return [1 + sum(other > mine for other in alpha) for mine in alpha]


def exact_crossings(hlr, ior) -> list[Fraction]:
    found = set()
    for a in range(len(hlr)):
        for b in range(a):
            d_hlr = Fraction(hlr[a]) - Fraction(hlr[b])
            slope = Fraction(ior[a]) - Fraction(ior[b]) + d_hlr
            if slope and 0 <= d_hlr / slope <= 1:
                found.add(d_hlr / slope)
    return sorted(found)


@given(POINTS)
@settings(max_examples=120, deadline=None)
def test_best_and_worst_ranks_match_exact_arithmetic_between_and_at_all_crossings(points):
    hlr, ior = zip(*points, strict=True)
    stops = sorted({Fraction(0), Fraction(1), *exact_crossings(hlr, ior)})
    between = [(a + b) / 2 for a, b in pairwise(stops)]
    table = [exact_places(hlr, ior, w) for w in stops + between]
    expected = [(min(seen), max(seen)) for seen in zip(*table, strict=True)]
    assert rank_range(hlr, ior) == expected


@given(POINTS)
@settings(max_examples=80, deadline=None)
def test_breakpoints_are_the_exact_crossings_inside_and_name_who_rises(points):
    hlr, ior = zip(*points, strict=True)
    found = breakpoints(hlr, ior)
    inside = [float(w) for w in exact_crossings(hlr, ior) if 0 < w < 1]
    assert np.allclose(sorted({round(point.w, 12) for point in found}), inside, atol=1e-11)
    for point in found:
        after = point.w + 1e-6
        alpha = [after * i - (1 - after) * h for h, i in points]
        assert alpha[point.rising] > alpha[point.falling]


@given(POINTS)
@settings(max_examples=80, deadline=None)
def test_only_the_front_can_lead_strictly_at_an_inner_weight(points):
    hlr, ior = zip(*points, strict=True)
    front = pareto_front(hlr, ior)
    for w in np.linspace(0.01, 0.99, 25):
        alpha = [w * i - (1 - w) * h for h, i in points]
        leader = int(np.argmax(alpha))
        if sum(np.isclose(alpha, alpha[leader], atol=1e-12)) == 1:
            assert front[leader]
    assert any(front)


def test_equal_entries_are_both_on_the_front_and_never_cross():
    assert pareto_front([0.2, 0.2], [0.1, 0.1]) == [True, True]
    assert breakpoints([0.2, 0.2], [0.1, 0.1]) == []
    assert rank_range([0.2, 0.2], [0.1, 0.1]) == [(1, 1), (1, 1)]


def counted(rng: np.random.Generator, entries: int) -> tuple[np.ndarray, ...]:
    """Right answers of 10,000 a seed: whole set, syn-hard, own recipe, random; many alike."""
    spread = int(rng.choice([4, 30, 700]))
    real, hard = 8480, 2500 + rng.integers(0, spread, (entries, 5))
    own, random = 2600 + rng.integers(0, spread, (entries, 5)), 1500 + rng.integers(0, 9, (1, 5))
    for k in range(1, entries):
        other = int(rng.integers(k))
        if k % 4 == 1:  # the same HLR by other seeds
            hard[k] = rng.permutation(hard[other])
        if k % 4 == 2:  # the same IOR and a point worse or better in HLR
            own[k], hard[k] = rng.permutation(own[other]), hard[other] + rng.integers(-1, 2)
    return np.full((entries, 5), real), hard, own, np.repeat(random, entries, axis=0)


@pytest.mark.parametrize("part", range(4))
def test_boards_of_real_accuracies_have_no_rounding_in_front_ranks_and_crossings(part):
    """50 boards of 100 entries each, against integers: means of n/10000 never are floats."""
    wrong = []
    for number in range(50):
        real, hard, own, random = counts = counted(np.random.default_rng([part, number]), 100)
        whole, easy, tuned, chance = (seen / 10_000 for seen in counts)
        h = [fmean(map(recovery, *pair)) for pair in zip(whole, easy, strict=True)]
        i = [fmean(map(improvement, *pair)) for pair in zip(tuned, chance, strict=True)]
        H, G = (real - hard).sum(1), (own - random).sum(1)
        worse = (H[:, None] >= H) & (G[:, None] <= G) & ((H[:, None] > H) | (G[:, None] < G))
        if pareto_front(h, i) != (~worse.any(1)).tolist():
            wrong.append((number, "front"))
        d_hlr, d_ior = H[:, None] - H, G[:, None] - G
        crosses = np.triu(d_hlr * d_ior > 0, 1)
        if len(breakpoints(h, i)) != crosses.sum():
            wrong.append((number, "breakpoints"))
        if number % 10 == 0 and rank_range(h, i) != [integer_range(H, G, k) for k in range(100)]:
            wrong.append((number, "ranks"))
    assert wrong == []


def integer_range(H: np.ndarray, G: np.ndarray, k: int) -> tuple[int, int]:
    """Best and worst place of entry k at and between all its crossings, in integers."""
    start, slope = H[k] - H, (G - G[k]) - (H[k] - H)
    met = {Fraction(-int(a), int(b)) for a, b in zip(start, slope, strict=True) if b}
    stops = sorted({Fraction(0), Fraction(1), *(w for w in met if 0 <= w <= 1)})
    stops += [(a + b) / 2 for a, b in pairwise(stops)]
    places = [1 + int(((start * w.denominator + slope * w.numerator) > 0).sum()) for w in stops]
    return min(places), max(places)
