"""Many studies as one work: trainings that several of them need are done once.

The plans' arms are put side by side, each once. So one search for all sets runs before one set of
finals, every worker has something to do until the end, and a stopped run resumes as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ddranking.distilled.artifact import DistilledSet
from ddranking.errors import BadInput, MissingReference, Skipped
from ddranking.protocol.plan import ArmPlan
from ddranking.protocol.recipe import Recipe
from ddranking.protocol.track import Track
from ddranking.protocol.trial import Distilled, Trial
from ddranking.running.local import Engine, Watcher
from ddranking.running.store import Store
from ddranking.running.study import Study, prepare
from ddranking.running.work import Shard, Work
from ddranking.running.workbench import Workbench
from ddranking.scoring.observation import Observation

EVERYTHING = Shard()


@dataclass(frozen=True)
class Prepared:
    """Studies that were prepared together, in the order of their files, and the sets left out."""

    files: tuple[Path, ...]
    studies: tuple[Study, ...]
    refused: tuple[Skipped, ...]


@dataclass(frozen=True)
class Studies:
    """Studies of one track, one recipe and one store, and all their trainings as one work."""

    studies: tuple[Study, ...]
    work: Work

    @property
    def shared(self) -> int:
        """How many trainings are saved by being done once for all."""
        return sum(study.plan.total for study in self.studies) - self.work.plan.total

    def run(
        self,
        pool: Engine,
        watcher: Watcher,
        whole: Callable[[Study, Mapping[str, Observation]], None],
        shard: Shard = EVERYTHING,
    ) -> list[Study]:
        """Trains what is pending, as :meth:`Work.run` does.

        Args:
            pool: what trains; its workbench holds every study's set.
            watcher: told of progress.
            whole: called once with each study and its observations as soon as none is missing,
                also where none was missing before.
            shard: which part to train.

        Returns:
            studies that still lack trainings of other shards.
        """
        left = list(self.studies)
        known = self.work.known()

        def settle(concerned: Sequence[Study]) -> None:
            for study in concerned:
                if not study.pending(known):
                    left.remove(study)
                    whole(study, study.known())

        class Settling:
            """Tells the watcher, then looks which studies lacked only this training."""

            def running(self, trial: Trial, share: float) -> None:
                watcher.running(trial, share)

            def finished(self, trial: Trial) -> None:
                watcher.finished(trial)
                seen = studies.work.store.get(trial.key)
                if seen is not None:
                    known[trial.key] = seen
                settle([study for study in left if _concerns(trial, study)])

        studies = self
        settle(list(left))
        known |= self.work.run(pool, Settling(), shard)
        settle(list(left))
        return left


def prepare_all(
    files: Sequence[Path],
    load: Callable[[Path], DistilledSet],
    track: Track,
    recipe: Recipe,
    workbench: Workbench,
    store: Store,
    **choices: Any,
) -> Prepared:
    """Reads and checks every set as :func:`ddranking.running.study.prepare` does.

    Args:
        files: packed sets.
        load: reads one.
        track: the board's rules.
        recipe: the rules of every set.
        workbench: the real dataset; gets the sets that could be read.
        store: where observations are kept.
        choices: the other arguments of ``prepare``.

    Raises:
        MissingReference: the whole-set accuracy is not known, whatever the set.
    """
    read: dict[Path, DistilledSet] = {}
    refused: dict[Path, str] = {}
    for file in files:
        try:
            read[file] = load(file)
        except BadInput as error:
            refused[file] = str(error)
    bench = replace(workbench, distilled={one.digest: one for one in read.values()})
    studies: dict[Path, Study] = {}
    first: dict[str, Path] = {}
    for file, distilled in read.items():
        try:
            if distilled.digest in first:
                raise BadInput(
                    "distilled set", expected="each once", got=f"that of {first[distilled.digest]}"
                )
            studies[file] = prepare(distilled, track, recipe, bench, store, **choices)
            first[distilled.digest] = file
        except MissingReference:
            raise
        except BadInput as error:
            refused[file] = str(error)
    listed = tuple(Skipped(str(file), refused[file]) for file in files if file in refused)
    return Prepared(tuple(studies), tuple(studies.values()), listed)


def together(studies: Sequence[Study]) -> Studies:
    """Studies that were prepared with one workbench and one store, as one work.

    Raises:
        BadInput: none, or two of one set.
    """
    if not studies:
        raise BadInput("sets to score", expected="at least one", got="none")
    first = studies[0]
    arms: dict[tuple[object, ...], ArmPlan] = {}
    for study in studies:
        for arm in study.plan.arms:
            arms.setdefault(_identity(arm), arm)
    plan = replace(first.plan, arms=tuple(arms.values()))
    work = Work(plan=plan, workbench=first.workbench, store=first.store, shared=first.shared)
    return Studies(tuple(studies), work)


def _identity(arm: ArmPlan) -> tuple[object, ...]:
    """Equal for arms with the same trainings; a trial's key is the hash of all that matters."""
    return arm.arm, arm.rates, arm.seeds, arm.trial(arm.rates[0], 0, "test").key


def _concerns(trial: Trial, study: Study) -> bool:
    named = trial.training_set
    return not isinstance(named, Distilled) or named.digest == study.entry.digest
