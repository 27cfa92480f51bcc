"""The code blocks of the documentation, read from Markdown.

A comment directly above a block says how it is treated:

    <!-- not run: needs CIFAR-10 -->      commands are parsed, code is compiled, nothing runs
    <!-- output not compared: chance -->  runs, but may print something else than is shown
    <!-- file: track.yaml -->             the block is the content of this file
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *sorted(f"docs/{p.name}" for p in ROOT.glob("docs/*.md")))

LANGUAGES = ("console", "python", "yaml", "diff", "text", "bibtex")
ELSEWHERE = ("bash", "cd", "git", "make", "pip", "python", "ray", "sbatch", "srun", "uv", "uvx")
"""Programs other than ours; their lines run nowhere and must stand in a block marked so."""

_FENCE = re.compile(r"^```(\w*)\s*$")
_COMMENT = re.compile(r"^<!--\s*(not run|output not compared|file):\s*(.+?)\s*-->$")


@dataclass(frozen=True)
class Snippet:
    """One fenced block. ``line`` is where its content starts, from 1."""

    page: str
    line: int
    language: str
    text: str
    treatment: str = ""
    said: str = ""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def runs(self) -> bool:
        return self.treatment != "not run"


@dataclass(frozen=True)
class Command:
    """One ``$`` line of a console block, with the lines that it is shown to print."""

    where: str
    environment: dict[str, str]
    words: tuple[str, ...]
    shown: tuple[str, ...]


def snippets(page: str) -> list[Snippet]:
    """The fenced blocks of a page, in order."""
    found, lines = [], (ROOT / page).read_text(encoding="utf-8").splitlines()
    start, language, comment = 0, None, None
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if language is None and fence:
            comment = _COMMENT.match(lines[number - 1]) if number else None
            language, start = fence[1], number + 1
        elif language is not None and line == "```":
            said = comment.groups() if comment else ("", "")
            text = "\n".join(lines[start:number]) + "\n"
            found.append(Snippet(page, start + 1, language, text, *said))
            language = None
    assert language is None, f"{page}:{start}: a code block is not closed"
    return found


def commands(snippet: Snippet) -> list[Command]:
    """The ``$`` lines of a console block; a backslash at the end continues a line."""
    found: list[tuple[int, str, list[str]]] = []
    for offset, line in enumerate(snippet.text.splitlines()):
        if line.startswith("$ "):
            found.append((snippet.line + offset, line[2:], []))
        elif found and found[-1][1].endswith("\\"):
            number, typed, shown = found[-1]
            found[-1] = (number, typed[:-1] + line.strip(), shown)
        else:
            assert found, f"{snippet.where}: a console block starts with a '$ ' line"
            found[-1][2].append(line)
    return [_command(f"{snippet.page}:{n}", typed, shown) for n, typed, shown in found]


def _command(where: str, typed: str, shown: list[str]) -> Command:
    words, environment = shlex.split(typed, comments=True), {}
    while words and re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        environment[name] = value
    assert words, f"{where}: no command"
    return Command(where, environment, tuple(words), tuple(line for line in shown if line.strip()))


def prints(shown: tuple[str, ...], printed: str) -> str | None:
    """The first shown line that is not printed after the ones before it, or None.

    Numbers, digests, blanks and the width of tables may differ: what a page shows was measured
    at full size, and what the tests run is small. ``...`` stands for anything.
    """
    actual = [_plain(line) for line in printed.splitlines()]
    for line in shown:
        pattern = ".*".join(map(re.escape, _plain(line).split("...")))
        for index, candidate in enumerate(actual):
            if re.fullmatch(pattern, candidate):
                actual = actual[index + 1 :]
                break
        else:
            return line
    return None


def _plain(line: str) -> str:
    line = re.sub(r"\b[0-9a-f]{8,}\b", "0", line)
    line = re.sub(r"(?<!\w)[-+]?\d+([.,]\d+)*(e-?\d+)?", "0", line)
    line = re.sub(r"[━─]+", "━", line)
    return " ".join(line.split())
