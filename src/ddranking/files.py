"""Where files go by default, files that are read under a limit and written whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from uuid import uuid4


def user_folder(variable: str, name: str) -> Path:
    """The folder an environment variable names, or ``ddranking/<name>`` in the user's cache."""
    given = os.environ.get(variable)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given).expanduser() if given else Path(home) / "ddranking" / name


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """A regular file, to be read: a pipe would be waited for, and a device has no end.

    Raises:
        OSError: it cannot be read, or is no regular file (``EINVAL``).
    """
    return open(path, "rb", opener=_regular)


def _regular(path: str, flags: int) -> int:
    # Opening a pipe would wait for somebody who writes to it; of a file this changes nothing.
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):  # open() itself refuses a folder
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", path)


def read_bounded(path: Path, most: int) -> bytes:
    """The content of a regular file of at most ``most`` bytes; no more is ever in memory.

    A size that is asked for beforehand says nothing of a file that grows.

    Raises:
        OSError: it cannot be read, is no regular file (``EINVAL``) or is larger (``EFBIG``).
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"a file of more than {most:,} bytes", str(path))
    return content


def digest_of_file(path: str | os.PathLike[str]) -> str:
    """``sha256:`` and 64 hexadecimal digits over a regular file's bytes.

    Raises:
        OSError: it cannot be read, or is no regular file (``EINVAL``).
    """
    with open_regular(path) as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def write_whole(path: Path, content: bytes, *, flush: bool = True) -> None:
    """Writes ``content`` under a temporary name in the same folder, flushes it, and renames it.

    An interrupted process or a full disk leaves the old file or none, never half a file. Folders
    are made as needed; a link is followed. Safe for many writers, also from several machines on a
    shared file system. What can be made anew in seconds need not wait for the disk (``flush``):
    then the same holds but for a machine that loses its power.

    Raises:
        OSError: the place cannot be written, or is a device, a pipe or a folder.
    """
    target = _followed(path)
    with _partial(target, content, flush) as partial:
        partial.replace(target)


def write_new(path: Path, content: bytes) -> bool:
    """As :func:`write_whole`, but a file that is there stays, whoever else writes it just now.

    Returns:
        whether the file is this content.

    Raises:
        OSError: as :func:`write_whole`.
    """
    target = _followed(path)
    with _partial(target, content) as partial:
        try:
            target.hardlink_to(partial)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if target.exists():
                return False
            partial.replace(target)
    return True


_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)
"""What file systems without hard links say (FAT, some network shares)."""


def _followed(path: Path) -> Path:
    """What a link leads to; of one that leads to itself ``Path.resolve`` makes no OSError."""
    return Path(os.path.realpath(path))


@contextmanager
def _partial(target: Path, content: bytes, flush: bool = True) -> Iterator[Path]:
    """``content`` on the disk under a temporary name beside ``target``, removed in the end."""
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(target))
    # Unique among hosts too: process numbers repeat on a file system that several share.
    partial = target.with_name(f".{target.name[:100]}.{uuid4().hex}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        yield partial
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
