"""A whole score: with an empty store, then a second method that finds the shared arms in it.

By default tiny; ``--full`` is the real size (10 images per class, the track's seeds and epochs, the
search of five rates in every arm), for which the quick run only gives an estimate: the cost of
single trainings of that size, measured, times how many there are.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import trials
from benchmarks.options import Options
from benchmarks.report import Report, quick_precisions
from benchmarks.trials import Cost
from ddranking import api
from ddranking.distilled.artifact import DistilledSet
from ddranking.methods.baselines import make
from ddranking.protocol.plan import Plan
from ddranking.protocol.rules import Precision
from ddranking.protocol.trial import Trial
from ddranking.running.local import Pool, Watcher
from ddranking.running.study import RealChoice, Study
from ddranking.running.waiting import Finished, never
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Done, Keep, Task, forget

METHODS = ("random", "kcenter")
"""Baselines that are quick to make; a score takes as long whatever the images show."""

WHOLE_SET = RealChoice(accuracy=0.8, source="not measured: a benchmark's placeholder")
QUICK = {"epochs": 20, "seeds": 2, "ipc": 1}
FULL_IPC = 10
ESTIMATED_VISITS = 4000
"""Images of the longer of two runs that an estimate rests on."""


@dataclass
class Stopwatch:
    """An engine that passes everything on to a pool and keeps where the time went, in seconds.

    Attributes:
        pool: what runs.
        busy: of workers, by part.
        trainings: how many, by part.
        parent: between an answer and the next request: writing the store.
        first: from the first request until a worker told of progress or finished.
    """

    pool: Pool
    busy: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    trainings: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    parent: float = 0.0
    first: float | None = None

    def __enter__(self) -> Stopwatch:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self,
        tasks: Sequence[Task],
        watcher: Watcher,
        finished: Finished = never,
        keep: Keep = forget,
    ) -> Iterator[tuple[Task, Done]]:
        begun, saw = time.perf_counter(), self._saw

        class First(api.Silent):
            def running(self, trial: Trial, share: float) -> None:
                saw(begun)

        for task, done in self.pool.run(tasks, First(), finished, keep):
            self._saw(begun)
            part = part_of(task.trial, done)
            self.busy[part] += done.seconds
            self.trainings[part] += 1
            given = time.perf_counter()
            yield task, done
            self.parent += time.perf_counter() - given

    def _saw(self, begun: float) -> None:
        if self.first is None:
            self.first = time.perf_counter() - begun


def part_of(trial: Trial, done: Done) -> str:
    """What a finished task counts as."""
    if done.steps == 0:
        return "evaluation of selected rates"
    return f"{trial.arm}, {'search' if trial.evaluate == 'validation' else 'training'}"


def measure(options: Options) -> Report:
    """A cold score and a second one on the same store; the cost at full size, as an estimate."""
    precision = _precision(options)
    sizes = QUICK | {"ipc": FULL_IPC, "epochs": None, "seeds": None} if options.full else QUICK
    ipc = options.ipc[0] if options.ipc else sizes["ipc"]
    changes = _changes(options.epochs or sizes["epochs"], precision)
    track = f"{options.dataset}-ipc{ipc}-{options.student}"
    rules = api.Rules(
        track, options.recipe, seeds=options.seeds or sizes["seeds"], changes=changes, rdm_hard=True
    )
    dataset = api.dataset(options.dataset)
    tables: dict[str, Any] = {}
    raw: dict[str, Any] = {"precision": precision, "track": track, "changes": changes}
    walls = []
    with TemporaryDirectory() as folder:
        store = options.store or Path(folder)
        for turn, method in enumerate(METHODS):
            title = f"score: {method}, {'empty store' if turn == 0 else 'shared arms in the store'}"
            found = scored(make(method, dataset, ipc), rules, store, options)
            tables[title], raw[title] = _rows(found), found.plain()
            walls.append(found.wall)
    notes = [
        f"{dataset.title}, track {track}, recipe {options.recipe}, "
        f"{', '.join(changes)}; all arms but real_hard. The second score took "
        f"{walls[1] / walls[0]:.0%} of the first one's time.",
        "Seconds of workers; a training includes reading its split once. `the rest` is workers "
        "that start, wait for the last ones, or receive and send.",
    ]
    if not options.full:
        estimated = estimates(options, precision)
        tables["score: full size, estimated, not run"] = estimated["rows"]
        raw["estimated"] = estimated
        notes.append(
            "The estimate: the cost of one training of the track's size (measured: "
            f"{estimated['cost']}) times the trainings of the plan."
        )
    return Report(tables, notes, raw)


def _precision(options: Options) -> Precision:
    return (options.precision or quick_precisions(options.device)[-1:])[0]


def _changes(epochs: int | None, precision: Precision) -> list[str]:
    names = ("precision", "track.hard.precision", "track.whole.precision")
    made = [f"{name}={precision}" for name in names]
    return made if epochs is None else [f"epochs={epochs}", f"track.hard.epochs={epochs}", *made]


@dataclass(frozen=True)
class Found:
    """Where the time of a score went, in seconds; ``busy`` and ``rest`` are of workers."""

    wall: float
    workers: int
    watch: Stopwatch
    prepared: float
    written: float
    memory: float | None

    @property
    def rest(self) -> float:
        inside = self.wall - self.prepared - self.written
        return max(0.0, self.workers * inside - sum(self.watch.busy.values()))

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "wall": self.wall,
            "workers": self.workers,
            "busy": dict(self.watch.busy),
            "trainings": dict(self.watch.trainings),
            "writing the store": self.watch.parent,
            "until the first progress": self.watch.first,
            "checking": self.prepared,
            "record": self.written,
            "rest of workers": self.rest,
            "GB resident, largest worker": self.memory,
        }


def scored(distilled: DistilledSet, rules: api.Rules, store: Path, options: Options) -> Found:
    """Scores a set as a user's command does, and times it."""
    begun = time.perf_counter()
    runtime = api.Runtime(store=store)
    dataset = api.dataset(str(distilled.card.dataset))
    study: Study = api.study(distilled, rules, real=WHOLE_SET, data=dataset, runtime=runtime)
    ready = time.perf_counter()
    with trials.pool(study.workbench, options) as pool:
        watch = Stopwatch(pool)
        known = study.run(watch, api.Silent())
        memory, count = trials.resident(pool), len(pool.places)
    trained = time.perf_counter()
    study.record(known).save(store / "record.json")
    end = time.perf_counter()
    return Found(end - begun, count, watch, ready - begun, end - trained, memory)


def _rows(found: Found) -> list[dict[str, float | int | str]]:
    whole = found.workers * found.wall
    rows: list[dict[str, float | int | str]] = []

    def row(part: str, trainings: int | str, seconds: float) -> None:
        share = f"{seconds / whole:.0%}"
        rows.append({"part": part, "trainings": trainings, "seconds": seconds, "share": share})

    for part, seconds in found.watch.busy.items():
        row(part, found.watch.trainings[part], seconds)
    row("the rest", "", found.rest)
    row("checks before, record after (the workers wait)", "", whole - _inside(found))
    row("all workers", sum(found.watch.trainings.values()), whole)
    for what, seconds in (
        ("wall time", found.wall),
        ("until the first progress", found.watch.first or 0.0),
        ("writing the store (workers train meanwhile)", found.watch.parent),
    ):
        rows.append({"part": what, "trainings": "", "seconds": seconds, "share": ""})
    if found.memory is not None:
        rows.append(
            {"part": "GB resident, largest worker", "trainings": "", "seconds": found.memory,
             "share": ""}
        )  # fmt: skip
    return rows


def _inside(found: Found) -> float:
    return found.workers * (found.wall - found.prepared - found.written)


def estimates(options: Options, precision: Precision) -> dict[str, Any]:
    """Minutes of a first and a second score at the track's size, from the cost of a training."""
    dataset = api.dataset(options.dataset)
    ipc = FULL_IPC
    track = f"{options.dataset}-ipc{ipc}-{options.student}"
    with TemporaryDirectory() as folder:
        runtime = api.Runtime(store=folder)
        entry = make("random", dataset, ipc)

        def plan(recipe: str, rdm_hard: bool) -> Plan:
            rules = api.Rules(track, recipe, changes=_changes(None, precision), rdm_hard=rdm_hard)
            return api.study(entry, rules, real=WHOLE_SET, data=dataset, runtime=runtime).plan

        plans = {
            (recipe, arm): plan(recipe, arm)
            for recipe in ("dsa", options.recipe)
            for arm in (False, True)
        }
        workbench = Workbench(dataset, {})
        student = plans["dsa", False].track.student
        with trials.pool(workbench, options) as workers:
            maker = trials.random_images(workbench, student, ipc, precision)
            begun = trials.start(workers, maker)
            visits = ipc * dataset.num_classes
            cost = trials.cost(workers, maker, max(2, ESTIMATED_VISITS // visits))
    rows = [
        {
            "recipe": recipe,
            "arms": "all but real_hard" if arm else "of the score",
            "trainings": len(_trainings(made)),
            "minutes": minutes(made, cost, begun, len(dataset.test)),
            "second, trainings": len(_trainings(made, "syn")),
            "second, minutes": minutes(made, cost, begun, len(dataset.test), "syn"),
        }
        for (recipe, arm), made in plans.items()
    ]
    return {
        "rows": rows,
        "cost": f"{cost.epoch:.3g} s an epoch and {cost.evaluation:.3g} s an evaluation of the "
        f"whole machine at {ipc} images per class",
        "epoch": cost.epoch,
        "evaluation": cost.evaluation,
        "fixed": cost.fixed,
        "start": begun,
    }


def _trainings(plan: Plan, source: str = "") -> list[Trial]:
    """What a plan trains: each search, or where there is none the finals."""
    return [
        trial
        for arm in plan.arms
        if arm.arm.startswith(source)
        for trial in (arm.search or arm.finals(arm.rates[0]))
    ]


def minutes(plan: Plan, cost: Cost, begun: float, test: int, source: str = "") -> float:
    """Minutes of a plan's trainings, its validation and its test readings, on all workers."""
    total = begun
    for trial in _trainings(plan, source):
        read = trial.validation_size / test if trial.evaluate == "validation" else 0
        total += cost.fixed + trial.training.epochs * cost.epoch + read * cost.evaluation
    finals = sum(arm.seeds for arm in plan.arms if arm.arm.startswith(source))
    return (total + finals * cost.evaluation) / 60
