"""How many workers a cluster has room for, and the part of a GPU that each of them gets."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ddranking.errors import BadInput


@dataclass(frozen=True)
class Seats:
    """How many workers there may be, and the part of a GPU that each has (0: a CPU core)."""

    count: int
    gpu: float


def seats(there: Mapping[str, float], device: str | None, workers: int | None) -> Seats:
    """The workers for what a cluster has.

    One a GPU where there are GPUs, else one a core. More workers than GPUs share them evenly.

    Args:
        there: Ray's resources, ``CPU`` and ``GPU``.
        device: ``cpu``, ``cuda``, or None for GPUs where there are any.
        workers: how many; by what is there where None.

    Raises:
        BadInput: no GPU where one is asked for, or a single one of them.
    """
    gpus, cpus = int(there.get("GPU", 0)), int(there.get("CPU", 0))
    check_choice(device, workers)
    if device == "cuda" and not gpus:
        raise BadInput("--device", expected="GPUs in the cluster", got="none")
    if device == "cpu" or not gpus:
        return Seats(max(1, min(workers or cpus, cpus)), 0.0)
    count = workers or gpus
    return Seats(count, 1 / math.ceil(count / gpus))


def check_choice(device: str | None, workers: int | None) -> None:
    """What can be said of a choice before the cluster is there.

    Raises:
        BadInput: a single GPU, which a cluster's workers cannot choose, or no worker at all.
    """
    if device not in (None, "cpu", "cuda"):
        raise BadInput(
            "--device",
            expected="cpu or cuda with --engine ray, which hands out the GPUs itself",
            got=repr(device),
            hint="Set CUDA_VISIBLE_DEVICES to choose some of a machine's GPUs.",
        )
    if workers is not None and workers < 1:
        raise BadInput("--workers", expected="1 or more", got=str(workers))
