"""The search of one arm's learning rate: which trainings it asks for, and which rate it selects.

A search is a list of rungs. On each, some rates have been trained with the first seeds 0, 1, ...;
those with the best mean validation accuracy over these seeds go on to the next, and the best of the
last rung is selected. ``full`` is a single rung: every rate with every seed. ``halving`` has
several, and spends most trainings on the rates that are in front (successive halving, Jamieson and
Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016).
Its resource is seeds, not epochs: every training is a whole one, the same as in a full search.

Everything follows from the accuracies that are known, in whatever order and wherever they came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

Rule = Literal["full", "halving"]


@dataclass(frozen=True)
class Rung:
    """The best ``rates`` so far, each with the seeds below ``seeds``."""

    rates: int
    seeds: int


def full(rates: int, seeds: int) -> tuple[Rung, ...]:
    """Every rate with every seed.

    >>> full(5, 5)
    (Rung(rates=5, seeds=5),)
    """
    return (Rung(rates, seeds),)


def halving(rates: int, seeds: int, first: int = 1) -> tuple[Rung, ...]:
    """From rung to rung half of the rates (rounded up) with twice the seeds; in the end with all.

    The last rung has at least two rates, so the selected rate is that of the full search unless an
    earlier rung dropped it. With two rates it is the full search.

    Args:
        rates: how many there are to try.
        seeds: of the track.
        first: seeds of the first rung.

    >>> halving(5, 5)
    (Rung(rates=5, seeds=1), Rung(rates=3, seeds=2), Rung(rates=2, seeds=5))
    """
    rungs, left, so_far = [], rates, first
    while left > 2 and so_far < seeds:
        rungs.append(Rung(left, so_far))
        left, so_far = (left + 1) // 2, 2 * so_far
    return (*rungs, Rung(left, seeds))


RUNGS: Mapping[Rule, Callable[[int, int], tuple[Rung, ...]]] = {"full": full, "halving": halving}
"""From the numbers of rates and of seeds to the rungs of a rule."""


def places(rungs: Sequence[Rung]) -> list[int]:
    """The seed of every training of a search, in the order of the rungs.

    >>> places((Rung(3, 1), Rung(2, 2)))
    [0, 0, 0, 1, 1]
    """
    made, before = [], 0
    for rung in rungs:
        made += [seed for _ in range(rung.rates) for seed in range(before, rung.seeds)]
        before = rung.seeds
    return made


@dataclass(frozen=True)
class Standing:
    """How far a search is.

    Attributes:
        asked: rate to the number of its seeds that are asked for so far, from seed 0 on.
        means: rate to its mean accuracy over the seeds of the last rung that is whole, of those
            that it took part in.
        later: the seeds of trainings whose rate the asked ones will decide.
        selected: the rate with the best mean; None while something asked for is missing.
    """

    asked: Mapping[float, int]
    means: Mapping[float, float]
    later: Sequence[int]
    selected: float | None


def standing(
    rungs: Sequence[Rung], rates: Sequence[float], accuracy: Mapping[tuple[float, int], float]
) -> Standing:
    """Follows the rungs as far as the known accuracies lead.

    A rung is decided by the seeds it names alone, also where more are known, so that it is decided
    alike everywhere. Of equal means the smaller rate is better.

    Args:
        rungs: of a rule, for as many rates; none where there is one rate.
        rates: to try, each once.
        accuracy: rate and seed to validation accuracy, of any trainings.
    """
    asked: dict[float, int] = {}
    means: dict[float, float] = {}
    left = list(rates)
    for rung in rungs:
        left = left[: rung.rates]
        asked |= {rate: rung.seeds for rate in left}
        if any((rate, seed) not in accuracy for rate in left for seed in range(rung.seeds)):
            return Standing(asked, means, places(rungs)[sum(asked.values()) :], None)
        for rate in left:
            means[rate] = fmean(accuracy[rate, seed] for seed in range(rung.seeds))
        left = sorted(left, key=lambda rate: (-means[rate], rate))
    return Standing(asked, means, (), left[0])
