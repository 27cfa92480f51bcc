"""Mean ranks: only of entries that stand on every track."""

from __future__ import annotations

from statistics import fmean

from ddranking.board.overall import overall
from ddranking.board.ranking import rank

TRACKS = ("cifar10-ipc1-convnet3", "cifar10-ipc10-convnet3")


def records_of(make_record, levels):
    """``levels``: method to its syn-hard accuracy on each track, None where there is none."""
    return [
        make_record(method, track=track, syn_hard=tuple(level + 0.001 * s for s in range(5)))
        for method, pair in levels.items()
        for track, level in zip(TRACKS, pair, strict=True)
        if level is not None
    ]


def test_mean_rank_is_over_all_tracks_or_not_at_all(make_record):
    levels = {"A": (0.3, 0.2), "B": (0.2, 0.4), "C": (0.1, 0.1), "Half": (0.9, None)}
    seen = overall(rank(records_of(make_record, levels)))
    assert [standing.method for standing in seen.standings] == ["A", "B", "C"]
    assert {s.method: s.places for s in seen.standings} == {"A": (1, 2), "B": (2, 1), "C": (3, 3)}
    assert all(s.mean == fmean(s.places) for s in seen.standings)
    assert all(s.lowest <= s.mean <= s.highest for s in seen.standings)
    assert [(one.method, one.present) for one in seen.incomplete] == [("Half", (1, 0))]


def test_an_entry_with_two_records_on_a_track_is_ambiguous(make_record):
    records = records_of(make_record, {"A": (0.3, 0.2), "B": (0.2, 0.3)})
    seen = overall(rank([*records, records[0]]))
    assert [s.method for s in seen.standings] == ["B"]
    assert seen.incomplete[0].present == (2, 1)


def test_no_boards_give_no_standings():
    assert overall([]).standings == ()


def test_methods_are_joined_as_the_page_writes_them(make_record):
    records = records_of(make_record, {"A": (0.3, 0.2), "B": (0.2, 0.3)})
    card = records[0].entry.model_copy(update={"method": " A\u200b"})
    records[0] = records[0].model_copy(update={"entry": card})
    seen = overall(rank(records))
    assert [s.method for s in seen.standings] == ["A", "B"] and seen.incomplete == ()
