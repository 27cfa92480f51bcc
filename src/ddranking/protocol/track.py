"""Tracks: the rules that every entry of one board shares. Only records of one track are ranked.

A track file describes a family (one dataset and student, several numbers of images per class);
each ``ipc`` of it is a track of its own, ``cifar10-ipc10-convnet3@1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ddranking.errors import BadProtocol
from ddranking.protocol import shelf
from ddranking.protocol.canonical import content_hash
from ddranking.protocol.recipe import Name, Text, find_recipe, newest
from ddranking.protocol.rules import Frozen, Training
from ddranking.protocol.search import Rule


class Track(Frozen):
    """One resolved track, as it stands in a record.

    ``hard`` trains ``syn_hard`` and ``rdm_hard``; ``whole`` trains ``real_hard`` on all real
    training images. ``validation_size`` images are held out of the real training set to select
    learning rates; random subsets are drawn from the others. ``selection`` says how, for every arm
    that has several: see :mod:`ddranking.protocol.search`. ``real_hard`` says whether scoring
    trains the whole set by itself or expects a reference record.
    """

    name: Name
    version: Annotated[int, Field(ge=1)] = 1
    title: Text = ""
    dataset: Annotated[str, Field(max_length=200)]
    ipc: Annotated[int, Field(ge=1, le=10_000)]
    student: Annotated[str, Field(max_length=200)]
    seeds: Annotated[int, Field(ge=2, le=100)] = 5
    validation_size: Annotated[int, Field(ge=1)] = 2000
    selection: Rule = "full"
    hard: Training
    whole: Training
    real_hard: Literal["train", "reference"] = "reference"

    @field_validator("whole")
    @classmethod
    def _one_rate(cls, whole: Training) -> Training:
        # A search reads the validation split, and these images are part of the whole set.
        if not isinstance(whole.learning_rate, float):
            raise ValueError("the whole set is trained at one learning rate, a number")
        return whole

    @field_validator("hard", "whole")
    @classmethod
    def _hard_labels(cls, rules: Training) -> Training:
        if rules.labels.kind != "hard":
            raise ValueError("what every entry shares is trained with hard labels")
        return rules

    @model_validator(mode="after")
    def _one_precision(self) -> Track:
        if self.whole.precision != self.hard.precision:
            raise ValueError(
                f"whole.precision: expected {self.hard.precision}, that of hard, got "
                f"{self.whole.precision}"
            )
        return self

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @cached_property
    def hash(self) -> str:
        """Content hash of the rules; titles and how ``real_hard`` is obtained are not rules."""
        values = self.to_values()
        return content_hash({key: values[key] for key in values.keys() - {"title", "real_hard"}})

    def to_values(self) -> dict[str, Any]:
        """The track as plain JSON values; without a ``selection`` that is full.

        So a track from before there was such a field keeps its bytes and its hash.
        """
        values = self.model_dump(mode="json")
        if self.selection == "full":
            del values["selection"]
        return values

    @property
    def custom(self) -> bool:
        """Whether this is anything but a released track (by name and content)."""
        released = tracks().get(self.id)
        return released is None or released.hash != self.hash


class TrackFile(Frozen):
    """A family of tracks before it is resolved; ``hard`` and ``whole`` may name recipes."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9{][a-z0-9.{}-]{0,63}$")]
    version: Annotated[int, Field(ge=1)] = 1
    title: Text = ""
    dataset: Annotated[str, Field(max_length=200)]
    ipc: tuple[int, ...]
    student: Annotated[str, Field(max_length=200)]
    seeds: int = 5
    validation_size: int = 2000
    selection: Rule = "full"
    hard: str | dict[str, Any]
    whole: str | dict[str, Any]
    real_hard: Literal["train", "reference"] = "reference"


def resolve(values: dict[str, Any], what: str, changes: Sequence[str] = ()) -> list[Track]:
    """The tracks of one family, with a user's ``key=value`` changes applied to each.

    Raises:
        BadProtocol: a field that does not validate; says which.
    """
    try:
        family = TrackFile.model_validate(
            {
                **values,
                "ipc": values["ipc"] if isinstance(values.get("ipc"), list) else [values["ipc"]],
            }
            if "ipc" in values
            else values
        )
        return [_member(family, ipc, changes) for ipc in family.ipc]
    except ValidationError as error:
        raise shelf.explain(error, what) from None


def _member(family: TrackFile, ipc: int, changes: Sequence[str]) -> Track:
    """One track of a family: ``{ipc}`` filled in, named recipes replaced by their rules.

    In a title, ``{images}`` is "1 image", "10 images".
    """
    values: dict[str, Any] = {**family.model_dump(mode="json"), "ipc": ipc}
    for field in ("name", "title"):
        values[field] = values[field].replace("{ipc}", str(ipc))
    images = f"{ipc} image{'s' if ipc != 1 else ''}"
    values["title"] = values["title"].replace("{images}", images)
    for arm in ("hard", "whole"):
        if isinstance(values[arm], str):
            recipe = find_recipe(values[arm]).resolve(family.dataset, ipc)
            values[arm] = recipe.training.model_dump(mode="json")
    return Track.model_validate(shelf.override(values, changes, f"track {values['name']}"))


@cache
def tracks() -> dict[str, Track]:
    """The shipped tracks by ``name@N``."""
    families = shelf.shipped("tracks").items()
    return {track.id: track for name, values in families for track in resolve(values, name)}


def find_track(name: str, changes: Sequence[str] = ()) -> Track:
    """A shipped track by ``name`` or ``name@N``, or a user's by path, with changes applied.

    Raises:
        UnknownName: offers the closest name.
        BadFile, BadProtocol: a user's file that cannot be read, does not validate, or holds
            several tracks.
    """
    if shelf.looks_like_path(name):
        found = resolve(shelf.read_yaml(Path(name), "track"), f"track {name}", changes)
        if len(found) != 1:
            raise BadProtocol(
                f"track {name}",
                expected="one ipc",
                got=f"{len(found)}",
                hint="Keep a single value under ipc, one file a track.",
            )
        return found[0]
    track = newest(tracks(), name, "track")
    return override_track(track, changes) if changes else track


def override_track(track: Track, changes: Sequence[str]) -> Track:
    """A resolved track with a user's ``key=value`` changes applied.

    Raises:
        BadProtocol: a change that does not validate.
    """
    values = track.model_dump(mode="json")
    try:
        return Track.model_validate(shelf.override(values, changes, f"track {track.name}"))
    except ValidationError as error:
        raise shelf.explain(error, f"track {track.id}") from None
