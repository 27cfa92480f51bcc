"""Weights with a checksum: a safetensors file whose header holds the hash of all the rest of it.

A damaged number in an observation is seen when it is read, as its file does not validate, and so is
one that lies under another trial's name. Among weights nothing would show either, and the final
that starts from them would score another network. So the trial's key is part of what is hashed.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

HEADER_LIMIT = 16 << 20
"""Bytes of a header; a network of a thousand tensors has 100 KB."""

_MARK = "sha256"


def seal(weights: bytes, key: str) -> bytes:
    """The same tensors with a checksum in the header; one that is there already is made anew.

    Args:
        weights: in the safetensors format.
        key: of the trial that ended with them.

    Raises:
        ValueError: not the safetensors format.
    """
    header, tensors = _parts(weights)
    notes = header.get("__metadata__", {})
    header["__metadata__"] = notes | {_MARK: _hash(header, tensors, key)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight bytes
    return struct.pack("<Q", len(text)) + text + tensors


def is_whole(content: bytes, key: str) -> bool:
    """Whether :func:`seal` made this for this trial, and nothing in it has changed since."""
    try:
        header, tensors = _parts(content)
        return header["__metadata__"][_MARK] == _hash(header, tensors, key)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _parts(content: bytes) -> tuple[dict[str, Any], memoryview]:
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= min(HEADER_LIMIT, len(content) - 8):
        raise ValueError("no header of safetensors")
    header = json.loads(content[8 : 8 + length])
    if not isinstance(header, dict):
        raise ValueError("no header of safetensors")
    return header, memoryview(content)[8 + length :]


def _hash(header: dict[str, Any], tensors: memoryview, key: str) -> str:
    """Of the trial's key, of the types, shapes and places of all tensors, and of their bytes."""
    named = {name: entry for name, entry in header.items() if name != "__metadata__"}
    whole = hashlib.sha256(f"{key}\n{json.dumps(named, sort_keys=True)}".encode())
    whole.update(tensors)
    return whole.hexdigest()
