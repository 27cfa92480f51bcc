"""Reads ``.npy`` and ``.npz`` without trusting them: sizes are compared before allocation.

A header that promises more numbers than the file holds, object arrays (which are pickles), zip
bombs and odd member names are refused.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from ddranking.errors import BadFile

#: What NumPy itself writes for plain arrays is 128 bytes.
HEADER_LIMIT = 4096
MEMBER_LIMIT = 100_000
AGAIN = "Copy or download it again."


def read_npy(path: Path, byte_limit: int) -> np.ndarray:
    """The array of a ``.npy`` file. Raises :class:`BadFile`."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            return parse_npy(stream, size, str(path), byte_limit)
    except OSError as error:
        raise BadFile(str(path), expected="a readable file", got=_reason(error)) from None


def parse_npy(stream: IO[bytes], size: int, what: str, byte_limit: int) -> np.ndarray:
    """The array in a stream of ``size`` bytes.

    Raises:
        BadFile: not the format, an object or structured array, or a header that promises another
            number of bytes than there are.
    """
    if size > byte_limit:
        raise BadFile(what, expected=f"at most {byte_limit} bytes", got=str(size))
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            parsed = np.lib.format.read_array_header_1_0(stream, max_header_size=HEADER_LIMIT)
        elif version == (2, 0):
            parsed = np.lib.format.read_array_header_2_0(stream, max_header_size=HEADER_LIMIT)
        else:
            raise BadFile(what, expected=".npy version 1 or 2", got=str(version))
        shape, fortran, dtype = parsed
        if dtype.hasobject:
            raise BadFile(
                what,
                expected="numbers",
                got="an array of Python objects, which would have to be unpickled",
                hint="Save plain arrays: np.save(path, array.astype('float32')).",
            )
        if dtype.kind not in "biuf":
            raise BadFile(what, expected="an array of numbers", got=f"type {dtype}"[:80])
        promised = math.prod(int(n) for n in shape) * dtype.itemsize
        # A compressed member's stream may not know its position, so the size read tells the truth.
        if min(shape, default=0) < 0 or promised > size:
            raise BadFile(
                what,
                expected=f"{promised} bytes for shape {list(shape)}"[:120],
                got=f"{size} bytes in all",
                hint=AGAIN,
            )
        raw = stream.read(promised + 1)
    except HEADER_FAULTS as error:
        raise BadFile(what, expected="a .npy array", got=str(error)[:160], hint=AGAIN) from None
    if len(raw) != promised:
        got = f"{len(raw)}" if len(raw) < promised else "more"
        raise BadFile(
            what, expected=f"{promised} bytes for shape {list(shape)}"[:120], got=got, hint=AGAIN
        )
    flat = np.frombuffer(raw, dtype=dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")


def read_npz(path: Path, byte_limit: int) -> dict[str, np.ndarray]:
    """The arrays of a ``.npz`` file by name. Raises :class:`BadFile`."""
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, str(path), byte_limit)
            arrays = {}
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name == member.filename or not name.isprintable():
                    raise BadFile(
                        str(path), expected="only arrays", got=f"a member {member.filename!r}"[:80]
                    )
                with archive.open(member) as stream:
                    what = f"{path}: {name[:60]}"
                    arrays[name] = parse_npy(stream, member.file_size, what, byte_limit)
            return arrays
    except (OSError, ValueError, *ZIP_FAULTS) as error:
        raise BadFile(
            str(path), expected="a whole .npz file", got=_reason(error), hint=AGAIN
        ) from None


#: NumPy parses a header as a Python literal, and tokenizes it once more when that fails.
HEADER_FAULTS = (
    ValueError,
    SyntaxError,
    tokenize.TokenError,
    EOFError,
    TypeError,
    RecursionError,
    MemoryError,
)

ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    MemoryError,
)


def check_members(archive: zipfile.ZipFile, what: str, byte_limit: int) -> None:
    """Refuse zip bombs, encrypted members and names that point outside, from the directory alone.

    Raises:
        BadFile: with the sizes or the name that was refused.
    """
    members = archive.infolist()
    if len(members) > MEMBER_LIMIT:
        raise BadFile(what, expected=f"at most {MEMBER_LIMIT} members", got=str(len(members)))
    declared = sum(member.file_size for member in members)
    if declared > byte_limit:
        raise BadFile(
            what,
            expected=f"at most {byte_limit} bytes when unpacked",
            got=f"{declared} declared in its directory",
            hint="If you trust the file, pass --max-gb.",
        )
    seen: set[str] = set()
    for member in members:
        name = member.filename
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise BadFile(what, expected="members inside the archive", got=f"a path {name!r}"[:80])
        if name in seen:
            raise BadFile(what, expected="every member once", got=f"{name!r} twice"[:80])
        seen.add(name)
        if member.flag_bits & 1:
            raise BadFile(what, expected="an archive without a password", got="encrypted members")


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text[:160]
