"""DD-Ranking: what the images of a distilled dataset are worth, apart from labels and augmentation.

Importing this package imports no torch; names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddranking.api import Rules, Runtime, dataset, load, score, study
    from ddranking.board.site import build as board
    from ddranking.data.images import Dataset
    from ddranking.distilled.artifact import DistilledSet
    from ddranking.distilled.importers import pack
    from ddranking.protocol.recipe import Recipe
    from ddranking.protocol.track import Track
    from ddranking.running.study import RealChoice
    from ddranking.scoring.record import Record
    from ddranking.scoring.recordfile import load_record

__version__: str

_HOMES = {
    "Dataset": "data.images",
    "DistilledSet": "distilled.artifact",
    "RealChoice": "running.study",
    "Recipe": "protocol.recipe",
    "Record": "scoring.record",
    "Rules": "api",
    "Runtime": "api",
    "Track": "protocol.track",
    "dataset": "api",
    "load": "api",
    "load_record": "scoring.recordfile",
    "pack": "distilled.importers",
    "score": "api",
    "study": "api",
}

__all__ = [
    "Dataset",
    "DistilledSet",
    "RealChoice",
    "Recipe",
    "Record",
    "Rules",
    "Runtime",
    "Track",
    "__version__",
    "board",
    "dataset",
    "load",
    "load_record",
    "pack",
    "score",
    "study",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # slower than everything else here

        return version("ddranking")
    if name == "board":  # a package that can be called
        return import_module("ddranking.board")
    if name not in _HOMES:
        raise AttributeError(f"module 'ddranking' has no attribute {name!r}")
    return getattr(import_module(f"ddranking.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
