"""One worker of a Ray cluster, as an actor on a CPU core, on a GPU or on a part of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from ddranking.data.images import Images
from ddranking.protocol.trial import IMPLEMENTATION
from ddranking.running.parcel import Parcel, renamed
from ddranking.running.session import ray_module
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Done, Group, Halfway, News, perform, tune_allocator


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
        self.done: dict[int, Done] = {}
        self.halfway: dict[int, Halfway] = {}
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
        node = ray_module().get_runtime_context().get_node_id()
        return Ready(version("ddranking"), IMPLEMENTATION, node)

    def perform(self, group: Group, sent: Mapping[Path, Any]) -> list[Done] | Exception:
        """Trains a group; ``sent`` are the files that its tasks name, by the driver's names."""
        assert self.workbench is not None, "a worker is opened before it trains"
        if self.device.type == "cpu":
            torch.set_num_threads(1)  # OpenMP counts threads for each calling thread
        try:
            places = self._received(sent)
            self.progress, self.done, self.halfway = [0.0] * len(group), {}, {}
            own = tuple(renamed(task, places) for task in group)
            for index, done in perform(own, self.workbench, self.device, self._tell):
                self.done[index] = done
            return [self.done[index] for index in range(len(group))]
        except Exception as error:
            error.add_note(f"while training {group[0].trial.arm}, seed {group[0].trial.seed}")
            return error

    def news(
        self, known: Collection[int]
    ) -> tuple[list[float], dict[int, Halfway], dict[int, Done]]:
        """How much of each of the group's trainings is done, and answers that are not ``known``.

        And what is halfway, once each.
        """
        done = list(self.done.items())
        halfway = {index: self.halfway.pop(index) for index in list(self.halfway)}
        new = {index: answer for index, answer in done if index not in known}
        return self.progress, halfway, new

    def process(self) -> int:
        """The number of this worker's process on its node."""
        return os.getpid()

    def leave(self) -> None:
        """Removes what this worker wrote on its node."""
        if self.folder is not None:
            self.folder.cleanup()

    def _tell(self, index: int, news: News) -> None:
        if isinstance(news, Halfway):
            self.halfway[index] = news
        else:
            self.progress[index] = news

    def _received(self, sent: Mapping[Path, Any]) -> dict[Path, Path]:
        """The copies of files in this worker's own folder; each is written once."""
        for path, content in sent.items():
            if path not in self.copies:
                if self.folder is None:
                    self.folder = tempfile.TemporaryDirectory(prefix=f"ddr-{os.getpid()}-")
                copy = Path(self.folder.name, f"{len(self.copies)}{path.suffix}")
                copy.write_bytes(ray_module().get(content))
                self.copies[path] = copy
        return self.copies
