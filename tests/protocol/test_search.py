from itertools import pairwise
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddranking.protocol.search import RUNGS, Rung, full, halving, places, standing

RATES = (0.05, 0.001, 0.1, 0.01, 0.005)
SEEDS = 5
COUNTS = st.tuples(st.integers(2, 20), st.integers(2, 20))
LEVELS = st.sampled_from([0.1, 0.2, 0.25, 0.3, 0.5])
ACCURACIES = st.lists(LEVELS, min_size=25, max_size=25)


def table(values) -> dict[tuple[float, int], float]:
    places_ = [(rate, seed) for rate in RATES for seed in range(SEEDS)]
    return dict(zip(places_, values, strict=True))


def best(rates, accuracy, seeds: int) -> list[float]:
    """The rates from best to worst, by a selection sort over means."""
    left, order = list(rates), []
    while left:
        front = left[0]
        for rate in left[1:]:
            mine, theirs = (fmean(accuracy[r, s] for s in range(seeds)) for r in (rate, front))
            if mine > theirs or (mine == theirs and rate < front):
                front = rate
        order.append(front)
        left.remove(front)
    return order


@pytest.mark.parametrize(
    ("counts", "rungs"),
    [
        ((5, 5), [(5, 1), (3, 2), (2, 5)]),
        ((5, 2), [(5, 1), (3, 2)]),
        ((3, 3), [(3, 1), (2, 3)]),
        ((10, 5), [(10, 1), (5, 2), (3, 4), (2, 5)]),
        ((2, 5), [(2, 5)]),
    ],
)
def test_the_rungs_of_halving(counts, rungs) -> None:
    assert halving(*counts) == tuple(Rung(*rung) for rung in rungs)


def test_halving_takes_14_of_25_trainings() -> None:
    assert len(places(halving(5, 5))) == 14
    assert len(places(halving(5, 5, first=2))) == 18
    assert len(places(full(5, 5))) == 25


@given(COUNTS)
def test_every_rule_ends_with_all_seeds_and_at_least_two_rates(counts) -> None:
    rates, seeds = counts
    for rule in RUNGS.values():
        rungs = rule(rates, seeds)
        assert rungs[0].rates == rates
        assert rungs[-1].seeds == seeds and rungs[-1].rates >= 2
        assert [rung.seeds for rung in rungs] == sorted({rung.seeds for rung in rungs})
        for one, other in pairwise(rungs):
            assert other.rates == -(-one.rates // 2)
        assert len(places(rungs)) <= rates * seeds
        assert max(places(rungs)) == seeds - 1
    assert len(places(full(rates, seeds))) == rates * seeds


@given(ACCURACIES)
def test_a_full_search_takes_the_best_mean_and_of_equals_the_smaller_rate(values) -> None:
    accuracy = table(values)
    found = standing(full(5, SEEDS), RATES, accuracy)
    assert found.selected == best(RATES, accuracy, SEEDS)[0]
    assert found.asked == dict.fromkeys(RATES, SEEDS)
    assert not found.later


@given(ACCURACIES)
def test_halving_step_by_step(values) -> None:
    accuracy = table(values)
    three = best(RATES, accuracy, 1)[:3]
    two = best(three, accuracy, 2)[:2]
    found = standing(halving(5, SEEDS), RATES, accuracy)
    assert found.selected == best(two, accuracy, SEEDS)[0]
    wanted = {rate: 5 if rate in two else 2 if rate in three else 1 for rate in RATES}
    assert found.asked == wanted
    assert found.means == {
        rate: fmean(accuracy[rate, seed] for seed in range(count)) for rate, count in wanted.items()
    }


@given(ACCURACIES)
def test_the_rate_of_the_full_search_wins_unless_it_was_dropped(values) -> None:
    accuracy = table(values)
    whole = best(RATES, accuracy, SEEDS)[0]
    found = standing(halving(5, SEEDS), RATES, accuracy)
    assert (found.selected == whole) == (found.asked[whole] == SEEDS)


@given(ACCURACIES, st.randoms(use_true_random=False))
def test_it_asks_for_more_only_as_more_is_known(values, chance) -> None:
    """Trainings in any order: what was asked for stays, and all is asked for in the end."""
    accuracy, rungs = table(values), halving(5, SEEDS)
    known: dict[tuple[float, int], float] = {}
    before: set[tuple[float, int]] = set()
    while (now := standing(rungs, RATES, known)).selected is None:
        asked = {(rate, seed) for rate, count in now.asked.items() for seed in range(count)}
        assert before <= asked
        assert len(asked) + len(now.later) == len(places(rungs))
        before = asked
        one = chance.choice(sorted(asked - known.keys()))
        known[one] = accuracy[one]
    assert known.keys() == {(rate, seed) for rate, n in now.asked.items() for seed in range(n)}
    assert now == standing(rungs, RATES, accuracy)
    assert not now.later


def test_one_rate_needs_nothing() -> None:
    found = standing((), (0.1,), {})
    assert (found.selected, found.asked, found.means, list(found.later)) == (0.1, {}, {}, [])
