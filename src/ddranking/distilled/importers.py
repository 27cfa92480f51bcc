"""``pack``: what authors publish, in the form they publish it, becomes a :class:`DistilledSet`.

Nothing is trusted and little is guessed. What was inferred is said in notes for the person who
packs; what names and shapes leave open is an error that tells the flag to pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ddranking.data.catalog import DatasetFacts, facts
from ddranking.data.space import Pixel, Space, Standardized, parse_space
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.faults import require_finite
from ddranking.distilled.inference import (
    LINEAGES,
    WHITENED_METHODS,
    Guess,
    guess_dataset,
    guess_ipc,
    guess_method,
    mentions,
)
from ddranking.distilled.meaning import (
    dataset_of_shape,
    looks_like_bytes,
    nchw,
    plain_type,
    read_labels,
)
from ddranking.distilled.released import Released
from ddranking.distilled.sourcefiles import Reading, read_source
from ddranking.distilled.torchfile import Limits
from ddranking.errors import BadDistilledSet

#: Fields of a card that describe and that a person may set or a repacked set brings along.
DESCRIPTIVE = ("authors", "paper", "code", "licence")


@dataclass(frozen=True)
class PackOptions:
    """What a person says about a source beyond its dataset and images per class.

    Attributes:
        method: short name of the method; read from file names when None.
        space: a space, its JSON form, or a name that ``parse_space`` knows.
        soft_label_kind: what float labels are; required when the source has soft labels.
        drop_soft_labels: keep only the class of each soft label.
        experiment: which experiment of a DC-family file; -1 is the last.
        balanced: False declares that classes have different numbers of images.
        learning_rate: overrides a stored one.
        card: descriptive fields of the card, those of ``DESCRIPTIVE``.
        limits: bytes and seconds that reading may take.
    """

    method: str | None = None
    space: str | Mapping[str, Any] | Space | None = None
    soft_label_kind: Literal["logits", "probabilities"] | None = None
    drop_soft_labels: bool = False
    experiment: int = -1
    balanced: bool | None = None
    learning_rate: float | None = None
    card: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


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
        source: files (as a shell expands a pattern) or one folder.
        dataset: a name of the catalogue, or the facts about a dataset outside it; inferred from
            file and folder names, else from shapes.
        ipc: images per class; inferred from names, a grid's geometry, or the number of images.
        options: see :class:`PackOptions`.

    Raises:
        BadFile: a file that is missing, damaged, unsafe or of an unknown kind.
        BadDistilledSet: contents that do not make a set that can be scored, or that leave open
            what they mean; the hint names the flag.
        UnknownName: a dataset or space that is not known.
    """
    options = options or PackOptions()
    paths = [Path(each) for each in source]
    notes: list[str] = []
    known = _dataset_from_names(paths, dataset, notes)
    released, files = read_source(paths, Reading(known, options.experiment, options.limits))
    notes += released.notes
    before = dict(released.card or {})
    if known is None:
        known = facts(before["dataset"]) if before else dataset_of_shape(released)
        notes.append(f"dataset {known.name}: from the {'card' if before else 'shapes'}")

    ipc = ipc or before.get("ipc") or _ipc_from_names(files, notes)
    _no_snapshots(released, known, ipc)
    released, images_notes = _images(released, known, options)
    notes += images_notes
    labels = read_labels(released, known, ipc, drop_soft=options.drop_soft_labels)
    notes += labels.notes
    ipc = ipc or _ipc_from_count(labels.hard, known, notes)

    method = options.method or before.get("method") or _method_from_names(files, notes)
    space = options.space if options.space is not None else before.get("space")
    images = _array(released)
    require_finite(images)
    if space is None:
        space, more = suggest_space(images, known, method, files)
        notes += more
    ordered = not (np.diff(labels.hard) < 0).any()
    if not ordered:
        notes.append("labels are not in class order; the card says so (sorted: false)")
    kind = options.soft_label_kind or before.get("soft_label_kind")
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


def suggest_space(
    images: np.ndarray, known: DatasetFacts, method: str, files: Sequence[Path]
) -> tuple[Space, list[str]]:
    """The space of images that nobody has declared, only where there is little to get wrong.

    8-bit images are pixels. Floats outside [0, 1] are taken as standardised with the constants of
    the method's lineage, unless a name or the method speaks of whitening. Floats inside [0, 1]
    are never guessed: they may be pixels, or standardised images of low contrast.

    Raises:
        BadDistilledSet: the space has to be said, with the flags that are likely.
    """
    if images.dtype == np.uint8:
        return Pixel(), []
    low, high = float(images.min()), float(images.max())
    values = f"float values from {low:.4g} to {high:.4g}"
    whitened = WHITENED_METHODS.get(method) or ("zca" if mentions(files, "zca") else None)
    if whitened:
        raise BadDistilledSet(
            "space",
            expected="a declaration, as a name or the method speaks of whitened images",
            got=values,
            hint=f"Pass --space {whitened} (or --space standardized if they are not whitened).",
        )
    if looks_like_bytes(images) or (low >= 0 and high <= 1):
        raise BadDistilledSet(
            "space",
            expected="a declaration, as the values do not tell it",
            got=values,
            hint="Pass --space pixel if they are plain pixels.",
        )
    name = LINEAGES.get(method, "")
    spaces = {"dataset's": parse_space("standardized", known)}
    if name in known.lineages:
        spaces[f"{name} lineage's"] = parse_space(f"standardized:{name}", known)
    whose, space = list(spaces.items())[-1]
    if not isinstance(space, Standardized):
        raise TypeError(space)
    constants = f"mean {_numbers(space.mean)}, std {_numbers(space.std)}"
    return space, [
        f"space: assumed standardized with the {whose} constants ({constants}), as {values} are no "
        "pixels. If the images are ZCA-whitened say --space zca (kornia's, as MTT's --zca) or "
        "--space zca-kip."
    ]


def _images(
    released: Released, known: DatasetFacts, options: PackOptions
) -> tuple[Released, list[str]]:
    """The images in their final layout and type."""
    images, notes = nchw(_array(released), known)
    images, more = plain_type(images)
    asked = options.space
    pixel = asked == "pixel" or isinstance(asked, Pixel) or asked == {"kind": "pixel"}
    if pixel and looks_like_bytes(images):
        more.append("images hold whole numbers from 0 to 255: stored as uint8")
        images = images.astype(np.uint8)
    return replace(released, images=np.ascontiguousarray(images)), notes + more


def _array(released: Released) -> np.ndarray:
    images = released.images
    if images is None or images.ndim == 0 or len(images) == 0:
        raise BadDistilledSet(
            "images", expected="at least one", got="none" if images is None else "an empty array"
        )
    return images


def _no_snapshots(released: Released, known: DatasetFacts, ipc: int | None) -> None:
    """MTT's code saves the whole set every few thousand steps: those files are no parts of one."""
    if len(released.parts) < 2:
        return
    whole = ipc and min(released.parts) >= ipc * known.num_classes
    if ipc is None or whole:
        raise BadDistilledSet(
            "source",
            expected="parts that make one set together",
            got=f"{len(released.parts)} files of {released.parts[0]} images, each a whole set"
            if whole
            else f"{len(released.parts)} files that may each be a whole set",
            hint="Name one images file and its labels." if whole else "Pass --ipc.",
        )


def _dataset_from_names(
    paths: Sequence[Path], dataset: str | DatasetFacts | None, notes: list[str]
) -> DatasetFacts | None:
    if isinstance(dataset, DatasetFacts):
        return dataset
    if dataset is not None:
        return facts(dataset)
    guess = _unambiguous(guess_dataset(paths), "dataset")
    if not guess.value:
        return None
    notes.append(f"dataset {guess.value}: from {guess.where}")
    return facts(guess.value)


def _ipc_from_names(files: Sequence[Path], notes: list[str]) -> int | None:
    guess = _unambiguous(guess_ipc(files), "ipc")
    if not guess.value:
        return None
    notes.append(f"ipc {guess.value}: from {guess.where}")
    return int(guess.value)


def _ipc_from_count(hard: np.ndarray, known: DatasetFacts, notes: list[str]) -> int:
    if len(hard) % known.num_classes:
        raise BadDistilledSet(
            "ipc",
            expected=f"a multiple of {known.num_classes} images for {known.name}",
            got=str(len(hard)),
            hint="Pass --ipc (and --unbalanced if classes differ in size).",
        )
    ipc = len(hard) // known.num_classes
    notes.append(f"ipc {ipc}: {len(hard)} images of {known.num_classes} classes")
    return ipc


def _method_from_names(files: Sequence[Path], notes: list[str]) -> str:
    guess = _unambiguous(guess_method(files), "method")
    if not guess.value:
        raise BadDistilledSet(
            "method",
            expected="the name of the method that made the images",
            got="none, and no file name tells it",
            hint="Pass --method NAME.",
        )
    notes.append(f"method {guess.value}: from {guess.where}")
    return guess.value


def _unambiguous(guess: Guess, what: str) -> Guess:
    if guess.choices:
        raise BadDistilledSet(
            what,
            expected="one, but the names of the files speak of several",
            got=" and ".join(guess.choices),
            hint=f"Pass --{what}.",
        )
    return guess


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
