"""What a published file held, before anybody has said what it means; and how its parts are found.

Torch files come as trees of dictionaries and lists. Which leaf is which is read from the names the
field uses (tables below), and where there are none from the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ddranking.distilled.torchfile import shown
from ddranking.errors import BadDistilledSet

#: Names under which authors store each part, in dictionaries, in .npz files and as file names.
PART_NAMES: dict[str, tuple[str, ...]] = {
    "images": (
        "images", "image", "x", "data", "imgs", "img", "syn_images", "images_syn", "image_syn",
        "syn_data", "x_train", "images_train", "x_distilled", "synthetic_images",
    ),
    "labels": (
        "labels", "label", "y", "targets", "target", "syn_labels", "labels_syn", "label_syn",
        "hard_labels", "y_train", "labels_train", "y_distilled", "synthetic_labels",
    ),
    "soft_labels": ("soft_labels", "soft_label", "soft", "logits", "probabilities", "probs"),
    "learning_rate": ("learning_rate", "lr", "syn_lr", "lr_syn"),
}  # fmt: skip
#: Keys of a dictionary that holds the images of each class.
CLASS_KEY = re.compile(r"\d{1,6}")
PART_OF_NAME = {name: part for part, names in PART_NAMES.items() for name in names}


@dataclass(frozen=True)
class Released:
    """Arrays as their authors stored them, each possibly missing.

    Attributes:
        images, labels, soft_labels: raw arrays, of any shape and type yet.
        learning_rate: a stored rate.
        notes: what a person should be told about how they were found.
        experiment: words for the card, where one of several experiments was taken.
        class_order: names of the classes by label, where the source has names.
        grid: (rows, columns) of the picture grid that the images were cut from.
        parts: numbers of images in each file, where several were joined.
        card: fields of the card, where the source has one (a set made by this package).
    """

    images: np.ndarray | None = None
    labels: np.ndarray | None = None
    soft_labels: np.ndarray | None = None
    learning_rate: float | None = None
    notes: tuple[str, ...] = ()
    experiment: str | None = None
    class_order: tuple[str, ...] | None = None
    grid: tuple[int, int] | None = None
    parts: tuple[int, ...] = ()
    card: dict[str, Any] | None = None

    def noting(self, *notes: str) -> Released:
        """The same with more notes."""
        return replace(self, notes=(*self.notes, *notes))


def from_tree(tree: Any, what: str, experiment: int = -1) -> Released:
    """The parts of one file's tree.

    Args:
        tree: nested dicts and lists with arrays as leaves.
        what: the file, for errors and notes.
        experiment: which entry of the DC family's ``data`` list; negative counts from the end.

    Raises:
        BadDistilledSet: no images in it, or no such experiment.
    """
    if isinstance(tree, np.ndarray):
        return Released(images=tree)
    if isinstance(tree, dict):
        data = tree.get("data")
        if isinstance(data, list) and data and all(_is_pair(each) for each in data):
            return _experiment(data, what, experiment)
        if isinstance(data, list) and _is_pair(data):
            return from_parts({**tree, "data": data[0], "labels": data[1]}, what)
        inner = _only_set(tree)
        if inner is not None:
            name, parts = inner
            return from_tree(parts, f"{what}: {name}"[:120], experiment)
        return from_parts(tree, what)
    if _is_pair(tree):
        return Released(images=tree[0], labels=tree[1])
    if isinstance(tree, list) and tree and all(_is_pair(each) for each in tree):
        return _experiment(tree, what, experiment)
    if isinstance(tree, list) and tree and all(isinstance(each, np.ndarray) for each in tree):
        joined = _joined(tree)
        if joined is not None:
            return Released(images=joined).noting(f"{what}: {len(tree)} arrays were joined")
    raise BadDistilledSet(what, expected="images, or a dictionary that names them", got=shown(tree))


def from_parts(parts: dict[str, Any], what: str) -> Released:
    """The parts of a dictionary whose keys are among ``PART_NAMES`` (in any case).

    Raises:
        BadDistilledSet: two keys for one part, or no images.
    """
    if parts and all(CLASS_KEY.fullmatch(str(key)) for key in parts):
        return _by_class({int(key): value for key, value in parts.items()}, what)
    found: dict[str, tuple[str, Any]] = {}
    ignored = []
    for key, value in parts.items():
        part = PART_OF_NAME.get(str(key).lower())
        if part is None or value is None:
            ignored.append(str(key))
            continue
        if part in found:
            raise BadDistilledSet(
                what,
                expected=f"one entry for {part}",
                got=f"{found[part][0]!r} and {key!r}",
                hint="Save the one that is meant.",
            )
        found[part] = (str(key), value)
    if not isinstance(found.get("images", ("", None))[1], (np.ndarray, list)):
        raise BadDistilledSet(
            what,
            expected="an entry called images, x or data",
            got=", ".join(map(repr, list(parts)[:8]))[:120] or "nothing",
            hint="Factors and networks that make images are not run: save the images they make.",
        )
    arrays = {part: _array(value, f"{what}: {key}") for part, (key, value) in found.items()}
    rate = arrays.get("learning_rate")
    notes = (f"{what}: ignored {', '.join(sorted(ignored)[:8])}",) if ignored else ()
    return Released(
        images=arrays["images"],
        labels=arrays.get("labels"),
        soft_labels=arrays.get("soft_labels"),
        learning_rate=None if rate is None else one_rate(rate, what),
        notes=notes,
    )


def _by_class(parts: dict[int, Any], what: str) -> Released:
    """``{class: images}``, with images ``[n, ...]`` or one image for each class."""
    images, labels = [], []
    for label, value in sorted(parts.items()):
        array = _array(value, f"{what}: {label}")
        array = array[None] if array.ndim == 3 and array.shape[0] in (1, 3) else array
        if array.ndim < 2 or (images and array.shape[1:] != images[0].shape[1:]):
            wanted = f"images {list(images[0].shape[1:])}" if images else "images of a class"
            got = f"shape {list(array.shape)}"
            raise BadDistilledSet(f"{what}: {label}", expected=wanted, got=got)
        images.append(array)
        labels += [label] * len(array)
    made = Released(images=np.concatenate(images), labels=np.array(labels, np.int64))
    return made.noting(f"{what}: images of {len(parts)} classes by their numbers")


def _only_set(tree: dict[str, Any]) -> tuple[str, Any] | None:
    """The one dictionary in a dictionary without images that itself has images."""

    def has_images(value: Any) -> bool:
        names = [str(key).lower() for key in value] if isinstance(value, dict) else []
        return any(PART_OF_NAME.get(name) == "images" for name in names)

    if has_images(tree):
        return None
    inside = [(str(key), value) for key, value in tree.items() if has_images(value)]
    return inside[0] if len(inside) == 1 else None


def one_rate(value: Any, what: str) -> float:
    """A stored learning rate as one number; more than one (a rate per step) is not supported."""
    rates = np.asarray(value)
    if rates.dtype.kind not in "iuf" or rates.size != 1:
        raise BadDistilledSet(
            f"{what}: learning rate", expected="one number", got=f"shape {list(rates.shape)}"
        )
    return float(rates.reshape(())[()])


def _experiment(data: Sequence[Any], what: str, experiment: int) -> Released:
    if not -len(data) <= experiment < len(data):
        raise BadDistilledSet(
            "experiment",
            expected=f"0 to {len(data) - 1}, or -1 for the last",
            got=str(experiment),
        )
    images, labels = data[experiment]
    number = experiment % len(data)
    words = f"experiment {number} of {len(data)} (counted from 0)"
    notes = (f"{what}: took {words}",) if len(data) > 1 else ()
    return Released(images=images, labels=labels, notes=notes, experiment=words)


def _is_pair(value: Any) -> bool:
    """``[images, labels]``: two arrays, the first with at least three dimensions."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(each, np.ndarray) for each in value)
        and value[0].ndim >= 3
        and value[1].ndim <= 3
        and value[1].ndim < value[0].ndim
    )


def _array(value: Any, what: str) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, float):
        return np.array(value)
    if isinstance(value, list):
        if value and all(isinstance(each, float) for each in value):
            return np.array(value)
        joined = _joined(value)
        if joined is not None:
            return joined
    raise BadDistilledSet(what, expected="an array", got=shown(value))


def _joined(values: Sequence[Any]) -> np.ndarray | None:
    """One array out of a list of them: stacked if each is one image, else joined end to end."""
    arrays = [each for each in values if isinstance(each, np.ndarray)]
    if not arrays or len(arrays) != len(values):
        return None
    shapes = {each.shape for each in arrays}
    if len(shapes) == 1 and arrays[0].ndim in (0, 3):
        return np.stack(arrays)
    if len({shape[1:] for shape in shapes}) == 1 and arrays[0].ndim in (1, 2, 4):
        return np.concatenate(arrays)
    return None
