"""Reading records from files and folders, strictly or with a list of what was left out."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ddranking.errors import BadFile, BadInput, Skipped
from ddranking.scoring.bounded import refuse_many_values
from ddranking.scoring.record import Record
from ddranking.scoring.recordfile import content_of, record_of

MARK = b'"ddranking.record/'
APART = "reference"
"""Folders of this name hold reference accuracies of another schema, not records of entries."""

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Reading:
    """Valid records with the files they came from, and what was skipped."""

    files: tuple[Path, ...]
    records: tuple[Record, ...]
    skipped: tuple[Skipped, ...] = ()


def load_records(paths: Iterable[PathLike]) -> list[Record]:
    """All records of files and folders; see :func:`read_records`, which this calls strictly."""
    return list(read_records(paths).records)


def read_records(paths: Iterable[PathLike], *, skip_invalid: bool = False) -> Reading:
    """Reads records from files and, recursively, from folders.

    Args:
        paths: files, which must be records, or folders, in which every ``*.json`` that says it is a
            record is read; other JSON, hidden files and folders named ``reference`` are passed by.
        skip_invalid: list invalid files under ``skipped`` instead of raising.

    Raises:
        BadFile: a path that does not exist, or a file that cannot be read or is not JSON.
        BadProtocol: a record that does not validate; names the file and the field.
    """
    files, records, skipped = [], [], []
    with _without_collector():
        for file, named in _candidates(paths):
            try:
                content = content_of(file)
                if not named and not says_record(content, f"record {file}"):
                    continue
                records.append(record_of(content, f"record {file}"))
                files.append(file)
            except BadInput as error:
                if not skip_invalid:
                    raise
                skipped.append(Skipped(str(file), str(error)))
    return Reading(tuple(files), tuple(records), tuple(skipped))


@contextmanager
def _without_collector() -> Iterator[None]:
    """Without the search for cycles of garbage: records have none, and it takes as long as they."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def says_record(content: bytes, what: str = "record") -> bool:
    """Whether JSON names the schema of records.

    Raises:
        BadFile: it is not JSON at all, and so might be a record that was cut short.
    """
    if MARK in content:
        return True
    refuse_many_values(content, what)
    try:
        values = json.loads(content)  # by other bytes too: UTF-16, or signs written as \u0064
    except (ValueError, RecursionError) as error:
        raise BadFile(what, expected="JSON", got=str(error)[:160]) from None
    return isinstance(values, dict) and str(values.get("schema")).startswith(MARK.decode()[1:])


def _candidates(paths: Iterable[PathLike]) -> Iterator[tuple[Path, bool]]:
    """Each file once, with whether it was named itself rather than found in a folder."""
    seen: set[Path] = set()
    for path in map(Path, paths):
        if not path.exists():
            raise BadFile(
                f"records {path}", expected="a record file or a folder of them", got="nothing there"
            )
        found: Sequence[Path] = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        for file in found:
            inside = file.relative_to(path).parts if path.is_dir() else ()
            hidden = any(part.startswith(".") for part in inside)
            if hidden or APART in inside[:-1] or not file.is_file() or file.resolve() in seen:
                continue
            seen.add(file.resolve())
            yield file, not path.is_dir()
