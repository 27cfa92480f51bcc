"""Reads ``.pt`` files that strangers published, in a child process with limits.

The parent looks at the zip directory, starts :mod:`ddranking.distilled.unpickle` as a script, and
reads back numbers only (JSON and ``.npy``). Nothing that the file holds is ever executed here.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddranking.distilled.arrayfile import AGAIN, ZIP_FAULTS, check_members
from ddranking.distilled.guarded import Limits, Tree, run_child, tree_of
from ddranking.errors import BadFile

#: Other names under which callers know them.
_tree = tree_of
__all__ = ["Limits", "Tree", "check_torch_file", "read_torch", "shown"]


def read_torch(paths: Sequence[Path], limits: Limits | None = None) -> list[Tree]:
    """The content of each file, in order, read in one child process.

    Raises:
        BadFile: missing, damaged, over the limits, or in need of unpickling objects.
    """
    limits = limits or Limits()
    for path in paths:
        check_torch_file(path, limits.bytes)
    with tempfile.TemporaryDirectory(prefix="ddranking-") as folder:
        out = Path(folder)
        reply = run_child("unpickle.py", paths, out, limits)
        if "trees" in reply:
            return [
                tree_of(node, out / str(index), limits.bytes)
                for index, node in enumerate(reply["trees"])
            ]
    path = paths[int(reply["file"])]
    if "unsafe" in reply:
        raise BadFile(
            str(path),
            expected="tensors and numbers only",
            got=reply["unsafe"],
            hint="It is not unpickled, as that could run code. Ask for plain tensors: "
            "torch.save({'images': x, 'labels': y}, path).",
        )
    raise BadFile(str(path), expected="a whole torch file", got=reply["broken"], hint=AGAIN)


def check_torch_file(path: Path, byte_limit: int) -> None:
    """What can be refused before any process is started: size, truncation, zip bombs.

    Raises:
        BadFile: with the reason.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            magic = stream.read(4)
    except OSError as error:
        raise BadFile(
            str(path), expected="a readable file", got=error.strerror or str(error)
        ) from None
    if not 0 < size <= byte_limit:
        hint = "If you trust the file, pass --max-gb." if size else AGAIN
        raise BadFile(str(path), expected=f"1 to {byte_limit} bytes", got=str(size), hint=hint)
    if magic != b"PK\x03\x04":
        return  # torch files of before 1.6 are bare pickles
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, str(path), byte_limit)
    except (OSError, ValueError, *ZIP_FAULTS) as error:
        raise BadFile(
            str(path), expected="a whole torch file", got=str(error)[:160], hint=AGAIN
        ) from None


def shown(tree: Tree) -> str:
    """One short phrase for an error: what a tree is made of."""
    if isinstance(tree, np.ndarray):
        return f"{tree.dtype} {list(tree.shape)}"
    if isinstance(tree, dict):
        return f"a dictionary with {', '.join(map(repr, list(tree)[:8]))}"[:160]
    if isinstance(tree, list):
        return f"a list of {len(tree)}"
    return type(tree).__name__
