"""What a person sees while trainings run: done and total, time left, the current arm."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

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


class TrainingProgress:
    """A progress bar over all trainings of a study; a line each where there is no terminal.

    ``work`` is the effort of each training to do, by trial key, in any unit; that of one whose
    rate is selected later under a name that begins with what it reads, ``test/``. ``done`` counts
    those that are known already; ``roles`` say what arm a trial is for, where it does not itself.
    """

    def __init__(
        self,
        title: str,
        work: Mapping[str, float],
        done: int = 0,
        roles: Mapping[str, Arm] | None = None,
    ) -> None:
        self.roles = roles or {}
        self.title, self.work, self.count = title, dict(work), done
        self.total = done + len(work)
        self.shares: dict[str, float] = {}
        self.console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]}/{task.fields[total_count]} trainings"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> TrainingProgress:
        self.bar.start()
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

    def finished(self, trial: Trial) -> None:
        """Counts the trial."""
        self._moved(trial, 1.0)
        self.count += 1
        self._show(trial)
        if self.bar.disable:
            rate = f"rate {trial.rate:g}, " if trial.evaluate == "validation" else ""
            print(
                f"{self.count}/{self.total} {self._name(trial)}, {rate}seed {trial.seed}",
                file=sys.stderr,
            )

    def _moved(self, trial: Trial, share: float) -> None:
        """Keeps the share; a trial that had no name yet takes the place of one that was to come."""
        if trial.key not in self.work:
            places = (name for name in self.work if name.startswith(f"{trial.evaluate}/"))
            place = next(places, None)
            self.work[trial.key] = 0.0 if place is None else self.work.pop(place)
        self.shares[trial.key] = share

    def _show(self, trial: Trial) -> None:
        done = sum(self.work.get(key, 0.0) * share for key, share in self.shares.items())
        self.bar.update(
            self.task,
            completed=done,
            count=self.count,
            description=f"{self.title}: {self._name(trial)}",
        )

    def _name(self, trial: Trial) -> str:
        return ARM_NAMES[self.roles.get(trial.key, trial.arm)]
