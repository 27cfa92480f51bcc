"""Ranks over all weights at once: where places change, best and worst places, the Pareto front.

The mean alpha of an entry is a line in w, ``-HLR + w (IOR + HLR)``, so two entries change places
at most once, at ``w* = dHLR / (dIOR + dHLR)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ROUNDING = 1e-12
"""Differences of HLR, IOR or alpha up to this are rounding: such entries are equal, never apart."""


class Breakpoint(NamedTuple):
    """At weight ``w`` entry ``rising`` overtakes entry ``falling`` as w grows."""

    w: float
    rising: int
    falling: int


def breakpoints(hlr: Sequence[float], ior: Sequence[float]) -> list[Breakpoint]:
    """Every weight inside (0, 1) at which two entries change places, in order of w.

    Args:
        hlr, ior: mean HLR and IOR of each of N entries.

    >>> breakpoints([0.30, 0.10], [0.20, 0.05])
    [Breakpoint(w=0.5714285714285714, rising=0, falling=1)]
    """
    h, i = np.asarray(hlr, float), np.asarray(ior, float)
    found = []
    for first in range(len(h) - 1):
        d_hlr, d_ior = _gap(h[first], h[first + 1 :]), _gap(i[first], i[first + 1 :])
        slope = d_ior + d_hlr
        with np.errstate(divide="ignore", invalid="ignore"):
            w = d_hlr / slope
        inside = (np.abs(slope) > ROUNDING) & (w > 0) & (w < 1)
        for offset in np.flatnonzero(inside):
            second = first + 1 + int(offset)
            pair = (first, second) if slope[offset] > 0 else (second, first)
            found.append(Breakpoint(float(w[offset]), *pair))
    return sorted(found)


def rank_range(hlr: Sequence[float], ior: Sequence[float]) -> list[tuple[int, int]]:
    """Best and worst place of each entry over all w in [0, 1], exact, without sampling w.

    The number of entries strictly above entry i changes only at its own breakpoints: one that
    falls below it leaves at ``w*``, one that overtakes it counts only after ``w*``. Crossings whose
    weights differ by no more than :data:`ROUNDING` of alpha are one.
    """
    h, g = np.asarray(hlr, float), np.asarray(ior, float)
    result = []
    for k in range(len(h)):
        at_zero, at_one = _gap(h[k], h), -_gap(g[k], g)  # alpha_j - alpha_k at w = 0 and w = 1
        slope = at_one - at_zero
        level = np.abs(slope) <= ROUNDING
        with np.errstate(divide="ignore", invalid="ignore"):
            w = np.where(level, 2.0, -at_zero / slope)
            reach = ROUNDING / np.abs(slope)
        w = np.where((at_one == 0) & ~level, 1.0, w)
        above = int(np.sum(at_zero > 0))
        leaves = ~level & (at_zero > 0) & (slope < 0) & (w <= 1)
        enters = ~level & (at_zero <= 0) & (slope > 0) & (w < 1)
        change = _stops(*(np.concatenate([of[leaves], of[enters]]) for of in (w, reach)))
        stops = int(change.max(initial=-1)) + 1
        gone = np.bincount(change[: leaves.sum()], minlength=stops)
        come = np.bincount(change[leaves.sum() :], minlength=stops)
        after = above + np.cumsum(come - gone)
        during = after - come
        counts = np.concatenate([[above], during, after])
        result.append((1 + int(counts.min()), 1 + int(counts.max())))
    return result


def pareto_front(hlr: Sequence[float], ior: Sequence[float]) -> list[bool]:
    """Whether no other entry is at least as good in both (HLR low, IOR high) and better in one.

    >>> pareto_front([0.3, 0.1, 0.4], [0.2, 0.1, 0.1])
    [True, True, False]
    """
    h, i = np.asarray(hlr, float), np.asarray(ior, float)
    result = []
    for k in range(len(h)):
        lower, higher = _gap(h[k], h), -_gap(i[k], i)
        beaten = (lower >= 0) & (higher >= 0) & ((lower > 0) | (higher > 0))
        result.append(not bool(beaten.any()))
    return result


def _gap(one: float, others: np.ndarray) -> np.ndarray:
    """``one - others``, exactly 0 where that is rounding."""
    gap = one - others
    return np.where(np.abs(gap) <= ROUNDING, 0.0, gap)


def _stops(w: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """The number of each crossing's weight among the distinct ones, from the lowest.

    A crossing is known to ``reach``; two whose reaches touch are at one weight.
    """
    order = np.argsort(w)
    apart = np.diff(w[order]) > reach[order][1:] + reach[order][:-1]
    number = np.zeros(len(w), int)
    number[order[1:]] = np.cumsum(apart)
    return number
