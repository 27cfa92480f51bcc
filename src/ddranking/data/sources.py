"""Where datasets come from: ``prepare`` reads and caches one, ``load`` opens what was prepared.

The way of the images: a root is found or fetched (``fetching``), one of its layouts recognised
(``layouts``, with the table ``READERS``), decoded and cached (``ingest``, ``cache``), and opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ddranking.data import cache as store
from ddranking.data.catalog import DatasetFacts
from ddranking.data.catalog import facts as facts_of
from ddranking.data.embedded import digits
from ddranking.data.fetching import HUB, can_download, download, from_hub
from ddranking.data.images import Dataset, Images, check_halves
from ddranking.data.ingest import Progress, ingest
from ddranking.data.layouts import READERS, find
from ddranking.data.reading import Reading
from ddranking.errors import BadFile, BadInput, MissingData

FOLDER = "folder:"
"""``folder:/path`` as a dataset's name means images of one's own."""


def load(
    name: str,
    *,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    image_size: int | None = None,
) -> Dataset:
    """A dataset that is ready to use: memory-mapped from the cache, or embedded (digits).

    Args:
        name: a name of the catalog, or ``folder:/path`` for images of one's own.
        root: take the copy made from this root, preparing it if it is new or has changed.
        cache: $DDRANKING_CACHE or ``~/.cache/ddranking/data`` when left out.
        image_size: take the copy of this size; whatever is current (or the field's) when left out.

    Raises:
        UnknownName: no such dataset.
        MissingData: it was not prepared; the hint is the command to run.

    >>> len(load("digits").train)
    1297
    """
    facts = _facts(name)
    if facts.reader == "digits":
        return digits()
    home = _home(facts, cache)
    if root is None and facts.reader == "folder":
        root = name.removeprefix(FOLDER)
    if root is not None:
        size = image_size
        if size is None and facts.reader == "folder":
            size = _current_size(home)
        noted = _noted_copy(facts, home, root, size or facts.image_size)
        return noted or prepare(name, root=root, cache=cache, image_size=size)
    current = _current(facts, home)
    if current is None or (image_size and current.image_size != image_size):
        raise _not_prepared(facts, home, image_size)
    return current


def prepare(
    name: str,
    *,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Read a dataset from its files, digest it, cache it as uint8 arrays, make it current.

    Args:
        name: a name of the catalog, or ``folder:/path``.
        root: the folder to read, or ``hub:owner/name`` for a repository of the Hugging Face Hub.
        cache: where prepared copies live; see :func:`load`.
        download: fetch the files first, with torchvision or from the Hub.
        image_size: height and width; the field's for this dataset when left out.
        progress: called now and then.

    Raises:
        UnknownName, MissingData, MissingExtra: nothing to read.
        BadFile: a file that cannot be read, or labels out of range.
        StoreUnusable: the cache cannot be written, or the disk is (or would be) full.
    """
    facts = _facts(name)
    if facts.reader == "digits":
        return digits()
    home = _home(facts, cache)
    size = image_size or facts.image_size
    if size < 1:
        raise BadInput(
            f"image size of {name}",
            expected="a number of pixels",
            got=str(image_size) if image_size is not None else "none",
            hint=f"Run: ddranking data prepare {name} --image-size 64",
        )
    folder_root = _fetch(facts, root, home, download)
    reading = find(facts, folder_root)
    place = ingest(facts, reading, size, home, progress or (lambda what, done, total: None))
    _note(home, folder_root, size, reading, place)
    dataset = _open(facts, place)
    if dataset is None:
        raise BadFile(str(place), expected="the copy written just now", got="a damaged one")
    return dataset


def _facts(name: str) -> DatasetFacts:
    if not name.startswith(FOLDER):
        return facts_of(name)
    path = name.removeprefix(FOLDER)
    return DatasetFacts(
        name=name,
        title=Path(path).name or path,
        num_classes=0,
        channels=0,
        image_size=0,
        mean=(),
        std=(),
        train_size=None,
        test_size=0,
        source=path,
        licence="",
        citation="",
        reader="folder",
    )


def _home(facts: DatasetFacts, cache: str | Path | None) -> Path:
    base = Path(cache) if cache is not None else store.default_cache()
    if facts.reader != "folder":
        return base / facts.name
    path = Path(facts.source).expanduser().resolve()
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", path.name) or "root"
    return base / f"folder-{readable}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def _fetch(facts: DatasetFacts, root: str | Path | None, home: Path, wanted: bool) -> Path:
    """The local folder to read from, after a download if one was asked for."""
    if root is None and facts.reader == "folder":
        root = facts.source
    if root is not None and str(root).startswith(HUB):
        return from_hub(str(root).removeprefix(HUB))
    if root is not None and not wanted:
        return Path(root).expanduser()
    if not wanted:
        raise _not_prepared(facts, home, None)
    return download(facts, Path(root).expanduser() if root is not None else home / "download")


def _not_prepared(facts: DatasetFacts, home: Path, image_size: int | None) -> MissingData:
    size = f" --image-size {image_size}" if image_size else ""
    command = f"ddranking data prepare {facts.name} --root DIR{size}"
    other = " (or --download in place of --root DIR)" if can_download(facts) else ""
    return MissingData(
        facts.title,
        expected=f"a prepared copy{f' of {image_size} px' if image_size else ''} in {home}",
        got="none",
        hint=f"Run: {command}{other}",
    )


def _open(facts: DatasetFacts, place: Path) -> Dataset | None:
    """The dataset of one prepared copy, or None if it is not complete."""
    card = store.read_card(place)
    halves = store.open_halves(place) if card else None
    if card is None or halves is None or not _fit_together(halves, card):
        return None
    known = facts if facts.mean else replace(facts, **_facts_of_card(card))
    return Dataset(
        name=known.name,
        title=_title(known, card, *halves),
        num_classes=known.num_classes,
        mean=known.mean,
        std=known.std,
        # Where the catalog has no names, the files may: Parquet metadata, folder names.
        class_names=known.class_names or tuple(card["class_names"]),
        train=halves[0],
        test=halves[1],
        digest=card["digest"],
        lineages=known.lineages,
    )


def _fit_together(halves: tuple[Images, Images], card: dict[str, Any]) -> bool:
    """Whether a copy's images, labels and card are of one dataset."""
    channels = halves[0].shape[0]
    try:
        check_halves(*halves, num_classes=card["num_classes"])
    except BadInput:
        return False
    return len(card["mean"]) == len(card["std"]) == channels


def _facts_of_card(card: dict[str, Any]) -> dict[str, Any]:
    return {
        "num_classes": card["num_classes"],
        "class_names": tuple(card["class_names"]),
        "mean": tuple(card["mean"]),
        "std": tuple(card["std"]),
    }


def _title(facts: DatasetFacts, card: dict[str, Any], train: Images, test: Images) -> str:
    """The title that tells this copy from others, as far as that can be told."""
    if card["digest"] in facts.known_copies:
        return facts.known_copies[card["digest"]]
    if facts.train_size and (len(train), len(test)) != (facts.train_size, facts.test_size):
        return f"{facts.title} (partial copy: {len(train):,} + {len(test):,} images)"
    if facts.lossless and card["lossy"]:
        return f"{facts.title} (lossy copy)"
    return facts.title


def _current(facts: DatasetFacts, home: Path) -> Dataset | None:
    pointer = store.read_json(home / "current.json") or {}
    return _open(facts, home / str(pointer["folder"])) if "folder" in pointer else None


def _current_size(home: Path) -> int | None:
    size = (store.read_json(home / "current.json") or {}).get("image_size")
    return size if isinstance(size, int) else None


def _note_path(home: Path, root: Path, size: int) -> Path:
    key = hashlib.sha256(f"{root.resolve()}\0{size}".encode()).hexdigest()[:16]
    return home / "roots" / f"{key}.json"


def _note(home: Path, root: Path, size: int, reading: Reading, place: Path) -> None:
    """Remember which root this copy came from, then make it the current one."""
    note = {"root": str(root.resolve()), "files": reading.fingerprint(), "folder": place.name}
    store.write_atomically(_note_path(home, root, size), json.dumps(note, indent=1).encode())
    pointer = {"folder": place.name, "image_size": size}
    store.write_atomically(home / "current.json", json.dumps(pointer, indent=1).encode())


def _noted_copy(facts: DatasetFacts, home: Path, root: str | Path, size: int) -> Dataset | None:
    """The copy made from this root, if its files are as they were then."""
    if str(root).startswith(HUB):
        return None
    root = Path(root).expanduser()
    note = store.read_json(_note_path(home, root, size))
    if note is None or note.get("files") != find(facts, root).fingerprint():
        return None
    return _open(facts, home / str(note.get("folder")))


__all__ = ["READERS", "Progress", "load", "prepare"]
