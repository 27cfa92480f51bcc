"""Verifying a record: some of its finals trained again, by somebody else, and compared.

The search is not repeated: a final is the selected rate with the test set, and each is trained from
scratch. What counts as agreement is in :mod:`ddranking.scoring.marks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ddranking.data.images import Dataset
from ddranking.distilled.artifact import DistilledSet
from ddranking.errors import BadDistilledSet, BadInput, MissingData
from ddranking.protocol.canonical import content_hash
from ddranking.protocol.plan import Plan
from ddranking.protocol.trial import IMPLEMENTATION, Arm, Trial
from ddranking.running import teachers
from ddranking.running.store import Store
from ddranking.running.study import check_data, entry_card
from ddranking.running.work import Work
from ddranking.running.workbench import Workbench
from ddranking.scoring import marks
from ddranking.scoring.observation import Observation
from ddranking.scoring.record import Record
from ddranking.scoring.statistics import Equivalence
from ddranking.seeds import generator
from ddranking.training import augment

ARMS: tuple[Arm, ...] = ("syn_any", "syn_hard")
"""The arms that only the record's author has trained; the others are everybody's."""

MARGIN = 0.02
"""Two points of accuracy: several times what the same training differs by between machines."""


@dataclass(frozen=True)
class Repeat(Work):
    """The work of training some finals of a record again: one rate an arm, so nothing to search."""

    record: Record
    seeds: tuple[int, ...]

    def pending(self, known: Mapping[str, Observation]) -> list[Trial]:
        """Finals of the chosen seeds that are not trained yet, and the teachers that they need."""
        wanted = {trial.key for trial in self.trials}
        return [trial for trial in super().pending(known) if trial.key in wanted]

    @property
    def trials(self) -> list[Trial]:
        """All that is trained: the chosen seeds of every arm, and teachers."""
        finals = (arm.finals(arm.rates[0])[seed] for arm in self.plan.arms for seed in self.seeds)
        every = (*self.plan.teachers, *finals)
        return list({trial.key: trial for trial in every}.values())

    def outlook(self, known: Mapping[str, Observation]) -> dict[str, float]:
        """The effort of each training to do, in image visits; see :meth:`Work.outlook`."""
        wanted = {trial.key for trial in self.trials}
        return {key: cost for key, cost in super().outlook(known).items() if key in wanted}

    def reruns(self, known: Mapping[str, Observation]) -> dict[str, list[Observation]]:
        """What was trained again: arm to observations, in the order of ``seeds``."""
        found: dict[str, list[Observation]] = {}
        for arm in self.plan.arms:
            finals = arm.finals(arm.rates[0])
            found[arm.arm] = [known[finals[seed].key] for seed in self.seeds]
        return found

    def verdicts(self, known: Mapping[str, Observation], margin: float) -> dict[str, Equivalence]:
        """The equivalence test of each arm; the record agrees where all of them do."""
        recorded = self.record.scores.accuracy
        return {
            arm: marks.agreement(self.seeds, _accuracies(seen), recorded[arm].values, margin)
            for arm, seen in self.reruns(known).items()
        }

    def verified(
        self, known: Mapping[str, Observation], margin: float, *, by: str, date: str
    ) -> Record:
        """A copy of the record that says who repeated what, when and where.

        Args:
            known: the finished trainings.
            margin: difference of mean accuracies that counts as none, a fraction.
            by: who ran them.
            date: ``YYYY-MM-DD``.

        Raises:
            ValueError: an arm does not agree.
        """
        reruns, tests = self.reruns(known), self.verdicts(known, margin)
        places = [seen.environment for finals in reruns.values() for seen in finals]
        mark = marks.Verification(
            by=by,
            date=date,
            margin=margin,
            environments=tuple(dict.fromkeys(places)),
            arms={
                arm: marks.Rerun(
                    seeds=self.seeds,
                    accuracies=tuple(_accuracies(seen)),
                    difference=tests[arm].difference,
                    p_value=tests[arm].p_value,
                )
                for arm, seen in reruns.items()
            },
        )
        fault = marks.fault_of(mark, self.record.scores.accuracy)
        if fault:
            raise ValueError(fault)
        return self.record.model_copy(update={"trust": "verified", "verification": mark})


def prepare_repeat(
    record: Record,
    distilled: DistilledSet,
    workbench: Workbench,
    store: Store,
    *,
    arms: tuple[Arm, ...] = ARMS,
    trials: int | None = None,
) -> Repeat:
    """Checks everything before the first training.

    Args:
        record: what is verified; its own track and recipe are the rules.
        distilled: the packed set; must be among the workbench's sets.
        workbench: the real dataset and the set.
        store: a fresh one, or that of an interrupted verification.
        arms: which arms; of those that the record trained.
        trials: seeds an arm; all of the record's by default. Fewer are drawn by the record's
            content, so that a repeated command repeats them.

    Raises:
        BadDistilledSet: another set than the record's.
        BadInput: the record is out of the ranking or of another training code, an arm that it has
            not, fewer than two or more seeds than it has, a student that is not trusted, or a store
            that holds the record's own trainings.
        MissingData: another copy of the dataset than the record's.
    """
    _check_record(record)
    _check_set(record, distilled)
    _check_copy(record, workbench.dataset)
    check_data(record.track, workbench)
    shape = workbench.dataset.train.shape
    augment.check(record.recipe.training.augmentation, shape)
    plan, chosen = record.plan, []
    for name in dict.fromkeys(arms):
        arm = plan.arm(name)
        if arm is None:
            raise BadInput(
                "--arm",
                expected=f"one that the record trained, {', '.join(a.arm for a in plan.arms)}",
                got=name,
            )
        teachers.check(arm.training.labels, workbench)
        chosen.append(replace(arm, rates=(record.selection[name].selected,)))
    work = Repeat(
        plan=Plan(record.track, record.recipe, tuple(chosen)),
        workbench=workbench,
        store=store,
        shared={},  # reference records may hold what the author measured
        record=record,
        seeds=draw_seeds(record, trials),
    )
    _check_repeated(work)
    return work


def draw_seeds(record: Record, trials: int | None) -> tuple[int, ...]:
    """Which seeds to repeat, ascending: all, or ``trials`` of them drawn by the record's content.

    Raises:
        BadInput: fewer than two (one has no spread to test with), or more than the record has.
    """
    seeds = record.track.seeds
    if trials is None:
        return tuple(range(seeds))
    if not 2 <= trials <= seeds:
        raise BadInput("--trials", expected=f"2 to {seeds} seeds an arm", got=str(trials))
    content = content_hash([seen.model_dump(mode="json") for seen in record.observations])
    drawn = generator(0, "verify", content).choice(seeds, trials, replace=False)
    return tuple(sorted(int(seed) for seed in drawn))


def _check_record(record: Record) -> None:
    if record.invalidated is not None:
        raise BadInput(
            "record", expected="one in the ranking", got=f"invalidated: {record.invalidated.reason}"
        )
    if record.implementation != IMPLEMENTATION:
        raise BadInput(
            "record",
            expected=f"trained with implementation {IMPLEMENTATION}, this version's",
            got=str(record.implementation),
            hint="Verify it with the version of ddranking that its observations name.",
        )


def _check_set(record: Record, distilled: DistilledSet) -> None:
    """The digest, and what a record says of the set beside it."""
    theirs, ours = record.entry, entry_card(distilled)
    for field in ("digest", "space", "soft_label_kind", "learning_rate"):
        expected, got = getattr(theirs, field), getattr(ours, field)
        if expected != got:
            raise BadDistilledSet(
                f"{field} of the distilled set",
                expected=f"{expected} (the record's)",
                got=str(got),
                hint="Give the very file that was scored with --artifact.",
            )


def _check_copy(record: Record, dataset: Dataset) -> None:
    if dataset.digest != record.dataset.digest:
        raise MissingData(
            f"dataset {record.track.dataset}",
            expected=f"the record's copy, {record.dataset.title} ({record.dataset.digest})",
            got=f"{dataset.title} ({dataset.digest})",
            hint="Prepare that copy with 'ddranking data prepare', or name it with --data-root.",
        )


def _check_repeated(work: Repeat) -> None:
    """What the store holds must not be the record's own, to the last digit of its seconds."""
    own = {seen.key: seen for seen in work.record.observations}
    for key, seen in work.known().items():
        if seen == own[key]:
            raise BadInput(
                f"store {work.store.folder}",
                expected="trainings of somebody who repeats them",
                got=f"the record's own (arm {seen.trial.arm}, seed {seen.trial.seed})",
                hint="Give another --store, or none: a fresh one is made.",
            )


def _accuracies(seen: list[Observation]) -> list[float]:
    """Test accuracies; finals read the test set, so each has one."""
    return [one.outcome.test_accuracy for one in seen if one.outcome.test_accuracy is not None]
