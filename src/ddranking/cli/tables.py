"""``ddranking list`` and ``ddranking data``: what there is to choose from."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import App, Parameter

from ddranking.cli.options import WHOLE

data = App(name="data", help="Prepare real datasets.")

Kind = Literal[
    "tracks", "recipes", "datasets", "models", "augmentations", "labels", "losses", "methods"
]


def list_names(
    kind: Kind, *, json_: Annotated[bool, Parameter(name="--json", negative="")] = False
) -> None:
    """List the names that the other commands take, with a line on each.

    Args:
        kind: what to list.
        json_: print JSON.
    """
    rows = _LISTS[kind]()
    if json_:
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    width = max(map(len, rows), default=0)
    for name, text in rows.items():
        print(f"{name:{width}}  {text}".rstrip())


def _tracks() -> dict[str, str]:
    from ddranking.protocol.track import tracks

    return {key: track.title for key, track in tracks().items()}


def _recipes() -> dict[str, str]:
    from ddranking.protocol.recipe import recipe_files

    return {key: file.title for key, file in recipe_files().items()}


def _datasets() -> dict[str, str]:
    from ddranking.data.catalog import DATASETS

    return {
        name: f"{facts.title}: {facts.num_classes} classes, "
        f"{facts.channels}x{facts.image_size}x{facts.image_size}"
        for name, facts in DATASETS.items()
    }


def _models() -> dict[str, str]:
    from ddranking.models import listing

    return dict(listing())


def _augmentations() -> dict[str, str]:
    from ddranking.protocol.rules import Augmentation

    return _kinds(Augmentation)


def _labels() -> dict[str, str]:
    from ddranking.protocol.rules import Labels

    return _kinds(Labels)


def _losses() -> dict[str, str]:
    from ddranking.protocol.rules import Loss

    return _kinds(Loss)


def _methods() -> dict[str, str]:
    from ddranking.methods.baselines import METHODS

    return {name: text for name, (_, text) in METHODS.items()}


def _kinds(union: Any) -> dict[str, str]:
    """Kind and first docstring line of each class in a union of rules."""
    members = get_args(get_args(union)[0]) if get_args(union) else (union,)
    return {
        member.model_fields["kind"].default: (member.__doc__ or "").splitlines()[0]
        for member in members
    }


_LISTS: dict[str, Callable[[], dict[str, str]]] = {
    "tracks": _tracks,
    "recipes": _recipes,
    "datasets": _datasets,
    "models": _models,
    "augmentations": _augmentations,
    "labels": _labels,
    "losses": _losses,
    "methods": _methods,
}


@data.command
def prepare(
    dataset: str,
    *,
    root: Path | None = None,
    cache: Path | None = None,
    download: Annotated[bool, Parameter(negative="")] = False,
    image_size: Annotated[int | None, WHOLE] = None,
) -> None:
    """Read a dataset once into cached arrays, so that every score finds it.

    Args:
        dataset: its name (see: ddranking list datasets), or folder:PATH for a folder by class.
        root: the folder that holds it: torchvision's layout, Parquet files or image folders.
        cache: where the arrays go; the user's cache by default.
        download: fetch it from its source.
        image_size: height and width, for a folder of one's own.
    """
    from rich.console import Console
    from rich.progress import Progress

    from ddranking.data.sources import prepare as read

    console = Console(stderr=True)
    with Progress(console=console, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(f"reading {dataset}", total=None)

        def told(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        made = read(
            dataset,
            root=root,
            cache=cache,
            download=download,
            image_size=image_size,
            progress=told,
        )
    print(f"{made.title}: {len(made.train):,} training and {len(made.test):,} test images")
    print(f"{made.num_classes} classes, {'x'.join(map(str, made.train.shape))}, {made.digest}")
