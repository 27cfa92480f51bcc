"""Reading a record's file: bytes, JSON, fields, and whether its numbers follow."""

from __future__ import annotations

import json
import os
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ddranking.errors import BadFile, BadProtocol, first_fault
from ddranking.files import read_bounded
from ddranking.protocol.shelf import explain
from ddranking.scoring.bounded import bounded
from ddranking.scoring.record import Record

MAX_RECORD_BYTES = 32 << 20


def load_record(path: str | os.PathLike[str]) -> Record:
    """Reads and checks a record.

    Raises:
        BadFile: missing, over 32 MiB, not JSON, or nested too deeply.
        BadProtocol: a field that does not validate or does not follow from the observations.
    """
    return record_of(content_of(path), f"record {path}")


def content_of(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a record's file.

    Raises:
        BadFile: it cannot be read, or is over 32 MiB.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_RECORD_BYTES:
            raise BadFile(
                f"record {file}", expected=f"at most {MAX_RECORD_BYTES >> 20} MiB", got="more"
            )
        return read_bounded(file, MAX_RECORD_BYTES)
    except OSError as error:
        raise BadFile(
            f"record {file}", expected="a readable file", got=error.strerror or str(error)
        ) from None


def record_of(content: bytes, what: str = "record") -> Record:
    """A record from the bytes of its file; see :func:`load_record` for the errors.

    Strict: a number is a number, never a text that looks like one.
    """
    content = bounded(content.removeprefix(BOM_UTF8), Record, what)
    try:
        if b"NaN" in content or b"Infinity" in content:  # as constants they are no JSON
            json.loads(content, parse_constant=_no_constants)
        return Record.model_validate_json(content, strict=True)
    except ValidationError as error:
        fault = first_fault(error)
        if fault["type"] == "json_invalid":
            raise BadFile(what, expected="JSON in UTF-8", got=fault["msg"][:160]) from None
        raise explain(error, what) from None
    except BadProtocol as error:
        where = f"{what}, {error.what}"
        raise BadProtocol(where, expected=error.expected, got=error.got, hint=error.hint) from None
    except (ValueError, RecursionError) as error:
        raise BadFile(what, expected="JSON", got=str(error)[:160]) from None


def parse_record(values: Any, what: str = "record") -> Record:
    """A record from parsed JSON, as strict as :func:`record_of`; the same errors."""
    try:
        content = json.dumps(values, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadFile(what, expected="JSON", got=str(error)[:160]) from None
    return record_of(content, what)


def _no_constants(name: str) -> float:
    raise ValueError(f"{name} is not a number that a record may hold")
