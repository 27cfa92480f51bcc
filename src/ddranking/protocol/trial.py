"""A trial: one training, fully determined, and nothing about where or beside what it runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from ddranking.protocol.canonical import content_hash
from ddranking.protocol.frozen import Digest as Digest
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


class Trial(Frozen):
    """One training and what it is evaluated on, once, after the last epoch.

    ``training.learning_rate`` is a single number. ``space`` is the image space (its JSON form) in
    which training and evaluation images are put. A trial of a learning-rate search reads the
    ``validation`` split; the trial of the selected rate reads the ``test`` set.
    """

    arm: Arm
    training_set: Annotated[Distilled | RandomImages | Whole, Field(discriminator="kind")]
    space: dict[str, Any]
    training: Training
    student: str
    seed: Annotated[int, Field(ge=0)]
    dataset: Digest
    validation_size: Annotated[int, Field(ge=1)]
    evaluate: Literal["validation", "test"]
    implementation: int = IMPLEMENTATION

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON, 64 hexadecimal digits: the trial's name in the store."""
        return content_hash(self.model_dump(mode="json")).removeprefix("sha256:")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, with a key of its own."""
        copy = super().model_copy(update=update, deep=deep)
        vars(copy).pop("key", None)
        return copy

    @property
    def rate(self) -> float:
        rate = self.training.learning_rate
        assert isinstance(rate, float), "a trial has one concrete learning rate"
        return rate

    def searched_as(self) -> Trial:
        """The trial of the search that ends with the same weights as this one."""
        return self.model_copy(update={"evaluate": "validation"})
