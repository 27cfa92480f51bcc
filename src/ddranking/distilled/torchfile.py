"""Reads ``.pt`` files that strangers published, in a child process with limits.

The parent looks at the zip directory, starts :mod:`ddranking.distilled.unpickle` as a script, and
reads back numbers only (JSON and ``.npy``). Nothing that the file holds is ever executed here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddranking.distilled.arrayfile import AGAIN, ZIP_FAULTS, check_members, read_npy
from ddranking.errors import BadFile

#: A value of a torch file: arrays, floats, texts, None for anything else, in dicts and lists.
Tree = Any


@dataclass(frozen=True)
class Limits:
    """What reading one batch of files may cost.

    Attributes:
        bytes: largest file, largest unpacked archive and largest memory of the reading process.
        seconds: longest time for reading all files of one source.
    """

    bytes: int = 4 << 30
    seconds: int = 120


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
        reply = _run_child(paths, out, limits)
        if "trees" in reply:
            return [
                _tree(node, out / str(index), limits.bytes)
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
        raise BadFile(str(path), expected=f"1 to {byte_limit} bytes", got=str(size))
    if magic != b"PK\x03\x04":
        return  # torch files of before 1.6 are bare pickles
    try:
        with zipfile.ZipFile(path) as archive:
            check_members(archive, str(path), byte_limit)
    except (OSError, ValueError, *ZIP_FAULTS) as error:
        raise BadFile(
            str(path), expected="a whole torch file", got=str(error)[:160], hint=AGAIN
        ) from None


def _run_child(paths: Sequence[Path], out: Path, limits: Limits) -> dict[str, Any]:
    # -P: the script's own folder is not put before the standard library on the import path.
    script = Path(__file__).with_name("unpickle.py")
    command = [sys.executable, "-P", str(script), str(out), str(limits.seconds), str(limits.bytes)]
    # Many threads map much memory each, which the limit would count; no device is needed.
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            [*command, *(str(path.resolve()) for path in paths)],
            cwd=out,
            env=quiet,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=limits.seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadFile(
            _names(paths), expected=f"a file that reads within {limits.seconds} s", got="more"
        ) from None
    answer = out / "outline.json"
    if done.returncode != 0 or not answer.exists():
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise BadFile(
            _names(paths),
            expected="a whole torch file",
            got=f"its reader ended with {done.returncode}: {lines[-1][:160]}",
            hint=AGAIN,
        )
    return json.loads(answer.read_text())


def _tree(node: dict[str, Any], folder: Path, byte_limit: int) -> Tree:
    """The outline that the child wrote, back as values."""
    if "array" in node:
        return read_npy(folder / Path(node["array"]).name, byte_limit)
    if "dict" in node:
        return {key: _tree(value, folder, byte_limit) for key, value in node["dict"]}
    if "list" in node:
        return [_tree(value, folder, byte_limit) for value in node["list"]]
    if "number" in node:
        return float(node["number"])
    return node.get("text")


def shown(tree: Tree) -> str:
    """One short phrase for an error: what a tree is made of."""
    if isinstance(tree, np.ndarray):
        return f"{tree.dtype} {list(tree.shape)}"
    if isinstance(tree, dict):
        return f"a dictionary with {', '.join(map(repr, list(tree)[:8]))}"[:160]
    if isinstance(tree, list):
        return f"a list of {len(tree)}"
    return type(tree).__name__


def _names(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
