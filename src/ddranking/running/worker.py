"""One worker process: serves groups of trials over a pipe, see :func:`serve`.

A worker is a fresh interpreter rather than a fork or a ``multiprocessing`` child, so that a user's
script needs no ``if __name__ == "__main__"`` and notebooks work. It trains with one thread on a
CPU: results then do not depend on how many workers there are, and cores do not wait for each other.
It ends when its parent does, see :mod:`ddranking.running.lifeline`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ddranking.protocol.trial import Trial
from ddranking.running.environment import environment
from ddranking.running.workbench import Workbench
from ddranking.scoring.observation import Environment
from ddranking.training.fit import fit_each

REPORT_SECONDS = 0.25
"""How often progress is told."""


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do.

    Attributes:
        trial: what to train.
        weights: what it may start from instead of training.
        teachers: the weights of the networks that label its images, by trial key.
        keep: whether the weights that it ends with are wanted.
    """

    trial: Trial
    weights: Path | None = None
    teachers: Mapping[str, Path] = field(default_factory=dict)
    keep: bool = False


Group = tuple[Task, ...]
"""Tasks that one worker trains together."""


@dataclass(frozen=True)
class Done:
    """What a worker answers when a trial is finished.

    ``weights`` are safetensors bytes where they are to be kept: of a search, whose final may start
    from them, and of a teacher. (Tensors themselves would travel as shared memory, which ends with
    the worker.)
    """

    accuracy: float
    train_loss: float | None
    steps: int
    seconds: float
    weights: bytes | None
    environment: Environment


def perform(
    group: Group,
    workbench: Workbench,
    device: torch.device,
    progress: Callable[[int, float], None] = lambda index, share: None,
) -> Iterator[tuple[int, Done]]:
    """Runs a group of trials in this process and yields each task's index and answer at its end.

    ``progress`` is told a task's index and the share of its epochs that is done.
    """
    jobs = [workbench.job(task.trial, _weights(task), task.teachers) for task in group]
    for index, result in fit_each(jobs, device, progress):
        yield (
            index,
            Done(
                accuracy=result.accuracy,
                train_loss=result.train_loss,
                steps=result.steps,
                seconds=result.seconds,
                weights=save(result.weights) if group[index].keep else None,
                environment=environment(device, result.kernels),
            ),
        )


def _weights(task: Task) -> dict[str, torch.Tensor] | None:
    """The weights to start from; None, which means training, where they do not read back."""
    try:
        return load_file(task.weights) if task.weights is not None else None
    except (OSError, SafetensorError):
        return None


def tune_allocator() -> None:
    """Keeps freed memory in the process: glibc would return and refault every large buffer.

    Measured on two cores at batch 10 and 100: a training step takes 0.5 to 0.65 times as long.
    """
    trim_threshold, mmap_max = -1, -4
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
    except (OSError, AttributeError):
        pass  # another C library: slower, not different


def serve(file: int) -> None:
    """Answers groups that come through a pipe (a file descriptor) until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        _serve(Connection(file))
    except (EOFError, ConnectionError):
        os._exit(0)


def _serve(pipe: Connection) -> None:
    """Each message is a group; of each of its tasks it sends shares, and at its end the answer."""
    workbench, device = pipe.recv()
    if device.type == "cpu":
        torch.set_num_threads(1)
        tune_allocator()
    told = 0.0

    def report(index: int, share: float) -> None:
        nonlocal told
        if time.monotonic() - told >= REPORT_SECONDS:
            told = time.monotonic()
            pipe.send((index, share))  # raises when the parent is gone, which ends this process

    while True:
        group = pipe.recv()
        try:
            for answer in perform(group, workbench, device, report):
                pipe.send(answer)
        except ConnectionError:
            raise
        except Exception as error:
            first = group[0].trial
            error.add_note(f"while training {first.arm}, seed {first.seed}")
            pipe.send(error)
