"""Ranking against slow, literal readings of its definitions."""

from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest

from ddranking.board.content import content
from ddranking.board.ranking import LEVEL, common_reference, place, rank, separated
from ddranking.board.reported import reported_tables
from ddranking.errors import ValueOutOfRange
from ddranking.scoring.derivation import RealHard
from ddranking.scoring.record import Invalidation
from ddranking.scoring.recordfile import parse_record
from ddranking.scoring.statistics import compare_paired, holm


def crowd(make_record, entries=7, seed=0, **rest):
    rng = np.random.default_rng(seed)
    records = []
    for k in range(entries):
        shared = rng.normal(0, 0.01, 5)
        records.append(
            make_record(
                f"M{k}",
                syn_hard=(0.25 + 0.02 * k + shared + rng.normal(0, 0.006, 5)).tolist(),
                syn_any=(0.40 + 0.008 * k + shared + rng.normal(0, 0.006, 5)).tolist(),
                **rest,
            )
        )
    return records


@pytest.mark.parametrize("w", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_order_rank_and_interval_of_ranks_follow_the_definitions(make_record, w):
    records = crowd(make_record)
    [board] = rank(records, w)
    alphas = [row.record.alpha(w) for row in board.rows]
    assert [row.alpha for row in board.rows] == alphas
    assert [a.mean for a in alphas] == sorted((a.mean for a in alphas), reverse=True)
    pairs = list(itertools.combinations(range(len(alphas)), 2))
    comparisons = [compare_paired(alphas[i].values, alphas[j].values) for i, j in pairs]
    adjusted = holm([comparison.p_value for comparison in comparisons])
    better = {
        (i, j) if comparison.difference.mean > 0 else (j, i)
        for (i, j), comparison, p in zip(pairs, comparisons, adjusted, strict=True)
        if p <= LEVEL
    }
    assert better, "the example must separate something"
    for k, row in enumerate(board.rows):
        assert row.place == 1 + sum(a.mean > alphas[k].mean for a in alphas)
        assert row.lowest == 1 + sum((i, k) in better for i in range(len(alphas)))
        assert row.highest == len(alphas) - sum((k, j) in better for j in range(len(alphas)))
        assert row.lowest <= row.place <= row.highest
        assert row.ddrs == row.record.ddrs(w)


def test_tie_groups_end_before_the_first_entry_surely_below_their_head(make_record):
    [board] = rank(crowd(make_record, entries=9, seed=4))
    better = separated(np.array([row.alpha.values for row in board.rows]))
    head = 0
    for k, row in enumerate(board.rows):
        if better[head, k]:
            head = k
        assert row.group == board.rows[head].group
    groups = [row.group for row in board.rows]
    assert groups == sorted(groups)
    assert len(set(groups)) > 1


def test_the_order_of_records_does_not_matter(make_record):
    records = crowd(make_record)
    shuffled = records[:]
    random.Random(1).shuffle(shuffled)
    assert rank(records) == rank(shuffled)


def test_only_the_same_rules_on_the_same_copy_are_ranked_together(make_record):
    one, other = make_record("A"), make_record("B", track="cifar10-ipc10-convnet3")
    assert [len(board.rows) for board in rank([one, other])] == [1, 1]
    copy = one.dataset.model_copy(update={"digest": "sha256:" + "2" * 64})
    moved = one.model_copy(update={"dataset": copy})
    assert len(rank([one, moved])) == 2
    assert rank([]) == []


def test_identical_entries_share_a_place_and_are_never_told_apart(make_record):
    [board] = rank([make_record("A"), make_record("B"), make_record("C", syn_hard=(0.1,) * 5)])
    assert [(row.place, row.lowest, row.highest) for row in board.rows][:2] == [(1, 1, 2)] * 2
    assert board.rows[2].place == 3
    assert place([0.1 + 0.2, 0.3]) == [1, 1], "rounding is no difference"


def test_a_constant_difference_is_certain_and_rounding_is_none():
    better = separated(np.array([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.05, 0.15, 0.25]]))
    assert better.tolist() == [[False, False, True], [False, False, True], [False] * 3]
    assert not separated(np.zeros((1, 5))).any()


def test_invalidated_records_stand_apart(make_record):
    mark = Invalidation(reason="trained on test images", date="2026-01-02", by="a maintainer")
    out = make_record("Out", syn_hard=(0.8,) * 5).model_copy(update={"invalidated": mark})
    [board] = rank([make_record("A"), make_record("B"), out])
    assert [row.record.entry.method for row in board.rows] == ["A", "B"]
    assert board.invalidated == (out,)
    [only] = rank([out])
    assert only.rows == () and len(only.invalidated) == 1


def test_two_recipes_of_one_set_are_two_rows(make_record):
    [board] = rank([make_record("A", recipe="dc"), make_record("A", recipe="unified")])
    assert {row.label for row in board.rows} == {"A (dc)", "A (unified)"}
    assert len({row.id for row in board.rows}) == 2
    assert not any(row.custom_recipe for row in board.rows)


def test_the_same_set_twice_has_two_ids(make_record):
    [board] = rank([make_record("A"), make_record("A")])
    first, second = sorted(row.id for row in board.rows)
    assert second == f"{first}-2"


def test_a_lower_reported_whole_set_accuracy_wins_nothing(make_record):
    honest = [make_record("A"), make_record("B", syn_hard=(0.3, 0.31, 0.29, 0.3, 0.32))]
    quoting = make_record("C", syn_hard=(0.2, 0.21, 0.2, 0.19, 0.2), real_hard=0.5)
    [board] = rank([*honest, quoting])
    assert board.reference is not None and board.reference.accuracies == (0.848,)
    assert [row.record.entry.method for row in board.rows] == ["B", "A", "C"]
    assert board.rows[2].hlr.mean == pytest.approx(0.848 - 0.2)
    assert quoting.hlr.mean == pytest.approx(0.3), "the record itself is not touched"


def test_a_measured_whole_set_accuracy_goes_before_reported_ones(make_record):
    reported = [make_record("A"), make_record("B")]
    measured = RealHard(kind="measured", accuracies=(0.85, 0.86, 0.85, 0.84, 0.85), source="here")
    third = reported[0].model_copy(update={"real_hard": measured})
    assert common_reference([*reported, third]) == measured
    assert common_reference([third, third]) is None
    assert common_reference(reported) is None


def test_w_outside_its_range_is_refused(make_record):
    with pytest.raises(ValueOutOfRange):
        rank([make_record()], 1.5)


def test_ranking_survives_a_round_trip_through_json(make_record):
    records = crowd(make_record, entries=3)
    again = [parse_record(record.model_dump(mode="json", by_alias=True)) for record in records]
    assert [row.ddrs for row in rank(again)[0].rows] == [row.ddrs for row in rank(records)[0].rows]


def test_reported_rows_are_the_published_ones():
    """FACTS section 3: 20 rows, whose last column follows from HLR and IOR."""
    rows = {(row.method, row.ipc): row for table in reported_tables() for row in table.rows}
    assert len(rows) == 20
    published = {
        ("DC", 10): 0.2320,
        ("MTT", 10): 0.2845,
        ("SRe2L", 1): 0.1431,
        ("DATM", 50): 0.2797,
    }
    for name, score in published.items():
        assert rows[name].ddrs(0.5) == pytest.approx(score, abs=5.1e-5)


def test_no_record_renames_a_released_board_or_recipe(make_record):
    """Titles and sources are in no hash; the oldest of the records tells nothing."""
    records = [make_record(name) for name in ("A", "B", "C")]
    texts = {"title": "Hacked", "source": "Hacked", "differs_from_source": ("Hacked",)}
    for position in range(3):
        one = records[position].model_copy(
            update={
                "created": "1999-01-01T00:00:00Z",
                "track": records[0].track.model_copy(update={"title": "Hacked"}),
                "recipe": records[0].recipe.model_copy(update=texts),
                "dataset": records[0].dataset.model_copy(update={"title": "Hacked"}),
            }
        )
        given = [one, *(other for other in records if other is not records[position])]
        for order in (given, given[::-1]):
            boards = rank(order)
            assert len(boards) == 1 and boards[0].track == records[0].track
            assert boards[0].dataset == records[0].dataset
            page = json.dumps(content(boards, {}, {}))
            assert "Hacked" not in page and records[0].recipe.title in page


def test_of_texts_that_nobody_released_the_oldest_counts_on_a_tie(make_record):
    rules = make_record().track.model_copy(update={"name": "mine"})
    made = []
    for name, title, year in (("A", "New", 2027), ("B", "Old", 2025)):
        record = make_record(name)
        track = rules.model_copy(update={"title": title})
        copy = record.dataset.model_copy(update={"title": title})
        made.append(
            record.model_copy(update={"track": track, "dataset": copy, "created": f"{year}-01-01"})
        )
    for order in (made, made[::-1]):
        [board] = rank(order)
        assert (board.track.title, board.dataset.title) == ("Old", "Old")


def test_equal_places_follow_their_number_by_name(make_record):
    names = ("b", "A", "a", "B", "É", "z")
    records = [make_record(name) for name in names]
    [board] = rank(records)
    assert [row.tie for row in board.rows] == list(range(6)), "all of them are first"
    [shown] = content(rank(crowd(make_record)), {}, {})["boards"]
    assert sorted(shown["entries"], key=lambda entry: entry["tie"]) == sorted(
        shown["entries"], key=lambda entry: entry["method"]
    )
    assert board.rows[0].ranks == "1–6" and rank(records[:1])[0].rows[0].ranks == "1"
