"""Work: the trainings of a plan, from what is known to nothing left.

What is known lies in the store and in reference records; what is pending follows from it. Every
finished training is in the store before the next one is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ddranking.errors import BadInput, StoreUnusable
from ddranking.protocol.plan import Plan
from ddranking.protocol.trial import Arm, Trial
from ddranking.running.local import Engine, Watcher
from ddranking.running.store import Store
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Done, Halfway, Task
from ddranking.scoring.observation import Observation, Outcome, validation_accuracies
from ddranking.training.snapshot import epochs_in


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
class Work:
    """A plan, the data its trials name, and where their observations are.

    ``shared`` are observations of reference records, by trial key; they count like stored ones.
    """

    plan: Plan
    workbench: Workbench
    store: Store
    shared: Mapping[str, Observation]

    def known(self) -> dict[str, Observation]:
        """Observations of the plan that the store or the references hold, by trial key."""
        found = self._look(self.plan.teachers)
        for arm in self.plan.arms:
            searched = self._look(arm.search)
            asked = {trial.key for trial in arm.asked(validation_accuracies(searched))}
            found |= {key: seen for key, seen in searched.items() if key in asked}
            rate = arm.selected(validation_accuracies(found))
            if rate is not None:
                found |= self._look(arm.finals(rate))
        return found

    def knows(self, name: Arm) -> bool:
        """Whether every training of one arm is known."""
        arm = self.plan.arm(name)
        known = self.known()
        return arm is not None and not arm.pending(validation_accuracies(known), known)

    def pending(self, known: Mapping[str, Observation]) -> list[Trial]:
        """What can be trained now: teachers before those whose images they label.

        A teacher whose accuracy is known and whose weights are not here is trained again, where
        something is left that needs them.
        """
        wanted = self.plan.pending(validation_accuracies(known), known)
        ready, first = [], {}
        for trial in wanted:
            lacking = [key for key in self._teachers(trial) if self.store.weights(key) is None]
            if not lacking:
                ready.append(trial)
            first |= dict.fromkeys(lacking)
        absent = [trial for trial in self.plan.teachers if trial.key in first]
        return list({trial.key: trial for trial in (*absent, *ready)}.values())

    def run(
        self,
        pool: Engine,
        watcher: Watcher,
        shard: Shard = Shard(),
    ) -> dict[str, Observation]:
        """Trains what is pending, in steps, until nothing (of this shard) is left.

        Every finished training is in the store before the next one is looked at, and long ones are
        kept halfway, so that a killed run loses minutes.

        Returns:
            all known observations.
        """
        known = self.known()

        def elsewhere(task: Task) -> bool:
            """Whether another process has finished it since."""
            seen = self._whole(task)
            if seen is not None:
                known.setdefault(seen.key, seen)
                watcher.finished(task.trial)
            return seen is not None

        while mine := [trial for trial in self.pending(known) if shard.holds(trial)]:
            tasks = [self._task(trial) for trial in mine]
            for task, done in pool.run(tasks, watcher, elsewhere, self._keep_halfway):
                seen = self._observe(task, done)
                if seen is None:
                    continue  # its search was set aside meanwhile, and is trained again
                self._keep(seen, done)
                known.setdefault(seen.key, seen)
                watcher.finished(task.trial)
            known |= self.known()  # finals of a search that is whole now, and what others wrote
        if not self.pending(known):
            self._drop_what_was_kept(known)
        return known

    def outlook(self, known: Mapping[str, Observation]) -> dict[str, float]:
        """The effort of everything that is still to do, by trial key, in image visits.

        Trainings whose rate is not known yet stand under names that begin with what they read:
        those of later rungs of a search, and finals, which are only evaluated, at a third of a
        visit an image.
        """
        validation, left = validation_accuracies(known), {}
        reading = len(self.workbench.dataset.test) / 3
        wanted = {trial.key for trial in self.pending(known)}
        for trial in self.plan.teachers:
            if trial.key not in known or trial.key in wanted:
                left[trial.key] = reading + self.workbench.visits(trial)
        for arm in self.plan.arms:
            rate = arm.selected(validation)
            for trial in arm.asked(validation) if rate is None else arm.finals(rate):
                if trial.key not in known:
                    searched = trial.evaluate == "test" and arm.search
                    left[trial.key] = reading + (0 if searched else self.workbench.visits(trial))
            if rate is None:
                first = arm.search[0]
                training = reading + self.workbench.visits(first)
                later = range(len(arm.standing(validation).later))
                left |= {f"validation/{first.key}/{number}": training for number in later}
                left |= {f"test/{first.key}/{seed}": reading for seed in range(arm.seeds)}
        return left

    def halfway(self, known: Mapping[str, Observation]) -> dict[str, float]:
        """The share that is done of each pending training that a run left halfway, by its key.

        As its file says; one that was begun in another environment starts anew all the same.
        """
        shares = {
            trial.key: epochs_in(self.store.halfway(trial.key)) / trial.training.epochs
            for trial in self.pending(known)
        }
        return {key: min(1.0, share) for key, share in shares.items() if share}

    def _look(self, trials: Sequence[Trial]) -> dict[str, Observation]:
        seen = {
            trial.key: self.shared.get(trial.key) or self.store.get(trial.key) for trial in trials
        }
        return {key: observation for key, observation in seen.items() if observation is not None}

    def _task(self, trial: Trial) -> Task:
        """A trial with the weights that it needs, and whether its own are needed later."""
        files = {key: self.store.weights(key) for key in self._teachers(trial)}
        return Task(
            trial,
            self._weights(trial),
            teachers={key: path for key, path in files.items() if path is not None},
            keep=trial.evaluate == "validation" or trial in self.plan.teachers,
            begun=self.store.halfway(trial.key),
        )

    def _whole(self, task: Task) -> Observation | None:
        """What the store holds of a task; nothing of a teacher whose weights it lacks."""
        key = task.trial.key
        lacking = task.trial in self.plan.teachers and self.store.weights(key) is None
        return None if lacking else self.store.get(key)

    def _teachers(self, trial: Trial) -> list[str]:
        """The trial keys of the networks that label a trial's images; none where it is trained."""
        labels = trial.training.labels
        if labels.kind != "teacher" or self._weights(trial) is not None:
            return []
        return [seen.weights.key for seen in labels.networks if seen.weights.kind == "trial"]

    def _weights(self, trial: Trial) -> Path | None:
        """Weights that the search already trained for this final trial, where they are kept."""
        if trial.evaluate == "validation":
            return None
        searched = trial.searched_as()
        known = self.store.get(searched.key)
        return self.store.weights(searched.key) if known is not None else None

    def _observe(self, task: Task, done: Done) -> Observation | None:
        trial = task.trial
        loss, steps = done.train_loss, done.steps
        if steps == 0:  # evaluated from the weights of a search, this plan's or another's
            searched = self.store.get(trial.searched_as().key)
            if searched is None:
                return None
            loss, steps = searched.outcome.train_loss, searched.outcome.steps
        outcome = Outcome.model_validate(
            {f"{trial.evaluate}_accuracy": done.accuracy, "train_loss": loss, "steps": steps}
        )
        return Observation(
            trial=trial, outcome=outcome, environment=done.environment, seconds=done.seconds
        )

    def _keep(self, seen: Observation, done: Done) -> None:
        try:
            self._put(seen, done)
        except StoreUnusable:  # perhaps for want of the room that its first half takes
            self.store.drop_halfway(seen.key)
            self._put(seen, done)

    def _put(self, seen: Observation, done: Done) -> None:
        if done.weights is not None:
            self.store.put_weights(seen.key, done.weights)
        self.store.put(seen)

    def _keep_halfway(self, task: Task, halfway: Halfway) -> None:
        with suppress(StoreUnusable):  # what cannot be kept is trained again, should it come to it
            self.store.put_halfway(task.trial.key, halfway.content)

    def _drop_what_was_kept(self, known: Mapping[str, Observation]) -> None:
        for key in known:
            self.store.drop_halfway(key)  # of one that another process finished, or a killed one
        for arm in self.plan.arms:
            for trial in arm.search:
                self.store.drop_weights(trial.key)
