"""Where a training runs: versions, device and commit, for the provenance of an observation."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ddranking.scoring.observation import Environment


@cache
def environment(device: torch.device, kernels: str | None = None) -> Environment:
    """This process's environment.

    Args:
        device: named by its maker's name.
        kernels: by what a network was computed, see :func:`ddranking.training.arithmetic.kernels`.
    """
    return Environment(
        ddranking=version("ddranking"),
        commit=_commit(),
        torch=torch.__version__,
        python=platform.python_version(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        threads=torch.get_num_threads(),
        platform=f"{platform.system()} {platform.machine()}",
        kernels=kernels,
    )


HEEDED = ("ATEN_", "CUBLAS_", "DNNL_", "MKL_", "NVIDIA_TF32_", "ONEDNN_", "TORCH_")
"""How the names of variables begin by which libraries choose their kernels."""

UNKNOWN = "unknown CPU"


@cache
def fingerprint(device: torch.device) -> str:
    """All that last bits depend on, as far as it is known before a network is built.

    More than an :func:`environment` says, as nobody has to read it: the libraries that bring
    networks and augmentations, variables that choose kernels, the machine itself where its
    processor is unknown. The sources of this package stand for its commit, which does not tell two
    changed trees apart, and is another one with every page of the documentation. A training on a
    CPU has one thread, whatever this process has now.
    """
    package, sources = Path(__file__).resolve().parents[1], hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.suffix in (".py", ".cpp", ".h"):
            sources.update(f"{path.relative_to(package)}\n".encode() + path.read_bytes())
    here = environment(device)
    known = {
        "environment": here.model_dump(mode="json", exclude={"commit", "threads", "kernels"}),
        "sources": sources.hexdigest(),
        "libraries": {name: _version(name) for name in ("torchvision", "timm")},
        "variables": {name: os.environ[name] for name in sorted(os.environ) if _heeded(name)},
        "node": platform.node() if here.device == UNKNOWN else None,
    }
    return json.dumps(known, sort_keys=True)


def _heeded(name: str) -> bool:
    return name.startswith(HEEDED)


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The processor's name as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, UNKNOWN)


def _commit() -> str | None:
    """The commit of the source tree this package runs from, with ``-dirty`` where it was changed.

    None for an installed package: its version says it all.
    """
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    inside = ["git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name]
    try:
        subprocess.run(inside, check=True, capture_output=True, timeout=10)
        done = subprocess.run(command, check=True, capture_output=True, timeout=10, text=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
