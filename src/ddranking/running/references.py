"""Reference records: accuracies of shared arms that were measured or published elsewhere.

``records/reference/*.json`` hold, for a dataset and student, either observations (measured by this
project, matched to a plan by trial key) or one published number for ``real_hard`` with its source.
A measured reference counts exactly like an own training; a reported one is marked as such in every
record that rests on it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import FailFast, Field, ValidationError

from ddranking.errors import BadFile, StoreUnusable
from ddranking.files import read_bounded, write_whole
from ddranking.protocol.rules import Frozen
from ddranking.protocol.shelf import explain
from ddranking.scoring.bounded import bounded
from ddranking.scoring.observation import Fraction, Observation
from ddranking.scoring.recordfile import MAX_RECORD_BYTES

SCHEMA = "ddranking.reference/1"

Text = Annotated[str, Field(max_length=2000)]


class Reported(Frozen):
    """A published whole-set accuracy (a fraction) with its source."""

    accuracy: Fraction
    source: Text
    differs: tuple[Text, ...] = ()


class Reference(Frozen):
    """One reference file."""

    schema_: Annotated[Literal["ddranking.reference/1"], Field(alias="schema")]
    dataset: Annotated[str, Field(max_length=200)]
    student: Annotated[str, Field(max_length=200)]
    title: Text = ""
    reported: Reported | None = None
    observations: Annotated[tuple[Observation, ...], FailFast()] = ()

    def to_json(self) -> str:
        """Indented JSON with sorted keys: equal references are equal bytes."""
        values = self.model_dump(mode="json", by_alias=True)
        return json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Writes the reference.

        Raises:
            StoreUnusable: the folder cannot be written, or the disk is full.
        """
        try:
            write_whole(path, self.to_json().encode())
        except OSError as error:
            raise StoreUnusable(
                f"reference {path}",
                expected="a place to write to",
                got=error.strerror or str(error),
            ) from None


def folders() -> list[Path]:
    """Where references are looked for: ``$DDRANKING_REFERENCES``, then the package's own."""
    named = os.environ.get("DDRANKING_REFERENCES")
    here = Path(__file__).resolve()
    own = (here.parents[1] / "reference", here.parents[3] / "records" / "reference")
    return [
        folder for folder in (Path(named) if named else None, *own) if folder and folder.is_dir()
    ]


def load_reference(path: Path) -> Reference:
    """Reads one reference file.

    Raises:
        BadFile: missing, over 32 MiB, or not JSON.
        BadProtocol: a field that does not validate.
    """
    try:
        content = read_bounded(path, MAX_RECORD_BYTES)
        values = json.loads(bounded(content, Reference, f"reference {path}"))
    except OSError as error:
        raise BadFile(
            f"reference {path}", expected="a readable file", got=error.strerror or str(error)
        ) from None
    except (ValueError, RecursionError) as error:
        raise BadFile(f"reference {path}", expected="JSON", got=str(error)[:160]) from None
    try:
        return Reference.model_validate(values)
    except ValidationError as error:
        raise explain(error, f"reference {path}") from None


def references(dataset: str, student: str) -> Iterator[Reference]:
    """The references for one dataset and student, in the order of their folders and names."""
    for folder in folders():
        for path in sorted(folder.glob("*.json")):
            reference = load_reference(path)
            if (reference.dataset, reference.student) == (dataset, student):
                yield reference
