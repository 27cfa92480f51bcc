"""The record: everything one score is made of, and the score derived from it.

What is stored is the card, the full track and recipe and every observation; estimates are derived.
They are written too, so that a reader in any language finds them, and recomputed on every load: a
record whose numbers do not follow from its observations does not load.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, FailFast, Field, ValidationError, model_validator

from ddranking.errors import BadInput, StoreUnusable
from ddranking.files import write_whole
from ddranking.protocol.canonical import canonical_json
from ddranking.protocol.frozen import Plain
from ddranking.protocol.once import once
from ddranking.protocol.plan import Entry, Plan, RealCopy, make_plan
from ddranking.protocol.recipe import Recipe, Text
from ddranking.protocol.rules import Frozen
from ddranking.protocol.shelf import explain
from ddranking.protocol.track import Track
from ddranking.protocol.trial import IMPLEMENTATION, OPTIONAL, Arm, Digest
from ddranking.scoring.derivation import (
    SCORED,
    RealHard,
    Scores,
    Selection,
    alpha_estimate,
    ars_estimate,
    ddrs_estimate,
    derive,
)
from ddranking.scoring.marks import Invalidation, Verification, fault_of
from ddranking.scoring.observation import Observation
from ddranking.scoring.statistics import Estimate

SCHEMA = "ddranking.record/1"
MAX_SPACE_BYTES = 100_000
LATER = ("ars", "ior_unified")
"""Scores that only some records have."""

OWN_LATER = ("verification", "unified")
"""Fields that only some records have."""

TOLERANCE = 1e-9

Link = Annotated[str, Field(max_length=500, pattern=r"^https://[^\s<>\"']+$")]


def _finite(space: dict[str, Any]) -> dict[str, Any]:
    if len(canonical_json(space)) > MAX_SPACE_BYTES:  # a ValueError for 1e999, too: infinity
        raise ValueError(f"at most {MAX_SPACE_BYTES:,} bytes of JSON")
    return space


Space = Annotated[Plain, AfterValidator(_finite)]


class EntryCard(Frozen):
    """Who made the distilled set and what it is; descriptive, but for digest, space and rate."""

    method: Annotated[str, Field(min_length=1, max_length=200)]
    digest: Digest
    space: Space
    soft_label_kind: Literal["logits", "probabilities"] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    authors: Text | None = None
    paper: Link | None = None
    code: Link | None = None
    licence: Annotated[str, Field(max_length=200)] | None = None


class DatasetCopy(Frozen):
    """The copy of the real dataset that was measured on."""

    name: Annotated[str, Field(max_length=200)]
    title: Annotated[str, Field(max_length=200)]
    digest: Digest
    space: Space


class Record(Frozen):
    """One entry on one track: what was measured, under which rules, and the score.

    ``created`` and each observation's ``seconds`` are the only fields that differ between two runs
    of the same seeds on the same machine.
    """

    schema_: Annotated[Literal["ddranking.record/1"], Field(alias="schema")] = SCHEMA
    entry: EntryCard
    track: Annotated[Track, once(Track)]
    recipe: Annotated[Recipe, once(Recipe)]
    unified: Annotated[Recipe, once(Recipe)] | None = None
    dataset: Annotated[DatasetCopy, once(DatasetCopy)]
    real_hard: RealHard
    observations: Annotated[tuple[Observation, ...], FailFast()]
    implementation: Annotated[int, Field(ge=1)] = IMPLEMENTATION
    selection: dict[str, Selection]
    scores: Scores
    trust: Literal["self-measured", "verified"] = "self-measured"
    verification: Verification | None = None
    notes: Annotated[tuple[Text, ...], FailFast()] = ()
    picture: Annotated[str, Field(max_length=400_000, pattern=r"^[A-Za-z0-9+/=]*$")] | None = None
    invalidated: Invalidation | None = None
    created: Annotated[str, Field(max_length=40)]

    @model_validator(mode="after")
    def _derived_values_agree(self) -> Record:
        selection, scores = derive(self.plan, self.observations, self.real_hard)
        theirs = {"selection": self.selection, "scores": self.scores}
        ours = {"selection": selection, "scores": scores}
        for field, value in ours.items():
            if value == theirs[field]:
                continue
            fault = _disagreement(_plain(value), _plain(theirs[field]), field)
            if fault:
                raise ValueError(f"{fault}; derived values must follow from the observations")
        return self

    @model_validator(mode="after")
    def _trust_has_its_mark(self) -> Record:
        if (self.trust == "verified") != (self.verification is not None):
            raise ValueError("trust is 'verified' with a verification, and only then")
        fault = self.verification and fault_of(self.verification, self.scores.accuracy)
        if fault:
            raise ValueError(fault)
        return self

    @property
    def plan(self) -> Plan:
        """The plan that this record's observations must fill, from its own track and recipe."""
        card = self.entry
        entry = Entry(card.digest, card.space, card.learning_rate, card.soft_label_kind)
        copy = RealCopy(self.dataset.digest, self.dataset.space)
        return make_plan(
            self.track,
            self.recipe,
            entry,
            copy,
            arms=self._arms,
            unified=self.unified,
            implementation=self.implementation,
        )

    @property
    def _arms(self) -> tuple[Arm, ...]:
        """The arms that are here: those of the score, and what its observations hold beyond."""
        present: set[Arm] = {observation.trial.arm for observation in self.observations}
        if self.unified is not None:  # its trials are those of syn_any and rdm_any by another rule
            present |= {"syn_unified", "rdm_unified"}
        real: tuple[Arm, ...] = ("real_hard",) if self.real_hard.kind == "measured" else ()
        return (*real, *SCORED, *(arm for arm in OPTIONAL if arm in present))

    @property
    def hlr(self) -> Estimate:
        """Hard label recovery over seeds; lower is better."""
        return self.scores.hlr

    @property
    def ior(self) -> Estimate:
        """Improvement over random selection over seeds; higher is better."""
        return self.scores.ior

    def alpha(self, w: float = 0.5) -> Estimate:
        """``w IOR - (1-w) HLR`` per seed, then mean and interval."""
        return alpha_estimate(self.hlr, self.ior, w)

    def ddrs(self, w: float = 0.5) -> Estimate:
        """The score in [0, 1]: the map of alpha's mean and of its interval's ends."""
        return ddrs_estimate(self.alpha(w))

    def ars(self, g: float = 0.5) -> Estimate | None:
        """The augmentation-robust score in [0, 1]; None where its arms were not trained.

        Per seed ``beta = g (syn_any - rdm_any) + (1-g) (syn_noaug - rdm_noaug)``, then mean and
        interval, mapped as :meth:`ddrs`.
        """
        return ars_estimate(self.scores.accuracy, g)

    @cached_property
    def accuracy(self) -> Mapping[str, Estimate]:
        """Test accuracy of each trained arm over seeds, fractions."""
        return self.scores.accuracy

    def invalidate(self, *, reason: str, by: str, date: str) -> Record:
        """A copy that is out of the ranking; nothing else of the record changes.

        Raises:
            BadInput: it is invalidated already, or the reason or the name is empty or too long.
        """
        if self.invalidated is not None:
            mark = self.invalidated
            raise BadInput(
                "record",
                expected="one that is still in the ranking",
                got=f"invalidated on {mark.date} by {mark.by}: {mark.reason}",
            )
        try:
            mark = Invalidation(reason=reason.strip(), by=by.strip(), date=date)
        except ValidationError as error:
            raise explain(error, "invalidation") from None
        return self.model_copy(update={"invalidated": mark})

    def to_values(self) -> dict[str, Any]:
        """The record as plain JSON values, without what it does not have.

        So a record from before there was such a field keeps its bytes.
        """
        return self.model_dump(mode="json", by_alias=True, exclude=self._lacking())

    def to_json(self) -> str:
        """The record as indented JSON with sorted keys: equal records are equal bytes."""
        return json.dumps(self.to_values(), indent=1, sort_keys=True, allow_nan=False) + "\n"

    def to_line(self) -> str:
        """The same values on one line, in a fraction of the time."""
        return self.model_dump_json(by_alias=True, exclude=self._lacking()) + "\n"

    def _lacking(self) -> dict[str, Any]:
        """What is not written, as pydantic's ``exclude``: later fields without a value."""
        search = {arm: {"seeds"} for arm, one in self.selection.items() if one.seeds is None}
        lacking: dict[str, Any] = {
            "track": {"selection"} if self.track.selection == "full" else set(),
            "scores": {name for name in LATER if getattr(self.scores, name) is None},
            "selection": search,
        }
        if all(seen.environment.kernels is None for seen in self.observations):
            lacking["observations"] = {"__all__": {"environment": {"kernels"}}}
        mark = self.verification
        if mark is not None and all(one.kernels is None for one in mark.environments):
            lacking["verification"] = {"environments": {"__all__": {"kernels"}}}
        return lacking | {name: True for name in OWN_LATER if getattr(self, name) is None}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the record to ``path`` (a temporary name first, then renamed).

        Raises:
            StoreUnusable: the folder cannot be written, or the disk is full.
        """
        target = Path(path)
        try:
            write_whole(target, self.to_json().encode())
        except OSError as error:
            raise StoreUnusable(
                f"record {target}",
                expected="a place to write to",
                got=error.strerror or str(error),
                hint="All trainings are in the store: repeat the command with another --out.",
            ) from None
        return target


def _plain(value: Any) -> Any:
    if isinstance(value, Frozen):
        return value.model_dump(mode="json")
    return {key: _plain(inner) for key, inner in value.items()}


def _disagreement(ours: Any, theirs: Any, where: str) -> str | None:
    """The first place where two plain values differ by more than 1e-9, or None."""
    if isinstance(ours, dict) and isinstance(theirs, dict) and ours.keys() == theirs.keys():
        pairs = [(f"{where}.{key}", ours[key], theirs[key]) for key in ours]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = [(f"{where}.{i}", a, b) for i, (a, b) in enumerate(zip(ours, theirs, strict=True))]
    elif isinstance(ours, float | int) and isinstance(theirs, float | int):
        same = abs(ours - theirs) <= TOLERANCE
        return None if same else f"{where} is {theirs}, recomputed {ours}"
    else:
        return None if ours == theirs else f"{where} is {theirs}, recomputed {ours}"
    return next((fault for at, a, b in pairs if (fault := _disagreement(a, b, at))), None)
