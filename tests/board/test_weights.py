"""Ranks over all weights against dense sampling, which cannot miss more than it can see."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ddranking.board.weights import breakpoints, pareto_front, rank_range

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
