"""Every code block of README and docs runs, or at least parses, as it stands on the page."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from changed_package import apply_diff, patch_package
from cyclopts.exceptions import CycloptsError
from snippets import ELSEWHERE, LANGUAGES, PAGES, ROOT, Snippet, commands, prints, snippets
from walkthrough import walk

ALL = [snippet for page in PAGES for snippet in snippets(page)]
CHANGING = sorted(
    {each.page for each in ALL if each.language == "diff" or each.said.startswith("src/")}
)
"""Pages that change the package; they are walked through in a changed copy of it."""


@pytest.mark.parametrize("page", [page for page in PAGES if page not in CHANGING])
def test_page_runs(page: str, state: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    shutil.copytree(state, folder)
    walk(page, folder)


@pytest.fixture(scope="session")
def faults(state: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What went wrong on each changing page, walked through with all their changes at once."""
    folder = tmp_path_factory.mktemp("changed")
    patch_package(ROOT / "src" / "ddranking", folder / "site" / "ddranking", CHANGING)
    shutil.copytree(state, folder / "state")
    script = Path(__file__).with_name("walkthrough.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder / "state"), *CHANGING],
        env={**os.environ, "PYTHONPATH": str(folder / "site")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("page", CHANGING)
def test_page_runs_in_the_package_it_changes(page: str, faults: dict[str, str | None]) -> None:
    assert faults[page] is None, faults[page]


@pytest.mark.parametrize("snippet", ALL, ids=lambda snippet: snippet.where)
def test_block_says_what_it_is(snippet: Snippet) -> None:
    assert snippet.language in LANGUAGES, f"{snippet.where}: language {snippet.language!r}"
    if snippet.language == "python":
        compile(snippet.text, snippet.page, "exec")


CONSOLE = [snippet for snippet in ALL if snippet.language == "console"]


@pytest.mark.parametrize("snippet", CONSOLE, ids=lambda snippet: snippet.where)
def test_commands_parse(snippet: Snippet) -> None:
    """Also of blocks that do not run: the command is there, and so is every option."""
    from ddranking.cli import app

    for command in commands(snippet):
        if command.words[0] in ELSEWHERE:
            assert not snippet.runs, f"{command.where}: mark the block as not run"
            continue
        assert command.words[0] == "ddranking", f"{command.where}: unknown program"
        words = list(command.words[1:])
        if "&" in words:
            words.remove("&")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                app.parse_args(words, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            pytest.fail(f"{command.where}: {error}")


def test_shown_lines_are_compared_but_for_their_numbers() -> None:
    assert prints(("made 10 images",), "first\nmade   12 images\n") is None
    assert prints(("made 10 images", "first"), "first\nmade 12 images\n") == "first"
    assert prints(("│ HLR │ 3.2% │",), "│ HLR      │ -12.25% │") is None
    assert prints(("wrote ... twice",), "wrote this twice") is None
    assert prints(("made images",), "made pictures") == "made images"


def test_a_diff_is_applied_where_its_lines_stand_once(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("a = 1\nb = 2\nb = 2\n")
    head = "--- a/src/ddranking/one.py\n+++ b/src/ddranking/one.py\n@@\n"
    apply_diff(Snippet("page", 1, "diff", head + " a = 1\n+c = 3\n"), tmp_path)
    assert (tmp_path / "one.py").read_text() == "a = 1\nc = 3\nb = 2\nb = 2\n"
    with pytest.raises(AssertionError, match="do not stand once"):
        apply_diff(Snippet("page", 1, "diff", head + "-b = 2\n"), tmp_path)


def test_a_wrong_page_is_noticed(state: Path, tmp_path: Path, monkeypatch) -> None:
    """The walk itself can fail: on an exit code and on an output that is not printed."""
    import walkthrough

    def only(text: str) -> None:
        made = Snippet("invented.md", 1, "console", text)
        monkeypatch.setattr(walkthrough, "snippets", lambda page: [made])

    only("$ ddranking list methods\nkmeans  k-means centroids of each class\n")
    walk("invented.md", tmp_path)
    only("$ ddranking list methods\nkmeans  something else\n")
    with pytest.raises(AssertionError, match="not printed: kmeans"):
        walk("invented.md", tmp_path)
    only("$ ddranking inspect not-there.safetensors\n")
    with pytest.raises(AssertionError, match="exit code 2"):
        walk("invented.md", tmp_path)
