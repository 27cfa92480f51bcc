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
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from ddranking.files import open_regular
from ddranking.protocol.trial import Trial
from ddranking.running.environment import environment, fingerprint
from ddranking.running.sealed import is_whole, seal
from ddranking.running.workbench import Workbench
from ddranking.scoring.observation import Environment
from ddranking.training.fit import Saving, fit_each
from ddranking.training.snapshot import Snapshot

REPORT_SECONDS = 0.25
"""How often progress is told."""

SAVE_SECONDS = 300.0
"""How often a training is saved halfway: what a killed run may lose of each."""


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do.

    Attributes:
        trial: what to train.
        weights: what it may start from instead of training.
        teachers: the weights of the networks that label its images, by trial key.
        keep: whether the weights that it ends with are wanted.
        begun: where a run that was stopped may have left its training halfway.
    """

    trial: Trial
    weights: Path | None = None
    teachers: Mapping[str, Path] = field(default_factory=dict)
    keep: bool = False
    begun: Path | None = None


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


@dataclass(frozen=True)
class Halfway:
    """A training between two epochs, for the same environment to go on from.

    ``content`` is a sealed snapshot. Elsewhere it does not open: a training that was begun on one
    machine or version and ended on another would be of neither.
    """

    content: bytes


News = float | Halfway
"""Of a task that is not done: the share of its epochs that is, or what a later run can go on from.
"""

Keep = Callable[[Task, Halfway], None]
"""Puts what is halfway where the task's ``begun`` is looked for."""


def forget(task: Task, halfway: Halfway) -> None:
    """Keeps nothing."""


def perform(
    group: Group,
    workbench: Workbench,
    device: torch.device,
    tell: Callable[[int, News], None] = lambda index, news: None,
) -> Iterator[tuple[int, Done]]:
    """Runs a group of trials in this process and yields each task's index and answer at its end.

    ``tell`` is called with a task's index and news of it.
    """
    here = fingerprint(device)

    def keep_halfway(index: int, snapshot: Snapshot) -> None:
        tell(index, Halfway(seal(snapshot.to_bytes(), f"{group[index].trial.key} {here}")))

    jobs = []
    for task in group:
        job = workbench.job(task.trial, _weights(task), task.teachers)
        jobs.append(replace(job, begun=partial(_begun, task, here)))
    saving = Saving(keep_halfway, SAVE_SECONDS)
    for index, result in fit_each(jobs, device, tell, saving=saving):
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


def _begun(task: Task, here: str) -> Snapshot | None:
    """What a run left of the training ``here``; None, which means to start anew, of all else."""
    if task.begun is None:
        return None
    try:
        with open_regular(task.begun) as file:
            content = file.read()
        whole = is_whole(content, f"{task.trial.key} {here}")
        return Snapshot.from_bytes(content) if whole else None
    except (OSError, ValueError, MemoryError):
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
    """Each message is a group; of each of its tasks it sends news, and at its end the answer."""
    workbench, device = pipe.recv()
    if device.type == "cpu":
        torch.set_num_threads(1)
        tune_allocator()
    told = 0.0

    def report(index: int, news: News) -> None:
        nonlocal told
        if not isinstance(news, Halfway):
            if time.monotonic() - told < REPORT_SECONDS:
                return
            told = time.monotonic()
        pipe.send((index, news))  # raises when the parent is gone, which ends this process

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
