"""A study: one distilled set under one track and recipe, from what is known to a record.

:func:`prepare` checks everything that can be checked before the first training; :meth:`Study.run`
trains what is pending, step by step; :meth:`Study.record` derives the score.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ddranking.data.images import Dataset, random_subset
from ddranking.data.space import parse_space
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.picture import grid
from ddranking.errors import BadDistilledSet, BadInput, MissingReference
from ddranking.models import table
from ddranking.protocol.plan import Entry, Plan, RealCopy, make_plan
from ddranking.protocol.recipe import Recipe
from ddranking.protocol.track import Track
from ddranking.protocol.trial import Arm, Trial
from ddranking.running.local import Pool, Watcher
from ddranking.running.references import references
from ddranking.running.store import Store
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Done, Task
from ddranking.scoring import metrics
from ddranking.scoring.observation import Observation, Outcome
from ddranking.scoring.record import DatasetCopy, EntryCard, RealHard, Record, derive

SCORED: tuple[Arm, ...] = ("syn_hard", "syn_any", "rdm_any")
"""The arms that every score trains; ``real_hard`` and ``rdm_hard`` join where asked for."""


@dataclass(frozen=True)
class RealChoice:
    """Where the whole-set accuracy comes from: given with its source, trained, or a reference."""

    accuracy: float | None = None
    source: str | None = None
    train: bool = False


@dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count`` (1-based) of what is pending, for runs that share a store."""

    index: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise BadInput("--shard", expected="I/N with 1 <= I <= N", got=str(self))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, trial: Trial) -> bool:
        """Whether this part trains the trial: decided by its key, whatever else is pending."""
        return int(trial.key[:12], 16) % self.count == self.index - 1


@dataclass(frozen=True)
class Study:
    """Everything one score needs, checked."""

    plan: Plan
    workbench: Workbench
    store: Store
    entry: EntryCard
    real_hard: RealHard | None
    shared: Mapping[str, Observation]
    distilled: DistilledSet

    def known(self) -> dict[str, Observation]:
        """Observations of the plan that the store or the references hold, by trial key."""
        found: dict[str, Observation] = {}
        for arm in self.plan.arms:
            found |= self._look(arm.search)
            rate = arm.selected(_validation(found))
            if rate is not None:
                found |= self._look(arm.finals(rate))
        return found

    def knows(self, name: Arm) -> bool:
        """Whether every training of one arm is known."""
        arm = self.plan.arm(name)
        known = self.known()
        return arm is not None and not arm.pending(_validation(known), known)

    def pending(self, known: Mapping[str, Observation]) -> list[Trial]:
        """What can be trained now."""
        return self.plan.pending(_validation(known), known)

    def run(
        self,
        pool: Pool,
        watcher: Watcher,
        shard: Shard = Shard(),
    ) -> dict[str, Observation]:
        """Trains what is pending, in steps, until nothing (of this shard) is left.

        Every finished training is in the store before the next one is looked at, so that a killed
        run loses only what was training.

        Returns:
            all known observations.
        """
        known = self.known()
        while mine := [trial for trial in self.pending(known) if shard.holds(trial)]:
            tasks = [Task(trial, self._weights(trial)) for trial in mine]
            for task, done in pool.run(tasks, watcher):
                seen = self._observe(task, done, known)
                self._keep(seen, done)
                known[seen.key] = seen
                watcher.finished(task.trial)
            known |= self.known()  # finals of a search that is whole now, and what others wrote
        if not self.pending(known):
            self._drop_weights()
        return known

    def record(self, known: Mapping[str, Observation], notes: Sequence[str] = ()) -> Record:
        """The record of a finished study.

        Raises:
            BadProtocol: trainings are missing.
        """
        used = tuple(known[key] for key in sorted(known))
        real = self.real_hard or _measured(used)
        selection, scores = derive(self.plan, used, real)
        dataset = self.workbench.dataset
        space = parse_space("standardized", dataset).model_dump(mode="json")
        return Record(
            entry=self.entry,
            track=self.plan.track,
            recipe=self.plan.recipe,
            dataset=DatasetCopy(
                name=dataset.name, title=dataset.title, digest=dataset.digest, space=space
            ),
            real_hard=real,
            observations=used,
            selection=selection,
            scores=scores,
            notes=tuple(notes),
            picture=_picture(self.distilled, self.workbench),
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )

    def outlook(self, known: Mapping[str, Observation]) -> dict[str, float]:
        """The effort of everything that is still to do, by trial key, in image visits.

        Finals whose rate is not selected yet stand under a name of their own; they are only
        evaluated, at a third of a visit an image.
        """
        validation, left = _validation(known), {}
        reading = len(self.workbench.dataset.test) / 3
        for arm in self.plan.arms:
            rate = arm.selected(validation)
            for trial in arm.search if rate is None else arm.finals(rate):
                if trial.key not in known:
                    searched = trial.evaluate == "test" and arm.search
                    left[trial.key] = reading + (0 if searched else self.workbench.visits(trial))
            if rate is None:
                first = arm.search[0].key
                left |= {f"{first}/{seed}": reading for seed in range(arm.seeds)}
        return left

    def _look(self, trials: Sequence[Trial]) -> dict[str, Observation]:
        seen = {
            trial.key: self.shared.get(trial.key) or self.store.get(trial.key) for trial in trials
        }
        return {key: observation for key, observation in seen.items() if observation is not None}

    def _weights(self, trial: Trial):
        """Weights that the search already trained for this final trial, where they are kept."""
        if trial.evaluate == "validation":
            return None
        searched = trial.searched_as()
        known = self.store.get(searched.key)
        return self.store.weights(searched.key) if known is not None else None

    def _observe(self, task: Task, done: Done, known: Mapping[str, Observation]) -> Observation:
        trial = task.trial
        loss, steps = done.train_loss, done.steps
        if steps == 0:  # evaluated from the weights of the search: the training is that one's
            searched = known[trial.searched_as().key].outcome
            loss, steps = searched.train_loss, searched.steps
        outcome = Outcome.model_validate(
            {f"{trial.evaluate}_accuracy": done.accuracy, "train_loss": loss, "steps": steps}
        )
        return Observation(
            trial=trial, outcome=outcome, environment=done.environment, seconds=done.seconds
        )

    def _keep(self, seen: Observation, done: Done) -> None:
        if done.weights is not None:
            self.store.put_weights(seen.key, done.weights)
        self.store.put(seen)

    def _drop_weights(self) -> None:
        for arm in self.plan.arms:
            for trial in arm.search:
                self.store.drop_weights(trial.key)


def prepare(
    distilled: DistilledSet,
    track: Track,
    recipe: Recipe,
    workbench: Workbench,
    store: Store,
    *,
    real: RealChoice = RealChoice(),
    extra_arms: tuple[Arm, ...] = (),
) -> Study:
    """Checks that the set, the rules and the data fit each other, before any training.

    Args:
        distilled: what is scored; must be among the workbench's sets.
        track: the board's rules.
        recipe: the method's own rules, resolved for the track.
        workbench: the real dataset and the sets.
        store: where observations are kept.
        real: where the whole-set accuracy comes from.
        extra_arms: arms beyond those of the score, ``rdm_hard``.

    Raises:
        BadDistilledSet: another dataset, ipc or image shape than the track's.
        BadInput: an unknown student, or too few real images for validation and random subsets.
        BadProtocol: the recipe needs what the set does not carry.
        MissingReference: no whole-set accuracy is known and training it was not asked for.
    """
    given = _given(real)
    _check_fit(distilled, track, workbench.dataset)
    dataset = workbench.dataset
    shape = (dataset.channels, dataset.image_size, dataset.image_size)
    table.check(track.student, shape, trusted=workbench.trusted)
    random_subset(
        dataset.train.labels, track.ipc, seed=0, among=workbench.split(track.validation_size).train
    )
    space = distilled.card.space.model_dump(mode="json")
    entry = Entry(distilled.digest, space, distilled.learning_rate)
    copy = RealCopy(dataset.digest, parse_space("standardized", dataset).model_dump(mode="json"))

    def plan(*arms: Arm) -> Plan:
        return make_plan(track, recipe, entry, copy, arms=(*arms, *SCORED, *extra_arms))

    shared = {
        observation.key: observation
        for reference in references(dataset.name, track.student)
        for observation in reference.observations
    }
    study = Study(
        plan=plan("real_hard"),
        workbench=workbench,
        store=store,
        entry=entry_card(distilled),
        real_hard=None,
        shared=shared,
        distilled=distilled,
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
        '--real-accuracy 0.562 --real-source "paper, table", or put a measured reference record '
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


def _validation(known: Mapping[str, Observation]) -> dict[str, float]:
    return {
        key: seen.outcome.validation_accuracy
        for key, seen in known.items()
        if seen.outcome.validation_accuracy is not None
    }


def _picture(distilled: DistilledSet, workbench: Workbench) -> str | None:
    """A small PNG of the set as base64; None where even a small one is too large for a record."""
    image = grid(distilled, workbench.fitted(distilled.card.space.model_dump(mode="json")))
    if max(image.size) > 512:
        image.thumbnail((512, 512))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    text = base64.b64encode(stream.getvalue()).decode()
    return text if len(text) <= 400_000 else None
