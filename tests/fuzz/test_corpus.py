"""What fuzzing found stays found: every case of ``corpus``, every seed, some changes of each."""

from __future__ import annotations

import warnings
from functools import cache
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .changes import changed
from .readers import CORPUS, READERS, attempt, corpus

CASES = [(name, path) for name in READERS for path in corpus(name)]


@pytest.fixture(autouse=True)
def _quiet():
    """Libraries warn of odd files before they refuse them."""
    with warnings.catch_warnings(action="ignore"):
        yield


def test_every_folder_of_cases_has_a_reader() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= READERS.keys()


@pytest.mark.parametrize(
    ("name", "path"), CASES, ids=[f"{name}-{path.name}" for name, path in CASES]
)
def test_a_found_case_is_answered_or_refused(name, path) -> None:
    attempt(READERS[name], path.read_bytes())


@cache
def seeds(name: str) -> list[bytes]:
    return READERS[name].seeds()


@pytest.mark.parametrize("name", READERS)
def test_seeds_are_read(name) -> None:
    assert not all(attempt(READERS[name], seed) for seed in seeds(name)), "no seed is read at all"


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(number=st.integers(0, 2**32))
def test_changes_of_seeds_are_answered_or_refused(name, number) -> None:
    reader, chance = READERS[name], Random(number)
    content = chance.choice(seeds(name))
    for _ in range(chance.choice([1, 1, 3])):
        content = changed(reader.change, content, chance)
    attempt(reader, content)
