"""Parquet files of a distilled set, as the Hugging Face Hub lays them out, read in a child process.

Which files belong together is told by their names: ``train-00000-of-00003-HASH.parquet``,
``train.parquet``, or ``train/0000.parquet``. Their content is read by
:mod:`ddranking.distilled.unparquet`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ddranking.data.catalog import DatasetFacts
from ddranking.distilled.folder import labels_of_folders, natural
from ddranking.distilled.guarded import Limits, read_reply, run_child
from ddranking.distilled.released import Released
from ddranking.errors import BadDistilledSet, BadFile

#: How a split is called where a repository has the original test images beside the set.
MAIN_SPLITS = ("train", "distilled", "synthetic", "syn", "default")
FILE_LIMIT = 10_000


def shards(folder: Path) -> list[Path]:
    """Parquet files in a folder or up to three folders deeper, in natural order of their paths."""
    found: list[Path] = []
    for pattern in ("*", "*/*", "*/*/*", "*/*/*/*"):
        found += [each for each in folder.glob(f"{pattern}.parquet") if each.is_file()]
    found = [each for each in found if not each.name.startswith(".")]
    if len(found) > FILE_LIMIT:
        raise BadFile(
            str(folder), expected=f"at most {FILE_LIMIT} Parquet files", got=str(len(found))
        )
    return sorted(found, key=lambda path: [natural(Path(part)) for part in path.parts])


def split_of(file: Path) -> str:
    """The split that a file belongs to.

    >>> split_of(Path("train-00000-of-00002-ab12.parquet")), split_of(Path("test/0001.parquet"))
    ('train', 'test')
    """
    if re.fullmatch(r"[\d.-]+", file.stem):
        return file.parent.name
    return re.split(r"-\d{4,}|[.]", file.stem)[0]


def choose_split(files: Sequence[Path], split: str | None) -> tuple[list[Path], list[str]]:
    """The files of one split, and a note about those that were passed over.

    Raises:
        BadFile: no such split, or several that may each be the set.
    """
    groups: dict[str, list[Path]] = {}
    for file in files:
        groups.setdefault(split_of(file), []).append(file)
    if split is None and len(groups) > 1:
        main = [name for name in MAIN_SPLITS if name in groups]
        split = main[0] if main else None
    if split is None and len(groups) == 1:
        split = next(iter(groups))
    if split is None or split not in groups:
        raise BadFile(
            "source",
            expected="the files of one split" if split is None else f"a split {split!r}",
            got=", ".join(groups)[:160],
            hint="Name its files, or the split as hub:owner/name:SPLIT.",
        )
    others = ", ".join(name for name in groups if name != split)
    return groups[split], [f"split {split}: passed over {others}"[:200]] if others else []


def read_parquet(files: Sequence[Path], facts: DatasetFacts | None, limits: Limits) -> Released:
    """The set whose rows are in ``files``.

    Raises:
        BadFile: missing, damaged, over the limits, or without a column of pictures.
        BadDistilledSet: names of classes that the dataset does not have.
    """
    size = 0
    for file in files:
        try:
            size += file.stat().st_size
        except OSError as error:
            raise BadFile(
                str(file), expected="a readable file", got=error.strerror or "an error"
            ) from None
    if not 0 < size <= limits.bytes:
        raise BadFile(
            str(files[0]),
            expected=f"1 to {limits.bytes} bytes in all",
            got=str(size),
            hint="If you trust them, pass --max-gb." if size else "",
        )
    with tempfile.TemporaryDirectory(prefix="ddranking-") as folder:
        channels = str(facts.channels if facts else 0)
        reply = run_child("unparquet.py", files, Path(folder), limits, channels)
        tree = read_reply(reply, Path(folder), limits.bytes)
    where = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    notes = [f"{where}: {len(tree['images'])} rows, columns {tree['columns']}"]
    if tree.get("jpegs"):
        notes.append(
            f"{where}: {tree['jpegs']:g} are JPEG; what was lost in saving is lost in the score too"
        )
    labels, order, more = _labels(tree, facts)
    return Released(
        images=tree["images"],
        labels=labels,
        soft_labels=tree.get("soft_labels"),
        class_order=order,
        notes=tuple(notes + more),
    )


def _labels(
    tree: dict[str, object], facts: DatasetFacts | None
) -> tuple[np.ndarray | None, tuple[str, ...] | None, list[str]]:
    """Labels in the dataset's own numbers, the names of classes in that order, and notes."""
    texts, labels, names = tree.get("texts"), tree.get("labels"), tree.get("names")
    if isinstance(texts, list):
        numbers = labels_of_folders(sorted(set(texts)), facts)
        return np.array([numbers[each] for each in texts], np.int64), None, []
    if not isinstance(labels, np.ndarray):
        return None, None, []
    if not isinstance(names, list) or len(set(names)) != len(names) or not names:
        return labels, None, []
    try:
        numbers = labels_of_folders(names, facts)
    except BadDistilledSet:
        return labels, None, ["names of classes in the file are not the dataset's: numbers kept"]
    order = [numbers[name] for name in names]
    if sorted(order) != list(range(len(names))) or labels.min() < 0 or labels.max() >= len(names):
        return labels, None, []
    renamed = tuple(sorted(names, key=lambda name: numbers[name]))
    if order == list(range(len(names))):
        return labels, renamed, []
    note = "labels renumbered: the file lists its classes in another order than the dataset"
    return np.array(order, np.int64)[labels], renamed, [note]
