"""Where files go by default, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def user_folder(variable: str, name: str) -> Path:
    """The folder an environment variable names, or ``ddranking/<name>`` in the user's cache."""
    given = os.environ.get(variable)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given).expanduser() if given else Path(home) / "ddranking" / name


def write_whole(path: Path, content: bytes) -> None:
    """Writes ``content`` under a temporary name in the same folder, flushes it, and renames it.

    An interrupted process or a full disk leaves the old file or none, never half a file. Folders
    are made as needed; a link is followed. Safe for many writers, also from several machines on a
    shared file system.

    Raises:
        OSError: the place cannot be written, or is a device, a pipe or a folder.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    # Unique among hosts too: process numbers repeat on a file system that several share.
    partial = target.with_name(f".{target.name[:100]}.{uuid4().hex}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
