"""A distilled set: its tensors and its card, in memory and as one ``.safetensors`` file.

Shape letters: N images, C channels, H height, W width, K classes, V stored views per image.
No torch is imported here: a set can be inspected, digested and validated anywhere.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ddranking.data.catalog import DATASETS, DatasetFacts, facts
from ddranking.data.space import parse_space
from ddranking.distilled.card import SCHEMA, TRAINING_FIELDS, Card
from ddranking.distilled.faults import IMAGE_DTYPES, Frame, check
from ddranking.distilled.header import (
    card_of_header,
    check_declared,
    make_card,
    read_header,
    read_tensors,
)
from ddranking.errors import BadDistilledSet, BadFile
from ddranking.files import write_whole

__all__ = ["SCHEMA", "Card", "DistilledSet", "as_float", "load", "save", "validate"]


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """Images that stand in for a dataset.

    Attributes:
        images: ``[N, C, H, W]`` float32, float16 or uint8, in the space that ``card.space`` names.
        labels: int64 ``[N]`` in ``[0, num_classes)``.
        card: what else is known, see :class:`Card`.
        num_classes: K, the number of classes of the dataset.
        soft_labels: float32 ``[N, K]`` or ``[N, V, K]``, or None.
        learning_rate: the rate that was learned with the images, or None.
    """

    images: np.ndarray
    labels: np.ndarray
    card: Card
    num_classes: int
    soft_labels: np.ndarray | None = None
    learning_rate: float | None = None

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        *,
        soft_labels: Any = None,
        learning_rate: float | None = None,
        known: DatasetFacts | None = None,
        **card: Any,
    ) -> DistilledSet:
        """Build and validate a set from arrays and the fields of its card.

        ``dataset``, ``ipc``, ``space`` (a space, its dict, or a name as "standardized") and
        ``method`` are required; the other fields of :class:`Card` are optional. Float images
        become float32 unless they are float16; integer labels become int64. ``known`` are the
        facts about a dataset that is not in the catalogue.

        Raises:
            BadDistilledSet: as :func:`validate`.
            UnknownName: no such dataset.

        >>> import numpy as np
        >>> one = DistilledSet.from_arrays(
        ...     np.zeros((10, 1, 28, 28), np.uint8), range(10),
        ...     dataset="mnist", ipc=1, space={"kind": "pixel"}, method="black")
        >>> one.num_classes
        10
        """
        if isinstance(card.get("space"), str):
            card["space"] = parse_space(card["space"], known or facts(str(card.get("dataset"))))
        if known is not None and known.name not in DATASETS:
            card.setdefault("num_classes", known.num_classes)
        made = make_card(card)
        built = cls(
            images=_plain_images(images),
            labels=_plain_labels(labels),
            card=made,
            num_classes=frame_of(made, known).num_classes,
            soft_labels=None if soft_labels is None else _plain(soft_labels, np.float32),
            learning_rate=None if learning_rate is None else _rate(learning_rate),
        )
        validate(built, known)
        return built

    @property
    def digest(self) -> str:
        """``sha256:`` of the tensors and of the card's fields that change a training.

        Taken over type, shape and little-endian bytes of each tensor and over
        ``card.TRAINING_FIELDS``; the same whatever the file's layout, authors or links.
        """
        whole = hashlib.sha256()
        fields = self.card.model_dump(mode="json", by_alias=True, include=set(TRAINING_FIELDS))
        whole.update(_canonical({"schema": SCHEMA, **fields}))
        for name, tensor in sorted(_tensors(self).items()):
            little = np.ascontiguousarray(tensor, dtype=tensor.dtype.newbyteorder("<"))
            head = {"name": name, "dtype": tensor.dtype.name, "shape": list(tensor.shape)}
            whole.update(b"\0" + _canonical(head) + b"\0")
            whole.update(little.reshape(-1).view(np.uint8).data)
        return f"sha256:{whole.hexdigest()}"

    def __len__(self) -> int:
        return len(self.images)


def as_float(images: np.ndarray) -> np.ndarray:
    """The values that pixels stand for, as float32: uint8 means ``value / 255``, floats stay.

    >>> as_float(np.array([0, 255], np.uint8))
    array([0., 1.], dtype=float32)
    """
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    return images.astype(np.float32, copy=False)


def frame_of(card: Card, known: DatasetFacts | None = None) -> Frame:
    """What images of the card's dataset must look like.

    Args:
        card: names the dataset.
        known: the facts about it, where it is not in the catalogue.

    Returns:
        classes, channels and size; for a dataset that is neither in the catalogue nor given, what
        the card says of its classes, and anything for channels and size.

    Raises:
        UnknownName: not in the catalogue, not given, and the card does not number its classes.
        BadDistilledSet: ``known`` is about another dataset.
    """
    if known is not None and known.name != card.dataset:
        raise BadDistilledSet("dataset", expected=known.name, got=card.dataset)
    if known is None and card.dataset not in DATASETS and card.num_classes is not None:
        return Frame(card.num_classes)
    known = known or facts(card.dataset)
    return Frame(known.num_classes, known.channels, known.image_size)


def validate(distilled: DistilledSet, known: DatasetFacts | None = None) -> None:
    """Check everything that can be checked without training.

    Args:
        distilled: the set.
        known: the facts about its dataset, where that is not in the catalogue.

    Raises:
        BadDistilledSet: the first fault found, in one line; see :mod:`ddranking.distilled.faults`.
        UnknownName: the card names a dataset that is not known.
    """
    check(distilled, frame_of(distilled.card, known))


def save(distilled: DistilledSet, path: str | os.PathLike[str]) -> None:
    """Write a set as one ``.safetensors`` file, the same bytes for the same set every time.

    The file appears whole or not at all: it is written under a temporary name in the same folder,
    flushed to the disk and renamed.

    Raises:
        BadDistilledSet: the set does not validate (nothing is written).
        BadFile: the place cannot be written, or the disk is full.
    """
    validate(distilled)
    target = Path(path)
    if target.suffix != ".safetensors":
        raise BadFile(
            str(target), expected="a name that ends in .safetensors", got=target.suffix or "none"
        )
    card = distilled.card.model_dump_json(by_alias=True)
    tensors = {name: np.ascontiguousarray(each) for name, each in _tensors(distilled).items()}
    try:
        write_whole(target, safetensors.numpy.save(tensors, metadata={"card": card}))
    except (OSError, SafetensorError) as error:
        raise _unwritable(target, error) from None


def load(path: str | os.PathLike[str], known: DatasetFacts | None = None) -> DistilledSet:
    """Read and validate a set that :func:`save` wrote, trusting nothing in the file.

    ``known`` are the facts about its dataset, where that is not in the catalogue.

    Raises:
        BadFile: missing, truncated, another format, or a header over ``HEADER_LIMIT``.
        BadDistilledSet: tensors or card that cannot be scored; ``what`` starts with the path.
        UnknownName: the card names a dataset that is not known.
    """
    source = Path(path)
    declared = read_header(source)
    card = card_of_header(source, declared)
    check_declared(source, declared)
    tensors = read_tensors(source)
    rate = tensors.get("learning_rate")
    if rate is not None and rate.size != 1:
        raise BadDistilledSet(f"{source}: learning_rate", expected="one number", got=_shown(rate))
    built = DistilledSet(
        images=tensors["images"],
        labels=tensors["labels"],
        card=card,
        num_classes=frame_of(card, known).num_classes,
        soft_labels=tensors.get("soft_labels"),
        learning_rate=None if rate is None else float(rate.reshape(())),
    )
    try:
        validate(built, known)
    except BadDistilledSet as error:
        raise BadDistilledSet(
            f"{source}: {error.what}", expected=error.expected, got=error.got, hint=error.hint
        ) from None
    return built


def _tensors(distilled: DistilledSet) -> dict[str, np.ndarray]:
    tensors = {"images": distilled.images, "labels": distilled.labels}
    if distilled.soft_labels is not None:
        tensors["soft_labels"] = distilled.soft_labels
    if distilled.learning_rate is not None:
        tensors["learning_rate"] = np.array([distilled.learning_rate], np.float64)
    return tensors


def _plain(values: Any, dtype: Any) -> np.ndarray:
    try:
        return np.ascontiguousarray(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadDistilledSet("arrays", expected="numbers in one array", got=str(error)) from None


def _rate(value: Any) -> float:
    rate = _plain(value, np.float64)
    if rate.size != 1:
        raise BadDistilledSet("learning_rate", expected="one number", got=_shown(rate))
    return float(rate.reshape(()))


def _plain_images(images: Any) -> np.ndarray:
    array = np.asarray(images)
    keep = array.dtype in IMAGE_DTYPES or array.dtype.kind != "f"
    return np.ascontiguousarray(array) if keep else _plain(array, np.float32)


def _plain_labels(labels: Any) -> np.ndarray:
    array = np.asarray(labels)
    return _plain(array, np.int64) if array.dtype.kind in "iu" else array


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _shown(array: np.ndarray) -> str:
    return f"{array.dtype.name} {list(array.shape)}"


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)


def _unwritable(path: Path, error: BaseException) -> BadFile:
    return BadFile(
        str(path),
        expected="a place that can be written",
        got=_reason(error)[:200],
        hint="Nothing was written; free space or choose another folder.",
    )
