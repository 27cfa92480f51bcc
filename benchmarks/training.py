"""The same trainings by this package and by a conventional loop, on this machine, in one run.

A whole comparison at 300 or 1,000 epochs takes hours, so each side's parts are measured, in turn,
and composed. With E epochs and a test set read every V epochs:

    conventional   E epochs + E / V evaluations, one model after another
    ours           fixed + E epochs + 1 evaluation (``last``) or E / V evaluations (``equal``),
                   divided over the workers, and the start of the workers over TRAININGS trainings

``--check N`` runs both sides for N epochs from one end to the other, beside what the parts say.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import fmean, median

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
        every: epochs between evaluations of the conventional loop.
        device: where both sides train.
    """

    workbench: Workbench
    student: str
    every: int
    device: str

    def data(self, ipc: int, seed: int = 0) -> tuple[TensorDataset, TensorDataset]:
        """The training images of a seed and the test set, as our engine trains and reads them."""
        trial = trials.random_images(self.workbench, self.student, ipc, "fp32")(seed)
        training = self.workbench.training_images(trial)
        test = self.workbench.evaluation_images(trial)
        return (
            TensorDataset(training.images, training.labels),
            TensorDataset(test.images, test.labels),
        )

    def network(self, ipc: int, seed: int = 0) -> torch.nn.Module:
        trial = trials.random_images(self.workbench, self.student, ipc, "fp32")(seed)
        shape = shape_of(self.workbench.training_images(trial))
        classes = self.workbench.dataset.num_classes
        return table.build(self.student, shape, classes, seed=seed).to(self.device)

    def loop(self, epochs: int) -> Loop:
        return Loop(epochs=epochs, every=self.every, device=self.device)


def measure(options: Options) -> Report:
    """Ratios of a conventional loop's time to ours, for each precision and number of images."""
    setting = Setting(
        Workbench(api.dataset(options.dataset), {}),
        options.student,
        EVERY,
        str(devices(options.device)[0]),
    )
    precisions = options.precision or quick_precisions(options.device)
    ipcs, epochs = options.ipc or IPCS, options.epochs or EPOCHS
    rounds = options.rounds or (5 if options.full else 2)
    visits = FULL_VISITS if options.full else QUICK_VISITS
    threads = torch.get_num_threads()
    with trials.pool(setting.workbench, options) as workers:
        begun = trials.start(workers, _make(setting, ipcs[0], precisions[0]))
        for precision in precisions[1:]:
            trials.start(workers, _make(setting, ipcs[0], precision))
        measured = [_round(setting, workers, ipcs, precisions, visits) for _ in range(rounds)]
        count = len(workers.places)
    rows = [
        _row(measured, ipc, precision, epochs, setting.every, begun)
        for precision in precisions
        for ipc in ipcs
    ]
    tables = {
        f"training: {epochs} epochs, times faster than the conventional loop": rows,
        "training: seconds of the whole machine for one training": _parts(measured, precisions),
    }
    checked = []
    for ipc in ipcs if options.check else ():
        checked += check(setting, measured, ipc, options)
    if checked:
        tables[f"training: {options.check} epochs run from one end to the other"] = checked
    dataset = setting.workbench.dataset
    shape = dataset.train.shape
    notes = [
        f"{dataset.title}, {options.student}, batches of 256, DSA, SGD; random real images. "
        f"Ours: {count} workers on {setting.device}, of one thread each on a CPU. "
        f"Conventional: {threads} threads, 4 loader workers.",
        f"Composed of parts, each measured {rounds} times in turn; median (range). One evaluation "
        f"reads {len(dataset.test):,} images; the conventional loop does so every "
        f"{setting.every} epochs, ours once (last) or as often (equal).",
        f"The start of the workers, {begun:.1f} s, is spread over {TRAININGS} trainings.",
        *(
            f"{name}: {acceleration(options.student, shape, name, setting.device)}"
            for name in precisions
        ),
    ]
    raw = {"rounds": [each.plain() for each in measured], "start": begun, "checked": checked}
    return Report(tables, notes, raw)


@dataclass(frozen=True)
class Round:
    """One measurement of every part, in seconds of the whole machine.

    ``epochs`` and ``evaluation`` are the conventional loop's; ``ours`` by precision and ipc.
    """

    epochs: dict[int, float]
    evaluation: float
    ours: dict[tuple[Precision, int], Cost]

    def plain(self) -> dict[str, object]:
        """As JSON holds it."""
        ours = {f"{name}, ipc {ipc}": asdict(cost) for (name, ipc), cost in self.ours.items()}
        conventional = {"epoch": {str(k): v for k, v in self.epochs.items()}}
        return {"conventional": {**conventional, "evaluation": self.evaluation}, "ours": ours}

    def conventional(self, ipc: int, epochs: int, every: int) -> float:
        """Seconds of one conventional training."""
        return epochs * self.epochs[ipc] + epochs // every * self.evaluation


def _make(setting: Setting, ipc: int, precision: Precision) -> trials.MakeTrial:
    return trials.random_images(setting.workbench, setting.student, ipc, precision)


def _round(
    setting: Setting,
    workers: trials.Pool,
    ipcs: Sequence[int],
    precisions: Sequence[Precision],
    visits: int,
) -> Round:
    """Each number of images on both sides before the next, so that a busy minute hits both."""
    epochs, ours = {}, {}
    for ipc in ipcs:
        epochs[ipc] = _conventional_epoch(setting, ipc)
        images = ipc * setting.workbench.dataset.num_classes
        for precision in precisions:
            make = _make(setting, ipc, precision)
            longer = max(2, visits // images)
            ours[precision, ipc] = trials.cost(workers, make, longer, evaluation=False)
    evaluation = _conventional_evaluation(setting, ipcs[0])
    for precision in precisions:
        make = _make(setting, ipcs[0], precision)
        read = trials.cost(workers, make, 2).evaluation
        for ipc in ipcs:
            plain = ours[precision, ipc]
            ours[precision, ipc] = Cost(plain.fixed, plain.epoch, read)
    return Round(epochs, evaluation, ours)


def _conventional_epoch(setting: Setting, ipc: int) -> float:
    training, _ = setting.data(ipc)
    network, loop = setting.network(ipc), setting.loop(CONVENTIONAL_EPOCHS)
    optimizer = torch.optim.SGD(network.parameters(), loop.rate, loop.momentum)
    chance = torch.Generator().manual_seed(0)
    with _quiet():
        conventional.epoch(network, training, optimizer, loop, chance)  # what is made on first use
        begun = time.perf_counter()
        for _ in range(CONVENTIONAL_EPOCHS):
            conventional.epoch(network, training, optimizer, loop, chance)
    return (time.perf_counter() - begun) / CONVENTIONAL_EPOCHS


def _conventional_evaluation(setting: Setting, ipc: int) -> float:
    _, test = setting.data(ipc)
    network = setting.network(ipc)
    begun = time.perf_counter()
    with _quiet():
        conventional.evaluate(network, test, setting.loop(1))
    return time.perf_counter() - begun


def _row(
    measured: Sequence[Round], ipc: int, precision: Precision, epochs: int, every: int, begun: float
) -> dict[str, float | int | str]:
    last, equal = [], []
    for each in measured:
        theirs, ours = each.conventional(ipc, epochs, every), each.ours[precision, ipc]
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
    measured: Sequence[Round], precisions: Sequence[Precision]
) -> list[dict[str, float | int | str]]:
    rows: list[dict[str, float | int | str]] = []
    for ipc in measured[0].epochs:
        sides = {"conventional": [Cost(0.0, e.epochs[ipc], e.evaluation) for e in measured]}
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
    setting: Setting, measured: Sequence[Round], ipc: int, options: Options
) -> list[dict[str, float | int | str]]:
    """Every side from one end to the other, two trainings a worker; and what the parts say.

    With equal evaluations our workers read the test set again as often as the conventional loop
    does more than once, from weights that were kept. The start of the workers is told beside.
    """
    every, epochs, rows = setting.every, options.check, []
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
        rows.append(
            {
                "ipc": ipc,
                "side": f"ours, {precision}",
                "trainings": len(seeds),
                "seconds": last,
                "from parts": len(seeds) * own,
                "equal, seconds": equal,
                "start": begun,
                "accuracy %": 100 * fmean(each.accuracy for each in done),
            }
        )
    begun, accuracies = time.perf_counter(), []
    for seed in seeds:
        network, loop = setting.network(ipc, seed), setting.loop(epochs)
        with _quiet():
            accuracies += conventional.train(network, *setting.data(ipc, seed), loop, seed)[-1:]
    theirs = time.perf_counter() - begun
    rows.append(
        {
            "ipc": ipc,
            "side": "conventional",
            "trainings": len(seeds),
            "seconds": theirs,
            "from parts": len(seeds)
            * median(each.conventional(ipc, epochs, every) for each in measured),
            "equal, seconds": theirs,
            "start": 0.0,
            "accuracy %": 100 * fmean(accuracies) if accuracies else "",
        }
    )
    return [
        row
        | {"last, times": theirs / row["seconds"], "equal, times": theirs / row["equal, seconds"]}
        for row in rows
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's advice to have fewer loader workers than the field has."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield
