"""A ``.safetensors`` file: its header, read and judged before any tensor is, and its tensors.

The format is eight bytes of length, a JSON object that lists type, shape and place of each tensor,
and the tensors. The card of a distilled set is the JSON text under ``__metadata__`` / ``card``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from pydantic import ValidationError
from safetensors import SafetensorError

from ddranking.distilled.card import Card
from ddranking.errors import BadDistilledSet, BadFile, BadInput, first_fault, printable

#: A header holds a handful of tensors and a card. A larger one is an attack or another kind of
#: file, and is refused before anything is allocated.
HEADER_LIMIT = 1 << 20

#: safetensors' names of the types each tensor may have.
TENSORS: dict[str, tuple[str, ...]] = {
    "images": ("F32", "F16", "U8"),
    "labels": ("I64",),
    "soft_labels": ("F32",),
    "learning_rate": ("F64", "F32"),
}


def read_header(path: Path) -> dict[str, Any]:
    """The JSON header of a ``.safetensors`` file, read under ``HEADER_LIMIT``.

    Raises:
        BadFile: missing, unreadable, truncated, or not this format.
    """
    hint = "Make one with: ddranking pack SOURCE --out FILE.safetensors"
    try:
        if not path.is_file():
            raise BadFile(
                str(path), expected="a .safetensors file", got=what_is_there(path), hint=hint
            )
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little") if size >= 8 else 0
            if size < 10 or length < 2:
                raise BadFile(
                    str(path), expected="a .safetensors file", got=f"{size} bytes", hint=hint
                )
            if length > HEADER_LIMIT:
                raise BadFile(
                    str(path),
                    expected=f"a .safetensors header of at most {HEADER_LIMIT} bytes",
                    got=f"a length of {length}",
                    hint=hint,
                )
            if size < 8 + length:
                raise BadFile(
                    str(path),
                    expected=f"a header of {length} bytes",
                    got=f"a file of {size} bytes, cut short",
                    hint="Copy or download it again.",
                )
            raw = stream.read(length)
    except OSError as error:
        raise BadFile(
            str(path), expected="a readable file", got=error.strerror or str(error)
        ) from None
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise BadFile(
            str(path), expected="a .safetensors file", got="a header that is not JSON", hint=hint
        )
    return header


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a ``.safetensors`` file by name, once its header and size are judged.

    Raises:
        BadFile: not whole, or of a type that NumPy lacks.
    """
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise BadFile(
            str(path),
            expected="a whole .safetensors file of types that NumPy has",
            got=f"{type(error).__name__}: {error}"[:200],
            hint="Copy or download it again, or save its tensors as float32.",
        ) from None


def has_card(header: dict[str, Any]) -> bool:
    """Whether a header is that of a packed set, whatever its card holds."""
    metadata = header.get("__metadata__")
    return isinstance(metadata, dict) and "card" in metadata


def card_of_header(path: Path, header: dict[str, Any]) -> Card:
    metadata = header.get("__metadata__")
    text = metadata.get("card") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise BadFile(
            str(path),
            expected="a card in the header (metadata key 'card')",
            got="none",
            hint=f"Add one with: ddranking pack {path.name} --out FILE.safetensors",
        )
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict):
        raise BadFile(f"{path}: card", expected="a JSON object", got=repr(text[:60]))
    return make_card(fields, f"{path}: card")


def make_card(fields: dict[str, Any], what: str = "card") -> Card:
    """A validated card, or one line that names the first wrong field."""
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        first = first_fault(error)
        where = ".".join(map(printable, first["loc"]))
        unknown = first["type"] == "extra_forbidden"
        words = (
            "no such field"
            if unknown
            else first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        )
        got = "nothing" if first["type"] == "missing" else repr(first["input"])[:80]
        raise BadDistilledSet(
            f"{what}: {where}"[:200], expected=words[0].lower() + words[1:], got=got
        ) from None
    except (BadInput, RecursionError) as error:
        raise BadDistilledSet(what, got=str(error)[:200]) from None


def check_declared(path: Path, header: dict[str, Any]) -> None:
    """Names and types of the tensors, before any of them is read."""
    names = [name for name in header if name != "__metadata__"]
    for name in ("images", "labels"):
        if name not in names:
            raise BadDistilledSet(
                f"{path}: {name}",
                expected="a tensor of that name",
                got=printable(", ".join(names)[:80]) or "none",
            )
    for name in names:
        entry = header[name]
        dtype = entry.get("dtype") if isinstance(entry, dict) else None
        if name not in TENSORS:
            raise BadDistilledSet(
                f"{path}: {name[:60]!r}",
                expected=f"only the tensors {', '.join(TENSORS)}",
                got="another",
            )
        if dtype not in TENSORS[name]:
            raise BadDistilledSet(
                f"{path}: {name}", expected=" or ".join(TENSORS[name]), got=str(dtype)[:40]
            )


def what_is_there(path: Path) -> str:
    """What a path is that should have been a file."""
    kinds = {
        "a folder": path.is_dir,
        "a named pipe": path.is_fifo,
        "a socket": path.is_socket,
        "a device": lambda: path.is_char_device() or path.is_block_device(),
    }
    found = [kind for kind, holds in kinds.items() if holds()]
    return found[0] if found else ("no such file" if not path.exists() else "no file")
