"""Trainings side by side on one device: how many at once pay, and what recording their steps does.

Each group is trained in turns of an epoch, each training on a stream of its own where the device
is a GPU. Sizes take turns, the smallest first. Steps are recorded as CUDA graphs or, beside that,
run as they are. A CPU has neither: a group costs nothing there and gives nothing. On a GPU the
largest group is also trained as a score does it, as many at once as pay.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median

import torch

from benchmarks import trials
from benchmarks.options import Options
from benchmarks.report import Report, quick_precisions, spread
from ddranking import api
from ddranking.running.groups import MOST_TRAININGS, VALUES_AT_ONCE
from ddranking.running.local import devices
from ddranking.running.workbench import Workbench
from ddranking.training.fit import Job, fit

IPCS, SIZES = (1, 10, 50), (1, 2, 4, 8, 16)
QUICK_VISITS, FULL_VISITS = 1500, 200_000
"""Images that one training visits."""

MOST_EPOCHS = 1000

PAYING = 0
"""Stands for all of a group, as many at once as pay."""

Row = dict[str, float | int | str]


def measure(options: Options) -> Report:
    """Images a second of groups of each size, for each number of images per class."""
    device = devices(options.device)[0]
    gpu = device.type == "cuda"
    precision = (options.precision or quick_precisions(options.device)[-1:])[0]
    visits = FULL_VISITS if options.full or gpu else QUICK_VISITS
    rounds = options.rounds or (5 if options.full else 2)
    workbench = Workbench(api.dataset(options.dataset), {})
    sizes = SIZES if gpu else SIZES[:3]
    rows: list[Row] = []
    for ipc in options.ipc or IPCS:
        make = trials.random_images(workbench, options.student, ipc, precision)
        images = ipc * workbench.dataset.num_classes
        epochs = max(2, min(visits // images, MOST_EPOCHS))
        fit([workbench.job(make(0, 3, "validation"))], device)  # what is made on first use
        jobs = [workbench.job(make(seed, epochs, "validation")) for seed in range(max(sizes))]
        forms = [
            (size, recorded) for size in sizes for recorded in ((True, False) if gpu else (False,))
        ]
        forms += [(PAYING, True)] if gpu else []
        seconds: dict[tuple[int, bool], list[float]] = {form: [] for form in forms}
        for _ in range(rounds):
            for size, recorded in forms:
                seconds[size, recorded].append(_seconds(jobs, size, device, recorded))
        rows += [
            {
                "ipc": ipc,
                "at once": size or "as many as pay",
                "steps": "recorded" if recorded else "as they are",
                "images/s": spread([(size or len(jobs)) * epochs * images / one for one in took]),
                "times one": median(seconds[1, recorded]) * (size or len(jobs)) / median(took),
            }
            for (size, recorded), took in seconds.items()
        ]
    notes = [
        f"{workbench.dataset.title}, {options.student}, {precision}, DSA, batches of 256; "
        f"{rounds} rounds in turn, median (range). Each training visits up to {visits:,} images in "
        f"up to {MOST_EPOCHS:,} epochs; building networks, recording and a small evaluation are in "
        "the time.",
        f"A score takes groups of up to {MOST_TRAININGS} and "
        f"{VALUES_AT_ONCE // math.prod(workbench.dataset.train.shape)} images a step on a GPU, as "
        "many at once as pay, and of one on a CPU.",
    ]
    return Report({"group: trainings side by side": rows}, notes, {"precision": precision})


def _seconds(jobs: Sequence[Job], size: int, device: torch.device, recorded: bool) -> float:
    """Wall seconds of a group, with its steps recorded where that can be, or run as they are."""
    begun = time.perf_counter()
    if size == PAYING:
        fit(jobs, device, record=recorded)
    else:
        fit(jobs[:size], device, together=True, record=recorded)
    return time.perf_counter() - begun
