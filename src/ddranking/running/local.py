"""The local engine: trials spread over worker processes of this machine.

On CPUs one worker a core, each with one thread; on GPUs ``workers`` processes, spread over the
devices, that train groups. The longest start first. Only the parent writes to the store.
"""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol, Self

import torch

from ddranking.errors import BadInput, DDRankingError
from ddranking.interrupt import whole
from ddranking.protocol.trial import Trial
from ddranking.running.groups import groups
from ddranking.running.waiting import Finished, Waiting, never
from ddranking.running.workbench import Workbench
from ddranking.running.worker import (
    Done,
    Group,
    Halfway,
    Keep,
    News,
    Task,
    forget,
    perform,
)

WORKER = "from ddranking.running.lifeline import main; main()"


class Watcher(Protocol):
    """Is told what an engine does; see the command line's progress bar."""

    def running(self, trial: Trial, share: float) -> None:
        """``share`` in [0, 1] of the trial's epochs are done."""

    def finished(self, trial: Trial) -> None:
        """The trial's outcome is in the store."""


class Engine(Protocol):
    """What runs tasks, as a context manager: :class:`Pool` here, or the Ray engine's."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run(
        self,
        tasks: Sequence[Task],
        watcher: Watcher,
        finished: Finished = never,
        keep: Keep = forget,
    ) -> Iterator[tuple[Task, Done]]:
        """Runs every task and yields each with its answer as soon as it is there, in any order.

        Those that are ``finished`` when their turn comes are left out; ``keep`` gets long ones
        halfway.
        """
        ...


def devices(name: str | None) -> list[torch.device]:
    """The devices to use: all GPUs where there are any, else the CPU; or the one named.

    Raises:
        BadInput: a device that torch does not know or that is not there.
    """
    if name is None:
        count = torch.cuda.device_count()
        return [torch.device("cuda", index) for index in range(count)] or [torch.device("cpu")]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BadInput("--device", expected="cpu, cuda or cuda:N", got=repr(name)) from None
    there = device.type == "cpu" or (
        device.type == "cuda" and (device.index or 0) < torch.cuda.device_count()
    )
    if not there:
        raise BadInput(
            "--device",
            expected=f"cpu or one of {torch.cuda.device_count()} CUDA devices",
            got=repr(name),
        )
    return [device]


QUOTAS = (
    ("/sys/fs/cgroup/cpu.max",),
    ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
"""Where Linux tells a container how many microseconds of processor time it has in how many."""


def cores() -> int:
    """How many CPU cores this process may use: those it may run on, or a container's share."""
    there = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, int(min(there, _share())))


def _share() -> float:
    """Cores' worth of time that a container has, as ``docker --cpus=2`` gives it; else infinite."""
    for files in QUOTAS:
        try:
            quota, period = " ".join(Path(file).read_text() for file in files).split()
            if int(quota) > 0:
                return int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):
            continue  # another system, or "max": no limit
    return math.inf


@dataclass
class Worker:
    """One worker process, as the parent sees it, and the device on which it trains.

    ``left`` of its group have not been answered yet.
    """

    process: subprocess.Popen[bytes]
    pipe: Connection
    device: torch.device
    group: Group = ()
    left: int = 0

    def give(self, group: Group) -> None:
        self.send(group)
        self.group, self.left = group, len(group)

    def send(self, message: object) -> None:
        """Waits until the worker reads, if the message is long."""
        try:
            self.pipe.send(message)
        except ConnectionError:
            raise self.died() from None

    def died(self) -> DDRankingError:
        """What to say of a process that is no longer there."""
        code = self.process.wait()
        return DDRankingError(
            f"a worker process died (exit code {code}), perhaps for lack of memory; finished "
            "trainings are in the store: run the same command again, with fewer --workers"
        )

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self.pipe.close()


def _start(device: torch.device) -> Worker:
    """A worker process; it takes seconds to import what it needs, and then reads a workbench."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            process_group=0,  # Ctrl-C is the parent's to handle, also while a worker starts
        )
    return Worker(process, Connection(ours.detach()), device)


class Pool:
    """The workers of one or more studies; they start with the first task and end with the pool.

    Args:
        workbench: the data that trials may name; sent once to every worker.
        places: the device of each worker; a single place is served in this process.
    """

    def __init__(self, workbench: Workbench, places: Sequence[torch.device]) -> None:
        self.workbench, self.places = workbench, tuple(places)
        self.workers: list[Worker] = []

    def __enter__(self) -> Pool:
        return self

    @whole
    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.stop()
        self.workers = []

    def run(
        self,
        tasks: Sequence[Task],
        watcher: Watcher,
        finished: Finished = never,
        keep: Keep = forget,
    ) -> Iterator[tuple[Task, Done]]:
        """Runs every task and yields each with its answer as soon as it is there, in any order.

        Args:
            tasks: what to train.
            watcher: told of progress.
            finished: whether a task is to be left out, asked when its turn comes.
            keep: given what is halfway of long trainings.

        Raises:
            DDRankingError: a worker failed or died; what was yielded before is complete.
        """
        waiting = Waiting(self._groups(tasks), self.effort, finished)
        if len(self.places) == 1:
            yield from self._run_here(waiting, watcher, keep)
            return
        ready = len(self.workers)
        for place in self.places[ready : len(waiting)]:
            self._hire(place)
        for index, worker in enumerate(self.workers):  # those that start do so all at once
            if index >= ready:
                worker.send((self.workbench, worker.device))
            if group := waiting.next():
                worker.give(group)
        while busy := {worker.pipe: worker for worker in self.workers if worker.left}:
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                index, answer = _receive(worker)
                task = worker.group[index]
                if not isinstance(answer, Done):
                    _pass_on(task, answer, watcher, keep)
                    continue
                worker.left -= 1
                if not worker.left and (following := waiting.next()):
                    worker.give(following)
                yield task, answer

    @whole  # one that is not in the list would not be stopped
    def _hire(self, place: torch.device) -> None:
        self.workers.append(_start(place))

    def effort(self, group: Group) -> int:
        """Image visits of a group; what is only evaluated counts as none."""
        return sum(0 if one.weights else self.workbench.visits(one.trial) for one in group)

    def _groups(self, tasks: Sequence[Task]) -> list[Group]:
        on_gpu = self.places[0].type == "cuda"
        return groups(
            tasks,
            self.workbench.images,
            on_gpu=on_gpu,
            workers=len(self.places),
            values=math.prod(self.workbench.dataset.train.shape),
        )

    def _run_here(
        self, waiting: Waiting, watcher: Watcher, keep: Keep
    ) -> Iterator[tuple[Task, Done]]:
        """One thread on a CPU here too, so that results are those of any number of workers."""
        place, threads = self.places[0], torch.get_num_threads()
        if place.type == "cpu":
            torch.set_num_threads(1)
        try:
            while group := waiting.next():

                def told(index: int, news: News, group: Group = group) -> None:
                    _pass_on(group[index], news, watcher, keep)

                for index, done in perform(group, self.workbench, place, told):
                    yield group[index], done
        finally:
            torch.set_num_threads(threads)


def _pass_on(task: Task, news: News, watcher: Watcher, keep: Keep) -> None:
    if isinstance(news, Halfway):
        keep(task, news)
    else:
        watcher.running(task.trial, news)


def _receive(worker: Worker) -> tuple[int, News | Done]:
    """A task's index in the group, and news or its answer; raises what the worker raised."""
    try:
        answer = worker.pipe.recv()
    except (EOFError, ConnectionError):
        raise worker.died() from None
    if isinstance(answer, BaseException):
        raise answer
    return answer
