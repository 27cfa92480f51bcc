"""What a file that is handed in does to the files of the present board.

A board is a folder of records. A handed-in file has a place in that folder; what stands there is
replaced, and nothing else may be: not a record of another set, not the credit for one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ddranking.board.ranking import entry_id
from ddranking.board.reading import read_records
from ddranking.errors import BadInput
from ddranking.scoring.derivation import SCORED
from ddranking.scoring.record import Record

PathLike = str | os.PathLike[str]
Told = tuple[Literal["error", "warning"], str]

MEASURED = {"schema", "observations", "implementation", "selection", "scores"}
MARKS = {"trust", "verification", "invalidated"}
CREDIT = {"method", "authors"}


@dataclass(frozen=True)
class Present:
    """The present board: its folders, and each record with its path inside of its folder.

    ``head`` is the folder that would be the board, which handed-in files lie in; None where it is
    not said. Then the closest folder around a file that has the name of the board's own is taken.
    """

    roots: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()
    records: tuple[Record, ...] = ()
    head: Path | None = None

    def place(self, file: Path) -> str | None:
        """The path that ``file`` would have in the board's folder, None where nothing tells."""
        file = _absolute(file)
        if self.head is not None:
            if not file.is_relative_to(self.head):
                raise BadInput(
                    "--head", expected=f"the folder that {file} is in", got=str(self.head)
                )
            return file.relative_to(self.head).as_posix()
        named = {root.name for root in self.roots if root.is_dir()}
        around = next((folder for folder in file.parents if folder.name in named), None)
        return None if around is None else file.relative_to(around).as_posix()

    def like(self, record: Record) -> list[Record]:
        """The records of the same set under the same rules."""
        return [old for old in self.records if entry_id(old) == entry_id(record)]

    def overwritten(self, place: str | None) -> Record | None:
        """The record that a file at ``place`` replaces."""
        return dict(zip(self.names, self.records, strict=True)).get(place or "")


def present_board(
    base: PathLike | Iterable[PathLike] | None, head: PathLike | None = None
) -> Present:
    """Reads the present board strictly; empty without ``base``."""
    roots = [] if base is None else [base] if isinstance(base, str | os.PathLike) else list(base)
    folders = tuple(_absolute(root) for root in roots)
    reading = read_records(roots)
    names = tuple(_name(_absolute(file), folders) for file in reading.files)
    return Present(folders, names, reading.records, None if head is None else _absolute(head))


def replacing(record: Record, place: str | None, present: Present) -> list[Told]:
    """What ``record``, put at ``place``, would replace, repeat or rename."""
    found = list(_overwrites(record, place, present))
    same = [
        (name, old)
        for name, old in zip(present.names, present.records, strict=True)
        if entry_id(old) == entry_id(record)
    ]
    in_place = [one for one in same if place is None or one[0] == place]
    for name, old in in_place or same:
        fields = changed_fields(old, record)
        copied, texts = _as_measured(old) == _as_measured(record), ", ".join(fields)
        other = f" under another {texts}" if texts else ""
        if copied and (not in_place or (place is None and CREDIT & set(fields))):
            what = f"the same observations as {name} on the board{other}"
            found.append(("error", f"{what}: a correction goes into that file"))
            continue
        if not in_place:
            found.append(("warning", f"measures anew what {name} on the board did{other}"))
            continue
        if old.observations != record.observations:
            found.append(("warning", "replaces the observations of a record on the board"))
        if texts:
            found.append(("warning", f"changes the {texts} of {name} on the board"))
    return found


def missing(paths: Iterable[PathLike], present: Present) -> Iterator[tuple[str, str]]:
    """Records of the board that the whole folder ``head``, where it is handed in, has not."""
    head = present.head
    if head is None or head not in map(_absolute, paths):
        return
    for name in present.names:
        if not (head / name).is_file():
            yield name, "on the board and missing here: a record is invalidated, never deleted"


def changed_fields(old: Record, new: Record) -> list[str]:
    """Names of the fields that say what a record is, not what was measured, and differ."""
    before, after = _texts(old), _texts(new)
    return [name for name in before | after if before.get(name) != after.get(name)]


def _overwrites(record: Record, place: str | None, present: Present) -> Iterator[Told]:
    if place is None or not any((root / place).is_file() for root in present.roots):
        return
    old = present.overwritten(place)
    if old is None:
        yield "error", f"would replace {place}, which is no record of an entry"
    elif entry_id(old) != entry_id(record):
        what = f"{old.entry.method} ({old.recipe.name})"
        yield "error", f"would replace {what} in {place} by another record: name the file anew"


def _as_measured(record: Record) -> Sequence[Any]:
    """What the score is made of; an arm more, or other seconds, make no other record."""
    return [record.accuracy[arm].values for arm in SCORED]


def _texts(record: Record) -> dict[str, Any]:
    values = record.to_values()
    found = dict(values.pop("entry"))
    for name, value in values.items():
        if name in MEASURED | MARKS:
            continue
        parts = value if name in ("track", "recipe", "dataset") else None
        found |= {name: value} if parts is None else {f"{name} {k}": v for k, v in parts.items()}
    return found


def _name(file: Path, roots: Sequence[Path]) -> str:
    around = next((root for root in roots if root != file and file.is_relative_to(root)), None)
    return file.name if around is None else file.relative_to(around).as_posix()


def _absolute(path: PathLike) -> Path:
    return Path(path).resolve()
