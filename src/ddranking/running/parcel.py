"""What travels to a worker on another machine: a workbench without its images, and named files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ddranking.data.cache import default_cache, open_halves, read_card
from ddranking.data.images import Images
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Task

_Named = TypeVar("_Named", Task, Workbench)


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
