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

from ddranking.data import fetching
from ddranking.data.catalog import DatasetFacts, facts
from ddranking.data.space import Pixel, Space, Standardized, Zca, parse_space, standardize
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.faults import PIXEL_TOLERANCE, require_finite
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
from ddranking.distilled.meaning import (
    Labels,
    by_class,
    dataset_of_shape,
    in_class_order,
    looks_like_bytes,
    nchw,
    plain_type,
    read_labels,
    renumber,
    reordered,
)
from ddranking.distilled.mistakes import INTERLEAVED, INVERTED, Constants, undo
from ddranking.distilled.partition import cut
from ddranking.distilled.released import Released
from ddranking.distilled.sourcefiles import Reading, names_of, read_source
from ddranking.errors import BadDistilledSet, BadFile, BadInput

#: What is fetched from a repository of the Hub; none of it is ever executed.
HUB_PATTERNS = ("*.parquet", "*.pt", "*.pth", "*.npz", "*.npy", "*.safetensors")
#: Pixels that were optimised without bounds leave [0, 1] a little; standardised ones far.
SPILL = (-1.0, 2.0)
INSIDE = 0.8
#: Values from further below 0 than this up to 1 may be pixels that are stored in [-1, 1].
SHIFTED = 0.5
#: Bytes of images after cutting.
MOST_CUT = 4 << 30
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
        partition: cut each image into this many parts a side (IDC's factor); None where the names
            do not speak of it.
        undo: mistakes that were made with the values, see :mod:`ddranking.distilled.mistakes`.
        classes: the true class of each label: the stored label j, and column j of soft labels,
            is class ``classes[j]``. Empty where labels are right.
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
    known = _dataset_from_names(called, dataset, notes)
    reading = Reading(known, ipc, options.experiment, split, options.limits)
    released, files = read_source(paths, reading)
    files = called if fetched else files
    notes += released.notes
    before = dict(released.card or {})
    if known is None:
        known = facts(before["dataset"]) if before else dataset_of_shape(released)
        notes.append(f"dataset {known.name}: from the {'card' if before else 'shapes'}")

    ipc = ipc or before.get("ipc") or _ipc_from_names(files, notes)
    _no_snapshots(released, known, ipc)
    released, images_notes = _images(released, known, options)
    notes += images_notes
    factor = _factor(files, options)
    released, ipc, more = _cut(released, known, ipc, factor)
    notes += more
    labels = read_labels(released, known, ipc, drop_soft=options.drop_soft_labels)
    notes += labels.notes
    if options.classes:
        labels = renumber(labels, options.classes, known)
        released = replace(released, class_order=reordered(released.class_order, options.classes))
        notes.append("classes renumbered, as asked")
    ipc = ipc or _ipc_from_count(labels.hard, known, notes)

    images = _array(released)
    require_finite(images)
    method, space, kind, more = _declared(images, labels, known, options, before, files)
    notes += more
    images, more = _undone(images, options.undo, parse_space(space, known), known, labels)
    notes += more
    space, more = _room_for_pixels(space, images)
    notes += more
    images, more = _standardized(images, parse_space(space, known))
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


def _declared(
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
    constants = f"mean {_numbers(space.mean)}, std {_numbers(space.std)}"
    return space, [
        f"space: assumed standardized with the {whose} constants ({constants}), as {values} are no "
        "pixels. If the images are ZCA-whitened say --space zca (kornia's, as MTT's --zca) or "
        "--space zca-kip."
    ]


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


def _factor(files: Sequence[Path], options: PackOptions) -> int:
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


def _cut(
    released: Released, known: DatasetFacts, ipc: int | None, factor: int
) -> tuple[Released, int | None, list[str]]:
    """Images and labels after cutting, the new number of images per class, and notes."""
    if factor == 1:
        return released, ipc, []
    images = _array(released)
    parts = factor * factor
    if images.nbytes * parts > MOST_CUT:
        raise BadFile("images", expected=f"at most {MOST_CUT} bytes after cutting", got="more")
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    made = replace(
        released,
        images=np.ascontiguousarray(cut(images, factor)),
        labels=None if released.labels is None else np.repeat(released.labels, parts, axis=0),
        soft_labels=None
        if released.soft_labels is None
        else np.repeat(released.soft_labels, parts, axis=0),
    )
    stored = len(images) // known.num_classes
    note = (
        f"each image cut into {factor} x {factor}: {len(images)} stored images became "
        f"{len(images) * parts}; random images are compared at that number, not at the {stored} "
        "per class that are stored"
    )
    return made, None if ipc is None else ipc * parts, [note]


def _undone(
    images: np.ndarray, names: Sequence[str], space: Space, known: DatasetFacts, labels: Labels
) -> tuple[np.ndarray, list[str]]:
    """Images without the mistakes that a person names, undone in the given order."""
    for name in names:
        if name == INTERLEAVED:
            images = in_class_order(images, labels, known)
        elif name == INVERTED and isinstance(space, Zca):
            raise BadInput(
                f"--undo {name}",
                expected="pixels or standardized images",
                got="whitened ones, whose black and white cannot be told",
            )
        else:
            images = undo(name, images, _constants(name, space, known))
    return images, [f"undone, as asked: {name}" for name in names]


def _constants(name: str, space: Space, known: DatasetFacts) -> Constants:
    """Those that the mistake ``name`` was made with; those of pixels for their inversion."""
    if isinstance(space, Standardized):
        return space.mean, space.std
    channels = known.channels
    return ((0.0,) * channels, (1.0,) * channels) if name == INVERTED else (known.mean, known.std)


def _room_for_pixels(
    space: str | Mapping[str, Any] | Space, images: np.ndarray
) -> tuple[str | Mapping[str, Any] | Space, list[str]]:
    """Pixels that were optimised without bounds, as a space without bounds and the same numbers."""
    pixel = space == "pixel" or isinstance(space, Pixel) or space == {"kind": "pixel"}
    if not pixel or images.dtype == np.uint8:
        return space, []
    low, high = float(images.min()), float(images.max())
    inside = float(((images >= 0) & (images <= 1)).mean())
    rounding = low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE
    if rounding or low < SPILL[0] or high > SPILL[1] or inside < INSIDE:
        return space, []
    channels = images.shape[1]
    words = f"pixels from {low:.4g} to {high:.4g}, {inside:.0%} of them in [0, 1]"
    return Standardized(mean=(0.0,) * channels, std=(1.0,) * channels), [
        f"space: {words}; kept as they are, as standardized:0/1 (mean 0 and std 1)"
    ]


def _standardized(images: np.ndarray, space: Space) -> tuple[np.ndarray, list[str]]:
    """8-bit pixels in the standardised space that was asked for; other images as they are.

    What a method saves as pictures it often trains on standardised, as RDED with ImageNet's
    constants: real and random images are then shown to the network in that space, too.
    """
    if images.dtype != np.uint8 or not isinstance(space, Standardized):
        return images, []
    if len(space.mean) != images.shape[1]:
        return images, []  # an error that the set's validation words
    constants = f"mean {_numbers(space.mean)}, std {_numbers(space.std)}"
    return standardize(images, space), [f"8-bit pixels were standardised ({constants}), as asked"]


def _images(
    released: Released, known: DatasetFacts, options: PackOptions
) -> tuple[Released, list[str]]:
    """The images in their final layout and type."""
    told = len(released.notes)
    released = by_class(released, known)
    images, notes = nchw(_array(released), known)
    images, more = plain_type(images)
    size = images.shape[-1]
    if images.dtype == np.uint8 and size > known.image_size and released.card is None:
        raise BadDistilledSet(
            "pictures",
            expected=f"{known.image_size}x{known.image_size} pixels for {known.name}",
            got=f"{images.shape[-1]}x{images.shape[-2]}",
            hint="Is --dataset right? If so, resize them as the method's own evaluation does and "
            "save them as PNG: packing changes no pixel.",
        )
    asked = options.space
    pixel = asked == "pixel" or isinstance(asked, Pixel) or asked == {"kind": "pixel"}
    if pixel and looks_like_bytes(images):
        more.append("images hold whole numbers from 0 to 255: stored as uint8")
        images = images.astype(np.uint8)
    notes = [*released.notes[told:], *notes, *more]
    return replace(released, images=np.ascontiguousarray(images)), notes


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
