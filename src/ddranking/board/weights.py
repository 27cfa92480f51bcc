"""Ranks over all weights at once: where places change, best and worst places, the Pareto front.

The mean alpha of an entry is a line in w, ``-HLR + w (IOR + HLR)``, so two entries change places
at most once, at ``w* = dHLR / (dIOR + dHLR)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

ROUNDING = 1e-12
"""Differences of alpha below this are rounding: such entries share a place, never separated."""


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
        d_hlr, d_ior = h[first] - h[first + 1 :], i[first] - i[first + 1 :]
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
    falls below it leaves at ``w*``, one that overtakes it counts only after ``w*``.
    """
    h, g = np.asarray(hlr, float), np.asarray(ior, float)
    result = []
    for k in range(len(h)):
        at_zero = h[k] - h  # alpha_j - alpha_k at w = 0
        slope = (g - g[k]) - at_zero
        level = np.abs(slope) <= ROUNDING
        with np.errstate(divide="ignore", invalid="ignore"):
            w = np.where(level, 2.0, np.round(-at_zero / slope, 12))
        start = np.abs(at_zero) <= ROUNDING
        w = np.where(start & ~level, 0.0, w)
        above = int(np.sum(at_zero > ROUNDING))
        leaves = ~level & (at_zero > ROUNDING) & (slope < 0) & (w <= 1)
        enters = ~level & (at_zero <= ROUNDING) & (slope > 0) & (w < 1)
        places, change = np.unique(np.concatenate([w[leaves], w[enters]]), return_inverse=True)
        gone = np.bincount(change[: leaves.sum()], minlength=len(places))
        come = np.bincount(change[leaves.sum() :], minlength=len(places))
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
    return [
        not bool(np.any((h <= h[k]) & (i >= i[k]) & ((h < h[k]) | (i > i[k]))))
        for k in range(len(h))
    ]
