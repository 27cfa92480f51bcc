"""Where the time of a training step goes, part by part, on one thread of a CPU.

The trainings are those of ``training``: a ConvNet under the rules of ``dsa@1`` on one batch of
invented images, by the very loop that a score runs. Functions of that loop and of the fused network
are timed where they are called; what one part calls of another counts for the other alone. Times
are CPU time of the thread.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F

from benchmarks import trials
from benchmarks.options import Options
from benchmarks.report import Report, Row, quick_precisions
from ddranking.models import table
from ddranking.protocol.rules import Precision
from ddranking.protocol.trial import RandomImages, Trial
from ddranking.running.worker import tune_allocator
from ddranking.training import lesson
from ddranking.training.arithmetic import acceleration
from ddranking.training.fused import Fused
from ddranking.training.lesson import Lesson
from ddranking.training.optim import Optimizer
from ddranking.training.targets import LabelledImages

SHAPE, CLASSES = (3, 32, 32), 10
CPU = torch.device("cpu")
BATCHES = (10, 100)
IMAGES = 1000
"""How many images a round visits, for each precision and batch."""

ROUNDS, WARM = 9, 2
REST = "Python, autograd"

PARTS: tuple[tuple[str, Any, str], ...] = (
    ("DSA is drawn", lesson, "draw"),
    ("DSA is applied", lesson, "apply"),
    ("first block", Fused, "_first"),
    ("later convolutions", F, "conv2d"),
    ("later norms, ReLU, pool", Fused, "_later"),
    ("linear layer", Fused, "forward"),
    ("loss", lesson, "loss"),
    ("linear layer, back", Fused, "backward"),
    ("later norms, ReLU, pool, back", Fused, "_later_backward"),
    ("later convolutions, back", Fused, "_convolution_backward"),
    ("first block, back", Fused, "_first_backward"),
    ("optimiser", Optimizer, "step"),
)
"""What a part is called, and the function that does it."""


class Clock:
    """CPU seconds of parts, each without what it calls of the others."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._inner = 0.0

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` with its time added to ``part``."""

        def call(*arguments: Any, **named: Any) -> Any:
            before, self._inner, begun = self._inner, 0.0, time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                whole = time.thread_time() - begun
                self.spent[part] += whole - self._inner
                self._inner = before + whole

        return call

    @contextmanager
    def watching(self) -> Iterator[None]:
        """All of ``PARTS`` timed within."""
        with ExitStack() as stack:
            for part, place, name in PARTS:
                stack.enter_context(
                    patch.object(place, name, self.timed(part, getattr(place, name)))
                )
            yield


def measure(given: Options) -> Report:
    """Milliseconds of each part and their share of a step; medians of ``rounds`` (9)."""
    rounds = given.rounds or ROUNDS
    torch.set_num_threads(1)
    tune_allocator()
    precisions = given.precision or quick_precisions("cpu")
    sides = [(precision, batch) for precision in precisions for batch in BATCHES]
    found: dict[tuple[Precision, int], list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for precision, batch in sides:
            found[precision, batch].append(_seconds(given.student, precision, batch))
    names = [part for part, _, _ in PARTS] + [REST]
    middle = {
        side: {name: 1000 * median(one[name] for one in several) for name in names}
        for side, several in found.items()
    }
    rows: list[Row] = []
    for name in [*names, "step"]:
        row: dict[str, float | int | str] = {"ms a step": name}
        for (precision, batch), parts in middle.items():
            whole = sum(parts.values())
            ms = whole if name == "step" else parts[name]
            row[f"{precision}, {batch} images"] = f"{ms:.3g} ({100 * ms / whole:.0f} %)"
        rows.append(row)
    fused = ", ".join(acceleration(given.student, SHAPE, name) for name in precisions)
    return Report(
        tables={"profile": rows},
        notes=(
            f"{given.student}: {fused}. One thread, CPU time; medians of {rounds} rounds, share of "
            "the step.",
        ),
        raw={f"{precision}, {batch}": several for (precision, batch), several in found.items()},
    )


def _seconds(student: str, precision: Precision, batch: int) -> dict[str, float]:
    """CPU seconds of each part of a step, the mean over a training."""
    steps = max(1, IMAGES // batch)
    trial = Trial.model_validate(
        {
            "arm": "rdm_any",
            "training_set": RandomImages(ipc=batch // CLASSES),
            "space": {"kind": "pixel"},
            "training": trials.rules(WARM + steps, precision),
            "student": student,
            "seed": 0,
            "dataset": "sha256:" + "0" * 64,
            "validation_size": 1,
            "evaluate": "test",
        }
    )
    chance = torch.Generator().manual_seed(0)
    images = LabelledImages(
        torch.randn(batch, *SHAPE, generator=chance), torch.arange(batch) % CLASSES
    )
    network = table.build(student, SHAPE, CLASSES, seed=0)
    epochs, clock = Lesson(network, images, trial, CPU).epochs(), Clock()
    for _ in range(WARM):
        next(epochs)
    with clock.watching():
        begun = time.thread_time()
        for _ in epochs:
            pass
        whole = time.thread_time() - begun
    parts = {part: clock.spent[part] / steps for part, _, _ in PARTS}
    return parts | {REST: whole / steps - sum(parts.values())}
