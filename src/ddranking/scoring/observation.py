"""An observation: a trial with its outcome, as it is stored and as it stands in a record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, model_validator

from ddranking.protocol.once import once
from ddranking.protocol.recipe import Text
from ddranking.protocol.rules import Frozen
from ddranking.protocol.trial import Trial

Fraction = Annotated[float, Field(ge=0, le=1, strict=True)]
Seconds = Annotated[float, Field(ge=0)]


class Outcome(Frozen):
    """What one training gave, after its last epoch.

    Accuracies are fractions of the validation split or the test set; the one that the trial did
    not read is None. ``train_loss`` is the mean over the last epoch, None where it was not finite.
    """

    validation_accuracy: Fraction | None = None
    test_accuracy: Fraction | None = None
    train_loss: float | None = None
    steps: Annotated[int, Field(ge=0)]

    @property
    def diverged(self) -> bool:
        return self.train_loss is None


class Environment(Frozen):
    """Where a training ran; part of the provenance, never of a trial's key."""

    ddranking: Text
    commit: Text | None = None
    torch: Text
    python: Text
    device: Text
    threads: int
    platform: Text
    kernels: Text | None = None


class Observation(Frozen):
    """A trial, its outcome, where it ran and how long it took (``seconds``, of one worker)."""

    trial: Trial
    outcome: Outcome
    environment: Annotated[Environment, once(Environment)]
    seconds: Seconds

    @model_validator(mode="after")
    def _reads_what_it_says(self) -> Observation:
        test, validation = self.outcome.test_accuracy, self.outcome.validation_accuracy
        read, unread = (test, validation) if self.trial.evaluate == "test" else (validation, test)
        if read is None or unread is not None:
            raise ValueError(
                f"a trial evaluated on {self.trial.evaluate} holds that accuracy alone"
            )
        return self

    @property
    def key(self) -> str:
        return self.trial.key


def validation_accuracies(known: Mapping[str, Observation]) -> dict[str, float]:
    """The validation accuracy of every observation that read that split, by trial key."""
    return {
        key: seen.outcome.validation_accuracy
        for key, seen in known.items()
        if seen.outcome.validation_accuracy is not None
    }
