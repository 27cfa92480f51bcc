"""Every command has help that works, and a place in the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from cyclopts import App
from snippets import PAGES, ROOT

from ddranking.cli import app, main

TEXT = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)


def leaves(group: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something."""
    for name in group:
        if not name.startswith("-"):
            inner = group[name]
            below = [each for each in inner if not each.startswith("-")]
            yield from leaves(inner, (*path, name)) if below else [(*path, name)]


COMMANDS = list(leaves(app))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_runs(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--help"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"Usage: ddranking {' '.join(words)}")
    assert len(printed.splitlines()) > 5


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_is_documented(words: tuple[str, ...]) -> None:
    assert f"ddranking {' '.join(words)}" in TEXT


def test_the_commands_are_found() -> None:
    assert {("demo",), ("score",), ("board", "build"), ("data", "prepare")} <= set(COMMANDS)


def test_environment_variables_are_documented() -> None:
    sources = (ROOT / "src").rglob("*.py")
    named = {name for s in sources for name in re.findall(r"DDRANKING_[A-Z]+", s.read_text())}
    assert named
    for name in named:
        assert f"`{name}`" in (ROOT / "docs" / "files.md").read_text(), name
