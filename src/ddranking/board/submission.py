"""Checks of records that are handed in, for authors, maintainers and CI.

A record that loads has valid fields and all seeds of all arms, and its derived values follow from
its observations. What is left to check is here, a small function an idea, in the table ``CHECKS``.
Errors say that a record cannot join the board as it is; warnings are for a person to judge.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from rich.table import Table
from rich.text import Text

from ddranking.board.content import SHORT, tidy, track_title
from ddranking.board.ranking import Row, as_released, entry_id, rank, recipe_as_released
from ddranking.board.reading import load_records, read_records
from ddranking.board.replacing import missing, present_board, replacing
from ddranking.errors import printable
from ddranking.protocol.recipe import is_released, recipe_files
from ddranking.protocol.track import tracks
from ddranking.protocol.trial import IMPLEMENTATION
from ddranking.scoring.record import Record

__all__ = ["CHECKS", "Change", "Finding", "Report", "check", "load_records", "read_records"]

PathLike = str | os.PathLike[str]
Severity = Literal["error", "warning"]

SAME_TRAINING = 0.05
"""Accuracies of one trial, the same in every detail, differ by less than this between machines."""

PICTURE_SIDE = 4096
"""Pixels a side that a record's picture may have."""


@dataclass(frozen=True)
class Finding:
    """One thing to say about a file: an error keeps it off the board, a warning does not."""

    file: str
    severity: Severity
    message: str


@dataclass(frozen=True)
class Change:
    """An entry whose place on a board changes, None where it was not or is no longer ranked."""

    track: str
    entry: str
    before: int | None
    after: int | None
    ranks: str
    ddrs: float | None


@dataclass(frozen=True)
class Report:
    """What was found in each file, and what the records would change on the board at w = 0.5."""

    files: tuple[str, ...]
    findings: tuple[Finding, ...]
    changes: tuple[Change, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings are left to a person."""
        return not any(finding.severity == "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"ok": self.ok, **asdict(self)}

    def findings_table(self) -> Table:
        """The findings for a terminal."""
        table = Table(title="Findings", title_justify="left")
        for name in ("File", "", "Finding"):
            table.add_column(name, overflow="fold")  # a path is not cut
        for finding in self.findings:
            file, message = Text(printable(finding.file)), Text(printable(finding.message))
            table.add_row(file, finding.severity, message)
        return table

    def changes_table(self) -> Table:
        """The changes of the board for a terminal."""
        table = Table(title="Changes on the board at w = 0.5", title_justify="left")
        for name in ("Track", "Entry", "Before", "After", "Ranks", "DDRS"):
            table.add_column(name)
        for change in self.changes:
            table.add_row(
                Text(printable(change.track)),
                Text(printable(change.entry)),
                "new" if change.before is None else str(change.before),
                "unranked" if change.after is None else str(change.after),
                change.ranks,
                "" if change.ddrs is None else f"{change.ddrs:.4f}",
            )
        return table


def check(
    paths: Iterable[PathLike],
    base: PathLike | Iterable[PathLike] | None = None,
    head: PathLike | None = None,
) -> Report:
    """Checks records before they join a board.

    Args:
        paths: record files or folders of them.
        base: the present board's records, a folder or files; records in both, by content of what
            was scored and how, are compared. None checks the files by themselves.
        head: the folder that would take the place of ``base``; the files lie in it. It says which
            record of the board a file replaces, and where it is itself among ``paths``, no record
            of the board may be missing from it. None takes a folder of the same name as ``base``
            around a file, if there is one.

    Raises:
        BadFile: a path that does not exist.
        BadInput: the base itself does not load, or a file is not in ``head``.
    """
    paths = list(paths)
    reading = read_records(paths, skip_invalid=True)
    board = present_board(base, head)
    present = board.records
    places = [board.place(file) for file in reading.files]
    findings = [Finding(skipped.file, "error", skipped.reason) for skipped in reading.skipped]
    findings += [Finding(name, "error", told) for name, told in missing(paths, board)]
    for file, record, place in zip(reading.files, reading.records, places, strict=True):
        before = board.like(record)
        told = [told for one in CHECKS for told in one(record, before)]
        told += [*replacing(record, place, board), *_dataset(record, present)]
        findings += [Finding(str(file), *one) for one in told]
    findings += _duplicates(reading.files, reading.records)
    findings += _same_trainings(reading.files, reading.records, present)
    files = [str(file) for file in reading.files] + [one.file for one in reading.skipped]
    return Report(
        tuple(sorted(files)),
        tuple(sorted(findings, key=lambda one: (one.file, one.severity, one.message))),
        tuple(changes(present, reading.records, [board.overwritten(place) for place in places])),
    )


Told = tuple[Severity, str]
Check = Callable[[Record, Sequence[Record]], list[Told]]


def _track(record: Record, before: Sequence[Record]) -> list[Told]:
    track = record.track
    if not track.custom:
        return []
    if track.id in tracks():
        return [("error", f"track {track.id}: its rules differ from the released track's")]
    return [("error", f"track {track.id} is not a released track: it would be a board of its own")]


def _recipe(record: Record, before: Sequence[Record]) -> list[Told]:
    recipe = record.recipe
    if is_released(recipe, record.track.dataset, record.track.ipc):
        return []
    if recipe.id in recipe_files():
        return [("warning", f"recipe {recipe.id} with changed rules: will be shown as custom")]
    return [("warning", f"recipe {recipe.id} is not released: will be shown as custom")]


def _titles(record: Record, before: Sequence[Record]) -> list[Told]:
    """Titles and sources are in no hash; the board shows those of released tracks and recipes."""
    found: list[Told] = []
    if track_title(record.track) != track_title(as_released(record.track)):
        found.append(("warning", f"track {record.track.id}: title is not the released one's"))
    for recipe in filter(None, (record.recipe, record.unified)):
        released = recipe_as_released(recipe, record.track)
        for field in ("title", "source", "differs_from_source"):
            if getattr(recipe, field) != getattr(released, field):
                found.append(("warning", f"recipe {recipe.id}: {field} is not the released one's"))
    return found


def _dataset(record: Record, present: Iterable[Record]) -> list[Told]:
    """The name of a copy is in no digest; the board shows the one that most records carry."""
    copy = record.dataset
    known = {old.dataset.title for old in present if old.dataset.digest == copy.digest}
    if not known or copy.title in known:
        return []
    return [("warning", f"dataset title {copy.title!r}: on the board it is {min(known)!r}")]


def _method(record: Record, before: Sequence[Record]) -> list[Told]:
    """Methods are told apart, and joined over tracks, as the page writes them."""
    shown = tidy(record.entry.method, SHORT)
    if shown == record.entry.method:
        return []
    return [("warning", f"method has spaces or characters that are not seen: shown as {shown!r}")]


def _implementation(record: Record, before: Sequence[Record]) -> list[Told]:
    if record.implementation == IMPLEMENTATION:
        return []
    number = f"{record.implementation}, the present one is {IMPLEMENTATION}"
    return [("warning", f"trained with implementation {number}")]


def _trust(record: Record, before: Sequence[Record]) -> list[Told]:
    """A verified mark must be on the board, or be added to a record that is there as it was.

    Who wrote a mark is not in its bytes: a maintainer says whether it is theirs.
    """
    mark = record.verification
    same = [old for old in before if old.observations == record.observations]
    if mark is None:
        marked = any(old.verification for old in same)
        return [("warning", "is verified on the board, here without the mark")] if marked else []
    if any(old.verification == mark for old in same):
        return []
    if same:
        who = f"{mark.by} on {mark.date}"
        return [("warning", f"newly verified by {who}: a maintainer must confirm that they ran it")]
    return [
        ("error", "handed in as verified: ddranking verify marks what is on the board (--base)")
    ]


def _history(record: Record, before: Sequence[Record]) -> list[Told]:
    found: list[Told] = []
    if record.invalidated and not any(old.invalidated for old in before):
        mark = record.invalidated
        found.append(("warning", f"newly invalidated by {mark.by}: {mark.reason}"))
    for old in before:
        if old.invalidated and not record.invalidated:
            found.append(("error", f"was invalidated ({old.invalidated.reason}) and is not here"))
        elif old.invalidated and old.invalidated != record.invalidated:
            mark = old.invalidated
            found.append(("error", f"changes the mark by {mark.by} that invalidates it"))
    return found


def _values(record: Record, before: Sequence[Record]) -> list[Told]:
    """What honest trainings rarely give."""
    found: list[Told] = []
    accuracy = record.accuracy
    for arm, seen in accuracy.items():
        if len(set(seen.values)) == 1:
            found.append(("warning", f"arm {arm}: all seeds have the same accuracy"))
    real = min(record.real_hard.accuracies)
    for arm in ("syn_hard", "rdm_any", "rdm_hard"):
        if arm in accuracy and accuracy[arm].mean > real:
            found.append(("warning", f"arm {arm} is above the whole real set"))
    diverged = sum(seen.outcome.diverged for seen in record.observations)
    if diverged:
        found.append(("warning", f"{diverged} trainings diverged (loss not finite)"))
    if any(seen.seconds == 0 for seen in record.observations):
        found.append(("warning", "trainings that took no time"))
    return found


def _created(record: Record, before: Sequence[Record]) -> list[Told]:
    if re.match(r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}", record.created):
        return []
    return [("warning", f"created is no ISO date and time: {record.created!r}")]


def _picture(record: Record, before: Sequence[Record]) -> list[Told]:
    """A PNG of sensible size; opened without decoding its pixels."""
    if not record.picture:
        return [("warning", "no picture of the images")]
    try:
        with Image.open(io.BytesIO(base64.b64decode(record.picture)), formats=["PNG"]) as picture:
            size = picture.size
    except (ValueError, OSError, Image.DecompressionBombError):
        return [("error", "the picture is no PNG")]
    if max(size) > PICTURE_SIDE:
        return [("error", f"the picture is over {PICTURE_SIDE} pixels a side")]
    return []


CHECKS: tuple[Check, ...] = (
    _track,
    _recipe,
    _titles,
    _method,
    _implementation,
    _trust,
    _history,
    _values,
    _created,
    _picture,
)


def _duplicates(files: Sequence[Path], records: Sequence[Record]) -> list[Finding]:
    """The same set under the same rules in several of the files."""
    where: dict[str, list[str]] = {}
    for file, record in zip(files, records, strict=True):
        where.setdefault(entry_id(record), []).append(str(file))
    return [
        Finding(later, "error", f"the same set, recipe, track and dataset as in {earlier}")
        for found in where.values()
        for earlier, later in pairwise(found)
    ]


def _same_trainings(
    files: Sequence[Path], records: Sequence[Record], present: Sequence[Record]
) -> list[Finding]:
    """A trial, random images for example, must come out alike wherever it was trained.

    A weakened random arm would raise IOR; here it shows against everyone else's.
    """
    known: dict[str, float] = {}
    for record in present:
        known |= {one.key: accuracy(one.outcome) for one in record.observations}
    findings = []
    for file, record in zip(files, records, strict=True):
        differ = set()
        for one in record.observations:
            value = accuracy(one.outcome)
            if abs(known.setdefault(one.key, value) - value) > SAME_TRAINING:
                differ.add(one.trial.arm)
        if differ:
            message = (
                f"{', '.join(sorted(differ))}: the very same trainings in other records differ "
                f"by more than {100 * SAME_TRAINING:.0f} points"
            )
            findings.append(Finding(str(file), "warning", message))
    return findings


def accuracy(outcome: Any) -> float:
    """The accuracy that a trial read, of the test set or the validation split."""
    read = outcome.test_accuracy
    return outcome.validation_accuracy if read is None else read


def changes(
    present: Sequence[Record],
    handed_in: Sequence[Record],
    overwritten: Sequence[Record | None] = (),
) -> list[Change]:
    """What handing in would change: new entries and entries whose place moves, at w = 0.5.

    A record that is on the board already, by what was scored and how, is replaced; so are those
    whose files are ``overwritten``.
    """
    replaced = {entry_id(record) for record in (*handed_in, *filter(None, overwritten))}
    after = [record for record in present if entry_id(record) not in replaced] + list(handed_in)
    old, new = _rows(present), _rows(after)
    found = []
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        row = now or was
        assert row is not None
        if was is not None and now is not None and (was.place, was.ddrs) == (now.place, now.ddrs):
            continue
        found.append(
            Change(
                track=row.record.track.id,
                entry=row.label,
                before=None if was is None else was.place,
                after=None if now is None else now.place,
                ranks="" if now is None else now.ranks,
                ddrs=None if now is None else now.ddrs.mean,
            )
        )
    return sorted(found, key=lambda change: (change.track, change.after or 0, change.entry))


def _rows(records: Iterable[Record]) -> dict[str, Row]:
    return {row.id: row for board in rank(records) for row in board.rows}
