"""Several tracks together: the mean rank of the entries that stand on all of them.

An entry is a method, named as the page writes it, under one recipe. One that misses a track gets no
mean: a mean over the tracks that happen to be there would compare different things. Ranks are taken
anew among the complete entries, so that a place among five and a place among fifty are not mixed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ddranking.board.content import SHORT, tidy
from ddranking.board.ranking import Board, Row, rank

Name = tuple[str, str]


@dataclass(frozen=True)
class Standing:
    """A complete entry: its place on every board among complete entries, and their mean.

    ``lowest`` and ``highest`` are the means of the ends of its rank intervals.
    """

    method: str
    recipe: str
    mean: float
    lowest: float
    highest: float
    places: tuple[int, ...]


@dataclass(frozen=True)
class Incomplete:
    """An entry without a mean rank: the number of its rows on each board, which should be 1."""

    method: str
    recipe: str
    present: tuple[int, ...]


@dataclass(frozen=True)
class Overall:
    """Complete entries by mean rank, then the others by name."""

    standings: tuple[Standing, ...]
    incomplete: tuple[Incomplete, ...]


def overall(boards: Sequence[Board], w: float = 0.5) -> Overall:
    """Mean ranks over ``boards`` at weight ``w``; see the top of this file for the rules."""
    counts = [Counter(_name(row) for row in board.rows) for board in boards]
    names = sorted({name for count in counts for name in count})
    complete = {name for name in names if all(count[name] == 1 for count in counts)}
    tables = [_places(board, complete, w) for board in boards]
    standings = []
    for method, recipe in sorted(complete):
        rows = [table[method, recipe] for table in tables]
        standings.append(
            Standing(
                method,
                recipe,
                mean=fmean(row.place for row in rows),
                lowest=fmean(row.lowest for row in rows),
                highest=fmean(row.highest for row in rows),
                places=tuple(row.place for row in rows),
            )
        )
    standings.sort(key=lambda standing: (standing.mean, standing.method, standing.recipe))
    incomplete = tuple(
        Incomplete(*name, present=tuple(count[name] for count in counts))
        for name in names
        if name not in complete
    )
    return Overall(tuple(standings), incomplete)


def _name(row: Row) -> Name:
    return tidy(row.record.entry.method, SHORT), row.record.recipe.name


def _places(board: Board, complete: set[Name], w: float) -> dict[Name, Row]:
    records = [row.record for row in board.rows if _name(row) in complete]
    return {_name(row): row for found in rank(records, w) for row in found.rows}
