"""The page and Python on boards drawn at random: every number within 1e-9, every rank the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.board.test_golden import judged

from ddranking.board.overall import overall
from ddranking.board.ranking import LEVEL, rank
from ddranking.board.site import build
from ddranking.board.unified import under_unified
from ddranking.scoring.decomposition import decompose
from ddranking.scoring.derivation import RealHard
from ddranking.scoring.statistics import estimate

WEIGHTS = (0.0, 1e-6, 0.25, 0.5, 0.819, 1.0)
BOARDS = 48

Entries = list[dict[str, list[float]]]


def random_board(rng: np.random.Generator) -> Entries:
    """1 to 24 entries of 2 to 12 seeds: tied, equal, a constant apart, without spread, negative."""
    entries, seeds = int(rng.integers(1, 25)), int(rng.integers(2, 13))
    spread = rng.choice([0.0, 1e-13, 1e-4, 0.01, 0.2])
    shared = rng.normal(0, 0.02, seeds)
    board: Entries = []
    for _ in range(entries):
        kind = rng.integers(6) if board else 5
        twin = board[int(rng.integers(len(board)))] if board else {}
        if kind == 0:  # equal
            board.append({name: list(values) for name, values in twin.items()})
        elif kind == 1:  # a constant apart, rounding and all
            board.append(
                {name: [max(v - 0.01, -1.0) for v in values] for name, values in twin.items()}
            )
        elif kind == 2:  # the same mean, other seeds
            board.append({name: values[::-1] for name, values in twin.items()})
        else:
            board.append(
                {
                    name: np.clip(
                        rng.uniform(-0.9, 0.9) * rng.choice([0.1, 1])
                        + shared
                        + rng.normal(0, 1, seeds) * spread,
                        -1,
                        1,
                    ).tolist()
                    for name in ("hlr", "ior")
                }
            )
    return board


def test_scores_intervals_ties_and_ranks_agree_on_random_boards(visit, site):
    rng = np.random.default_rng(20260101)
    boards = [random_board(rng) for _ in range(BOARDS)]
    page = visit(site.as_uri()).page
    seen = page.evaluate(
        """([boards, weights, level]) => boards.map((entries) => weights.map((w) =>
             judge(entries, w, level).results))""",
        [boards, list(WEIGHTS), LEVEL],
    )
    compared = apart = 0
    for board, answers in zip(boards, seen, strict=True):
        for w, results in zip(WEIGHTS, answers, strict=True):
            ours = judged(board, w)
            for name in ("place", "lowest", "highest", "group"):
                assert [result[name] for result in results] == ours[name], (name, w, board)
            for k, result in enumerate(results):
                alpha, ddrs = result["alpha"], result["ddrs"]
                assert [alpha[part] for part in ("mean", "std", "low", "high")] == pytest.approx(
                    ours["alpha"][k], abs=1e-9
                )
                assert [ddrs[part] for part in ("mean", "low", "high")] == pytest.approx(
                    ours["ddrs"][k], abs=1e-9
                )
                compared += 1
                apart += ours["lowest"][k] - 1
    assert compared > 1000 and apart > 1000, "the boards must hold differences"


def whole_set(record: Any, rng: np.random.Generator) -> Any:
    """The record with a whole-set accuracy that its author quotes."""
    value = RealHard(
        kind="reported", accuracies=(float(rng.choice([0.7, 0.848, 0.86])),), source="quoted"
    )
    hlr = [value.accuracies[0] - v for v in record.accuracy["syn_hard"].values]
    scores = record.scores.model_copy(update={"hlr": estimate(hlr)})
    return record.model_copy(update={"real_hard": value, "scores": scores})


def jitter(rng: np.random.Generator, level: float) -> list[float]:
    return np.clip(level + rng.normal(0, 0.006, 5), 0, 1).tolist()


def rich_records(make_record, rng: np.random.Generator) -> list[Any]:
    """Two tracks with quoted whole-set accuracies, optional arms and incomplete entries."""
    made = []
    for track, entries in (("cifar10-ipc1-convnet3", 9), ("cifar10-ipc10-convnet3", 6)):
        for k in range(entries):
            arms: dict[str, Any] = {}
            if k % 3 == 0:
                arms |= {arm: jitter(rng, 0.2) for arm in ("rdm_hard", "syn_noaug", "rdm_noaug")}
                recipe = "dsa"
            else:
                recipe = "unified" if k == 4 else "dc"
                if k != 4 and k != 7:
                    levels = {"syn_unified": rng.uniform(0.1, 0.4), "rdm_unified": 0.18}
                    arms |= {arm: jitter(rng, level) for arm, level in levels.items()}
                    arms["unified"] = "unified"
            record = make_record(
                f"M{k}",
                track=track,
                recipe=recipe,
                syn_hard=jitter(rng, rng.uniform(0.1, 0.4)),
                syn_any=jitter(rng, rng.uniform(0.05, 0.5)),
                **arms,
            )
            made.append(whole_set(record, rng))
    return made


@pytest.mark.parametrize("seed", [1, 2])
def test_pages_of_random_records_agree_with_python(visit, make_record, tmp_path, seed):
    records = rich_records(make_record, np.random.default_rng(seed))
    page = visit(build(records, tmp_path).as_uri()).page
    seen = page.evaluate(
        """(weights) => weights.map((w) => ({
          boards: data.boards.map((board) => {
            const judgement = judge(board.entries, w, data.level);
            const unified = unifiedRanks(board.pairs, w, data.level);
            return board.entries.map((entry, i) => {
              const { place, lowest, highest, group, alpha, ddrs } = judgement.result(i);
              const under = unified[entry.among];
              return { id: entry.id, ranks: [place, lowest, highest, group],
                numbers: [alpha.mean, alpha.low, alpha.high, ddrs.mean, ddrs.low, ddrs.high,
                  entry.hlrEstimate.mean, entry.hlrEstimate.low, entry.iorEstimate.high],
                ars: entry.ars && [entry.ars.mean, entry.ars.low, entry.ars.high],
                steps: entry.accuracy.rdm_hard && Object.values(stepsOf(entry)).flat().map(
                  ({ before, after, effect }) => [before, after, effect.mean, effect.low]),
                unified: under && [under.own, under.place, under.ranks.lowest,
                  under.ranks.highest, estimate(entry.iorUnified).mean] };
            });
          }),
          means: meanRanks(data.boards, w, data.level, (entry) =>
            `${entry.method}\\n${entry.rules.name}`).standings.map((row) =>
              [...row.name.split("\\n"), row.mean, row.lowest, row.highest]),
        }))""",
        list(WEIGHTS),
    )
    for w, answer in zip(WEIGHTS, seen, strict=True):
        boards = rank(records, w)
        for board, entries in zip(boards, answer["boards"], strict=True):
            assert board.reference is not None, "quoted accuracies differ"
            theirs = {entry["id"]: entry for entry in entries}
            second = under_unified(board)
            assert second is not None
            moved = {one.id: one for one in second.entries}
            assert 2 < len(moved) < len(board.rows)
            for row in board.rows:
                entry = theirs[row.id]
                assert entry["ranks"] == [row.place, row.lowest, row.highest, row.group]
                alpha, ddrs, hlr = row.alpha, row.ddrs, row.hlr
                expected = [alpha.mean, alpha.low, alpha.high, ddrs.mean, ddrs.low, ddrs.high]
                expected += [hlr.mean, hlr.low, row.ior.high]
                assert entry["numbers"] == pytest.approx(expected, abs=1e-9)
                ars = row.record.scores.ars
                assert (ars is None) == (entry.get("ars") is None)
                if ars is not None:
                    assert entry["ars"] == pytest.approx([ars.mean, ars.low, ars.high], abs=1e-9)
                    parts = decompose(row.record.accuracy)
                    steps = [
                        [step.before, step.after, step.effect.mean, step.effect.low]
                        for step in (*parts.distilled, *parts.random)
                    ]
                    assert [s[:2] for s in entry["steps"]] == [s[:2] for s in steps]
                    for ours, other in zip(steps, entry["steps"], strict=True):
                        assert other[2:] == pytest.approx(ours[2:], abs=1e-9)
                one = moved.get(row.id)
                assert (one is None) == (entry.get("unified") is None)
                if one is not None:
                    expected = [one.own, one.place, one.lowest, one.highest, one.ior.mean]
                    assert entry["unified"] == pytest.approx(expected, abs=1e-9)
        expected = [
            [one.method, one.recipe, one.mean, one.lowest, one.highest]
            for one in overall(boards, w).standings
        ]
        assert answer["means"] == expected and expected


def test_what_python_judged_is_what_the_page_would(visit, site):
    """The limit that the page takes from Python for the first w is the one it works out itself."""
    page = visit(site.as_uri()).page
    for given, own in page.evaluate(
        """data.boards.map(({ entries, judged: { w } }) =>
             [judge(entries, w, data.level).limit, judge([...entries], w, data.level).limit])"""
    ):
        assert given == own


@pytest.mark.parametrize("w", [0.0, 0.5, 1.0])
def test_rows_and_bands_of_equals_agree_at_every_weight(visit, make_record, tmp_path, w):
    """Equal places are in order of names on both sides, whatever the order at w = 0.5 was."""
    rng = np.random.default_rng(3)
    hard, soft = [jitter(rng, 0.3), jitter(rng, 0.2)], [jitter(rng, 0.3) for _ in range(6)]
    made = [
        make_record(name, syn_hard=hard[k % 2], syn_any=soft[5 - k])
        for k, name in enumerate(("a", "B", "c", "D", "e", "f"))
    ]
    page = visit(build(made, tmp_path).as_uri() + f"#w={w:g}").page
    [board] = rank(made, w)
    assert w or len({row.place for row in board.rows}) == 2, "at w = 0 most are equal"
    names = page.locator("#body button.entry").all_text_contents()
    assert names == [row.record.entry.method for row in board.rows]
    groups = page.evaluate("rows.map((row) => row.result.group)")
    assert groups == [row.group for row in board.rows]


def test_the_order_of_equals_is_the_one_that_python_gives(visit, site):
    page = visit(site.as_uri()).page
    order = """(ties) => judge(ties.map((tie) => ({ tie, hlr: [0.5, 0.6], ior: [0.1, 0.2] })),
        0.5, data.level).order"""
    assert page.evaluate(order, [2, 0, 1]) == [1, 2, 0]
    assert page.evaluate(order, [0, 1, 2]) == [0, 1, 2]
