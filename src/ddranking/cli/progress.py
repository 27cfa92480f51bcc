"""What a person sees while trainings run: done and total, time left, the current arm."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from ddranking.protocol.trial import Arm, Trial

ARM_NAMES = {
    "real_hard": "whole real set, hard labels",
    "syn_hard": "distilled images, hard labels",
    "syn_any": "distilled images, own recipe",
    "rdm_any": "random images, same recipe",
    "rdm_hard": "random images, hard labels",
    "syn_noaug": "distilled images, no augmentation",
    "rdm_noaug": "random images, no augmentation",
    "syn_unified": "distilled images, unified recipe",
    "rdm_unified": "random images, unified recipe",
    "teacher": "a teacher, whole real set",
}


SILENCE_SECONDS = 600.0
"""Without a terminal: how long nothing is said while no training ends."""


class TrainingProgress:
    """A progress bar over all trainings of a study; a line each where there is no terminal.

    ``work`` is the effort of each training to do, by trial key, in any unit; that of one whose
    rate is selected later under a name that begins with what it reads, ``test/``. ``done`` counts
    those that are known already; ``roles`` say what arm a trial is for, where it does not itself.
    ``halfway`` is the share of trainings that an earlier run did, and not at this run's pace.
    """

    def __init__(
        self,
        title: str,
        work: Mapping[str, float],
        done: int = 0,
        roles: Mapping[str, Arm] | None = None,
        halfway: Mapping[str, float] | None = None,
    ) -> None:
        self.roles, self.halfway = roles or {}, dict(halfway or {})
        self.title, self.work, self.count = title, dict(work), done
        self.total = done + len(work)
        self.shares: dict[str, float] = {}
        self.before, self.ends = 0.0, None
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}/{task.fields[total_count]} trainings"),
            TimeElapsedColumn(),
            TextColumn("left"),
            _TimeLeft(self),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
        self.begun = self.spoke = time.monotonic()
        self.task = self.bar.add_task(
            self.title,
            total=max(1e-9, sum(self.work.values())),
            count=self.count,
            total_count=self.total,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def running(self, trial: Trial, share: float) -> None:
        """Moves the bar to where the trial is."""
        self._moved(trial, share)
        self._show(trial)
        if self.bar.disable and time.monotonic() - self.spoke >= SILENCE_SECONDS:
            done = self.bar.tasks[0].percentage
            self._say(f"{done:.0f} % of the work done, {self.left()} left")

    def finished(self, trial: Trial) -> None:
        """Counts the trial."""
        self._moved(trial, 1.0)
        self.count += 1
        self._show(trial)
        if self.bar.disable:
            rate = f"rate {trial.rate:g}, " if trial.evaluate == "validation" else ""
            self._say(f"{self._name(trial)}, {rate}seed {trial.seed}")

    def left(self) -> str:
        """The time left by the pace of this run so far, in hours, minutes and seconds."""
        if self.ends is None:
            return "-:--:--"
        return str(timedelta(seconds=max(0, round(self.ends - time.monotonic()))))

    def _say(self, text: str) -> None:
        self.spoke = time.monotonic()
        print(f"{self.count}/{self.total} {text}", file=sys.stderr)

    def _moved(self, trial: Trial, share: float) -> None:
        """Keeps the share; a trial that had no name yet takes the place of one that was to come."""
        if trial.key not in self.work:
            places = (name for name in self.work if name.startswith(f"{trial.evaluate}/"))
            place = next(places, None)
            self.work[trial.key] = 0.0 if place is None else self.work.pop(place)
        if (earlier := self.halfway.pop(trial.key, 0.0)) < share:  # else it has started anew
            self.before += earlier * self.work[trial.key]
        self.shares[trial.key] = share

    def _show(self, trial: Trial) -> None:
        done = sum(self.work.get(key, 0.0) * share for key, share in self.shares.items())
        if done > self.before:
            now, left = time.monotonic(), sum(self.work.values()) - done
            self.ends = now + left * (now - self.begun) / (done - self.before)
        self.bar.update(
            self.task,
            completed=done,
            count=self.count,
            description=f"{self.title}: {self._name(trial)}",
        )

    def _name(self, trial: Trial) -> str:
        return ARM_NAMES[self.roles.get(trial.key, trial.arm)]


class _TimeLeft(ProgressColumn):
    """Of the whole run: rich's own looks back 30 seconds, where an epoch may take minutes."""

    def __init__(self, progress: TrainingProgress) -> None:
        super().__init__()
        self.progress = progress

    def render(self, task: Task) -> Text:
        return Text(self.progress.left(), style="progress.remaining")
