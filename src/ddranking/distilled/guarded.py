"""Runs the scripts that open strangers' files: a child process with limits on memory and time.

A script gets an empty folder, writes an outline in JSON and its arrays as ``.npy`` files there, and
ends. The parent reads numbers and short texts back, and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddranking.distilled.arrayfile import AGAIN, read_npy
from ddranking.errors import BadFile

#: A value that a script wrote: arrays, floats, texts, None for anything else, in dicts and lists.
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


def run_child(
    script: str, files: Sequence[Path], out: Path, limits: Limits, *words: str
) -> dict[str, Any]:
    """What ``script`` (a module of this folder) answers about ``files``.

    It is run as ``python -P SCRIPT OUT SECONDS BYTES [WORDS...] FILES...`` inside ``out``.

    Raises:
        BadFile: it took too long, or ended without an answer.
    """
    # -P: the script's own folder is not put before the standard library on the import path.
    path = Path(__file__).with_name(script)
    command = [sys.executable, "-P", str(path), str(out), str(limits.seconds), str(limits.bytes)]
    # Many threads map much memory each, which the limit would count; no device is needed.
    quiet = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "ARROW_DEFAULT_MEMORY_POOL": "system",
    }
    # A script may import this very package, wherever it lies.
    known = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    quiet["PYTHONPATH"] = os.pathsep.join(each for each in known if each)
    try:
        done = subprocess.run(
            [*command, *words, *(str(file.resolve()) for file in files)],
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
            names(files),
            expected=f"a file that reads within {limits.seconds} s",
            got="more",
            hint="If you trust it, pass --max-seconds.",
        ) from None
    answer = out / "outline.json"
    if done.returncode != 0 or not answer.exists():
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
        raise BadFile(
            names(files),
            expected="a whole file",
            got=f"its reader ended with {done.returncode}: {lines[-1][:160]}",
            hint=AGAIN,
        )
    return json.loads(answer.read_text())


def read_reply(reply: dict[str, Any], folder: Path, byte_limit: int) -> Tree:
    """The values in a script's answer ``{"tree": outline}``.

    Raises:
        BadFile: the answer is ``{"refused": [what, expected, got, hint]}``.
    """
    if "refused" in reply:
        what, expected, got, hint = (str(each) for each in reply["refused"])
        raise BadFile(what, expected=expected, got=got, hint=hint)
    return tree_of(reply["tree"], folder, byte_limit)


def tree_of(node: dict[str, Any], folder: Path, byte_limit: int) -> Tree:
    """The outline that a script wrote, back as values."""
    if "array" in node:
        return read_npy(folder / Path(node["array"]).name, byte_limit)
    if "dict" in node:
        return {key: tree_of(value, folder, byte_limit) for key, value in node["dict"]}
    if "list" in node:
        return [tree_of(value, folder, byte_limit) for value in node["list"]]
    if "number" in node:
        return float(node["number"])
    return node.get("text")


def names(paths: Sequence[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
