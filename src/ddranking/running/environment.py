"""Where a training runs: versions, device and commit, for the provenance of an observation."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version
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


def cpu_name() -> str:
    """The processor's name as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, "unknown CPU")


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
