"""Marks that people put on a record: that somebody repeated it, or that it is out of the ranking.

A mark is added, never a reason to change a number. :class:`Verification` holds the accuracies of
the re-run, so that its test of agreement is recomputed on every load, as all derived values are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from ddranking.errors import BadInput
from ddranking.protocol.rules import Frozen
from ddranking.scoring.observation import Environment, Fraction
from ddranking.scoring.statistics import Equivalence, Estimate, equivalent_paired

TOLERANCE = 1e-9

Words = Annotated[str, Field(min_length=1, max_length=2000)]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Margin = Annotated[float, Field(gt=0, lt=1)]


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) != len(seeds):
        raise ValueError("each seed once")
    return seeds


class Invalidation(Frozen):
    """Why, when and by whom a record was taken out of the ranking; records are never deleted."""

    reason: Words
    date: Day
    by: Words


class Rerun(Frozen):
    """One arm trained again: test accuracy of each seed, and its difference to the record.

    ``difference`` is re-run minus record, paired by seed; ``p_value`` that of the equivalence test.
    """

    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=2), AfterValidator(_distinct)
    ]
    accuracies: tuple[Fraction, ...]
    difference: Estimate
    p_value: Fraction


class Verification(Frozen):
    """Who repeated trainings of a record, when and where, and how well the results agree.

    ``margin`` is the difference of mean accuracies, as a fraction, that counts as none.
    """

    by: Words
    date: Day
    margin: Margin
    environments: Annotated[tuple[Environment, ...], Field(min_length=1)]
    arms: Annotated[dict[str, Rerun], Field(min_length=1)]


def agreement(
    seeds: Sequence[int], again: Sequence[float], recorded: Sequence[float], margin: float
) -> Equivalence:
    """The equivalence test of one arm.

    Args:
        seeds: which seeds were trained again.
        again: their test accuracies, in the order of ``seeds``.
        recorded: the record's test accuracies of all seeds, in seed order.
        margin: as a fraction of accuracy.
    """
    return equivalent_paired(again, [recorded[seed] for seed in seeds], margin)


def fault_of(mark: Verification, recorded: Mapping[str, Estimate]) -> str | None:
    """What is wrong with a verified mark, given the record's accuracies of each arm, or None.

    Seeds must be the record's; differences and p-values must follow from the accuracies; every arm
    must agree within the margin.
    """
    for arm, rerun in mark.arms.items():
        where = f"verification.arms.{arm}"
        if arm not in recorded:
            return f"{where}: the record has no such arm"
        values = recorded[arm].values
        if max(rerun.seeds) >= len(values) or len(rerun.accuracies) != len(rerun.seeds):
            return f"{where}: an accuracy for each seed, of seeds that the record has"
        seen = agreement(rerun.seeds, rerun.accuracies, values, mark.margin)
        ours = [*_numbers(seen.difference), seen.p_value]
        theirs = [*_numbers(rerun.difference), rerun.p_value]
        if len(ours) != len(theirs) or any(
            abs(a - b) > TOLERANCE for a, b in zip(ours, theirs, strict=True)
        ):
            return f"{where}: difference and p-value must follow from the accuracies"
        if seen.verdict != "agrees":
            return f"{where}: {seen.verdict} at the margin of {mark.margin:g}"
    return None


def _numbers(value: Estimate) -> list[float]:
    return [value.mean, value.std, value.n, value.low, value.high, *value.values]


def day(text: str | None, what: str = "--date") -> str:
    """A day as ``YYYY-MM-DD``; today, in UTC, where none is given.

    Raises:
        BadInput: no day of the calendar.
    """
    if text is None:
        return datetime.now(UTC).date().isoformat()
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise BadInput(what, expected="a day as YYYY-MM-DD", got=repr(text)) from None
