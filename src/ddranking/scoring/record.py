"""The record: everything one score is made of, and the score derived from it.

What is stored is the card, the full track and recipe and every observation; estimates are derived.
They are written too, so that a reader in any language finds them, and recomputed on every load: a
record whose numbers do not follow from its observations does not load.
"""

from __future__ import annotations

import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, FailFast, Field, ValidationError, model_validator

from ddranking.errors import BadFile, BadInput, BadProtocol, StoreUnusable, first_fault
from ddranking.files import read_bounded, write_whole
from ddranking.protocol.canonical import canonical_json
from ddranking.protocol.frozen import Plain
from ddranking.protocol.once import once
from ddranking.protocol.plan import ArmPlan, Entry, Plan, RealCopy, make_plan
from ddranking.protocol.recipe import Recipe, Text
from ddranking.protocol.rules import Frozen
from ddranking.protocol.shelf import explain
from ddranking.protocol.track import Track
from ddranking.protocol.trial import IMPLEMENTATION, OPTIONAL, Arm, Digest
from ddranking.scoring import metrics
from ddranking.scoring.bounded import bounded
from ddranking.scoring.marks import Invalidation, Verification, fault_of
from ddranking.scoring.observation import Fraction, Observation, validation_accuracies
from ddranking.scoring.statistics import Estimate, estimate

SCHEMA = "ddranking.record/1"
MAX_RECORD_BYTES = 32 << 20
MAX_SPACE_BYTES = 100_000
LATER = ("ars", "ior_unified")
"""Scores that only some records have."""

SCORED: tuple[Arm, ...] = ("syn_hard", "syn_any", "rdm_any")
"""The arms that every score trains; ``real_hard`` and :data:`OPTIONAL` join where asked for."""
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


class RealHard(Frozen):
    """The whole-set accuracy: measured (one value a seed) or reported (one value, with source)."""

    kind: Literal["measured", "reported"]
    accuracies: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    source: Text


class Scores(Frozen):
    """Derived estimates at weight 0.5; ``accuracy`` holds each arm's test accuracy.

    ``ars`` is the augmentation-robust score at g = 0.5, ``ior_unified`` the improvement over random
    under the unified recipe; None where their arms were not trained.
    """

    accuracy: dict[str, Estimate]
    hlr: Estimate
    ior: Estimate
    alpha: Estimate
    ddrs: Estimate
    ars: Estimate | None = None
    ior_unified: Estimate | None = None


class Selection(Frozen):
    """How one arm's learning rate was chosen: mean validation accuracy of each rate over seeds.

    ``seeds`` says over how many, where it is not all of them for every rate.
    """

    rates: tuple[float, ...]
    mean_validation: tuple[Fraction, ...] | None = None
    seeds: tuple[int, ...] | None = None
    selected: float


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
        values = self.model_dump(mode="json", by_alias=True)
        values["track"] = self.track.to_values()
        later = ((values, ("verification", "unified")), (values["scores"], LATER))
        for holder, names in (*later, *((one, ("seeds",)) for one in values["selection"].values())):
            for name in names:
                if holder[name] is None:
                    del holder[name]
        return values

    def to_json(self) -> str:
        """The record as indented JSON with sorted keys: equal records are equal bytes."""
        return json.dumps(self.to_values(), indent=1, sort_keys=True, allow_nan=False) + "\n"

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


def load_record(path: str | os.PathLike[str]) -> Record:
    """Reads and checks a record.

    Raises:
        BadFile: missing, over 32 MiB, not JSON, or nested too deeply.
        BadProtocol: a field that does not validate or does not follow from the observations.
    """
    return record_of(content_of(path), f"record {path}")


def content_of(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a record's file.

    Raises:
        BadFile: it cannot be read, or is over 32 MiB.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_RECORD_BYTES:
            raise BadFile(
                f"record {file}", expected=f"at most {MAX_RECORD_BYTES >> 20} MiB", got="more"
            )
        return read_bounded(file, MAX_RECORD_BYTES)
    except OSError as error:
        raise BadFile(
            f"record {file}", expected="a readable file", got=error.strerror or str(error)
        ) from None


def record_of(content: bytes, what: str = "record") -> Record:
    """A record from the bytes of its file; see :func:`load_record` for the errors.

    Strict: a number is a number, never a text that looks like one.
    """
    content = bounded(content.removeprefix(BOM_UTF8), Record, what)
    try:
        if b"NaN" in content or b"Infinity" in content:  # as constants they are no JSON
            json.loads(content, parse_constant=_no_constants)
        return Record.model_validate_json(content, strict=True)
    except ValidationError as error:
        fault = first_fault(error)
        if fault["type"] == "json_invalid":
            raise BadFile(what, expected="JSON in UTF-8", got=fault["msg"][:160]) from None
        raise explain(error, what) from None
    except BadProtocol as error:
        where = f"{what}, {error.what}"
        raise BadProtocol(where, expected=error.expected, got=error.got, hint=error.hint) from None
    except (ValueError, RecursionError) as error:
        raise BadFile(what, expected="JSON", got=str(error)[:160]) from None


def parse_record(values: Any, what: str = "record") -> Record:
    """A record from parsed JSON, as strict as :func:`record_of`; the same errors."""
    try:
        content = json.dumps(values, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise BadFile(what, expected="JSON", got=str(error)[:160]) from None
    return record_of(content, what)


def _no_constants(name: str) -> float:
    raise ValueError(f"{name} is not a number that a record may hold")


def alpha_estimate(hlr: Estimate, ior: Estimate, w: float) -> Estimate:
    """Per-seed alpha at weight ``w`` with its interval."""
    return estimate([metrics.alpha(h, i, w) for h, i in zip(hlr.values, ior.values, strict=True)])


def ddrs_estimate(alpha: Estimate) -> Estimate:
    """DDRS of the mean alpha; the interval is the map of alpha's, clipped to alpha's range.

    ``values`` maps each seed's alpha; ``std`` is their sample standard deviation.
    """
    values = [metrics.ddrs(value) for value in alpha.values]
    ends = [metrics.ddrs(min(1.0, max(-1.0, end))) for end in (alpha.low, alpha.high)]
    spread = estimate(values)
    return spread.model_copy(
        update={"mean": metrics.ddrs(alpha.mean), "low": ends[0], "high": ends[1]}
    )


def ars_estimate(accuracy: Mapping[str, Estimate], g: float = 0.5) -> Estimate | None:
    """The augmentation-robust score of some arms' accuracies; None without those it needs."""
    arms = ("syn_any", "rdm_any", "syn_noaug", "rdm_noaug")
    if any(arm not in accuracy for arm in arms):
        return None
    seeds = zip(*(accuracy[arm].values for arm in arms), strict=True)
    return ddrs_estimate(estimate([metrics.beta(sa, ra, sn, rn, g) for sa, ra, sn, rn in seeds]))


def derive(
    plan: Plan, observations: Iterable[Observation], real_hard: RealHard
) -> tuple[dict[str, Selection], Scores]:
    """Selected rates and estimates from observations, by the rules of the plan.

    Raises:
        BadProtocol: an observation is missing, double, or not part of the plan.
    """
    known: dict[str, Observation] = {}
    for observation in observations:
        if observation.key in known:
            raise BadProtocol("observations", expected="each trial once", got=observation.key)
        known[observation.key] = observation
    validation = validation_accuracies(known)
    selection, values, used = {}, {}, set()
    for arm in plan.arms:
        selection[arm.arm], values[arm.arm], keys = _arm(arm, known, validation)
        used |= keys
    for trial in plan.teachers:
        if trial.key not in known:
            raise BadProtocol("observations", expected="those of the teacher", got="none")
        used.add(trial.key)
    if used != known.keys():
        raise BadProtocol(
            "observations",
            expected="only trials of the track and recipe",
            got=f"{len(known.keys() - used)} others",
        )
    seeds = plan.track.seeds
    real = values.get("real_hard", list(real_hard.accuracies))
    if ("real_hard" in values) != (real_hard.kind == "measured"):
        raise BadProtocol(
            "real_hard", expected="observations where it is measured, none where it is reported"
        )
    if "real_hard" in values and tuple(real) != real_hard.accuracies:
        raise BadProtocol("real_hard", expected="the accuracies of its observations")
    if real_hard.kind == "reported" and len(real) == 1:
        real = real * seeds
    needed = {"syn_hard", "syn_any", "rdm_any"} - values.keys()
    if needed or len(real) != seeds:
        raise BadProtocol(
            "observations",
            expected=f"{seeds} seeds of every arm",
            got=f"{', '.join(sorted(needed)) or 'real_hard'} incomplete",
        )
    hlr = estimate([metrics.hlr(r, s) for r, s in zip(real, values["syn_hard"], strict=True)])
    ior = _ior(values, "any")
    assert ior is not None, "both arms are there"
    alpha = alpha_estimate(hlr, ior, 0.5)
    accuracy = {arm: estimate(seen) for arm, seen in values.items()}
    scores = Scores(
        accuracy=accuracy,
        hlr=hlr,
        ior=ior,
        alpha=alpha,
        ddrs=ddrs_estimate(alpha),
        ars=ars_estimate(accuracy),
        ior_unified=_ior(values, "unified"),
    )
    return selection, scores


def _ior(values: Mapping[str, Sequence[float]], recipe: str) -> Estimate | None:
    """Improvement over random of the arms under one recipe; None where they were not trained."""
    synthetic, random = values.get(f"syn_{recipe}"), values.get(f"rdm_{recipe}")
    if synthetic is None or random is None:
        return None
    return estimate([metrics.ior(s, r) for s, r in zip(synthetic, random, strict=True)])


def _arm(
    arm: ArmPlan, known: Mapping[str, Observation], validation: Mapping[str, float]
) -> tuple[Selection, list[float], set[str]]:
    """The selected rate of one arm, its test accuracies in seed order, and the keys it uses."""
    search = arm.standing(validation)
    rate = search.selected
    finals = [] if rate is None else [known.get(trial.key) for trial in arm.finals(rate)]
    if rate is None or any(final is None for final in finals):
        name: Arm = arm.arm
        where = "in its search" if rate is None else f"at the selected rate {rate:g}"
        raise BadProtocol(f"arm {name}", expected=f"{arm.total} trainings", got=f"fewer {where}")
    accuracies = [final.outcome.test_accuracy for final in finals if final is not None]
    means, asked = search.means, arm.asked(validation)
    partial = len(asked) < len(arm.search)
    selection = Selection(
        rates=arm.rates,
        mean_validation=tuple(means[rate] for rate in arm.rates) if means else None,
        seeds=tuple(search.asked[rate] for rate in arm.rates) if partial else None,
        selected=rate,
    )
    keys = {trial.key for trial in asked} | {final.key for final in finals if final}
    return selection, [value for value in accuracies if value is not None], keys


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
