"""Whole boards judged again, slowly and from the definitions alone, by other code than the board's.

Nothing here is shared with ``ddranking.board``: t-tests are SciPy's, Holm's procedure is the loop
of the paper, places are counted in exact arithmetic, and every weight that matters is visited.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from ddranking.board.overall import overall
from ddranking.board.ranking import LEVEL, rank
from ddranking.scoring.statistics import estimate

TRACKS = ("cifar10-ipc1-convnet3", "cifar10-ipc10-convnet3")


def alphas(entry, w):
    return [w * i - (1 - w) * h for h, i in zip(entry["hlr"], entry["ior"], strict=True)]


def p_value(a, b):
    """Of the paired t-test; an exact difference is certain, none at all is none."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if max(differences) - min(differences) < 1e-12:
        return 1.0 if abs(fmean(differences)) < 1e-12 else 0.0
    return float(stats.ttest_rel(a, b).pvalue)


def told_apart(board, w, level=LEVEL):
    """Pairs (better, worse) by Holm 1979: from the smallest p on, until one is above its share."""
    pairs = list(itertools.combinations(range(len(board)), 2))
    p = {(i, j): p_value(alphas(board[i], w), alphas(board[j], w)) for i, j in pairs}
    found = set()
    for step, (i, j) in enumerate(sorted(pairs, key=lambda pair: p[pair])):
        if p[i, j] > level / (len(pairs) - step):
            break
        better = fmean(alphas(board[i], w)) > fmean(alphas(board[j], w))
        found.add((i, j) if better else (j, i))
    return found


def exact_place(points, k, w):
    """Place of point k at the rational weight w; 1e-12 apart is equal."""
    value = [w * Fraction(i) - (1 - w) * Fraction(h) for h, i in points]
    return 1 + sum(other - value[k] > Fraction(1, 10**12) for other in value)


def crossings(points):
    """Every w in [0, 1] at which two lines meet, in exact arithmetic."""
    found = {Fraction(0), Fraction(1)}
    for (h, i), (g, j) in itertools.combinations(points, 2):
        rise, gap = Fraction(i) - Fraction(j), Fraction(h) - Fraction(g)
        if rise + gap and 0 < gap / (rise + gap) < 1:
            found.add(gap / (rise + gap))
    return sorted(found)


def board_of(make_record, rng, entries, track=TRACKS[0]):
    """Records that lead, tie, repeat each other, fall below random and lie a constant apart."""
    made = []
    for k in range(entries):
        hard, own = rng.uniform(0.1, 0.5), rng.uniform(0.05, 0.5)
        shared = rng.normal(0, 0.01, 5)
        syn_hard = hard + shared + rng.normal(0, 0.005, 5)
        syn_any = own + shared + rng.normal(0, 0.005, 5)
        if made and k % 5 == 3:  # the accuracies of another, or those and a constant
            twin = made[int(rng.integers(len(made)))].accuracy
            syn_hard = np.array(twin["syn_hard"].values) + (0.05 if k % 2 else 0.0)
            syn_any = np.array(twin["syn_any"].values)
        made.append(
            make_record(
                f"M{k:02d}", track=track, syn_hard=syn_hard.tolist(), syn_any=syn_any.tolist()
            )
        )
    return made


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("entries", [1, 2, 9])
def test_boards_are_what_the_definitions_say(make_record, entries, seed):
    rng = np.random.default_rng([entries, seed])
    records = board_of(make_record, rng, entries)
    seen = 0
    for w in (0.0, 0.37, 0.5, 1.0):
        [board] = rank(records, w)
        rows = sorted(board.rows, key=lambda row: row.record.entry.method)
        plain = [{"hlr": row.hlr.values, "ior": row.ior.values} for row in rows]
        apart = told_apart(plain, w)
        seen += len(apart)
        means = [fmean(alphas(entry, w)) for entry in plain]
        points = [(row.hlr.mean, row.ior.mean) for row in rows]
        for k, row in enumerate(rows):
            assert row.place == 1 + sum(other - means[k] > 1e-12 for other in means)
            assert row.lowest == 1 + sum(worse == k for _, worse in apart)
            assert row.highest == entries - sum(better == k for better, _ in apart)
            assert row.on_front == (
                not any(
                    h - points[k][0] <= 1e-12
                    and points[k][1] - i <= 1e-12
                    and max(points[k][0] - h, i - points[k][1]) > 1e-12
                    for h, i in points
                )
            )
            t = stats.t.ppf(0.975, 4)
            sem = stats.sem(alphas(plain[k], w))
            assert row.alpha.low == pytest.approx(means[k] - t * sem, abs=1e-12)
            assert row.alpha.high == pytest.approx(means[k] + t * sem, abs=1e-12)
        numbers = {row.id: k for k, row in enumerate(rows)}
        head, group = None, 0
        for row in board.rows:
            k = numbers[row.id]
            if head is None or (head, k) in apart:
                head, group = k, group + 1
            assert row.group == group
    assert seen or entries < 9, "some pair must be told apart"


@pytest.mark.parametrize("seed", range(3))
def test_places_over_all_weights_are_those_at_and_between_all_crossings(make_record, seed):
    [board] = rank(board_of(make_record, np.random.default_rng(seed), 8))
    points = [(row.hlr.mean, row.ior.mean) for row in board.rows]
    stops = crossings(points)
    between = [(a + b) / 2 for a, b in itertools.pairwise(stops)]
    for k, row in enumerate(board.rows):
        places = [exact_place(points, k, w) for w in (*stops, *between)]
        assert (row.best, row.worst) == (min(places), max(places))
    inside = [float(w) for w in stops if 0 < w < 1]
    assert sorted({round(point.w, 10) for point in board.breakpoints}) == pytest.approx(
        sorted({round(w, 10) for w in inside}), abs=1e-9
    )


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0])
def test_mean_ranks_are_over_complete_entries_only(make_record, w):
    rng = np.random.default_rng(3)
    first = board_of(make_record, rng, 7, TRACKS[0])
    second = board_of(make_record, rng, 5, TRACKS[1])
    result = overall(rank([*first, *second], w), w)
    complete = [f"M{k:02d}" for k in range(5)]
    assert {one.method for one in result.standings} == set(complete)
    assert [(one.method, one.present) for one in result.incomplete] == [
        ("M05", (1, 0)),
        ("M06", (1, 0)),
    ]
    for standing in result.standings:
        places, lows, highs = [], [], []
        for records in (first, second):
            kept = [record for record in records if record.entry.method in complete]
            plain = [{"hlr": r.hlr.values, "ior": r.ior.values} for r in kept]
            apart = told_apart(plain, w)
            means = [fmean(alphas(entry, w)) for entry in plain]
            k = next(k for k, r in enumerate(kept) if r.entry.method == standing.method)
            places.append(1 + sum(other - means[k] > 1e-12 for other in means))
            lows.append(1 + sum(worse == k for _, worse in apart))
            highs.append(len(kept) - sum(better == k for better, _ in apart))
        assert standing.places == tuple(places)
        assert standing.mean == fmean(places)
        assert (standing.lowest, standing.highest) == (fmean(lows), fmean(highs))


def test_estimates_are_scipys():
    values = [0.31, 0.29, 0.4, 0.33, 0.37]
    low, high = stats.t.interval(0.95, 4, loc=fmean(values), scale=stats.sem(values))
    assert (estimate(values).low, estimate(values).high) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("entries", [2, 2000])
def test_a_board_of_known_places(make_record, entries):
    """Entry k is a constant worse than entry k - 1 in HLR and IOR: nothing is left to chance."""
    record = make_record("A")
    step = 1e-4
    made = []
    for k in range(entries):
        hlr = estimate([v + step * k for v in (0.30, 0.31, 0.29, 0.30, 0.32)])
        ior = estimate([v - step * k for v in (0.40, 0.41, 0.39, 0.42, 0.40)])
        digest = f"sha256:{k:064x}"
        card = record.entry.model_copy(update={"method": f"M{k:04d}", "digest": digest})
        scores = record.scores.model_copy(update={"hlr": hlr, "ior": ior})
        made.append(record.model_copy(update={"entry": card, "scores": scores}))
    [board] = rank(reversed(made), 0.5)
    for k, row in enumerate(board.rows):
        assert row.record.entry.method == f"M{k:04d}"
        assert (row.place, row.lowest, row.highest, row.group) == (k + 1, k + 1, k + 1, k + 1)
        assert (row.best, row.worst) == (k + 1, k + 1)
        assert row.on_front == (k == 0)
    assert board.breakpoints == []
