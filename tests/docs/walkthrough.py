"""Runs the code blocks of a page, in order, as a reader would, in a folder with small data.

The commands are the page's own. What makes them quick is the world they run in: there, every track
and recipe, released or in a file, trains for one epoch (``small``), so that a page may show what a
person really types. As a script (``python walkthrough.py STATE PAGE...``) it walks through
pages in a process of its own and prints what went wrong as JSON.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from snippets import ELSEWHERE, Command, Snippet, commands, prints, snippets

SEEDS, VALIDATION, RATES = 2, 20, 3
"""What tracks and recipes are cut down to, besides a single epoch."""

ANSWERS = {"compare": (0, 1), "board check": (0, 1)}
"""Exit codes of commands whose answer may be no; 0 for all others."""


def walk(page: str, folder: Path) -> None:
    """Runs every block of ``page`` in ``folder``.

    Raises:
        AssertionError: names the line of the page and what happened.
    """
    space: dict[str, Any] = {"__name__": "__page__"}
    with settled(folder):
        for snippet in snippets(page):
            if snippet.treatment == "file":
                _write(snippet)
            elif snippet.runs:
                RUNNERS[snippet.language](snippet, space)


@contextlib.contextmanager
def settled(folder: Path) -> Iterator[None]:
    """In ``folder``, with cache and store there, nothing of the person's own, and small rules.

    The machine has one core there: a single worker is this process, which starts at once.
    """
    from ddranking.protocol import shelf
    from ddranking.running import local

    before, here, paths = dict(os.environ), Path.cwd(), list(sys.path)
    os.environ |= {
        "DDRANKING_CACHE": str(folder / ".cache"),
        "DDRANKING_STORE": str(folder / ".store"),
        "COLUMNS": "100",
    }
    os.environ.pop("DDRANKING_REFERENCES", None)
    os.chdir(folder)
    shipped, read_yaml, cores = shelf.shipped, shelf.read_yaml, local.cores
    local.cores = lambda: 1
    shelf.shipped = lambda kind: {name: small(file) for name, file in shipped(kind).items()}
    shelf.read_yaml = lambda path, what: small(read_yaml(path, what))
    _forget_rules()
    try:
        yield
    finally:
        shelf.shipped, shelf.read_yaml, local.cores = shipped, read_yaml, cores
        _forget_rules()
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
        sys.path[:] = paths


def _forget_rules() -> None:
    from ddranking.protocol import recipe, track

    recipe.recipe_files.cache_clear()
    track.tracks.cache_clear()


def small(rules: dict[str, Any]) -> dict[str, Any]:
    """A recipe or track file with one epoch, few rates and seeds, and a small validation split."""
    result = copy.deepcopy(rules)
    if "hard" in result:  # a track
        result |= {"seeds": SEEDS, "validation_size": VALIDATION}
    variants = [variant["training"] for variant in result.get("variants", ())]
    for training in (result.get("training"), result.get("hard"), result.get("whole"), *variants):
        if isinstance(training, dict):
            training["epochs"] = 1
            if isinstance(training.get("learning_rate"), list):
                training["learning_rate"] = training["learning_rate"][:RATES]
    return result


def _write(snippet: Snippet) -> None:
    """The page's files; those of the package are in the patched copy before this runs."""
    path = Path(snippet.said)
    if path.parts[0] != "src":
        assert not path.is_absolute(), f"{snippet.where}: a relative file name"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(snippet.text, encoding="utf-8")
        importlib.invalidate_caches()


def _console(snippet: Snippet, space: dict[str, Any]) -> None:
    for command in commands(snippet):
        assert command.words[0] not in ELSEWHERE, (
            f"{command.where}: {command.words[0]} runs nowhere: mark the block as not run"
        )
        assert command.words[0] == "ddranking", f"{command.where}: unknown program"
        code, printed = _run(command)
        wanted = (2,) if any(line.startswith("ddranking: ") for line in command.shown) else (0,)
        name = next((n for n in ANSWERS if " ".join(command.words[1:]).startswith(n)), "")
        allowed = ANSWERS.get(name, wanted)
        assert code in allowed, f"{command.where}: exit code {code}\n{printed}"
        missing = None
        if snippet.treatment != "output not compared":
            missing = prints(command.shown, printed)
        assert missing is None, f"{command.where}: not printed: {missing}\nprinted:\n{printed}"


def _run(command: Command) -> tuple[int, str]:
    words = [name for word in command.words[1:] for name in _expanded(word)]
    for name, value in command.environment.items():
        os.environ[name] = value
        if name == "PYTHONPATH":
            sys.path.insert(0, str(Path(value).resolve()))
    return run(words)


def _expanded(word: str) -> list[str]:
    """File names as the shell would expand them; the word itself where nothing matches."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def run(words: Sequence[str]) -> tuple[int, str]:
    from ddranking.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(list(words))
    return code, printed.getvalue()


def _python(snippet: Snippet, space: dict[str, Any]) -> None:
    code = compile("\n" * (snippet.line - 1) + snippet.text, snippet.page, "exec")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, space)


def _yaml(snippet: Snippet, space: dict[str, Any]) -> None:
    """A whole recipe or track must validate; any other YAML must parse."""
    from ddranking.protocol import recipe, track

    values = yaml.safe_load(snippet.text)
    if isinstance(values, dict) and "training" in values:
        recipe.parse(values, snippet.where)
    elif isinstance(values, dict) and "student" in values:
        track.resolve(values, snippet.where)


def _nothing(snippet: Snippet, space: dict[str, Any]) -> None:
    """Words, not code; a diff was applied before the page is walked through."""


RUNNERS = {
    "console": _console,
    "python": _python,
    "yaml": _yaml,
    "diff": _nothing,
    "text": _nothing,
    "bibtex": _nothing,
}


def main() -> None:
    """Walks through pages, each in a copy of the state folder; prints page to fault, or null."""
    state, *pages = sys.argv[1:]
    faults: dict[str, str | None] = {}
    for page in pages:
        folder = Path(state).with_name(Path(page).stem)
        shutil.copytree(state, folder)
        try:
            walk(page, folder)
            faults[page] = None
        except Exception as error:
            faults[page] = f"{type(error).__name__}: {error}"
    print(json.dumps(faults))


if __name__ == "__main__":
    main()
