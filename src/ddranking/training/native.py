"""Builds and loads ``fused.cpp`` (with ``tiles.h``), once for each processor, compiler and source.

The library goes into the user's own cache folder, which nobody else may write to. Where there is no
compiler, an untried processor or no safe folder, there is no library, and a reason instead.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import uuid4

import torch

from ddranking.files import user_folder

SOURCE = Path(__file__).with_name("fused.cpp")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-fPIC", "-shared")
SWITCH = "DDRANKING_FUSED"
FOLDER = "DDRANKING_NATIVE"
NO_COMPILER = "no compiler was found; with g++ or clang++ ConvNets train about twice as fast"
BUILD_SECONDS = 120
CAPABILITIES = ("AVX2", "AVX512")
"""Of ``torch.backends.cpu.get_cpu_capability``: what ``fused.cpp`` is written for."""


@dataclass(frozen=True)
class Native:
    """The loaded library.

    Attributes:
        library: functions of ``fused.cpp``.
        group: channels that it works on at once; a network's width must be a multiple.
        tiles: whether it multiplies bfloat16 on this processor's tiles (AMX).
    """

    library: ctypes.CDLL
    group: int
    tiles: bool


@cache
def native() -> Native | str:
    """The library, built if need be; or in one line why there is none."""
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0"
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"not tried on {sys.platform} {platform.machine()}"
    if torch.backends.cpu.get_cpu_capability() not in CAPABILITIES:
        return "a processor without AVX2"
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return NO_COMPILER
    try:
        folder = _own_folder()
        path = folder / f"fused-{_fingerprint(compiler)}.so"
        if not path.exists():
            _build(compiler, path)
        library = ctypes.CDLL(str(path))
    except subprocess.TimeoutExpired:
        return f"{compiler} took more than {BUILD_SECONDS} s"
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        return f"{compiler} failed: {lines[0] if lines else f'exit code {error.returncode}'}"
    except OSError as error:
        return str(error)
    return Native(library, library.group(), bool(library.tiles()))


def _own_folder() -> Path:
    """The folder of built files: ours, and closed to others.

    Raises:
        PermissionError: it is somebody else's, or others may write to it.
        OSError: it cannot be made.
    """
    folder = user_folder(FOLDER, "native")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError(f"{folder} must be yours alone (chmod 700)")
    return folder


def _fingerprint(compiler: str) -> str:
    """Of all that the machine code depends on: source, flags, compiler, processor."""
    version = _run([compiler, "--version"])
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    processor = sorted({line for line in lines if line.startswith(("model", "flags"))})
    sources = [path.read_bytes() for path in (SOURCE, *sorted(SOURCE.parent.glob("*.h")))]
    parts = (*sources, repr((FLAGS, compiler, version, processor)).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def _build(compiler: str, path: Path) -> None:
    """Compiles to a name of its own and renames: other processes see a whole file or none."""
    partial = path.with_name(f".{uuid4().hex}.partial.so")
    try:
        _run([compiler, *FLAGS, "-o", str(partial), str(SOURCE)])
        partial.chmod(0o700)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout
