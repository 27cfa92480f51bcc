"""Records of invented accuracies, as many as a benchmark wants, all on one board."""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ddranking.scoring.record import Record

TESTS = Path(__file__).resolve().parents[1] / "tests"


@cache
def records(count: int, seed: int = 0) -> list[Record]:
    """``count`` records of one track, two thirds under one recipe, that no one trained.

    Levels spread over 20 points and seeds over half a point, so that some entries are told apart
    and some are not. The factory is that of the tests.
    """
    fabricate = runpy.run_path(str(TESTS / "conftest.py"))["fabricate"]
    chance = np.random.default_rng(seed)
    made = []
    for number in range(count):
        hard, own = chance.uniform(0.2, 0.4), chance.uniform(0.25, 0.55)
        made.append(
            fabricate(
                f"Method {number:04d}",
                recipe="dsa" if number % 3 == 0 else "dc",
                syn_hard=(hard + chance.normal(0, 0.005, 5)).tolist(),
                syn_any=(own + chance.normal(0, 0.005, 5)).tolist(),
            )
        )
    return made
