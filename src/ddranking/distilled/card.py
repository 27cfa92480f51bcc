"""The card of a distilled set: what a person must know to train on it, and where it comes from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from ddranking.data.space import Space

SCHEMA = "ddranking.distilled/1"

#: The fields that change what a training on the set does. They enter the digest; the rest does not.
TRAINING_FIELDS = ("dataset", "ipc", "space", "soft_label_kind")


def _printable(text: str) -> str:
    """Control characters would let a card forge lines of a terminal or a log."""
    if not text.isprintable():
        raise ValueError("text without control characters and line breaks")
    return text


def _https(address: str) -> str:
    if not address.startswith("https://") or any(mark in address for mark in " \"'<>\\`"):
        raise ValueError("a link that starts with https://")
    return address


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100),
    AfterValidator(_printable),
]
Line = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=1000), AfterValidator(_printable)
]
Link = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=500),
    AfterValidator(_printable),
    AfterValidator(_https),
]


class Card(BaseModel):
    """What is known about a distilled set besides its tensors.

    Attributes:
        schema_: the version of this format (``schema`` in the file).
        method: short name of the method that made the images.
        dataset: name of the dataset they stand in for (:mod:`ddranking.data.catalog`).
        ipc: images per class. An unbalanced set has at most ``ipc * classes`` images in all.
        space: the image space the pixels live in.
        num_classes: number of classes of a dataset that is not in the catalogue.
        soft_label_kind: what the stored soft labels are; ``None`` when there are none.
        class_order: names of the classes in the order of their labels, where the source says so;
            ``None`` means the dataset's own order.
        balanced: every class has exactly ``ipc`` images.
        sorted: labels never decrease, so image ``i`` belongs to class ``i // ipc``.
        authors, paper, code, licence: provenance; ``paper`` and ``code`` are https links.
        note: where in its source the set was found, when there was a choice.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False
    )

    schema_: Literal["ddranking.distilled/1"] = Field(default=SCHEMA, alias="schema")
    method: Name
    dataset: Name
    ipc: int = Field(ge=1, le=100_000, strict=True)
    space: Space
    soft_label_kind: Literal["logits", "probabilities"] | None = None
    num_classes: int | None = Field(default=None, ge=2, le=100_000, strict=True)
    class_order: tuple[Name, ...] | None = Field(default=None, max_length=100_000)
    balanced: bool = Field(default=True, strict=True)
    sorted: bool = Field(default=True, strict=True)
    authors: Line | None = None
    paper: Link | None = None
    code: Link | None = None
    licence: Line | None = None
    note: Line | None = None
