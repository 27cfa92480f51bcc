"""The plan of a score: every training it needs, as a pure function of the rules and the entry.

Arms with several learning rates are done in two steps: every rate and seed reads the validation
split, then the rate with the best mean over seeds reads the test set, once. What is pending
follows from what is known, so a plan can be interrupted, resumed and split over machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ddranking.errors import BadProtocol
from ddranking.protocol.recipe import Recipe
from ddranking.protocol.rules import Training
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
    """The trainings of one arm: rules, data, and the rates to try, the same for every seed."""

    arm: Arm
    training_set: Distilled | RandomImages | Whole
    training: Training
    rates: tuple[float, ...]
    space: Mapping[str, Any]
    student: str
    dataset: str
    validation_size: int
    seeds: int
    implementation: int = IMPLEMENTATION

    def trial(self, rate: float, seed: int, evaluate: str) -> Trial:
        return Trial.model_validate(
            {
                "arm": self.arm,
                "training_set": self.training_set,
                "space": dict(self.space),
                "training": self.training.model_copy(update={"learning_rate": float(rate)}),
                "student": self.student,
                "seed": seed,
                "dataset": self.dataset,
                "validation_size": self.validation_size,
                "evaluate": evaluate,
                "implementation": self.implementation,
            }
        )

    @property
    def search(self) -> list[Trial]:
        """Every rate for every seed, on the validation split; nothing where there is one rate."""
        if len(self.rates) == 1:
            return []
        return [
            self.trial(rate, seed, "validation")
            for rate in self.rates
            for seed in range(self.seeds)
        ]

    def selected(self, validation: Mapping[str, float]) -> float | None:
        """The rate with the best mean validation accuracy over all seeds; the smaller on a tie.

        Args:
            validation: trial key to validation accuracy, of all trials known so far.

        Returns:
            None while trials of the search are missing.
        """
        if len(self.rates) == 1:
            return self.rates[0]
        if any(trial.key not in validation for trial in self.search):
            return None
        means = self.mean_validation(validation)
        return max(sorted(means), key=lambda rate: means[rate])

    def mean_validation(self, validation: Mapping[str, float]) -> dict[float, float]:
        """Mean validation accuracy of each rate over the seeds known so far."""
        found: dict[float, list[float]] = {rate: [] for rate in self.rates}
        for trial in self.search:
            if trial.key in validation:
                found[trial.rate].append(validation[trial.key])
        return {rate: fmean(values) for rate, values in found.items() if values}

    def finals(self, rate: float) -> list[Trial]:
        """The trials that read the test set: the selected rate, every seed."""
        return [self.trial(rate, seed, "test") for seed in range(self.seeds)]

    def pending(self, validation: Mapping[str, float], done: Mapping[str, Any]) -> list[Trial]:
        """The trainings that can run now: the rest of the search, or else the finals."""
        rate = self.selected(validation)
        wanted = self.search if rate is None else self.finals(rate)
        return [trial for trial in wanted if trial.key not in done]

    @property
    def total(self) -> int:
        return len(self.search) + self.seeds


@dataclass(frozen=True)
class Plan:
    """All arms of one score."""

    track: Track
    recipe: Recipe
    arms: tuple[ArmPlan, ...]

    def pending(self, validation: Mapping[str, float], done: Mapping[str, Any]) -> list[Trial]:
        """The trainings of all arms that can run now, given what is known."""
        return [trial for arm in self.arms for trial in arm.pending(validation, done)]

    def arm(self, name: Arm) -> ArmPlan | None:
        return next((arm for arm in self.arms if arm.arm == name), None)

    @property
    def total(self) -> int:
        return sum(arm.total for arm in self.arms)


def make_plan(
    track: Track,
    recipe: Recipe,
    entry: Entry,
    real: RealCopy,
    *,
    arms: tuple[Arm, ...],
    implementation: int = IMPLEMENTATION,
) -> Plan:
    """The plan of a score.

    Args:
        track: the rules of the board.
        recipe: the method's own rules, resolved for the track's dataset and ipc.
        entry: what is scored.
        real: the copy of the real dataset at hand. ``real_hard`` is trained in its own space, so
            that it is the same for every entry; all other arms in the space of the entry.
        implementation: the training code's number; another than the present one only to read an
            older record.
        arms: which arms to train; ``real_hard`` only where it is not taken from a reference.

    Raises:
        BadProtocol: the recipe uses the stored learning rate or stored soft labels, and the set
            does not carry them, or not as the loss needs them.
    """
    sets = {
        "syn": Distilled(digest=entry.digest),
        "rdm": RandomImages(ipc=track.ipc),
        "real": Whole(),
    }
    made = []
    for arm in arms:
        source, _, labels = arm.partition("_")
        training = (
            track.whole if source == "real" else track.hard if labels == "hard" else recipe.training
        )
        rates = training.rates(entry.learning_rate)
        if not rates:
            raise BadProtocol(
                f"recipe {recipe.id}",
                expected="a distilled set that carries its learning rate",
                got="a set without one",
                hint="Pack it again with --learning-rate, or score with --set learning_rate=0.01 "
                "(a custom recipe).",
            )
        _check_labels(training, recipe, entry)
        made.append(
            ArmPlan(
                arm=arm,
                training_set=sets[source],
                training=training,
                rates=rates,
                space=real.space if source == "real" else entry.space,
                student=track.student,
                dataset=real.digest,
                validation_size=track.validation_size,
                seeds=track.seeds,
                implementation=implementation,
            )
        )
    return Plan(track, recipe, tuple(made))


def _check_labels(training: Training, recipe: Recipe, entry: Entry) -> None:
    """Whether the set carries the soft labels that a training asks for."""
    if training.labels.kind != "stored":
        return
    if entry.soft_label_kind is None:
        raise BadProtocol(
            f"recipe {recipe.id}",
            expected="a distilled set that carries soft labels",
            got="a set without them",
            hint="Pack it again with its soft labels and --soft-label-kind, or choose a recipe "
            "with hard labels.",
        )
    if training.loss.kind == "mse_gt" and entry.soft_label_kind != "logits":
        raise BadProtocol(
            f"recipe {recipe.id}",
            expected="stored labels that are logits, as its loss mse_gt compares logits",
            got=entry.soft_label_kind,
            hint='Choose another loss, as --set "loss={kind: kl}".',
        )
