"""One way to write a value down, so that equal values have equal hashes on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys, no blanks and no NaN; floats in Python's shortest form."""
    return _ENCODER.encode(value).encode()


def content_hash(value: Any) -> str:
    """``sha256:`` and 64 hexadecimal digits over :func:`canonical_json` of ``value``."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()
