"""A copy of the package with the changes in it that pages propose as diffs and files."""

from __future__ import annotations

import shutil
from pathlib import Path

from snippets import Snippet, snippets


def patch_package(source: Path, target: Path, pages: list[str]) -> None:
    """A copy of the package in ``target`` with every diff and package file of ``pages`` in it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for page in pages:
        for snippet in snippets(page):
            if snippet.language == "diff":
                apply_diff(snippet, target)
            elif snippet.treatment == "file" and snippet.said.startswith("src/ddranking/"):
                place = target / Path(snippet.said).relative_to("src/ddranking")
                assert not place.exists(), f"{snippet.where}: {snippet.said} is there already"
                place.write_text(snippet.text, encoding="utf-8")


def apply_diff(snippet: Snippet, package: Path) -> None:
    """Applies hunks by their text: what they remove and keep must stand once in the file."""
    file, hunks = None, []
    for line in snippet.text.splitlines():
        if line.startswith("--- "):
            continue
        if line.startswith("+++ "):
            file = package / Path(line[4:].removeprefix("b/")).relative_to("src/ddranking")
        elif line.startswith("@@"):
            hunks.append((file, [], []))
        else:
            _, old, new = hunks[-1]
            if line[:1] in ("-", " ", ""):
                old.append(line[1:])
            if line[:1] in ("+", " ", ""):
                new.append(line[1:])
    assert hunks, f"{snippet.where}: no hunk"
    for place, old, new in hunks:
        assert place is not None and place.is_file(), f"{snippet.where}: no such file: {place}"
        text, before = place.read_text(encoding="utf-8"), "\n".join(old) + "\n"
        assert text.count(before) == 1, (
            f"{snippet.where}: these lines do not stand once in {place.name}:\n{before}"
        )
        place.write_text(text.replace(before, "\n".join(new) + "\n"), encoding="utf-8")
