"""Trainings a minute by engine and number of workers, on the digits.

Every engine trains the same trials, ConvNet-2 on ten random digits a class. Starting the workers is
told apart: it costs seconds, whatever is trained. Processor time, of this process and of all below
it, is what an engine costs also where something else runs on the machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from benchmarks.options import Options
from benchmarks.report import Report
from benchmarks.trials import random_images
from ddranking import api
from ddranking.running import cluster, session
from ddranking.running.local import Engine, Pool
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Task

COUNTS = (1, 2, 3, 4)
TRAININGS, EPOCHS = 12, 30

ENGINES: dict[str, Callable[[Workbench, int], Engine]] = {
    "local": lambda bench, count: Pool(bench, [torch.device("cpu")] * count),
    "ray": lambda bench, count: cluster.RayPool(bench, device="cpu", workers=count),
}


def measure(options: Options) -> Report:
    """A row for each engine and number of workers; ``rounds`` repeats all of them in turn."""
    bench = Workbench(api.dataset("digits"), {})
    make = random_images(bench, "convnet2-w32", 10, "fp32")
    engines = [name for name in ENGINES if name == "local" or session.installed()]
    tasks = [Task(make(seed, options.epochs or EPOCHS)) for seed in range(TRAININGS)]
    raw: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds or 1):
        for count in COUNTS:
            for name in engines:
                first = [Task(make(100 + seed)) for seed in range(count)]
                begun = time.perf_counter()
                with ENGINES[name](bench, count) as workers:
                    _seconds(workers, first)
                    started = time.perf_counter() - begun
                    before = processor_seconds()
                    seconds = _seconds(workers, tasks)
                    spent = processor_seconds() - before
                found = {"start_seconds": started, "seconds": seconds, "processor_seconds": spent}
                raw.setdefault(f"{name}, {count}", []).append(found)
    rows = []
    for name in engines:
        alone = _median(raw[f"{name}, 1"], "seconds")
        for count in COUNTS:
            seconds = _median(raw[f"{name}, {count}"], "seconds")
            rows.append(
                {
                    "engine": name,
                    "workers": count,
                    "start s": _median(raw[f"{name}, {count}"], "start_seconds"),
                    "trainings/min": 60 * TRAININGS / seconds,
                    "times one worker": alone / seconds,
                    "processor s/training": _median(raw[f"{name}, {count}"], "processor_seconds")
                    / TRAININGS,
                }
            )
    note = (
        f"{TRAININGS} trainings of {options.epochs or EPOCHS} epochs, convnet2-w32, 100 random "
        f"digits, one thread each; medians of {options.rounds or 1}; one local worker is this "
        "process itself. Workers beyond the cores share them."
    )
    return Report({"workers": rows}, [note], raw)


def processor_seconds() -> float:
    """Processor time of this process and of all that run below it so far; see proc(5)."""
    times: dict[int, tuple[int, int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            cells = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        times[int(stat.parent.name)] = (int(cells[1]), int(cells[11]) + int(cells[12]))
    ours = {os.getpid()}
    while more := {pid for pid, (parent, _) in times.items() if parent in ours} - ours:
        ours |= more
    return sum(times[pid][1] for pid in ours if pid in times) / os.sysconf("SC_CLK_TCK")


def _seconds(workers: Engine, tasks: list[Task]) -> float:
    begun = time.perf_counter()
    assert len(list(workers.run(tasks, api.Silent()))) == len(tasks)
    return time.perf_counter() - begun


def _median(found: list[dict[str, float]], what: str) -> float:
    return median(one[what] for one in found)
