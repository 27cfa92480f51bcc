"""The plan of a score: every training it needs, as a pure function of the rules and the entry.

Arms with several learning rates are done in two steps: trainings that read the validation split
select a rate (:mod:`ddranking.protocol.search` says which and how), then the selected rate reads
the test set, once. What is pending follows from what is known, so a plan can be interrupted,
resumed and split over machines.

Arms whose labels a teacher makes come with the trainings of its networks, see
:mod:`ddranking.protocol.teaching`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ddranking.errors import BadProtocol
from ddranking.protocol.recipe import Recipe
from ddranking.protocol.rules import Network, Teacher, Training
from ddranking.protocol.search import RUNGS, Rule, Rung, Standing, places, standing
from ddranking.protocol.teaching import Taught, taught
from ddranking.protocol.track import Track
from ddranking.protocol.trial import IMPLEMENTATION, Arm, Distilled, RandomImages, Trial, Whole


@dataclass(frozen=True)
class Entry:
    """What a plan must know of a distilled set: digest, space, and what is stored with it."""

    digest: str
    space: Mapping[str, Any]
    learning_rate: float | None = None
    soft_label_kind: str | None = None


@dataclass(frozen=True)
class RealCopy:
    """What a plan must know of the real dataset: its digest and its usual (standardised) space."""

    digest: str
    space: Mapping[str, Any]


@dataclass(frozen=True)
class ArmPlan:
    """The trainings of one arm: rules, data, and the rates to try.

    ``selection`` is how one of the rates is found; ``teachers`` are the trainings whose networks
    make the labels.
    """

    arm: Arm
    training_set: Distilled | RandomImages | Whole
    training: Training
    rates: tuple[float, ...]
    space: Mapping[str, Any]
    student: str
    dataset: str
    validation_size: int
    seeds: int
    selection: Rule = "full"
    implementation: int = IMPLEMENTATION
    teachers: tuple[Trial, ...] = ()

    def trial(self, rate: float, seed: int, evaluate: str) -> Trial:
        return Trial.model_validate(
            {
                "arm": _SAME_TRAININGS.get(self.arm, self.arm),
                "training_set": self.training_set,
                "space": dict(self.space),
                "training": self.training.at(float(rate)),
                "student": self.student,
                "seed": seed,
                "dataset": self.dataset,
                "validation_size": self.validation_size,
                "evaluate": evaluate,
                "implementation": self.implementation,
            }
        )

    @cached_property
    def search(self) -> list[Trial]:
        """Every rate for every seed, on the validation split; nothing where there is one rate.

        A search that is not full trains only some of them, see :meth:`asked`.
        """
        if len(self.rates) == 1:
            return []
        return [
            self.trial(rate, seed, "validation")
            for rate in self.rates
            for seed in range(self.seeds)
        ]

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The steps of the search; none where there is one rate."""
        if len(self.rates) == 1:
            return ()
        return RUNGS[self.selection](len(self.rates), self.seeds)

    def standing(self, validation: Mapping[str, float]) -> Standing:
        """How far the search is; at its end where there is one rate.

        Args:
            validation: trial key to validation accuracy, of all trials known so far.
        """
        seen = {
            (trial.rate, trial.seed): validation[trial.key]
            for trial in self.search
            if trial.key in validation
        }
        return standing(self.rungs, self.rates, seen)

    def asked(self, validation: Mapping[str, float]) -> list[Trial]:
        """The trials of the search that are needed as far as is known: its first and later rungs.

        All of :attr:`search` where it is full.
        """
        seeds = self.standing(validation).asked
        return [trial for trial in self.search if trial.seed < seeds.get(trial.rate, 0)]

    def selected(self, validation: Mapping[str, float]) -> float | None:
        """The rate that the search finds, the best mean over all seeds; the smaller on a tie.

        Returns:
            None while trials of the search are missing.
        """
        return self.standing(validation).selected

    def finals(self, rate: float) -> list[Trial]:
        """The trials that read the test set: the selected rate, every seed."""
        return [self.trial(rate, seed, "test") for seed in range(self.seeds)]

    def pending(self, validation: Mapping[str, float], done: Mapping[str, Any]) -> list[Trial]:
        """The trainings that can run now: the rest of the search's rung, or else the finals."""
        rate = self.selected(validation)
        wanted = self.asked(validation) if rate is None else self.finals(rate)
        return [trial for trial in wanted if trial.key not in done]

    @property
    def total(self) -> int:
        """How many trainings the arm takes, whatever they give."""
        return len(places(self.rungs)) + self.seeds


@dataclass(frozen=True)
class Plan:
    """All arms of one score."""

    track: Track
    recipe: Recipe
    arms: tuple[ArmPlan, ...]

    @property
    def teachers(self) -> tuple[Trial, ...]:
        """The trainings of all teachers' networks, each once; some may be trials of an arm too."""
        every = (trial for arm in self.arms for trial in arm.teachers)
        return tuple({trial.key: trial for trial in every}.values())

    def pending(self, validation: Mapping[str, float], done: Mapping[str, Any]) -> list[Trial]:
        """The trainings of all arms that can run now, given what is known; teachers' first."""
        first = [trial for trial in self.teachers if trial.key not in done]
        others = (trial for arm in self.arms for trial in arm.pending(validation, done))
        return list({trial.key: trial for trial in (*first, *others)}.values())

    @property
    def roles(self) -> dict[str, Arm]:
        """Trial key to the arm that it is for: trials of the unified arms do not say it."""
        found: dict[str, Arm] = {trial.key: trial.arm for trial in self.teachers}
        for arm in self.arms:
            finals = (trial for rate in arm.rates for trial in arm.finals(rate))
            for trial in (*arm.search, *finals):
                found.setdefault(trial.key, arm.arm)
        return found

    def arm(self, name: Arm) -> ArmPlan | None:
        return next((arm for arm in self.arms if arm.arm == name), None)

    @property
    def total(self) -> int:
        return sum(arm.total for arm in self.arms) + len(self.only_teachers)

    @property
    def only_teachers(self) -> tuple[Trial, ...]:
        """The teachers that are not trained for the arm ``real_hard`` anyway."""
        whole = self.arm("real_hard")
        trained = {trial.key for trial in whole.finals(whole.rates[0])} if whole else set()
        return tuple(trial for trial in self.teachers if trial.key not in trained)


_SAME_TRAININGS: Mapping[Arm, Arm] = {"syn_unified": "syn_any", "rdm_unified": "rdm_any"}
"""Arms whose trials are those of another arm under another recipe, and are shared with it."""


def make_plan(
    track: Track,
    recipe: Recipe,
    entry: Entry,
    real: RealCopy,
    *,
    arms: tuple[Arm, ...],
    unified: Recipe | None = None,
    implementation: int = IMPLEMENTATION,
) -> Plan:
    """The plan of a score.

    Args:
        track: the rules of the board.
        recipe: the method's own rules, resolved for the track's dataset and ipc.
        entry: what is scored.
        real: the copy of the real dataset at hand. ``real_hard`` is trained in its own space, so
            that it is the same for every entry; all other arms in the space of the entry.
        arms: which arms to train; ``real_hard`` only where it is not taken from a reference.
        unified: the rules of ``syn_unified`` and ``rdm_unified``, the same for every method.
        implementation: the training code's number; another than the present one only to read an
            older record.

    Raises:
        BadProtocol: the recipe uses the stored learning rate or stored soft labels, and the set
            does not carry them, or not as the loss needs them; an arm without augmentation of a
            recipe that has none; a teacher that cannot see the entry's images; another precision
            than the track's.
    """
    sets = {
        "syn": Distilled(digest=entry.digest),
        "rdm": RandomImages(ipc=track.ipc),
        "real": Whole(),
    }
    made = []
    for arm in arms:
        source, _, role = arm.partition("_")
        rules, training = _rules(track, recipe, unified, source, role)
        rates = training.rates(entry.learning_rate)
        if not rates:
            raise BadProtocol(
                f"recipe {rules}",
                expected="a distilled set that carries its learning rate",
                got="a set without one",
                hint="Pack it again with --learning-rate, or score with --set learning_rate=0.01 "
                "(a custom recipe).",
            )
        _check_labels(training, rules, entry)
        _check_precision(training, rules, track)
        space = real.space if source == "real" else entry.space
        if training.labels.kind == "stored" and source != "syn":
            # Real images carry no soft labels: the track's network makes them, one for each image.
            once = Teacher(networks=(Network(),), sees="images")
            training = training.model_copy(update={"labels": once})
        lesson: Taught = taught(training, track, real.digest, (real.space, space), implementation)
        made.append(
            ArmPlan(
                arm=arm,
                training_set=sets[source],
                training=lesson.training,
                rates=rates,
                space=space,
                student=track.student,
                dataset=real.digest,
                validation_size=track.validation_size,
                seeds=track.seeds,
                selection=track.selection,
                implementation=implementation,
                teachers=lesson.teachers,
            )
        )
    return Plan(track, recipe, tuple(made))


def _rules(
    track: Track, recipe: Recipe, unified: Recipe | None, source: str, role: str
) -> tuple[str, Training]:
    """The rules of an arm, with the name of who made them."""
    if source == "real":
        return track.id, track.whole
    if role == "hard":
        return track.id, track.hard
    if role == "unified":
        assert unified is not None, "an arm under the unified recipe comes with that recipe"
        return unified.id, unified.training
    if role == "noaug":
        if not recipe.training.augmentation:
            raise BadProtocol(
                f"recipe {recipe.id}",
                expected="an augmentation to leave out, for the augmentation-robust score",
                got="none",
                hint="Score without --ars: with and without augmentation are the same here.",
            )
        return recipe.id, recipe.training.model_copy(update={"augmentation": ()})
    return recipe.id, recipe.training


def _check_labels(training: Training, rules: str, entry: Entry) -> None:
    """Whether the set carries the soft labels that a training asks for."""
    if training.labels.kind != "stored":
        return
    if entry.soft_label_kind is None:
        raise BadProtocol(
            f"recipe {rules}",
            expected="a distilled set that carries soft labels",
            got="a set without them",
            hint="Pack it again with its soft labels and --soft-label-kind, or choose a recipe "
            "with hard labels.",
        )
    if training.loss.kind == "mse_gt" and entry.soft_label_kind != "logits":
        raise BadProtocol(
            f"recipe {rules}",
            expected="stored labels that are logits, as its loss mse_gt compares logits",
            got=entry.soft_label_kind,
            hint='Choose another loss, as --set "loss={kind: kl}".',
        )


def _check_precision(training: Training, rules: str, track: Track) -> None:
    """One precision for all arms: a difference between two must not be one of arithmetic."""
    wanted = track.hard.precision
    if training.precision != wanted:
        raise BadProtocol(
            f"recipe {rules}",
            expected=f"precision {wanted}, which is track {track.id}'s",
            got=training.precision,
            hint=f"Score with --set precision={wanted}, or on a track of your own: --set "
            f"track.hard.precision={training.precision} --set "
            f"track.whole.precision={training.precision}.",
        )
