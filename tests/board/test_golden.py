"""Golden boards: Python's own answers, which the page must give too (test_page.py).

``golden.json`` is made by ``python tests/board/test_golden.py`` and committed; this test holds that
Python still gives the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import stdtrit

from ddranking.board.ranking import LEVEL, place, separated, tie_groups
from ddranking.scoring.derivation import alpha_estimate, ddrs_estimate
from ddranking.scoring.statistics import estimate

GOLDEN = Path(__file__).with_name("golden.json")
WEIGHTS = (0.0, 0.123, 0.5, 0.77, 1.0)
SHAPES = ((2, 2), (6, 3), (12, 5), (40, 5), (9, 10))
"""Entries and seeds of each board."""


def made_up(entries: int, seeds: int) -> list[dict[str, list[float]]]:
    """Per-seed HLR and IOR of a board with leaders, ties and two equal entries."""
    rng = np.random.default_rng(entries * 100 + seeds)
    shared = rng.normal(0, 0.01, seeds)
    board = [
        {
            "hlr": (0.6 - 0.02 * (k // 2) + shared + rng.normal(0, 0.004, seeds)).tolist(),
            "ior": (0.1 + 0.01 * (k % 7) - shared + rng.normal(0, 0.004, seeds)).tolist(),
        }
        for k in range(entries - 1)
    ]
    return [*board, board[0]]


def judged(board: list[dict[str, list[float]]], w: float) -> dict[str, list[Any]]:
    """What Python says of one board at one weight."""
    alpha = [alpha_estimate(estimate(entry["hlr"]), estimate(entry["ior"]), w) for entry in board]
    better = separated(np.array([one.values for one in alpha]))
    places = place([one.mean for one in alpha])
    order = sorted(range(len(board)), key=lambda i: (places[i], i))
    score = [ddrs_estimate(one) for one in alpha]
    return {
        "alpha": [[one.mean, one.std, one.low, one.high] for one in alpha],
        "ddrs": [[one.mean, one.low, one.high] for one in score],
        "place": places,
        "lowest": [1 + int(n) for n in better.sum(axis=0)],
        "highest": [len(board) - int(n) for n in better.sum(axis=1)],
        "group": tie_groups(order, better),
    }


def golden() -> dict[str, Any]:
    boards = []
    for entries, seeds in SHAPES:
        board = made_up(entries, seeds)
        answers = [{"w": w, **judged(board, w)} for w in WEIGHTS]
        boards.append({"entries": board, "answers": answers})
    quantiles = [
        {"level": level, "df": df, "t": float(stdtrit(df, 1 - level / 2))}
        for level in (0.5, 0.05, 1e-3, 1e-6)
        for df in (1, 2, 3, 4, 9, 30, 99)
    ]
    return {"level": LEVEL, "boards": boards, "quantiles": quantiles}


def assert_close(ours: Any, theirs: Any) -> None:
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_close(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_close(a, b)
    else:
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_python_still_gives_the_golden_answers():
    assert_close(golden(), json.loads(GOLDEN.read_text()))


def test_golden_boards_hold_ties_and_differences():
    for board in json.loads(GOLDEN.read_text())["boards"][1:]:
        last = board["answers"][2]
        assert len(set(last["group"])) > 1
        assert any(low < high for low, high in zip(last["lowest"], last["highest"], strict=True))
        assert last["place"][0] == last["place"][-1], "equal entries share a place"


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden(), separators=(",", ":")) + "\n")
