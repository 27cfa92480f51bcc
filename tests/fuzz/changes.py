"""One thing changed in an input, by its format where that is known, else in its bytes."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import yaml

Change = Callable[[bytes, Random], bytes]

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 10, 255, 2**31, 2**63, -(2**63) - 1, 10**400),
    *(0.5, -0.5, 1e308, 1e-320, "", "0", "x", "\0", "\ud800", "é" * 50, "a" * 5000, "../../x"),
    *([], [1], [[]], {}, {"kind": "x"}, {"kind": None}, "os:system", "sha256:" + "0" * 64),
]


def change_value(value: Any, chance: Random) -> Any:
    """``value`` with one inner value replaced, dropped, doubled, renamed or moved."""
    holder: list[Any] = [value]
    places: list[tuple[Any, Any]] = []
    waiting: list[tuple[Any, Any]] = [(holder, 0)]
    while waiting:
        place, key = waiting.pop()
        places.append((place, key))
        inner = place[key]
        if isinstance(inner, dict):
            waiting += [(inner, each) for each in inner]
        elif isinstance(inner, list):
            waiting += [(inner, each) for each in range(min(len(inner), 50))]
    place, key = chance.choice(places)
    other, other_key = chance.choice(places)
    kind = chance.randrange(6)
    if kind == 0 and place is not holder:
        del place[key]
    elif kind == 1 and isinstance(place, dict):
        place[chance.choice([str(key) + "x", "", "kind", "\0", "schema"])] = place.pop(key)
    elif kind == 2:
        place[key] = json.loads(json.dumps(other[other_key]))
    elif kind == 3 and isinstance(place[key], int | float) and not isinstance(place[key], bool):
        with suppress(OverflowError, ValueError):
            place[key] = chance.choice([-1, 2, 0.1, 1e30]) * place[key]
    elif kind == 4 and isinstance(place[key], list):
        place[key] = place[key] * 2
    else:
        place[key] = chance.choice(ODD)
    return holder[0]


def change_json(content: bytes, chance: Random) -> bytes:
    value = change_value(json.loads(content), chance)
    return json.dumps(value).encode()


def change_yaml(content: bytes, chance: Random) -> bytes:
    value = change_value(yaml.safe_load(content), chance)
    text = json.dumps(value) if chance.random() < 0.5 else yaml.safe_dump(value)
    return text.encode("utf-8", "surrogatepass")


def change_safetensors(content: bytes, chance: Random) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    if chance.random() < 0.5 and "card" in header.get("__metadata__", {}):
        card = change_value(json.loads(header["__metadata__"]["card"]), chance)
        header["__metadata__"]["card"] = json.dumps(card)
    else:
        header = change_value(header, chance)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def change_png(content: bytes, chance: Random) -> bytes:
    """One chunk's bytes changed, its checksum made right again."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        size = struct.unpack(">I", content[at : at + 4])[0]
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    index = chance.randrange(len(chunks))
    name, body = chunks[index]
    body = bytearray(body or b"\0")
    for _ in range(chance.randint(1, 3)):
        body[chance.randrange(len(body))] = chance.choice([0, 1, 3, 8, 16, 127, 255])
    kind = chance.randrange(4)
    if kind == 0:
        chunks.insert(index, (name, bytes(body)))
    elif kind == 1:
        chunks[index] = (chance.choice([b"tRNS", b"acTL", b"iCCP", b"zTXt", name]), bytes(body))
    else:
        chunks[index] = (name, bytes(body))
    out = content[:8]
    for name, body in chunks:
        out += struct.pack(">I", len(body)) + name + body
        out += struct.pack(">I", zlib.crc32(name + body))
    return out


def change_zip(content: bytes, chance: Random) -> bytes:
    """One member changed or renamed, in an archive that is whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(each, archive.read(each)) for each in archive.namelist()]
    index = chance.randrange(len(members))
    name, body = members[index]
    kind = chance.randrange(4)
    if kind == 0:
        name = chance.choice(["images", "images.npy", "x/../y.npy", "a\0.npy", "labels.npy"])
    elif kind == 1:
        members.append(members[index])
    elif body:
        changed = bytearray(body)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(min(len(changed), 200))] = chance.randrange(256)
        body = bytes(changed)
    members[index] = (name, body)
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        for name, body in members:  # twice the same name is what a warning says, and is meant
            archive.writestr(name, body)
    return out.getvalue()


def changed(change: Change | None, content: bytes, chance: Random) -> bytes:
    """``content`` with one thing changed: by its format where that is known, else some bytes."""
    if change is not None and chance.random() < 0.7:
        with suppress(Exception):  # what was changed before is no longer of the format
            return change(content, chance)
    result = bytearray(content or b"\0")
    for _ in range(chance.choice([1, 1, 2, 8])):
        result[chance.randrange(len(result))] = chance.choice([0, 1, 255, chance.randrange(256)])
    if chance.random() < 0.2:
        del result[chance.randrange(len(result)) :]
    return bytes(result)
