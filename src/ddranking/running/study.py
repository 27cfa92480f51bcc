"""A study: one distilled set under one track and recipe, from a checked plan to a record.

:func:`prepare` checks everything that can be checked before the first training; the study then
runs as any work does; :meth:`Study.record` derives the score.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ddranking.data.images import Dataset, random_subset
from ddranking.data.space import parse_space
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.picture import grid
from ddranking.errors import BadDistilledSet, BadInput, MissingReference
from ddranking.models import table
from ddranking.protocol.plan import Entry, Plan, RealCopy, make_plan
from ddranking.protocol.recipe import Recipe
from ddranking.protocol.track import Track
from ddranking.protocol.trial import OPTIONAL, Arm
from ddranking.running import teachers
from ddranking.running.references import references
from ddranking.running.store import Store
from ddranking.running.work import Work
from ddranking.running.workbench import Workbench
from ddranking.scoring import metrics
from ddranking.scoring.derivation import SCORED, RealHard, derive
from ddranking.scoring.observation import Observation
from ddranking.scoring.record import DatasetCopy, EntryCard, Record
from ddranking.training import augment


@dataclass(frozen=True)
class RealChoice:
    """Where the whole-set accuracy comes from: given with its source, trained, or a reference."""

    accuracy: float | None = None
    source: str | None = None
    train: bool = False


@dataclass(frozen=True)
class Study(Work):
    """Everything one score needs, checked: the work, the entry, and the whole-set accuracy.

    ``told`` are lines for the person who scores: how well teachers of their own do.
    """

    entry: EntryCard
    real_hard: RealHard | None
    distilled: DistilledSet
    unified: Recipe | None = None
    told: tuple[str, ...] = ()

    def record(self, known: Mapping[str, Observation], notes: Sequence[str] = ()) -> Record:
        """The record of a finished study.

        Raises:
            BadProtocol: trainings are missing.
        """
        used = tuple(known[key] for key in sorted(known))
        real = self.real_hard or _measured(used)
        selection, scores = derive(self.plan, used, real)
        dataset = self.workbench.dataset
        return Record(
            entry=self.entry,
            track=self.plan.track,
            recipe=self.plan.recipe,
            unified=self.unified,
            dataset=DatasetCopy(
                name=dataset.name,
                title=dataset.title,
                digest=dataset.digest,
                space=usual_space(dataset),
            ),
            real_hard=real,
            observations=used,
            selection=selection,
            scores=scores,
            notes=(*_notes(self.plan, known), *notes),
            picture=_picture(self.distilled, self.workbench),
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )


def prepare(
    distilled: DistilledSet,
    track: Track,
    recipe: Recipe,
    workbench: Workbench,
    store: Store,
    *,
    real: RealChoice = RealChoice(),
    extra_arms: tuple[Arm, ...] = (),
    unified: Recipe | None = None,
    any_teacher: bool = False,
) -> Study:
    """Checks that the set, the rules and the data fit each other, before any training.

    Args:
        distilled: what is scored; must be among the workbench's sets.
        track: the board's rules.
        recipe: the method's own rules, resolved for the track.
        workbench: the real dataset and the sets.
        store: where observations are kept.
        real: where the whole-set accuracy comes from.
        extra_arms: arms beyond those of the score: ``rdm_hard``, ``syn_noaug``, ``rdm_noaug``.
        unified: also score under these rules, the same for every method.
        any_teacher: also take weights of a file that name real images no better than chance.

    Raises:
        BadDistilledSet: another dataset, ipc or image shape than the track's.
        BadInput: an unknown student, too few real images for validation and random subsets, or a
            teacher's file that knows nothing of them.
        BadProtocol: the recipe needs what the set does not carry, or a teacher that cannot see
            its images.
        MissingReference: no whole-set accuracy is known and training it was not asked for.
    """
    given = _given(real)
    _check_fit(distilled, track, workbench.dataset)
    dataset = workbench.dataset
    check_data(track, workbench)
    space = distilled.card.space.model_dump(mode="json")
    for rules in (recipe, unified):
        if rules is not None:
            augment.check(rules.training.augmentation, dataset.train.shape)
    entry = Entry(distilled.digest, space, distilled.learning_rate, distilled.card.soft_label_kind)
    copy = RealCopy(dataset.digest, usual_space(dataset))

    wanted: set[Arm] = {*extra_arms}
    if unified is not None:
        wanted |= {"syn_unified", "rdm_unified"}
    more: tuple[Arm, ...] = tuple(arm for arm in OPTIONAL if arm in wanted)

    def plan(*arms: Arm) -> Plan:
        every = (*arms, *SCORED, *more)
        return make_plan(track, recipe, entry, copy, arms=every, unified=unified)

    for arm in plan().arms:
        teachers.check(arm.training.labels, workbench)
    study = Study(
        plan=plan("real_hard"),
        workbench=workbench,
        store=store,
        entry=entry_card(distilled),
        real_hard=None,
        shared=shared_observations(track),
        distilled=distilled,
        unified=unified,
        told=teachers.examine(plan().arms, workbench, any_teacher=any_teacher),
    )
    if given is None and (real.train or track.real_hard == "train"):
        return study
    if given is None:
        if study.knows("real_hard"):
            return study
        given = _reported(track)
    if given is None:
        raise _missing(track, dataset)
    return replace(study, plan=plan(), real_hard=given)


def check_data(track: Track, workbench: Workbench) -> None:
    """Checks the student, and that the real data suffice for validation and random subsets.

    Raises:
        BadInput: an unknown student, too few images, or an augmentation that cannot be made.
    """
    dataset = workbench.dataset
    shape = (dataset.channels, dataset.image_size, dataset.image_size)
    table.check(track.student, shape, trusted=workbench.trusted)
    for training in (track.hard, track.whole):
        augment.check(training.augmentation, shape)
    if ":" in track.student:  # somebody else's code: only building it shows that it fits
        table.build(track.student, shape, dataset.num_classes, seed=0, trusted=workbench.trusted)
    split = workbench.split(track.validation_size)
    random_subset(dataset.train.labels, track.ipc, seed=0, among=split.train)


def usual_space(dataset: Dataset) -> dict[str, Any]:
    """The dataset's own standardised space, in which its whole set is trained."""
    return parse_space("standardized", dataset).model_dump(mode="json")


def shared_observations(track: Track) -> dict[str, Observation]:
    """Observations of the reference records for the track's dataset and student, by trial key."""
    found = references(track.dataset, track.student)
    return {seen.key: seen for reference in found for seen in reference.observations}


def entry_card(distilled: DistilledSet) -> EntryCard:
    """What a record says of the set."""
    card = distilled.card
    return EntryCard(
        method=card.method,
        digest=distilled.digest,
        space=card.space.model_dump(mode="json"),
        soft_label_kind=card.soft_label_kind,
        learning_rate=distilled.learning_rate,
        authors=card.authors,
        paper=card.paper,
        code=card.code,
        licence=card.licence,
    )


def _check_fit(distilled: DistilledSet, track: Track, dataset: Dataset) -> None:
    card = distilled.card
    for what, expected, got in (
        ("dataset", track.dataset, card.dataset),
        ("images per class", track.ipc, card.ipc),
        ("image shape", dataset.train.shape, tuple(distilled.images.shape[1:])),
    ):
        if expected != got:
            raise BadDistilledSet(
                f"{what} of the distilled set",
                expected=f"{expected} (track {track.id})",
                got=str(got),
                hint="Choose the track that fits (ddranking list tracks), or pack the set again.",
            )


def _notes(plan: Plan, known: Mapping[str, Observation]) -> list[str]:
    """What a reader must know of labels that nobody stored."""
    said = []
    for arm in plan.arms:
        rules = plan.recipe if arm.arm == "rdm_any" else None
        if rules and rules.training.labels.kind == "stored":
            [trial] = arm.teachers
            accuracy = known[trial.key].outcome.test_accuracy or 0.0
            said.append(
                "Random images carry no soft labels: the track's whole-set network labelled each "
                f"once (seed {trial.seed}, test accuracy {accuracy:.1%})."
            )
    return said


def _given(real: RealChoice) -> RealHard | None:
    if real.accuracy is None:
        if real.source is not None:
            raise BadInput("--real-source", expected="--real-accuracy with it", got="none")
        return None
    if real.train:
        raise BadInput(
            "--real-accuracy", expected="either a given accuracy or --train-real", got="both"
        )
    accuracy = metrics.fraction(real.accuracy, "--real-accuracy")
    if not real.source:
        raise BadInput(
            "--real-accuracy",
            expected="the source of the number with it",
            got="none",
            hint='Add --real-source "paper, table".',
        )
    return RealHard(kind="reported", accuracies=(accuracy,), source=real.source)


def _reported(track: Track) -> RealHard | None:
    for reference in references(track.dataset, track.student):
        if reference.reported is not None:
            number = reference.reported
            return RealHard(kind="reported", accuracies=(number.accuracy,), source=number.source)
    return None


def _missing(track: Track, dataset: Dataset) -> MissingReference:
    visits = track.whole.epochs * len(dataset.train) * track.seeds
    return MissingReference(
        f"whole-set accuracy (real_hard) of track {track.id}",
        expected="a reference record, a training or a published number",
        got="none",
        hint=f"Add --train-real ({track.seeds} trainings, {visits:,} image visits), or "
        '--real-accuracy 0.85 --real-source "paper, table", or put a measured reference record '
        "into the folder $DDRANKING_REFERENCES.",
    )


def _measured(used: Sequence[Observation]) -> RealHard:
    finals = {
        seen.trial.seed: seen.outcome.test_accuracy
        for seen in used
        if seen.trial.arm == "real_hard" and seen.outcome.test_accuracy is not None
    }
    return RealHard(
        kind="measured",
        accuracies=tuple(finals[seed] for seed in sorted(finals)),
        source="the observations of this record",
    )


def _picture(distilled: DistilledSet, workbench: Workbench) -> str | None:
    """A small PNG of the set as base64; None where even a small one is too large for a record."""
    image = grid(distilled, workbench.fitted(distilled.card.space.model_dump(mode="json")))
    if max(image.size) > 512:
        image.thumbnail((512, 512))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    text = base64.b64encode(stream.getvalue()).decode()
    return text if len(text) <= 400_000 else None
