"""Ranking: records of one track in order of alpha, with what can and what cannot be told apart.

``alpha(w) = w IOR - (1-w) HLR`` orders a board. Two entries are told apart by Student's t on their
paired per-seed differences of alpha, Holm-adjusted over all pairs of the board at 5 %. A row's rank
interval goes from one more than the number of entries that are surely better to the number of all
minus those that are surely worse. Shapes: N entries, S seeds. Pure functions; imports no torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from scipy.special import stdtr

from ddranking.board.weights import (
    ROUNDING,
    Breakpoint,
    breakpoints,
    pareto_front,
    rank_range,
)
from ddranking.protocol.canonical import content_hash
from ddranking.protocol.recipe import Recipe, is_released, recipe_files
from ddranking.protocol.track import Track, tracks
from ddranking.scoring import metrics
from ddranking.scoring.derivation import RealHard, alpha_estimate, ddrs_estimate
from ddranking.scoring.record import DatasetCopy, Record
from ddranking.scoring.statistics import Estimate, estimate

LEVEL = 0.05


@dataclass(frozen=True)
class Row:
    """One entry on its board.

    Attributes:
        id: short content hash of set, recipe, track and dataset copy; stable over re-measurement.
        place: 1 + the number of entries with a higher mean alpha; equal entries share it.
        lowest, highest: the interval of ranks that the seeds allow, ``lowest <= place <= highest``.
        group: number of the tie group, counted from the top; see :func:`tie_groups`.
        hlr, ior, alpha, ddrs: estimates over seeds; ``hlr`` with the whole-set accuracy that the
            board uses, see :func:`common_reference`.
        tie: its number, from 0, in the order by name that decides among equal places.
        best, worst: the best and worst place over all weights in [0, 1], exact.
        on_front: no other entry has an HLR as low and an IOR as high.
        custom_recipe: the recipe is not, by name and content, a released one.
    """

    record: Record
    id: str
    place: int
    lowest: int
    highest: int
    group: int
    tie: int
    hlr: Estimate
    ior: Estimate
    alpha: Estimate
    ddrs: Estimate
    best: int
    worst: int
    on_front: bool
    custom_recipe: bool

    @property
    def label(self) -> str:
        """Method and recipe: the same set under two recipes is two rows."""
        return f"{self.record.entry.method} ({self.record.recipe.name})"

    @property
    def ranks(self) -> str:
        """The interval of ranks: "1–3", or "2" where it is a single one."""
        if self.lowest == self.highest:
            return str(self.lowest)
        return f"{self.lowest}–{self.highest}"


@dataclass(frozen=True)
class Board:
    """All records of one track, by content, on one copy of its dataset, by digest.

    Titles are no part of the hashes. ``track`` is the released one where its hash is; other texts
    are those that most records carry, the oldest on a tie.
    ``reference`` is the whole-set accuracy that every row's HLR is computed with where the records
    disagree, None where each record's own is used. ``invalidated`` stand apart, unranked.
    """

    track: Track
    dataset: DatasetCopy
    w: float
    rows: tuple[Row, ...]
    invalidated: tuple[Record, ...]
    reference: RealHard | None

    @property
    def id(self) -> str:
        digest = content_hash([self.track.hash, self.dataset.digest])
        return digest.removeprefix("sha256:")[:10]

    @cached_property
    def breakpoints(self) -> list[Breakpoint]:
        """Every weight at which two rows change places; indices are those of ``rows``."""
        return breakpoints([r.hlr.mean for r in self.rows], [r.ior.mean for r in self.rows])


def entry_id(record: Record) -> str:
    """Ten hexadecimal digits that name what was scored and how, whoever measured it."""
    parts = [record.entry.digest, record.recipe.hash, record.track.hash, record.dataset.digest]
    return content_hash(parts).removeprefix("sha256:")[:10]


def rank(records: Iterable[Record], w: float = 0.5) -> list[Board]:
    """One board per group of records with the same track hash and dataset digest.

    Args:
        records: any number of records, in any order; the result does not depend on the order.
        w: the weight of IOR, in [0, 1].

    Returns:
        boards ordered by dataset, images per class and student; rows by place, then by name.

    Raises:
        ValueOutOfRange: ``w`` outside [0, 1].
    """
    w = metrics.fraction(w, "w")
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.track.hash, record.dataset.digest), []).append(record)
    boards = [_board(group, w) for group in groups.values()]
    return sorted(
        boards,
        key=lambda board: (board.track.dataset, board.track.ipc, board.track.student, board.id),
    )


def _board(records: list[Record], w: float) -> Board:
    valid = [record for record in records if record.invalidated is None]
    valid.sort(key=_by_name)
    reference = common_reference(valid)
    hlr = [_hlr(record, reference) for record in valid]
    alpha = [alpha_estimate(h, record.ior, w) for h, record in zip(hlr, valid, strict=True)]
    alpha_NS = np.array([values.values for values in alpha]).reshape(
        len(valid), records[0].track.seeds
    )
    better_NN = separated(alpha_NS)
    places = place([values.mean for values in alpha])
    order = sorted(range(len(valid)), key=lambda i: (places[i], i))
    groups = tie_groups(order, better_NN)
    points = [h.mean for h in hlr], [record.ior.mean for record in valid]
    ranges, front = rank_range(*points), pareto_front(*points)
    ids = _distinct([entry_id(record) for record in valid])
    rows = tuple(
        Row(
            record=valid[i],
            id=ids[i],
            place=places[i],
            lowest=1 + int(better_NN[:, i].sum()),
            highest=len(valid) - int(better_NN[i].sum()),
            group=groups[i],
            tie=i,
            hlr=hlr[i],
            ior=valid[i].ior,
            alpha=alpha[i],
            ddrs=ddrs_estimate(alpha[i]),
            best=ranges[i][0],
            worst=ranges[i][1],
            on_front=front[i],
            custom_recipe=not is_released(
                valid[i].recipe, valid[i].track.dataset, valid[i].track.ipc
            ),
        )
        for i in order
    )
    invalidated = sorted((r for r in records if r.invalidated is not None), key=_by_name)
    track = _usual([(r.track, r.created) for r in valid or invalidated])
    dataset = _usual([(r.dataset, r.created) for r in valid or invalidated])
    return Board(as_released(track), dataset, w, rows, tuple(invalidated), reference)


Titled = TypeVar("Titled", Track, DatasetCopy)


def _usual(seen: Sequence[tuple[Titled, str]]) -> Titled:
    """Of equal things under several titles, each with its date: the most frequent, the oldest."""
    count = Counter(thing.title for thing, _ in seen)
    best = min(seen, key=lambda one: (-count[one[0].title], one[1], one[0].model_dump_json()))
    return best[0]


def as_released(track: Track) -> Track:
    """The track with the texts of the released one, where its name and rules are those."""
    return track if track.custom else tracks()[track.id]


def recipe_as_released(recipe: Recipe, track: Track) -> Recipe:
    """The recipe with the texts of the released one, where its name and rules are those."""
    if not is_released(recipe, track.dataset, track.ipc):
        return recipe
    return recipe_files()[recipe.id].resolve(track.dataset, track.ipc)


def common_reference(records: Sequence[Record]) -> RealHard | None:
    """The one whole-set accuracy to use for all records, or None where each record's own is used.

    ``real_hard`` depends on the track and the seed alone, so it should cancel between entries.
    Where records carry different values and any of them is only reported, it would not: an entry
    would win by quoting a lower number. The board then computes every HLR with a single one: of
    the measured ones, else of the reported ones, the one that most records carry (the oldest on a
    tie). Measured values that differ stay each record's own: they are part of what was measured.
    """
    values = {record.real_hard.accuracies for record in records}
    if len(values) < 2 or all(record.real_hard.kind == "measured" for record in records):
        return None
    oldest_first = sorted(records, key=lambda record: (record.created, record.entry.digest))
    measured = [r.real_hard for r in oldest_first if r.real_hard.kind == "measured"]
    candidates = measured or [r.real_hard for r in oldest_first]
    count = Counter(real.accuracies for real in candidates)
    return max(candidates, key=lambda real: count[real.accuracies])


def _by_name(record: Record) -> tuple[str, ...]:
    card = record.entry
    return card.method.lower(), card.method, record.recipe.id, record.created, card.digest


def _hlr(record: Record, reference: RealHard | None) -> Estimate:
    if reference is None or reference.accuracies == record.real_hard.accuracies:
        return record.hlr
    syn_hard = record.accuracy["syn_hard"].values
    real = reference.accuracies
    if len(real) == 1:
        real = real * len(syn_hard)
    return estimate([metrics.hlr(r, s) for r, s in zip(real, syn_hard, strict=True)])


def place(alpha: Sequence[float]) -> list[int]:
    """``1 + the number of strictly higher values``, where equal means within rounding.

    >>> place([0.1, 0.3, 0.1])
    [2, 1, 2]
    """
    descending = np.sort(-np.asarray(alpha, dtype=float))
    return [int(np.searchsorted(descending, -(a + ROUNDING))) + 1 for a in alpha]


def separated(alpha_NS: np.ndarray, level: float = LEVEL) -> np.ndarray:
    """Which entries are surely better than which.

    Args:
        alpha_NS: alpha of each entry and seed; seed s of every entry is paired.
        level: the family-wise error that Holm's step-down procedure keeps over all N (N-1) / 2
            pairs (Holm 1979).

    Returns:
        better_NN: boolean; ``[i, j]`` says that i is better than j.
    """
    entries, seeds = alpha_NS.shape
    p_NN = np.ones((entries, entries))
    mean_NN = np.zeros((entries, entries))
    for i in range(entries - 1):
        difference_MS = alpha_NS[i] - alpha_NS[i + 1 :]
        mean, std = difference_MS.mean(axis=1), difference_MS.std(axis=1, ddof=1)
        t = np.abs(mean) * np.sqrt(seeds) / np.maximum(std, ROUNDING)
        p = np.where(std <= ROUNDING, 0.0, 2 * stdtr(seeds - 1, -t))
        mean_NN[i, i + 1 :] = mean
        p_NN[i, i + 1 :] = np.where(np.abs(mean) <= ROUNDING, 1.0, p)
    pairs = np.sort(p_NN[np.triu_indices(entries, 1)])
    allowed = level / np.arange(len(pairs), 0, -1)
    rejected = int(np.argmax(np.append(pairs > allowed, True)))
    limit = pairs[rejected - 1] if rejected else -1.0
    apart_NN = p_NN <= limit
    return (apart_NN & (mean_NN > 0)) | (apart_NN & (mean_NN < 0)).T


def tie_groups(order: Sequence[int], better_NN: np.ndarray) -> list[int]:
    """Group numbers from the top: a group ends before the first entry surely below its first one.

    Being tied is not transitive; this is the reading that a board shows as bands. What a single
    row cannot be told from is its rank interval.
    """
    groups, number, head = [0] * len(order), 0, None
    for i in order:
        if head is None or better_NN[head, i]:
            number, head = number + 1, i
        groups[i] = number
    return groups


def _distinct(ids: Sequence[str]) -> list[str]:
    """The ids, with ``-2``, ``-3`` after repeated ones (the same set measured again)."""
    seen: Counter[str] = Counter()
    result = []
    for one in ids:
        seen[one] += 1
        result.append(one if seen[one] == 1 else f"{one}-{seen[one]}")
    return result
