"""Runs the code blocks of a page, in order, as a reader would, in a folder with small data.

The commands are the page's own; ``SMALL`` is appended to those that train, so that a page may show
what a person really types. As a script (``python walkthrough.py STATE PAGE...``) it walks through
pages in a process of its own and prints what went wrong as JSON.
"""

from __future__ import annotations

import contextlib
import glob
import importlib
import io
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from snippets import ELSEWHERE, Command, Snippet, commands, prints, snippets

CHANGES = (
    "track.seeds=2",
    "track.validation_size=20",
    "track.hard.epochs=1",
    "track.whole.epochs=1",
    "epochs=1",
)
SMALL = {
    "plan": [word for change in CHANGES for word in ("--set", change)],
    "score": [word for change in CHANGES for word in ("--set", change)] + ["--workers", "1"],
}
"""Appended to the commands that train, and to ``ddranking.score`` in Python."""

ANSWERS = {"compare": (0, 1)}
"""Exit codes of commands whose answer may be no; 0 for all others."""


# What stands in for real data: the right shapes, names and formats with next to nothing inside.


def build_state(folder: Path) -> None:
    """Fills ``folder`` with the files that the pages speak of."""
    import torch

    chance = np.random.default_rng(0)
    _parquet(folder / "cifar10", 10, (32, 32, 3), chance)
    _parquet(folder / "kmnist", 10, (28, 28), chance)
    _class_folders(folder / "flowers", ("daisy", "rose", "tulip"), chance)

    def labelled() -> list[Any]:
        images = torch.from_numpy(chance.normal(0, 1.5, (10, 3, 32, 32)).astype(np.float32))
        return [images, torch.arange(10)]

    experiments = {"data": [labelled(), labelled()], "accs_all_exps": {"ConvNet": [0.28]}}
    torch.save(experiments, folder / "res_DC_CIFAR10_ConvNet_1ipc.pt")
    images, labels = labelled()
    mtt = folder / "mtt_cifar10_ipc1"
    mtt.mkdir()
    torch.save(images, mtt / "images_best.pt")
    torch.save(labels, mtt / "labels_best.pt")
    with settled(folder):
        for page in ("data prepare cifar10 --root cifar10",):
            _main(page.split())


def _parquet(folder: Path, classes: int, shape: tuple[int, ...], chance: Any) -> None:
    """Train and test in the Hub's layout: an image column of encoded bytes, and a label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    for half, each in (("train", 14), ("test", 3)):
        labels = np.repeat(np.arange(classes), each)
        images = [{"bytes": _png(shape, label, chance), "path": None} for label in labels]
        pq.write_table(pa.table({"image": images, "label": labels}), folder / f"{half}.parquet")


def _class_folders(folder: Path, names: tuple[str, ...], chance: Any) -> None:
    for half, each in (("train", 20), ("test", 6)):
        for label, name in enumerate(names):
            (folder / half / name).mkdir(parents=True)
            for index in range(each):
                image = _png((20, 16, 3), label, chance)
                (folder / half / name / f"{index}.png").write_bytes(image)


def _png(shape: tuple[int, ...], label: int, chance: Any) -> bytes:
    from PIL import Image

    pixels = chance.integers(0, 120, shape) + 12 * label
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


# Walking through.


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
    """In ``folder``, with cache and store there, nothing of the person's own, and small scores."""
    import ddranking

    before, here, paths = dict(os.environ), Path.cwd(), list(sys.path)
    os.environ |= {
        "DDRANKING_CACHE": str(folder / ".cache"),
        "DDRANKING_STORE": str(folder / ".store"),
        "COLUMNS": "100",
    }
    os.environ.pop("DDRANKING_REFERENCES", None)
    os.chdir(folder)
    score = ddranking.score
    ddranking.score = _smaller(score)  # type: ignore[assignment]
    try:
        yield
    finally:
        ddranking.score = score  # type: ignore[assignment]
        os.chdir(here)
        os.environ.clear()
        os.environ.update(before)
        sys.path[:] = paths


def _smaller(score: Any) -> Any:
    def small_score(distilled: Any, **given: Any) -> Any:
        given["changes"] = (*given.get("changes", ()), *CHANGES)
        return score(distilled, **{**given, "workers": 1})

    return small_score


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
        allowed = ANSWERS.get(command.words[1], wanted)
        assert code in allowed, f"{command.where}: exit code {code}\n{printed}"
        missing = None
        if snippet.treatment != "output not compared":
            missing = prints(command.shown, printed)
        assert missing is None, f"{command.where}: not printed: {missing}\nprinted:\n{printed}"


def _run(command: Command) -> tuple[int, str]:
    words = [name for word in command.words[1:] for name in sorted(glob.glob(word)) or [word]]
    for name, value in command.environment.items():
        os.environ[name] = value
        if name == "PYTHONPATH":
            sys.path.insert(0, str(Path(value).resolve()))
    return _main([*words, *SMALL.get(words[0], [])])


def _main(words: list[str]) -> tuple[int, str]:
    from ddranking.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = main(words)
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


# Changes to the package that a page proposes.


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
