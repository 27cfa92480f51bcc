"""The Ray engine: trials spread over the CPU cores and GPUs of one machine or of many.

A worker is an actor on one CPU core, or on a GPU or a part of one. It opens the real dataset once:
from the prepared copy on its own node where there is one, else from Ray's object store, into which
it is put once. A worker that dies is replaced, and what it was training is given to another one.
Only the driver writes to the store, so weights that a trial starts from travel with it.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ddranking.data.images import Dataset, Images
from ddranking.errors import DDRankingError, MissingExtra
from ddranking.files import open_regular
from ddranking.protocol.trial import IMPLEMENTATION
from ddranking.running.actor import Lacking, Ready, Remote
from ddranking.running.groups import groups
from ddranking.running.local import Watcher
from ddranking.running.parcel import files, parcel
from ddranking.running.seats import check_choice, seats
from ddranking.running.session import Session, brief, installed
from ddranking.running.waiting import Finished, Waiting, never
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Done, Group, Keep, Task, forget
from ddranking.training.native import SWITCH

ATTEMPTS = 3
"""How many workers may die of the same trainings before the run ends."""

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 600.0
"""How long to wait while not a single worker can be had: a cluster may have to grow first."""

OBJECT_STORE_BYTES = 256 << 20
"""Ray's shared memory on this machine, beside room for a dataset that has no prepared copy."""


@dataclass(eq=False)
class Hand:
    """One worker, as the driver sees it: what it is asked, and the group that it trains.

    ``given`` are the indices of those of the group whose answers have come before the others'.
    """

    actor: Any
    answer: Any
    group: Group = ()
    given: set[int] = field(default_factory=set)
    told: Any = None
    node: str = ""

    def left(self) -> Group:
        """Those of the group that have not been answered."""
        return tuple(task for index, task in enumerate(self.group) if index not in self.given)

    def take(self, answers: Mapping[int, Done]) -> Iterator[tuple[Task, Done]]:
        """Tasks with their answers, each once."""
        for index in answers.keys() - self.given:
            self.given.add(index)
            yield self.group[index], answers[index]


class RayPool:
    """The workers of one or more studies on a Ray cluster; they end with the pool.

    Args:
        workbench: the data that trials may name.
        address: of a running cluster (``auto``, ``HOST:PORT``), None for one of this process.
        device: ``cpu``, ``cuda``, or None for GPUs where there are any.
        workers: how many; one a GPU or CPU core by default.

    Raises:
        MissingExtra: Ray is not installed.
        BadInput: no cluster at the address, no token for it, or no such device there.
    """

    def __init__(
        self,
        workbench: Workbench,
        *,
        address: str | None = None,
        device: str | None = None,
        workers: int | None = None,
    ) -> None:
        if not installed():
            raise MissingExtra("ray", "ray", "--engine ray")
        check_choice(device, workers)
        self.workbench, self.address = workbench, address
        self.device, self.workers = device, workers
        self.hands: list[Hand] = []
        self.sent: dict[Path, Any] = {}
        self.halves: Any = None
        self.lost: Counter[str] = Counter()
        self.deaths = 0

    def __enter__(self) -> RayPool:
        self.session = Session(self.address, self._room(), self.workers)
        self.ray = self.session.open()
        try:
            self.seats = seats(self.ray.cluster_resources(), self.device, self.workers)
            self.parcel = parcel(self.workbench)
            self.packed = self.ray.put(self.parcel)
        except BaseException:
            self.session.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            leaving = [hand.actor.leave.remote() for hand in self.hands if hand.node]
            self.ray.wait(leaving, num_returns=len(leaving), timeout=POLL_SECONDS)
        for hand in list(self.hands):
            self._dismiss(hand)
        self.hands, self.sent, self.halves = [], {}, None
        self.session.close()

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
            DDRankingError: a training failed, or ended several workers, or no worker can be had;
                what was yielded before is complete.
        """
        waiting = Waiting(self._groups(tasks), self._effort, finished)
        idle: list[Hand] = [hand for hand in self.hands if hand.answer is None]
        last = time.monotonic()
        while waiting or any(hand.group for hand in self.hands):
            self._hire(len(waiting) + sum(bool(hand.group) for hand in self.hands))
            while idle and (following := waiting.next()):
                self._give(idle.pop(), following)
            if any(hand.group for hand in self.hands):
                last = time.monotonic()
            elif time.monotonic() - last > PATIENCE_SECONDS:
                raise DDRankingError(
                    f"not one worker could be had in {PATIENCE_SECONDS:.0f} seconds: the cluster "
                    "has no free CPU core or GPU; finished trainings are in the store"
                )
            for hand in self._answered():
                done = self._answer(hand)
                if done is None:
                    if left := hand.left():
                        waiting.put_back(left)
                    self._dismiss(hand)
                    continue
                yield from hand.take(dict(enumerate(done)))
                hand.group = ()
                if hand.answer is None:
                    idle.append(hand)
            yield from self._news(watcher, keep)

    def _groups(self, tasks: Sequence[Task]) -> list[Group]:
        gpu, count = self.seats.gpu > 0, self.seats.count
        values = math.prod(self.workbench.dataset.train.shape)
        return groups(tasks, self.workbench.images, on_gpu=gpu, workers=count, values=values)

    def _effort(self, group: Group) -> float:
        """What decides the order: the longest is given out first."""
        return sum(0 if one.weights else self.workbench.visits(one.trial) for one in group)

    # Workers come and go.

    def _hire(self, wanted: int) -> None:
        while len(self.hands) < min(wanted, self.seats.count):
            gpu = self.seats.gpu
            made = self.ray.remote(Remote).options(
                num_cpus=0 if gpu else 1,
                num_gpus=gpu,
                max_concurrency=2,  # one trains, one tells how far it is
                runtime_env={"env_vars": _environment(on_cpu=not gpu)},
            )
            actor = made.remote("cuda" if gpu else "cpu")
            self.hands.append(Hand(actor, actor.open.remote(*self._opening(None))))

    def _opening(self, halves: Any) -> tuple[Any, Any, Any]:
        return self.packed, self._send(files(self.workbench)), halves

    def _dismiss(self, hand: Hand) -> None:
        if hand in self.hands:
            self.hands.remove(hand)
        with suppress(Exception):
            self.ray.kill(hand.actor, no_restart=True)

    def _give(self, hand: Hand, group: Group) -> None:
        sent = self._send({path for task in group for path in files(task)})
        hand.group, hand.given, hand.told = group, set(), None
        hand.answer = hand.actor.perform.remote(group, sent)
        for path in [task.begun for task in group if task.begun is not None]:
            self.sent.pop(path, None)  # there will be more of it, should this worker die

    def _send(self, paths: set[Path]) -> dict[Path, Any]:
        """References to the content of files, each put into the object store once."""
        for path in paths - self.sent.keys():
            # One that is gone since is trained again, as by any engine.
            with suppress(OSError), open_regular(path) as file:
                self.sent[path] = self.ray.put(file.read())
        return {path: self.sent[path] for path in paths if path in self.sent}

    def _answered(self) -> list[Hand]:
        """Workers whose answer is there, after at most a moment."""
        awaited = {hand.answer: hand for hand in self.hands if hand.answer is not None}
        if not awaited:
            return []
        ready, _ = self.ray.wait(list(awaited), num_returns=1, timeout=POLL_SECONDS)
        return [awaited[reference] for reference in ready]

    def _answer(self, hand: Hand) -> list[Done] | None:
        """What a worker answered: of a group that is done, nothing while it opens, None if it died.

        Raises:
            DDRankingError: what the training raised, or this death was one too many.
        """
        reference, hand.answer = hand.answer, None
        try:
            answer = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise DDRankingError(f"a worker cannot answer: {brief(error)}") from None
        except self.ray.exceptions.RayError as error:
            self._count_death(hand.left(), error)
            return None
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Lacking):
            hand.answer = hand.actor.open.remote(*self._opening(self._content()))
            return []
        if isinstance(answer, Ready):
            _check_version(answer)
            hand.node = answer.node
            return []
        for task in hand.group:
            if task.weights is not None:
                self.sent.pop(task.weights, None)  # of one trial alone
        self.deaths = 0
        return answer

    def _content(self) -> Any:
        """The real images in the object store; put there when the first node lacks them."""
        if self.halves is None:
            data = self.workbench.dataset
            self.halves = self.ray.put((_in_memory(data.train), _in_memory(data.test)))
        return self.halves

    def _count_death(self, group: Group, error: Exception) -> None:
        self.deaths += 1
        keys = [task.trial.key for task in group]
        self.lost.update(keys)
        often = max((self.lost[key] for key in keys), default=0)
        if often < ATTEMPTS and self.deaths < ATTEMPTS + self.seats.count:
            return
        what = (
            f"{group[0].trial.arm}, seed {group[0].trial.seed}, ended {often} workers"
            if often >= ATTEMPTS
            else f"{self.deaths} workers died one after the other"
        )
        raise DDRankingError(
            f"{what}, perhaps for lack of memory; finished trainings are in the store: run the "
            f"same command again, with fewer --workers. The last one: {brief(error)}"
        )

    def _lives(self, task: Task) -> None:
        """Deaths count from here: should this worker die, another one goes on where it was."""
        self.lost.pop(task.trial.key, None)
        self.deaths = 0

    def _news(self, watcher: Watcher, keep: Keep) -> Iterator[tuple[Task, Done]]:
        """Asks those who train how far they are; tells and yields what the last question gave."""
        for hand in self.hands:
            if not hand.group:
                hand.told = None
            elif hand.told is None:
                hand.told = hand.actor.news.remote(tuple(hand.given))
            elif self.ray.wait([hand.told], timeout=0)[0]:
                shares, halfway, answers = [], {}, {}
                with suppress(self.ray.exceptions.RayError):
                    shares, halfway, answers = self.ray.get(hand.told)
                hand.told = None
                for index in halfway.keys() - hand.given:
                    keep(hand.group[index], halfway[index])
                    self._lives(hand.group[index])
                for task, share in zip(hand.group, shares, strict=False):
                    watcher.running(task.trial, share)
                yield from hand.take(answers)

    def _room(self) -> int:
        """Bytes of shared memory that a cluster of this process needs."""
        data: Dataset = self.workbench.dataset
        made = [each.images.nbytes for each in self.workbench.distilled.values()]
        real = 0 if parcel(self.workbench).folder else data.train.pixels.nbytes
        real += 0 if not real else data.test.pixels.nbytes
        return OBJECT_STORE_BYTES + 2 * (real + sum(made))


def _environment(on_cpu: bool) -> dict[str, str]:
    """What a worker's process must have before it starts, for the results of this machine's."""
    threads = {"OMP_NUM_THREADS": "1"} if on_cpu else {}
    return threads | {name: os.environ[name] for name in (SWITCH,) if name in os.environ}


def _in_memory(images: Images) -> Images:
    """Arrays, whose content travels, where a memory map would send its name."""
    return Images(np.array(images.pixels), np.array(images.labels))


def _check_version(ready: Ready) -> None:
    ours = Ready(version("ddranking"), IMPLEMENTATION)
    if ready != ours:
        raise DDRankingError(
            f"a node of the cluster has ddranking {ready.version} (implementation "
            f"{ready.implementation}), this machine {ours.version} ({ours.implementation}): "
            "install the same one on every node"
        )
