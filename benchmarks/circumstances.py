"""The same trainings as this machine is, and as others are: no compiler, no AMX, no core to itself.

Every circumstance has fresh workers, which inherit it, and trains the same trials; the conventional
loop trains beside ours where it concerns both. A training's weights are to be the same, bit for
bit, however busy the machine and however many its workers; another way to compute rounds otherwise.

    without a compiler   nothing on PATH, so that networks run as torch runs them
    without AMX          oneDNN kept from it, and blocks not fused, as on a processor that has none
    beside programs      one on each core that does nothing but run
    many workers         three a core
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean, median

from benchmarks import trials
from benchmarks.options import Options
from benchmarks.report import Report, Row, quick_precisions, spread
from benchmarks.training import EVERY, Conventional, Setting
from ddranking.protocol.rules import Precision
from ddranking.running.local import cores
from ddranking.running.worker import Done, Task

IPC, EPOCHS, SEEDS = 10, 20, 6
USUAL = "as it is"
PROGRAM = "while True: pass"


@dataclass(frozen=True)
class Circumstance:
    """What is different.

    Attributes:
        name: in tables.
        variables: of the workers' environment.
        precisions: those that it concerns.
        programs: others that run, on each core.
        workers: on each core.
        conventional: whether it concerns the conventional loop.
    """

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    programs: int = 0
    workers: int = 1
    conventional: bool = False


CIRCUMSTANCES = (
    Circumstance(USUAL, conventional=True),
    Circumstance("without a compiler", {"PATH": ""}),
    Circumstance(
        "without AMX",
        {"DDRANKING_FUSED": "0", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
        precisions=("bf16",),
    ),
    Circumstance("beside programs", programs=1, conventional=True),
    Circumstance("many workers", workers=3),
)


@dataclass(frozen=True)
class Ran:
    """Seconds of the whole machine for one training, and what the trainings gave, by seed."""

    seconds: float
    done: Sequence[Done]


def measure(options: Options) -> Report:
    """A row for each circumstance and precision; ``rounds`` repeats all of them in turn."""
    setting = Setting.of(options)
    precisions = options.precision or quick_precisions(options.device)
    ipc, epochs = (options.ipc or (IPC,))[0], options.epochs or EPOCHS
    loop = Conventional(setting, EVERY)
    words = options.only
    chosen = [
        one
        for one in CIRCUMSTANCES
        if one.name == USUAL or not words or any(word in one.name for word in words)
    ]
    ran: dict[tuple[str, Precision], list[Ran]] = {}
    epoch: dict[str, list[float]] = {}
    for _ in range(options.rounds or 1):
        for one in chosen:
            with _in(one):
                for precision in precisions:
                    if precision in one.precisions:
                        found = _train(setting, one, precision, ipc, epochs, options)
                        ran.setdefault((one.name, precision), []).append(found)
                if one.conventional:
                    epoch.setdefault(one.name, []).append(loop.epoch(ipc))
    rows = [
        _row(name, precision, found, ran[USUAL, precision])
        for (name, precision), found in ran.items()
    ]
    rows += [_conventional(name, seconds, epoch[USUAL]) for name, seconds in epoch.items()]
    notes = [
        f"{setting.workbench.dataset.title}, {setting.student}, {ipc} random real images per "
        f"class, {epochs} epochs, DSA, SGD; {options.seeds or SEEDS} trainings on {cores()} "
        "cores, each read once on the test set. Seconds are of the whole machine for one training, "
        f"without the start of the workers; median (range) of n = {options.rounds or 1}.",
        f"Weights and accuracy (mean of the differences by seed) beside those {USUAL}.",
    ]
    raw = {
        "ours": {
            f"{name}, {precision}": {
                "seconds": [one.seconds for one in found],
                "accuracies": [each.accuracy for each in found[0].done],
            }
            for (name, precision), found in ran.items()
        },
        "conventional, one epoch": epoch,
    }
    return Report({"circumstances": rows}, notes, raw)


def _train(
    setting: Setting,
    one: Circumstance,
    precision: Precision,
    ipc: int,
    epochs: int,
    options: Options,
) -> Ran:
    make = trials.random_images(setting.workbench, setting.student, ipc, precision)
    many = Options(device=options.device, workers=one.workers * (options.workers or cores()))
    seeds = range(options.seeds or SEEDS)
    tasks = [Task(make(seed, epochs, "test"), keep=True) for seed in seeds]
    with trials.pool(setting.workbench, many) as workers:
        trials.start(workers, make)
        seconds, done = trials.timed(workers, tasks)
    return Ran(seconds / len(tasks), done)


def _row(
    name: str,
    precision: Precision,
    found: Sequence[Ran],
    usual: Sequence[Ran],
) -> Row:
    there, here = found[0].done, usual[0].done
    same = sum(a.weights == b.weights for a, b in zip(there, here, strict=True))
    points = 100 * fmean(a.accuracy - b.accuracy for a, b in zip(there, here, strict=True))
    return {
        "circumstance": name,
        "side": f"ours, {precision}",
        "seconds": spread([one.seconds for one in found]),
        "times as long": median(one.seconds for one in found)
        / median(one.seconds for one in usual),
        "same weights": f"{same} of {len(here)}",
        "points": f"{points:+.2f}",
    }


def _conventional(name: str, seconds: Sequence[float], usual: Sequence[float]) -> Row:
    return {
        "circumstance": name,
        "side": "conventional, an epoch",
        "seconds": spread(seconds),
        "times as long": median(seconds) / median(usual),
        "same weights": "",
        "points": "",
    }


@contextmanager
def _in(one: Circumstance) -> Iterator[None]:
    """Its variables in this process's environment, which workers inherit, and its programs."""
    before = {name: os.environ.get(name) for name in one.variables}
    programs = [
        subprocess.Popen([sys.executable, "-c", PROGRAM]) for _ in range(one.programs * cores())
    ]
    os.environ.update(one.variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        for program in programs:
            program.kill()
            program.wait()
