"""A trial: one training, fully determined, and nothing about where or beside what it runs."""

from __future__ import annotations

import hashlib
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import from_json, to_json

from ddranking.protocol.canonical import canonical_json
from ddranking.protocol.frozen import Digest as Digest
from ddranking.protocol.once import KEPT, LONGEST, once
from ddranking.protocol.rules import Frozen, Training

IMPLEMENTATION = 1
"""Raised when a change of the training code changes results; older trials then no longer match."""

Arm = Literal[
    "real_hard",
    "syn_hard",
    "syn_any",
    "rdm_any",
    "rdm_hard",
    "syn_noaug",
    "rdm_noaug",
    "syn_unified",
    "rdm_unified",
    "teacher",
]
"""What a training is for. A ``teacher`` labels images for other arms."""

OPTIONAL: tuple[Arm, ...] = ("rdm_hard", "syn_noaug", "rdm_noaug", "syn_unified", "rdm_unified")
"""Arms that a record may hold beyond those of the score, in the order in which they are shown."""


class Distilled(Frozen):
    """Training images: a distilled set, by digest."""

    kind: Literal["distilled"] = "distilled"
    digest: Digest


class RandomImages(Frozen):
    """Training images: ``ipc`` real images a class, drawn by seed outside validation."""

    kind: Literal["random"] = "random"
    ipc: Annotated[int, Field(ge=1)]


class Whole(Frozen):
    """Training images: the whole real training set."""

    kind: Literal["whole"] = "whole"


TrainingSet = Annotated[
    Annotated[Distilled, once(Distilled)]
    | Annotated[RandomImages, once(RandomImages)]
    | Annotated[Whole, once(Whole)],
    Field(discriminator="kind"),
]


class Trial(Frozen):
    """One training and what it is evaluated on, once, after the last epoch.

    ``training.learning_rate`` is a single number. ``space`` is the image space (its JSON form) in
    which training and evaluation images are put. A trial of a learning-rate search reads the
    ``validation`` split; the trial of the selected rate reads the ``test`` set.
    """

    arm: Arm
    training_set: TrainingSet
    space: dict[str, Any]
    training: Annotated[Training, once(Training)]
    student: str
    seed: Annotated[int, Field(ge=0)]
    dataset: Digest
    validation_size: Annotated[int, Field(ge=1)]
    evaluate: Literal["validation", "test"]
    implementation: int = IMPLEMENTATION

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON, 64 hexadecimal digits: the trial's name in the store.

        The JSON is put together from that of the fields, which many trials share.
        """
        values = vars(self)
        fields = [name + _written(values[field]) for field, name in _NAMES]
        return hashlib.sha256(b"{" + b",".join(fields) + b"}").hexdigest()

    @property
    def rate(self) -> float:
        rate = self.training.learning_rate
        assert isinstance(rate, float), "a trial has one concrete learning rate"
        return rate

    def searched_as(self) -> Trial:
        """The trial of the search that ends with the same weights as this one."""
        return self.model_copy(update={"evaluate": "validation"})


_NAMES = [(name, canonical_json(name) + b":") for name in sorted(Trial.model_fields)]


def _written(value: Any) -> bytes:
    """The canonical JSON of a field."""
    if isinstance(value, Frozen):
        return value.canonical
    if isinstance(value, int | str):
        return _word(value) if isinstance(value, int) or len(value) < 100 else canonical_json(value)
    text = to_json(value)
    return _mapping(text) if len(text) <= LONGEST else canonical_json(from_json(text))


@lru_cache(KEPT, typed=True)
def _word(value: int | str) -> bytes:
    return canonical_json(value)


@lru_cache(KEPT)
def _mapping(text: bytes) -> bytes:
    return canonical_json(from_json(text))
