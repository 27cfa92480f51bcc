"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, content: bytes) -> None:
    """Writes ``content`` under a temporary name in the same folder, flushes it, and renames it.

    A killed process or a full disk leaves the old file or none, never half a file. Folders are
    made as needed. Safe for many writers, also from several machines on a shared file system.

    Raises:
        OSError: the place cannot be written; nothing is left behind.
    """
    # Unique among hosts too: process numbers repeat on a file system that several share.
    partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
