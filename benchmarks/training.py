"""The same trainings by this package and by a conventional loop, on this machine, in one run.

A whole comparison at 300 or 1,000 epochs takes hours, so each side's parts are measured, in turn,
and composed. With E epochs and a test set read every V epochs:

    the other      E epochs + E / V evaluations, one model after another
    ours           fixed + E epochs + 1 evaluation (``last``) or E / V evaluations (``equal``),
                   divided over the workers, and the start of the workers over TRAININGS trainings

``--check N`` runs both sides for N epochs from one end to the other, beside what the parts say.
The other side is the loop in ``conventional.py``; in :mod:`benchmarks.published` it is another.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Protocol

import torch
from torch.utils.data import TensorDataset

from benchmarks import conventional, trials
from benchmarks.conventional import Loop
from benchmarks.options import Options
from benchmarks.report import Report, quick_precisions, spread
from benchmarks.trials import Cost
from ddranking import api
from ddranking.models import table
from ddranking.protocol.rules import Precision
from ddranking.running.local import devices
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Task
from ddranking.training.arithmetic import acceleration
from ddranking.training.lesson import shape_of

IPCS = (1, 10, 50)
EPOCHS, EVERY = 300, 20
"""What costs are composed for where nothing else is asked for; epochs between evaluations."""

TRAININGS = 30
"""Trainings over which the start of the workers is spread; a score has 15 to 125."""

QUICK_VISITS, FULL_VISITS = 3000, 12_000
"""Images that the longer of two runs visits, on each worker."""

CONVENTIONAL_EPOCHS = 4


@dataclass(frozen=True)
class Setting:
    """What both sides train.

    Attributes:
        workbench: the dataset.
        student: name of the network.
        device: where both sides train.
    """

    workbench: Workbench
    student: str
    device: str

    @classmethod
    def of(cls, options: Options) -> Setting:
        bench = Workbench(api.dataset(options.dataset), {})
        return cls(bench, options.student, str(devices(options.device)[0]))

    def data(self, ipc: int, seed: int = 0) -> tuple[TensorDataset, TensorDataset]:
        """The training images of a seed and the test set, as our engine trains and reads them."""
        trial = trials.random_images(self.workbench, self.student, ipc, "fp32")(seed)
        training = self.workbench.training_images(trial)
        test = self.workbench.evaluation_images(trial)
        return (
            TensorDataset(training.images[:], training.labels),
            TensorDataset(test.images[:], test.labels),
        )

    def network(self, ipc: int, seed: int = 0) -> torch.nn.Module:
        trial = trials.random_images(self.workbench, self.student, ipc, "fp32")(seed)
        shape = shape_of(self.workbench.training_images(trial))
        classes = self.workbench.dataset.num_classes
        return table.build(self.student, shape, classes, seed=seed).to(self.device)


class Other(Protocol):
    """The side that ours is compared with; it trains one model after another.

    Attributes:
        name: in tables and raw values.
        every: epochs between two evaluations.
        how: a sentence on how it runs here.
    """

    @property
    def name(self) -> str: ...
    @property
    def every(self) -> int: ...
    @property
    def how(self) -> str: ...

    def epoch(self, ipc: int) -> float:
        """Seconds of an epoch."""
        ...

    def evaluation(self, ipc: int) -> float:
        """Seconds of reading the test set once."""
        ...

    def train(self, ipc: int, seeds: Sequence[int], epochs: int) -> Trained:
        """Whole trainings, one after another."""
        ...


@dataclass(frozen=True)
class Trained:
    """Wall seconds of trainings, and the accuracy at the last evaluation of each that had one."""

    seconds: float
    accuracies: list[float]


@dataclass(frozen=True)
class Conventional:
    """The loop of ``conventional.py`` in this process."""

    setting: Setting
    every: int

    @property
    def name(self) -> str:
        return "conventional"

    @property
    def how(self) -> str:
        return f"Conventional: {torch.get_num_threads()} threads, {Loop.workers} loader workers."

    def epoch(self, ipc: int) -> float:
        training, _ = self.setting.data(ipc)
        network, loop = self.setting.network(ipc), self._loop(CONVENTIONAL_EPOCHS)
        optimizer = torch.optim.SGD(network.parameters(), loop.rate, loop.momentum)
        chance = torch.Generator().manual_seed(0)
        with _quiet():
            conventional.epoch(network, training, optimizer, loop, chance)  # what first use makes
            begun = time.perf_counter()
            for _ in range(CONVENTIONAL_EPOCHS):
                conventional.epoch(network, training, optimizer, loop, chance)
        return (time.perf_counter() - begun) / CONVENTIONAL_EPOCHS

    def evaluation(self, ipc: int) -> float:
        _, test = self.setting.data(ipc)
        network = self.setting.network(ipc)
        begun = time.perf_counter()
        with _quiet():
            conventional.evaluate(network, test, self._loop(1))
        return time.perf_counter() - begun

    def train(self, ipc: int, seeds: Sequence[int], epochs: int) -> Trained:
        begun, accuracies = time.perf_counter(), []
        for seed in seeds:
            network, data = self.setting.network(ipc, seed), self.setting.data(ipc, seed)
            with _quiet():
                accuracies += conventional.train(network, *data, self._loop(epochs), seed)[-1:]
        return Trained(time.perf_counter() - begun, accuracies)

    def _loop(self, epochs: int) -> Loop:
        return Loop(epochs=epochs, every=self.every, device=self.setting.device)


def measure(options: Options) -> Report:
    """Ratios of a conventional loop's time to ours, for each precision and number of images."""
    setting = Setting.of(options)
    return compare("training", setting, Conventional(setting, EVERY), options)


def compare(title: str, setting: Setting, other: Other, options: Options) -> Report:
    """Ratios of the other side's time to ours; ``title`` opens the name of each table."""
    precisions = options.precision or quick_precisions(options.device)
    ipcs, epochs = options.ipc or IPCS, options.epochs or EPOCHS
    rounds = options.rounds or (5 if options.full else 2)
    visits = FULL_VISITS if options.full else QUICK_VISITS
    with trials.pool(setting.workbench, options) as workers:
        begun = trials.start(workers, _make(setting, ipcs[0], precisions[0]))
        for precision in precisions[1:]:
            trials.start(workers, _make(setting, ipcs[0], precision))
        measured = [
            _round(setting, other, workers, ipcs, precisions, visits) for _ in range(rounds)
        ]
        count = len(workers.places)
    rows = [
        _row(measured, ipc, precision, epochs, other.every, begun)
        for precision in precisions
        for ipc in ipcs
    ]
    tables = {
        f"{title}: {epochs} epochs, times faster than the {other.name} loop": rows,
        f"{title}: seconds of the whole machine for one training": _parts(
            measured, precisions, other.name
        ),
    }
    checked, accuracies = [], {}
    for ipc in ipcs if options.check else ():
        sides, accuracies[ipc] = check(setting, other, measured, ipc, options)
        checked += sides
    if checked:
        tables[f"{title}: {options.check} epochs run from one end to the other"] = checked
    dataset = setting.workbench.dataset
    shape = dataset.train.shape
    notes = [
        f"{dataset.title}, {options.student}, batches of 256, DSA, SGD; random real images. "
        f"Ours: {count} workers on {setting.device}, of one thread each on a CPU. {other.how}",
        f"Composed of parts, each measured {rounds} times in turn; median (range). One evaluation "
        f"reads {len(dataset.test):,} images; the {other.name} loop does so every "
        f"{other.every} epochs, ours once (last) or as often (equal).",
        f"The start of the workers, {begun:.1f} s, is spread over {TRAININGS} trainings.",
        *(
            f"{name}: {acceleration(options.student, shape, name, setting.device)}"
            for name in precisions
        ),
    ]
    raw = {
        "rounds": [each.plain(other.name) for each in measured],
        "start": begun,
        "checked": checked,
        "accuracies": accuracies,
    }
    return Report(tables, notes, raw)


@dataclass(frozen=True)
class Round:
    """One measurement of every part, in seconds of the whole machine.

    ``epochs`` and ``evaluation`` are the other side's; ``ours`` by precision and ipc.
    """

    epochs: dict[int, float]
    evaluation: float
    ours: dict[tuple[Precision, int], Cost]

    def plain(self, other: str) -> dict[str, object]:
        """As JSON holds it, with the other side under its name."""
        ours = {f"{name}, ipc {ipc}": asdict(cost) for (name, ipc), cost in self.ours.items()}
        epochs = {str(ipc): seconds for ipc, seconds in self.epochs.items()}
        return {other: {"epoch": epochs, "evaluation": self.evaluation}, "ours": ours}

    def theirs(self, ipc: int, epochs: int, every: int) -> float:
        """Seconds of one training on the other side."""
        return epochs * self.epochs[ipc] + epochs // every * self.evaluation


def _make(setting: Setting, ipc: int, precision: Precision) -> trials.MakeTrial:
    return trials.random_images(setting.workbench, setting.student, ipc, precision)


def _round(
    setting: Setting,
    other: Other,
    workers: trials.Pool,
    ipcs: Sequence[int],
    precisions: Sequence[Precision],
    visits: int,
) -> Round:
    """Each number of images on both sides before the next, so that a busy minute hits both."""
    epochs, ours = {}, {}
    for ipc in ipcs:
        epochs[ipc] = other.epoch(ipc)
        images = ipc * setting.workbench.dataset.num_classes
        for precision in precisions:
            make = _make(setting, ipc, precision)
            longer = max(2, visits // images)
            ours[precision, ipc] = trials.cost(workers, make, longer, evaluation=False)
    evaluation = other.evaluation(ipcs[0])
    for precision in precisions:
        make = _make(setting, ipcs[0], precision)
        read = trials.cost(workers, make, 2).evaluation
        for ipc in ipcs:
            plain = ours[precision, ipc]
            ours[precision, ipc] = Cost(plain.fixed, plain.epoch, read)
    return Round(epochs, evaluation, ours)


def _row(
    measured: Sequence[Round], ipc: int, precision: Precision, epochs: int, every: int, begun: float
) -> dict[str, float | int | str]:
    last, equal = [], []
    for each in measured:
        theirs, ours = each.theirs(ipc, epochs, every), each.ours[precision, ipc]
        share = begun / TRAININGS
        last.append(theirs / (share + ours.total(epochs)))
        equal.append(theirs / (share + ours.total(epochs, epochs // every)))
    return {
        "ours": precision,
        "ipc": ipc,
        "last epoch": spread(last),
        "equal evaluations": spread(equal),
    }


def _parts(
    measured: Sequence[Round], precisions: Sequence[Precision], other: str
) -> list[dict[str, float | int | str]]:
    rows: list[dict[str, float | int | str]] = []
    for ipc in measured[0].epochs:
        sides = {other: [Cost(0.0, e.epochs[ipc], e.evaluation) for e in measured]}
        sides |= {f"ours, {name}": [e.ours[name, ipc] for e in measured] for name in precisions}
        rows += [
            {
                "ipc": ipc,
                "side": side,
                "epoch": median(cost.epoch for cost in costs),
                "evaluation": median(cost.evaluation for cost in costs),
                "fixed": median(cost.fixed for cost in costs),
            }
            for side, costs in sides.items()
        ]
    return rows


def check(
    setting: Setting, other: Other, measured: Sequence[Round], ipc: int, options: Options
) -> tuple[list[dict[str, float | int | str]], dict[str, list[float]]]:
    """Every side from one end to the other, two trainings a worker; and what the parts say.

    With equal evaluations our workers read the test set again as often as the other side does more
    than once, from weights that were kept. The start of the workers is told beside. Also the
    accuracies of each side, as fractions; seed i has the same images on all of them.
    """
    every, epochs, rows = other.every, options.check, []
    accuracies: dict[str, list[float]] = {}
    precisions: dict[Precision, None] = dict.fromkeys(name for name, _ in measured[0].ours)
    for precision in precisions:
        make = _make(setting, ipc, precision)
        workers = trials.pool(setting.workbench, options)
        seeds = range(2 * len(workers.places))
        reads = epochs // every
        with workers:
            begun = trials.start(workers, make)
            tasks = [Task(make(seed, epochs, "test"), keep=True) for seed in seeds]
            last, done = trials.timed(workers, tasks)
            more = len(seeds) * max(0, reads - 1)
            equal = last + trials.evaluate(workers, make, done[0].weights, more) if more else last
        own = median(each.ours[precision, ipc].total(epochs) for each in measured)
        side = f"ours, {precision}"
        accuracies[side] = [each.accuracy for each in done]
        rows.append(
            {
                "ipc": ipc,
                "side": side,
                "trainings": len(seeds),
                "seconds": last,
                "from parts": len(seeds) * own,
                "equal, seconds": equal,
                "start": begun,
            }
        )
    trained = other.train(ipc, seeds, epochs)
    accuracies[other.name] = trained.accuracies
    rows.append(
        {
            "ipc": ipc,
            "side": other.name,
            "trainings": len(seeds),
            "seconds": trained.seconds,
            "from parts": len(seeds) * median(each.theirs(ipc, epochs, every) for each in measured),
            "equal, seconds": trained.seconds,
            "start": 0.0,
        }
    )
    for row in rows:
        reached = accuracies[row["side"]]
        row["accuracy %"] = 100 * fmean(reached) if reached else ""
        row["last, times"] = trained.seconds / row["seconds"]
        row["equal, times"] = trained.seconds / row["equal, seconds"]
    return rows, accuracies


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's advice to have fewer loader workers than the field has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield
