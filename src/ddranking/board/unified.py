"""Ranks under one recipe for everyone, beside those under each method's own.

Some records hold two arms more: the distilled and the random images under a recipe that is the same
for every method. IOR under it, with the same HLR, gives a second order of the board. Both orders
are taken among the entries that have both, so that a change of rank is a change of recipe and never
one of company.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ddranking.board.ranking import Board, Row, place, separated
from ddranking.protocol.recipe import Recipe
from ddranking.scoring.derivation import alpha_estimate
from ddranking.scoring.statistics import Estimate


@dataclass(frozen=True)
class Moved:
    """One entry under the unified recipe.

    Attributes:
        id: its row on the board.
        ior: improvement over random under the unified recipe.
        own: its place under its own recipe, among the entries compared here.
        place, lowest, highest: its place and interval of ranks under the unified one.
    """

    id: str
    ior: Estimate
    own: int
    place: int
    lowest: int
    highest: int


@dataclass(frozen=True)
class Unified:
    """The entries of a board that were measured under one recipe, by their place under it."""

    recipe: Recipe
    entries: tuple[Moved, ...]


def under_unified(board: Board) -> Unified | None:
    """The second order of a board at its w; None where no entry has the arms.

    Where records name different unified recipes, the one that most of them name counts (the first
    by name on a tie). An entry whose own recipe it is belongs to it too.
    """
    recipe = unified_recipe(board)
    if recipe is None:
        return None
    rows = [row for row in board.rows if unified_ior(row, recipe) is not None]
    iors = [ior for row in rows if (ior := unified_ior(row, recipe)) is not None]
    own, _ = _judge(rows, [row.ior for row in rows], board.w)
    places, better_NN = _judge(rows, iors, board.w)
    moved = [
        Moved(
            id=row.id,
            ior=iors[i],
            own=own[i],
            place=places[i],
            lowest=1 + int(better_NN[:, i].sum()),
            highest=len(rows) - int(better_NN[i].sum()),
        )
        for i, row in enumerate(rows)
    ]
    return Unified(recipe, tuple(sorted(moved, key=lambda one: (one.place, one.id))))


def unified_recipe(board: Board) -> Recipe | None:
    """The recipe that most records of the board name as the one for everyone."""
    named = {_name(r): r for row in board.rows if (r := row.record.unified) is not None}
    count = Counter(_name(r) for row in board.rows if (r := row.record.unified) is not None)
    return named[min(count, key=lambda name: (-count[name], name))] if count else None


def unified_ior(row: Row, recipe: Recipe) -> Estimate | None:
    """IOR of an entry under ``recipe``, None where it was not measured under it."""
    record = row.record
    if record.unified is not None and _name(record.unified) == _name(recipe):
        return record.scores.ior_unified
    return row.ior if _name(record.recipe) == _name(recipe) else None


def _name(recipe: Recipe) -> tuple[str, str]:
    return recipe.id, recipe.hash


def _judge(rows: Sequence[Row], iors: Sequence[Estimate], w: float) -> tuple[list[int], np.ndarray]:
    """Places, and who is surely better than whom, with these IOR in place of the rows' own."""
    alpha = [alpha_estimate(row.hlr, ior, w) for row, ior in zip(rows, iors, strict=True)]
    return place([one.mean for one in alpha]), separated(np.array([one.values for one in alpha]))
