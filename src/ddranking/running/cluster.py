"""The Ray engine: trials spread over the CPU cores and GPUs of one machine or of many.

A worker is an actor on one CPU core, or on a GPU or a part of one. It opens the real dataset once:
from the prepared copy on its own node where there is one, else from Ray's object store, into which
it is put once. A worker that dies is replaced, and what it was training is given to another one.
Only the driver writes to the store, so weights that a trial starts from travel with it.

Without an address there is a cluster for this process alone: on the loopback interface, with token
authentication, without dashboard, gone when the pool ends. Ray is imported when it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import ipaddress
import math
import os
import secrets
import shutil
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from ddranking.data.cache import default_cache, open_halves, read_card
from ddranking.data.images import Dataset, Images
from ddranking.errors import BadInput, DDRankingError, MissingExtra
from ddranking.protocol.trial import IMPLEMENTATION
from ddranking.running.local import Watcher, cores
from ddranking.running.store import DAY
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Done, Task, perform, tune_allocator
from ddranking.training.native import SWITCH

ATTEMPTS = 3
"""How many workers may die of the same trainings before the run ends."""

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 600.0
"""How long to wait while not a single worker can be had: a cluster may have to grow first."""

OBJECT_STORE_BYTES = 256 << 20
"""Ray's shared memory on this machine, beside room for a dataset that has no prepared copy."""

LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's own name; on any system, 0 in it keeps every one of its servers on loopback."""

Group = tuple[Task, ...]
_Named = TypeVar("_Named", Task, Workbench)


def groups(tasks: Sequence[Task]) -> list[Group]:
    """Tasks that one worker trains together; one each, as the training loop takes one at a time."""
    return [(task,) for task in tasks]


# --- What travels ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parcel:
    """A workbench on its way to another node, with one image in place of each half.

    ``folder`` is the prepared copy that the driver has mapped, None where there is none.
    """

    workbench: Workbench
    folder: Path | None

    def opened(self, halves: tuple[Images, Images] | None = None) -> Workbench | None:
        """The workbench with its images: those given, else those of this node's prepared copy.

        A copy counts by its digest, whatever its place says. None where there is none.
        """
        dataset = self.workbench.dataset
        found = halves or next(filter(None, map(self._halves, self._places())), None)
        if found is None:
            return None
        train, test = found
        return replace(self.workbench, dataset=replace(dataset, train=train, test=test))

    def _places(self) -> list[Path]:
        if self.folder is None:
            return []
        return [self.folder, default_cache() / self.folder.parent.name / self.folder.name]

    def _halves(self, folder: Path) -> tuple[Images, Images] | None:
        card = read_card(folder)
        if card is None or card.get("digest") != self.workbench.dataset.digest:
            return None
        return open_halves(folder)


def parcel(workbench: Workbench) -> Parcel:
    """The workbench without its images and with the place where they can be opened."""
    dataset = workbench.dataset
    first = np.zeros(1, np.int64)
    hollow = replace(dataset, train=dataset.train.take(first), test=dataset.test.take(first))
    name = getattr(dataset.train.pixels, "filename", None)
    folder = Path(name).resolve().parent if name else None
    if folder is not None and (read_card(folder) or {}).get("digest") != dataset.digest:
        folder = None  # somebody's own memory map: its content travels
    return Parcel(replace(workbench, dataset=hollow, _made={}), folder)


def files(value: Any) -> set[Path]:
    """Every file that a task or a workbench names in its fields, to be sent with it."""
    found: set[Path] = set()
    for each in (getattr(value, one.name) for one in fields(value) if one.name != "cache"):
        inside = each.values() if isinstance(each, Mapping) else (each,)
        found |= {one for one in inside if isinstance(one, Path)}
    return found


def renamed(value: _Named, places: Mapping[Path, Path]) -> _Named:
    """A task or workbench that names the copies of its files."""
    changes: dict[str, Any] = {}
    for one in fields(value):
        each = getattr(value, one.name)
        if isinstance(each, Path) and each in places:
            changes[one.name] = places[each]
        elif isinstance(each, Mapping) and any(isinstance(v, Path) for v in each.values()):
            changes[one.name] = {key: places.get(path, path) for key, path in each.items()}
    return replace(value, **changes)


# --- The worker -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lacking:
    """A worker's answer where its node has no prepared copy of the dataset."""


@dataclass(frozen=True)
class Ready:
    """A worker's answer when it can train; ``node`` is Ray's name of the machine it is on."""

    version: str
    implementation: int
    node: str = field(default="", compare=False)


class Remote:
    """One worker, as an actor. Errors are answers: raised, Ray would wrap them in its own."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)
        self.progress = [0.0]
        self.workbench: Workbench | None = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None
        self.copies: dict[Path, Path] = {}
        if self.device.type == "cpu":
            tune_allocator()

    def open(
        self, parcel: Parcel, sent: Mapping[Path, Any], halves: tuple[Images, Images] | None
    ) -> Ready | Lacking | Exception:
        """Opens the dataset, once in the worker's life."""
        try:
            opened = parcel.opened(halves)
            if opened is None:
                return Lacking()
            self.workbench = renamed(opened, self._received(sent))
        except Exception as error:
            return error
        node = _ray().get_runtime_context().get_node_id()
        return Ready(version("ddranking"), IMPLEMENTATION, node)

    def perform(self, group: Group, sent: Mapping[Path, Any]) -> list[Done] | Exception:
        """Trains a group; ``sent`` are the files that its tasks name, by the driver's names."""
        assert self.workbench is not None, "a worker is opened before it trains"
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # OpenMP counts threads for each calling thread
        try:
            places = self._received(sent)
            self.progress = [0.0] * len(group)
            return [
                perform(renamed(task, places), self.workbench, self.device, self._teller(index))
                for index, task in enumerate(group)
            ]
        except Exception as error:
            error.add_note(f"while training {group[0].trial.arm}, seed {group[0].trial.seed}")
            return error

    def shares(self) -> list[float]:
        """The share of each of the group's trainings that is done."""
        return self.progress

    def process(self) -> int:
        """The number of this worker's process on its node."""
        return os.getpid()

    def leave(self) -> None:
        """Removes what this worker wrote on its node."""
        if self.folder is not None:
            self.folder.cleanup()

    def _teller(self, index: int):
        def told(_: int, share: float) -> None:
            self.progress[index] = share

        return told

    def _received(self, sent: Mapping[Path, Any]) -> dict[Path, Path]:
        """The copies of files in this worker's own folder; each is written once."""
        for path, content in sent.items():
            if path not in self.copies:
                if self.folder is None:
                    self.folder = tempfile.TemporaryDirectory(prefix="ddranking-worker-")
                copy = Path(self.folder.name, f"{len(self.copies)}{path.suffix}")
                copy.write_bytes(_ray().get(content))
                self.copies[path] = copy
        return self.copies


# --- The driver -----------------------------------------------------------------------------------


@dataclass(eq=False)
class Hand:
    """One worker, as the driver sees it: what it is asked, and the group that it trains."""

    actor: Any
    answer: Any
    group: Group = ()
    told: Any = None
    node: str = ""


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
    _check(device, workers)
    if device == "cuda" and not gpus:
        raise BadInput("--device", expected="GPUs in the cluster", got="none")
    if device == "cpu" or not gpus:
        return Seats(max(1, min(workers or cpus, cpus)), 0.0)
    count = workers or gpus
    return Seats(count, 1 / math.ceil(count / gpus))


def _check(device: str | None, workers: int | None) -> None:
    """What can be said of the choice before the cluster is there."""
    if device not in (None, "cpu", "cuda"):
        raise BadInput(
            "--device",
            expected="cpu or cuda with --engine ray, which hands out the GPUs itself",
            got=repr(device),
            hint="Set CUDA_VISIBLE_DEVICES to choose some of a machine's GPUs.",
        )
    if workers is not None and workers < 1:
        raise BadInput("--workers", expected="1 or more", got=str(workers))


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
        _check(device, workers)
        self.workbench, self.address = workbench, address
        self.device, self.workers = device, workers
        self.hands: list[Hand] = []
        self.sent: dict[Path, Any] = {}
        self.halves: Any = None
        self.lost: Counter[str] = Counter()
        self.deaths = 0

    def __enter__(self) -> RayPool:
        self.session = _Session(self.address, self._room(), self.workers)
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

    def run(self, tasks: Sequence[Task], watcher: Watcher) -> Iterator[tuple[Task, Done]]:
        """Runs every task and yields each with its answer as soon as it is there, in any order.

        Raises:
            DDRankingError: a training failed, or ended several workers, or no worker can be had;
                what was yielded before is complete.
        """
        waiting = sorted(groups(tasks), key=self._effort)
        idle: list[Hand] = [hand for hand in self.hands if hand.answer is None]
        last = time.monotonic()
        while waiting or any(hand.group for hand in self.hands):
            self._hire(len(waiting) + sum(bool(hand.group) for hand in self.hands))
            while waiting and idle:
                self._give(idle.pop(), waiting.pop())
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
                    waiting += [hand.group] if hand.group else []
                    self._dismiss(hand)
                    continue
                group, hand.group = hand.group, ()
                yield from zip(group, done, strict=True)
                if hand.answer is None:
                    idle.append(hand)
            self._tell(watcher)

    def _effort(self, group: Group) -> float:
        """What decides the order: the longest is given out first, as it stands last."""
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
        hand.group, hand.told = group, None
        hand.answer = hand.actor.perform.remote(group, sent)

    def _send(self, paths: set[Path]) -> dict[Path, Any]:
        """References to the content of files, each put into the object store once."""
        for path in paths - self.sent.keys():
            with suppress(OSError):  # gone since: it is trained again, as by any engine
                self.sent[path] = self.ray.put(path.read_bytes())
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
            raise DDRankingError(f"a worker cannot answer: {_brief(error)}") from None
        except self.ray.exceptions.RayError as error:
            self._count_death(hand.group, error)
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
            f"same command again, with fewer --workers. The last one: {_brief(error)}"
        )

    def _tell(self, watcher: Watcher) -> None:
        """Asks those who train how far they are, and tells what the last question gave."""
        for hand in self.hands:
            if not hand.group:
                hand.told = None
            elif hand.told is None:
                hand.told = hand.actor.shares.remote()
            elif self.ray.wait([hand.told], timeout=0)[0]:
                with suppress(self.ray.exceptions.RayError):
                    shares = self.ray.get(hand.told)
                    for task, share in zip(hand.group, shares, strict=False):
                        watcher.running(task.trial, share)
                hand.told = None

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


def _brief(error: Exception) -> str:
    """The last line that says something, without Ray's advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join((lines[0] if lines else type(error).__name__)[:300].split())


# --- The cluster ----------------------------------------------------------------------------------


@dataclass
class _Session:
    """A connection to Ray: to a cluster of this process, or to one at an address."""

    address: str | None
    room: int
    workers: int | None
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, init=False)
    ours: bool = field(default=False, init=False)

    def open(self) -> Any:
        """Connects and returns the module ``ray``."""
        own = self.address is None
        _guard(own)
        ray = _ray()
        if ray.is_initialized():
            return ray  # a script's own connection: it stays as it is
        quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
        if own:
            self._start(ray, quiet)
        else:
            self._join(ray, quiet)
        self.ours = True
        return ray

    def close(self) -> None:
        if self.ours:
            _ray().shutdown()
            self.ours = False
        if self.folder is not None:
            self.folder.cleanup()
            self.folder = None

    def _start(self, ray: Any, quiet: Mapping[str, Any]) -> None:
        # Ray opens its folder to everybody, so it lies in one that nobody else may enter. The
        # names of the sockets in it have 107 bytes at most, 89 of them below this place.
        usual = tempfile.gettempdir()
        place = Path(usual if len(usual) <= 16 else "/tmp")
        _sweep(place)
        self.folder = tempfile.TemporaryDirectory(
            prefix=f"ddr-{os.getpid()}-", dir=place, ignore_cleanup_errors=True
        )
        try:
            ray.init(
                num_cpus=self.workers or cores(),
                include_dashboard=False,
                object_store_memory=self.room,
                _temp_dir=str(Path(self.folder.name, "ray")),
                _system_config={"worker_niceness": 0},  # Ray's 15 gives way to everything
                **quiet,
            )
            where = ray.util.get_node_ip_address()
            if not ipaddress.ip_address(where).is_loopback:
                raise DDRankingError(
                    f"Ray listens on {where} instead of the loopback interface: start "
                    "ddranking before anything else of this process imports Ray"
                )
        except BaseException as error:
            ray.shutdown()
            self.folder.cleanup()
            if isinstance(error, DDRankingError) or not isinstance(error, Exception):
                raise
            raise DDRankingError(f"Ray cannot be started here: {_brief(error)}") from None

    def _join(self, ray: Any, quiet: Mapping[str, Any]) -> None:
        assert self.address is not None
        try:
            _knock(self.address)  # Ray itself tries for minutes
            ray.init(address=self.address, **quiet)
        except (ray.exceptions.RayError, ValueError, RuntimeError, OSError) as error:
            if _about_tokens(error):
                raise BadInput(
                    f"--address {self.address}",
                    expected="this cluster's token, in RAY_AUTH_TOKEN or in the file that "
                    "RAY_AUTH_TOKEN_PATH names",
                    got="none, or another one",
                    hint="On the head node, 'ray get-auth-token' prints it.",
                ) from None
            raise BadInput(
                f"--address {self.address}",
                expected="a running Ray cluster of which this machine is a node",
                got=_brief(error),
                hint="Start one with 'ray start' and give its token in RAY_AUTH_TOKEN, or leave "
                "--address out.",
            ) from None


def _about_tokens(error: BaseException | None) -> bool:
    """Whether Ray was turned away; it says so in one of the errors that led to this one."""
    return error is not None and (
        "authenticat" in f"{type(error).__name__} {error}".lower()
        or _about_tokens(error.__cause__ or error.__context__)
    )


def _sweep(place: Path) -> None:
    """Removes what killed processes of this user left a day ago or more: sockets and logs."""
    for left in place.glob("ddr-*-*"):
        with suppress(OSError):
            status, process = left.stat(), Path("/proc", left.name.split("-")[1])
            old = time.time() - status.st_mtime > DAY and status.st_uid == os.getuid()
            if old and Path("/proc/self").exists() and not process.exists():
                shutil.rmtree(left, ignore_errors=True)


def _knock(address: str) -> None:
    """Raises an OSError at once where nothing listens at ``HOST:PORT``; other forms pass."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _guard(own: bool) -> None:
    """Keeps token authentication on; a cluster of this process listens on loopback alone.

    Ray reads these once a process, so they stay. A token of one's own cluster is made up here and
    never written to a file; that of another cluster is looked for where Ray looks for it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not own:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        return
    os.environ["RAY_AUTH_MODE"] = "token"
    if not os.environ.get("RAY_AUTH_TOKEN_PATH"):
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    os.environ[LOOPBACK] = "0"


def installed() -> bool:
    """Whether Ray is there."""
    return importlib.util.find_spec("ray") is not None


def _ray() -> Any:
    """The module ``ray``, an optional dependency that nothing else imports."""
    # Under 'uv run' Ray would copy this folder to every node and start its workers in a fresh
    # environment there; they are to run what is installed.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    return importlib.import_module("ray")
