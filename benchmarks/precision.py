"""Does bf16 change what is measured? Paired trainings in fp32 and bf16, and a test of equivalence.

Each cell of the study is a training set, its labels and a norm; seed i of both precisions has the
same initialisation, order, augmentation and random subset. Outcomes are ordinary trials in the
ordinary store (``--store``), so the study goes on where it was stopped, grows with ``--seeds``, and
what it trained is not lost. Differences are of the test accuracy after the last epoch.

    hard      the recipe ``dsa@1`` at the number of epochs asked for
    teacher   the recipe ``rded@1``, likewise, labelled by a tiny teacher: the student's network
              after a few epochs on the whole set in fp32, one and the same for both precisions
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, get_args

from benchmarks import trials
from benchmarks.options import Options
from benchmarks.report import Report, Row
from ddranking import api
from ddranking.data.images import Dataset
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.importers import PackOptions, pack
from ddranking.errors import BadInput
from ddranking.protocol.recipe import find_recipe
from ddranking.protocol.rules import KnownWeights, Network, Precision, Teacher, Training
from ddranking.protocol.trial import Distilled, RandomImages, Trial, Whole
from ddranking.running.local import devices
from ddranking.running.store import Store
from ddranking.running.study import usual_space
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Done, Task
from ddranking.scoring.observation import Observation, Outcome
from ddranking.scoring.statistics import equivalent_paired
from ddranking.training.arithmetic import acceleration

PAIR: tuple[Precision, Precision] = ("fp32", "bf16")
MARGIN = 0.001
"""The difference of accuracies that counts as none: 0.1 points."""

VALIDATION = 2000
"""Images held out of the training set, as in the tracks: random subsets are those of a score."""

IPCS = (1, 10, 50)
DISTILLED = {"dm": (1,), "dsa": (1,), "mtt": (1, 10), "kmeans": (10,)}
"""Published sets, by the folders that they lie in: ``<name>_<dataset>_ipc<k>``."""

DATA = "DDRANKING_TEST_DATA"
QUICK = {"epochs": 20, "seeds": 3, "ipc": (1,), "teacher_epochs": 1}
FULL = {"epochs": 300, "seeds": 20, "ipc": IPCS, "teacher_epochs": 5}

Labels = Literal["hard", "teacher"]


@dataclass(frozen=True)
class Cell:
    """What is paired: training images, labels, and the network with its norm.

    ``distilled`` is the set, or None for random real images.
    """

    source: str
    ipc: int
    labels: Labels
    student: str
    distilled: DistilledSet | None = None

    @property
    def name(self) -> str:
        return f"{self.source} ipc{self.ipc} {self.labels} {self.student}"


def measure(options: Options) -> Report:
    """A row a cell: the mean difference bf16 - fp32, its interval, and whether it is within 0.1."""
    size: dict[str, Any] = FULL if options.full else QUICK
    epochs, seeds = options.epochs or size["epochs"], options.seeds or size["seeds"]
    dataset = api.dataset(options.dataset)
    chosen = _cells(dataset, options, options.ipc or size["ipc"])
    if not chosen:
        raise BadInput("--only", expected="words of a cell's name", got=", ".join(options.only))
    sets = {cell.distilled.digest: cell.distilled for cell in chosen if cell.distilled}
    workbench, store = Workbench(dataset, sets), Store(options.store)
    teachers = {
        cell.student: _teacher(dataset, cell.student, size["teacher_epochs"])
        for cell in chosen
        if cell.labels == "teacher"
    }
    planned = {
        (cell, name, seed): _trial(cell, dataset, epochs, name, seed, teachers.get(cell.student))
        for cell in chosen
        for name in PAIR
        for seed in range(seeds)
    }
    with trials.pool(workbench, options) as workers:
        lacking = [t for t in teachers.values() if store.weights(t.key) is None]
        _train(workers, store, [Task(trial, keep=True) for trial in lacking])
        files = {t.key: path for t in teachers.values() if (path := store.weights(t.key))}
        left = [trial for trial in planned.values() if store.get(trial.key) is None]
        _train(workers, store, [Task(trial, teachers=_of(trial, files)) for trial in left])
    seen = {at: store.get(trial.key) for at, trial in planned.items()}
    known = {at: found for at, found in seen.items() if found is not None}
    rows, raw = [], {}
    for cell in chosen:
        both = [[known[cell, name, seed] for seed in range(seeds)] for name in PAIR]
        rows.append(_row(cell, *both))
        raw[cell.name] = _raw(*both)
    shape = dataset.train.shape
    place = str(devices(options.device)[0])
    students = dict.fromkeys(cell.student for cell in chosen)
    notes = [
        f"{dataset.title}; {seeds} paired seeds, {epochs} epochs; {len(left)} of {len(planned)} "
        "trainings were run now, the others were in the store. Accuracies in percent, differences "
        "bf16 - fp32 in points with their 95 % Student-t interval.",
        "agrees: two one-sided t-tests at 5 % (the 90 % interval) within "
        f"{100 * MARGIN:.1f} points; differs: beyond; else the seeds cannot tell.",
        *(f"{name}, bf16: {acceleration(name, shape, 'bf16', place)}" for name in students),
        *(
            f"Teacher {name}: test accuracy {100 * _accuracy(store, trial):.1f} %, "
            f"{trial.training.epochs} epochs of {trial.training.batch_size} in fp32"
            for name, trial in teachers.items()
        ),
    ]
    return Report({"precision: bf16 against fp32": rows}, notes, {"cells": raw})


def _cells(dataset: Dataset, options: Options, ipcs: Sequence[int]) -> list[Cell]:
    """The study's cells; of a quick one the hard labels and instance norm."""
    sources: list[tuple[str, int, DistilledSet | None]] = [("random", ipc, None) for ipc in ipcs]
    for name, sizes in DISTILLED.items():
        for ipc in (ipc for ipc in sizes if ipc in ipcs):
            found = _published(name, dataset, ipc)
            if found is not None:
                sources.append((name, ipc, found))
    plain, batch_norm = options.student, f"{options.student}-bn"
    kinds: Sequence[tuple[Labels, str]] = [("hard", plain)]
    if options.full or options.only:
        kinds = [(labels, name) for labels in get_args(Labels) for name in (plain, batch_norm)]
    every = [
        Cell(source, ipc, labels, student, found)
        for source, ipc, found in sources
        for labels, student in kinds
    ]
    words = options.only
    return [cell for cell in every if not words or any(_matches(word, cell) for word in words)]


def _matches(word: str, cell: Cell) -> bool:
    """Whether all parts of ``random+ipc1+hard+convnet3-bn`` are words of the cell's name."""
    return set(word.split("+")) <= set(cell.name.split())


def _published(name: str, dataset: Dataset, ipc: int) -> DistilledSet | None:
    """A published set, where the folder of real data holds it."""
    root = Path(os.environ.get(DATA, Path(__file__).resolve().parents[2] / "shared" / "data"))
    folder = root / "distilled" / f"{name}_{dataset.name}_ipc{ipc}"
    if not folder.is_dir():
        return None
    options = PackOptions(method=name, space="standardized")
    return pack([folder], dataset=dataset.name, ipc=ipc, options=options).set


def _teacher(dataset: Dataset, student: str, epochs: int) -> Trial:
    training = find_recipe("teacher-convnet").resolve("cifar10", 1).training
    return Trial.model_validate(
        {
            "arm": "teacher",
            "training_set": Whole(),
            "space": usual_space(dataset),
            "training": training.model_copy(update={"epochs": epochs}),
            "student": student,
            "seed": 0,
            "dataset": dataset.digest,
            "validation_size": min(VALIDATION, len(dataset.train) // 4),
            "evaluate": "test",
        }
    )


def _trial(
    cell: Cell,
    dataset: Dataset,
    epochs: int,
    precision: Precision,
    seed: int,
    teacher: Trial | None,
) -> Trial:
    distilled = cell.distilled
    return Trial.model_validate(
        {
            "arm": "syn_any" if distilled else "rdm_any",
            "training_set": Distilled(digest=distilled.digest)
            if distilled
            else RandomImages(ipc=cell.ipc),
            "space": distilled.card.space.model_dump(mode="json")
            if distilled
            else usual_space(dataset),
            "training": _rules(cell, dataset, teacher).model_copy(
                update={"epochs": epochs, "precision": precision}
            ),
            "student": cell.student,
            "seed": seed,
            "dataset": dataset.digest,
            "validation_size": min(VALIDATION, len(dataset.train) // 4),
            "evaluate": "test",
        }
    )


def _rules(cell: Cell, dataset: Dataset, teacher: Trial | None) -> Training:
    if cell.labels == "hard":
        return find_recipe("dsa").resolve(dataset.name, cell.ipc).training
    assert teacher is not None, "cells with teacher labels come with one"
    network = Network(
        model=teacher.student, weights=KnownWeights(key=teacher.key), space=usual_space(dataset)
    )
    training = find_recipe("rded").resolve("cifar10", cell.ipc).training
    return training.model_copy(update={"labels": Teacher(networks=(network,))})


def _of(trial: Trial, files: Mapping[str, Path]) -> Mapping[str, Path]:
    return files if trial.training.labels.kind == "teacher" else {}


def _train(workers: trials.Pool, store: Store, tasks: Sequence[Task]) -> None:
    """Runs tasks and keeps each as soon as it is there, so that a killed study loses little."""
    if not tasks:
        return
    for task, done in workers.run(tasks, api.Silent()):
        if done.weights is not None:
            store.put_weights(task.trial.key, done.weights)
        store.put(_observation(task.trial, done))


def _observation(trial: Trial, done: Done) -> Observation:
    return Observation(
        trial=trial,
        outcome=Outcome(test_accuracy=done.accuracy, train_loss=done.train_loss, steps=done.steps),
        environment=done.environment,
        seconds=done.seconds,
    )


def _accuracy(store: Store, trial: Trial) -> float:
    found = store.get(trial.key)
    return float("nan") if found is None else _test(found)


def _test(seen: Observation) -> float:
    assert seen.outcome.test_accuracy is not None, "the study's trials read the test set"
    return seen.outcome.test_accuracy


def _row(cell: Cell, fp32: Sequence[Observation], bf16: Sequence[Observation]) -> Row:
    row: dict[str, float | int | str] = {
        "set": cell.source,
        "ipc": cell.ipc,
        "labels": cell.labels,
        "student": cell.student,
        "n": len(fp32),
        "fp32 %": 100 * fmean(_test(seen) for seen in fp32),
    }
    if len(fp32) < 2:
        return row | {"bf16 - fp32": "", "95 % interval": "one seed has none", "verdict": ""}
    found = equivalent_paired(
        [_test(seen) for seen in bf16], [_test(seen) for seen in fp32], MARGIN
    )
    middle = found.difference
    return row | {
        "bf16 - fp32": f"{100 * middle.mean:+.3f}",
        "95 % interval": f"{100 * middle.low:+.3f} to {100 * middle.high:+.3f}",
        "verdict": found.verdict,
    }


def _raw(fp32: Sequence[Observation], bf16: Sequence[Observation]) -> dict[str, Any]:
    """Every outcome by seed, and where it was trained."""
    return {
        name: {
            "accuracies": [_test(seen) for seen in both],
            "losses": [seen.outcome.train_loss for seen in both],
            "seconds": [seen.seconds for seen in both],
            "keys": [seen.key for seen in both],
            "environments": [
                dict(found)
                for found in {tuple(seen.environment.model_dump().items()) for seen in both}
            ],
        }
        for name, both in zip(PAIR, (fp32, bf16), strict=True)
    }
