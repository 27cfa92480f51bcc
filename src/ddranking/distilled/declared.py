"""What a person says of a source, and what names, counts and values tell where nobody says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ddranking.data.catalog import DatasetFacts, facts
from ddranking.data.space import Pixel, Space, Standardized, parse_space
from ddranking.distilled.guarded import Limits
from ddranking.distilled.inference import (
    LINEAGES,
    PIXEL_METHODS,
    WHITENED_METHODS,
    Guess,
    guess_dataset,
    guess_factor,
    guess_ipc,
    guess_method,
    mentions,
)
from ddranking.distilled.meaning import Labels, looks_like_bytes
from ddranking.errors import BadDistilledSet

#: Pixels that were optimised without bounds leave [0, 1] a little; standardised ones far.
SPILL = (-1.0, 2.0)
#: Values from further below 0 than this up to 1 may be pixels that are stored in [-1, 1].
SHIFTED = 0.5


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
        partition: cut each image into this many parts a side (IDC's factor); None where the names
            do not speak of it.
        undo: mistakes that were made with the values, see :mod:`ddranking.distilled.mistakes`.
        classes: the true class of each label: the stored label j, and column j of soft labels,
            is class ``classes[j]``. Empty where labels are right.
        soft_classes: the true class of each column of soft labels alone, where they number the
            classes otherwise than the hard labels do; ``classes`` then leaves columns alone.
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
    partition: int | None = None
    undo: Sequence[str] = ()
    classes: Sequence[int] = ()
    soft_classes: Sequence[int] = ()
    card: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


def declared(
    images: np.ndarray,
    labels: Labels,
    known: DatasetFacts,
    options: PackOptions,
    before: Mapping[str, Any],
    files: Sequence[Path],
) -> tuple[str, str | Mapping[str, Any] | Space, str | None, list[str]]:
    """Method, space and kind of soft labels, said or inferred, and notes.

    Raises:
        BadDistilledSet: what is open, with the flags to pass: all of it in one message.
    """
    notes: list[str] = []
    missing: list[BadDistilledSet] = []
    method = options.method or before.get("method") or ""
    if not method:
        try:
            method = _method_from_names(files, notes)
        except BadDistilledSet as error:
            missing.append(error)
    space = options.space if options.space is not None else before.get("space")
    if space is None:
        try:
            space, more = suggest_space(images, known, method, files)
            notes += more
        except BadDistilledSet as error:
            missing.append(error)
    kind = options.soft_label_kind or before.get("soft_label_kind")
    if labels.soft is not None and kind is None:
        missing.append(
            BadDistilledSet(
                "soft_labels",
                expected="a declaration of what they are",
                got="none",
                hint="Pass --soft-label-kind logits or --soft-label-kind probabilities.",
            )
        )
    if len(missing) == 1:
        raise missing[0]
    if missing or space is None:
        raise BadDistilledSet(
            " and ".join(each.what for each in missing),
            expected="declarations, as neither names nor values tell them",
            got="none",
            hint=" ".join(each.hint for each in missing),
        )
    return method, space, kind, notes


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
    spilt = method in PIXEL_METHODS or (SPILL[0] <= low and high <= SPILL[1])
    if looks_like_bytes(images) or (low >= 0 and high <= 1) or spilt:
        raise BadDistilledSet(
            "space",
            expected="a declaration, as the values do not tell it",
            got=values,
            hint="Pass --space standardized:half if they are pixels stored in [-1, 1] (--space "
            "standardized:0/1 if they are pixels that left [0, 1] while being optimised)."
            if -1 <= low < -SHIFTED and high <= 1
            else "Pass --space pixel if they are pixels (--space standardized if they are not).",
        )
    name = LINEAGES.get(method, "")
    spaces = {"dataset's": parse_space("standardized", known)}
    if name in known.lineages:
        spaces[f"{name} lineage's"] = parse_space(f"standardized:{name}", known)
    whose, space = list(spaces.items())[-1]
    if not isinstance(space, Standardized):
        raise TypeError(space)
    constants = f"mean {shown_numbers(space.mean)}, std {shown_numbers(space.std)}"
    return space, [
        f"space: assumed standardized with the {whose} constants ({constants}), as {values} are no "
        "pixels. If the images are ZCA-whitened say --space zca (kornia's, as MTT's --zca) or "
        "--space zca-kip."
    ]


def factor_of(files: Sequence[Path], options: PackOptions) -> int:
    """Into how many parts a side images are cut, which nobody may overlook.

    Raises:
        BadDistilledSet: names speak of a factor, and the person who packs does not.
    """
    said = guess_factor(files)
    if options.partition is None and said > 1:
        raise BadDistilledSet(
            "--partition",
            expected=f"how to take images whose name speaks of factor {said}",
            got="nothing",
            hint=f"Pass --partition {said} to cut each into {said * said} as IDC's code does "
            "(images per class grow as much), or --partition 1 to take them as they are.",
        )
    return options.partition or 1


def dataset_from_names(
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


def ipc_from_names(files: Sequence[Path], notes: list[str]) -> int | None:
    guess = _unambiguous(guess_ipc(files), "ipc")
    if not guess.value:
        return None
    notes.append(f"ipc {guess.value}: from {guess.where}")
    return int(guess.value)


def ipc_from_count(hard: np.ndarray, known: DatasetFacts, notes: list[str]) -> int:
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


def shown_numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:g}" for value in values)
