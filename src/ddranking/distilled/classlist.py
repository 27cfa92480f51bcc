"""Reads the list that lies beside pictures and names the class of each.

``labels.csv`` and ``labels.txt`` have a line for each picture, its name and its class; where the
first line names no picture it names the columns. ``labels.json`` is ``{name: class}``, or pairs
``[name, class]``, by themselves or under ``labels``. A class is a number or a name.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ddranking.distilled.picturefile import PICTURE_SUFFIXES
from ddranking.errors import BadFile
from ddranking.files import read_bounded

LISTS = ("labels.csv", "labels.json", "labels.txt", "metadata.csv")
NAME_COLUMNS = ("file_name", "filename", "file", "image", "name", "path")
CLASS_COLUMNS = ("label", "class", "class_id", "target", "y")
MAX_LIST_BYTES = 32 << 20
BELOW_ZERO = re.compile(r"[-\u2212]\s*[0-9.]+")
MOST_ENTRIES, LONGEST_LINE, MOST_COLUMNS = 1_000_000, 10_000, 100


def find_list(folder: Path) -> Path | None:
    """The list of a folder; None where there is none.

    Raises:
        BadFile: several.
    """
    found = [folder / name for name in LISTS if (folder / name).is_file()]
    if len(found) > 1:
        raise BadFile(
            str(folder),
            expected="one list of classes",
            got=" and ".join(each.name for each in found),
            hint="Leave the one that is meant.",
        )
    return found[0] if found else None


def read_list(path: Path) -> dict[str, str]:
    """The class of each picture by the picture's own name, without folders.

    Raises:
        BadFile: not of the form, too long, two classes for one name, or a number below 0.
    """
    try:
        text = read_bounded(path, MAX_LIST_BYTES).decode("utf-8-sig")
        if path.suffix == ".json":
            rows = _json_rows(json.loads(text, object_pairs_hook=_once))
        else:
            rows = _text_rows(text, path)
        return _by_name(rows)
    except OSError as error:
        raise BadFile(
            str(path), expected="a readable file", got=error.strerror or str(error)
        ) from None
    except (ValueError, RecursionError, csv.Error) as error:
        raise BadFile(
            str(path),
            expected='{"NAME": CLASS, ...}' if path.suffix == ".json" else "lines NAME,CLASS",
            got=f"{error}"[:160],
        ) from None


def _by_name(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, said in rows:
        name = PurePosixPath(place.strip().replace("\\", "/")).name
        if found.setdefault(name, said.strip()) != said.strip():
            raise ValueError(f"two classes for {name!r}")
        if BELOW_ZERO.fullmatch(said.strip()):
            raise ValueError(f"the class {said.strip()[:40]} of {name!r}, below 0")
        if len(found) > MOST_ENTRIES:
            raise ValueError(f"more than {MOST_ENTRIES} pictures")
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose names stand once: by itself the reader keeps the last in silence."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name[:80]!r} twice")
        found[name] = value
    return found


def _json_rows(value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict) and isinstance(value.get("labels"), dict | list):
        value = value["labels"]
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list):
        raise ValueError(type(value).__name__)
    for pair in pairs:
        right = isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)
        if not right or isinstance(pair[1], bool) or not isinstance(pair[1], int | str):
            raise ValueError(f"the entry {str(pair)[:80]}")
    return [(name, str(said)) for name, said in pairs]


def _text_rows(text: str, path: Path) -> list[tuple[str, str]]:
    if text.count("\n") > MOST_ENTRIES:
        raise ValueError(f"more than {MOST_ENTRIES} lines")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for line in lines:
        if len(line) > LONGEST_LINE or line.count(",") > MOST_COLUMNS:
            raise ValueError(f"a line of {len(line)} characters and {line.count(',')} commas")
    cells = list(csv.reader(lines)) if path.suffix == ".csv" else [_words(line) for line in lines]
    if not cells:
        raise ValueError("an empty file")
    first, second = 0, 1
    if not any(_is_picture(cell) for cell in cells[0]):
        named, *cells = cells
        first, second = _columns([cell.strip().lower() for cell in named])
    elif len(cells[0]) != 2:
        raise ValueError(f"{len(cells[0])} columns, and no line that names them")
    short = [row for row in cells if len(row) <= max(first, second)]
    if short:
        raise ValueError(f"the line {','.join(short[0])[:80]!r}")
    return [(row[first], row[second]) for row in cells]


def _columns(named: Sequence[str]) -> tuple[int, int]:
    """Which columns hold the picture's name and its class, by their own names or their number."""
    name = [index for index, each in enumerate(named) if each in NAME_COLUMNS]
    said = [index for index, each in enumerate(named) if each in CLASS_COLUMNS]
    if len(name) == len(said) == 1:
        return name[0], said[0]
    raise ValueError(f"the columns {', '.join(named)[:80]}, not file and label")


def _words(line: str) -> list[str]:
    """The name and the class in a line, with a comma, a tab or spaces between.

    >>> _words("a 1.png  golden retriever")
    ['a 1.png', 'golden retriever']
    """
    suffixes = "|".join(map(re.escape, PICTURE_SUFFIXES))
    found = re.match(rf"(.{{1,1000}}?(?:{suffixes}))(?:\s*[,;:]\s*|\s+)(.+)", line, re.IGNORECASE)
    return [found[1], found[2]] if found else re.split(r"[,;:\s]+", line.strip())


def _is_picture(cell: str) -> bool:
    return cell.strip().lower().endswith(PICTURE_SUFFIXES)
