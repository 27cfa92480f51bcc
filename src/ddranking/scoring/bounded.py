"""JSON that strangers wrote, bounded by its parts before it is validated.

Pydantic goes on after a fault, and hands over the whole input with each missing field. So a file
of a few MiB that is all faults would take gigabytes; here each of its parts has a limit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from ddranking.errors import BadFile, BadProtocol

MAX_VALUES = 1_000_000
MAX_PART_BYTES = 1 << 20
MAX_PART_VALUES = 50_000
"""Of a whole file; of one field or one observation. A large record has 64 values an observation."""

PARTED = "observations"
"""The field whose items are parts of their own."""


def bounded(content: bytes, kind: type[BaseModel], what: str) -> bytes:
    """JSON of a file of ``kind``, none of whose parts is beyond the limits.

    Small files, as most are, come back as they are; of others each key stands once.

    Raises:
        BadFile: more values than the limit, in all or in a part; a large file that is no JSON.
        BadProtocol: a large file with a field missing or unknown.
    """
    if _is_small(content):
        return content
    refuse_many_values(content, what)
    try:
        values = from_json(content)
    except ValueError as error:
        raise BadFile(what, expected="JSON in UTF-8", got=str(error)[:160]) from None
    if not isinstance(values, dict):
        raise BadFile(what, expected="a JSON object", got=type(values).__name__)
    _refuse_other_fields(values, kind, what)
    for name, value in values.items():
        parts = value if name == PARTED and isinstance(value, list) else (value,)
        if not all(_is_small(to_json(part)) for part in parts):
            raise BadFile(
                f"{what}, field {name}",
                expected=f"at most {MAX_PART_BYTES >> 20} MiB and {MAX_PART_VALUES:,} values",
                got="more",
            )
    return to_json(values)


def refuse_many_values(content: bytes, what: str) -> None:
    """Refuses JSON of more than ``MAX_VALUES`` values, before any is made.

    Raises:
        BadFile: there are more.
    """
    if _most_values(content) > MAX_VALUES:
        raise BadFile(what, expected=f"at most {MAX_VALUES:,} values", got="more")


def _most_values(content: bytes) -> int:
    """No JSON of these bytes has more values: each but the first follows one of three signs."""
    signs = np.frombuffer(content, np.uint8)
    return 1 + sum(int(np.count_nonzero(signs == sign)) for sign in b",[{")


def _is_small(content: bytes) -> bool:
    return len(content) <= MAX_PART_BYTES and _most_values(content) <= MAX_PART_VALUES


def _refuse_other_fields(values: dict[str, Any], kind: type[BaseModel], what: str) -> None:
    fields = {field.alias or name: field for name, field in kind.model_fields.items()}
    for name in values:
        if name not in fields:
            raise BadProtocol(f"{what}, field {name}", expected="no such field")
    for name, field in fields.items():
        if field.is_required() and name not in values:
            raise BadProtocol(f"{what}, field {name}", expected="field required")
