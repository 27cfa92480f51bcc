"""``pack``: what authors publish, in the form they publish it, becomes a :class:`DistilledSet`.

Nothing is trusted and little is guessed. What was inferred is said in notes for the person who
packs; what names and shapes leave open is an error that tells the flag to pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ddranking.data import fetching
from ddranking.data.catalog import DatasetFacts, facts
from ddranking.data.space import parse_space
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.conversion import (
    array_of,
    cut_apart,
    final_images,
    no_snapshots,
    room_for_pixels,
    standardized,
    undone,
)
from ddranking.distilled.declared import (
    PackOptions,
    dataset_from_names,
    declared,
    factor_of,
    ipc_from_count,
    ipc_from_names,
)
from ddranking.distilled.faults import require_finite
from ddranking.distilled.kinds import Reading
from ddranking.distilled.meaning import (
    dataset_of_shape,
    read_labels,
    renumber,
    reorder_columns,
    reordered,
)
from ddranking.distilled.sourcefiles import names_of, read_source
from ddranking.errors import BadInput

#: What is fetched from a repository of the Hub; none of it is ever executed.
HUB_PATTERNS = ("*.parquet", "*.pt", "*.pth", "*.npz", "*.npy", "*.safetensors")
#: Fields of a card that describe and that a person may set or a repacked set brings along.
DESCRIPTIVE = ("authors", "paper", "code", "licence")


@dataclass(frozen=True)
class PackResult:
    """A packed set, and what a person should be told about how it was understood."""

    set: DistilledSet
    notes: list[str]


def pack(
    source: Sequence[Path | str],
    *,
    dataset: str | DatasetFacts | None = None,
    ipc: int | None = None,
    options: PackOptions | None = None,
) -> PackResult:
    """Read a released distilled set from files or a folder.

    Args:
        source: files (as a shell expands a pattern), one folder, or one repository of the Hub as
            ``hub:owner/name[/folder][@revision][:split]``.
        dataset: a name of the catalogue, or the facts about a dataset outside it; inferred from
            file and folder names, else from shapes.
        ipc: images per class; inferred from names, a grid's geometry, or the number of images.
        options: see :class:`PackOptions`.

    Raises:
        BadFile: a file that is missing, damaged, unsafe or of an unknown kind.
        BadDistilledSet: contents that do not make a set that can be scored, or that leave open
            what they mean; the hint names the flag.
        UnknownName: a dataset or space that is not known.
        MissingData, MissingExtra: a repository that cannot be fetched.
    """
    options = options or PackOptions()
    notes: list[str] = []
    fetched = any(str(each).startswith(fetching.HUB) for each in source)
    paths, called, split = _fetched(source, notes) if fetched else _local(source)
    known = dataset_from_names(called, dataset, notes)
    reading = Reading(known, ipc, options.experiment, split, options.limits)
    released, files = read_source(paths, reading)
    files = called if fetched else files
    notes += released.notes
    before = dict(released.card or {})
    if known is None:
        known = facts(before["dataset"]) if before else dataset_of_shape(released)
        notes.append(f"dataset {known.name}: from the {'card' if before else 'shapes'}")

    ipc = ipc or before.get("ipc") or ipc_from_names(files, notes)
    no_snapshots(released, known, ipc)
    released, images_notes = final_images(released, known, options)
    notes += images_notes
    factor = factor_of(files, options)
    released, ipc, more = cut_apart(released, known, ipc, factor)
    notes += more
    labels = read_labels(released, known, ipc, drop_soft=options.drop_soft_labels)
    notes += labels.notes
    if options.soft_classes:
        labels = reorder_columns(labels, options.soft_classes, known)
        notes.append("columns of soft labels put into the order of classes, as asked")
    if options.classes:
        labels = renumber(labels, options.classes, known, columns=not options.soft_classes)
        released = replace(released, class_order=reordered(released.class_order, options.classes))
        notes.append("classes renumbered, as asked")
    ipc = ipc or ipc_from_count(labels.hard, known, notes)

    images = array_of(released)
    require_finite(images)
    method, space, kind, more = declared(images, labels, known, options, before, files)
    notes += more
    images, more = undone(images, options.undo, parse_space(space, known), known, labels)
    notes += more
    space, more = room_for_pixels(space, images)
    notes += more
    images, more = standardized(images, parse_space(space, known))
    notes += more
    ordered = not (np.diff(labels.hard) < 0).any()
    if not ordered:
        notes.append("labels are not in class order; the card says so (sorted: false)")
    rate = released.learning_rate if options.learning_rate is None else options.learning_rate
    if released.learning_rate is not None:
        notes.append(f"stored learning rate: {released.learning_rate:g}")
    described = {name: before[name] for name in DESCRIPTIVE if before.get(name)}
    packed = DistilledSet.from_arrays(
        images,
        labels.hard,
        soft_labels=labels.soft,
        learning_rate=rate,
        known=known,
        **(described | dict(options.card)),
        method=method,
        dataset=known.name,
        ipc=ipc,
        space=parse_space(space, known),
        soft_label_kind=kind if labels.soft is not None else None,
        class_order=released.class_order,
        balanced=before.get("balanced", True) if options.balanced is None else options.balanced,
        sorted=ordered,
        note=released.experiment or before.get("note"),
    )
    return PackResult(packed, notes)


def _fetched(
    source: Sequence[Path | str], notes: list[str]
) -> tuple[list[Path], list[Path], str | None]:
    """Where the source lies, what its files are called (a cache's own names tell nothing), split.

    Raises:
        BadInput: a repository beside other sources, or not of the form.
        MissingData, MissingExtra: it cannot be fetched.
    """
    texts = [str(each) for each in source]
    if len(texts) > 1:
        raise BadInput(
            "source", expected="one repository of the Hub by itself", got=str(len(texts))
        )
    rest, _, split = texts[0].removeprefix(fetching.HUB).partition(":")
    repository, _, revision = rest.partition("@")
    folder = fetching.from_hub(repository, revision=revision or None, patterns=HUB_PATTERNS)
    notes.append(f"{fetching.HUB}{repository}: revision {revision or 'of its main branch'}")
    return [folder], [Path(repository)], split or None


def _local(source: Sequence[Path | str]) -> tuple[list[Path], list[Path], None]:
    """As :func:`_fetched`, of files and folders that are here."""
    paths = [Path(each) for each in source]
    return paths, names_of(paths), None
