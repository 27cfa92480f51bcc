"""A training step and an evaluation against what the same core reaches in matrix products.

ConvNet-3 (width 128, instance norm) on 32x32x3 images, one thread. Times are CPU time of the
thread, so that other programs on the machine disturb less; all alternatives take turns in one run,
and medians are shown. ``of GEMM`` is the share of the best rate of three matrix products in the
same precision. FLOPs are those of convolutions and the linear layer alone (297 million an image for
a step, 101 for an evaluation): what a fused block computes again counts for nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.options import Options
from benchmarks.report import Report, Row
from ddranking.models import table
from ddranking.protocol.rules import Precision, Sgd
from ddranking.running.worker import tune_allocator
from ddranking.training.arithmetic import acceleration, arithmetic, forward
from ddranking.training.optim import Optimizer

SHAPE, CLASSES, STUDENT = (3, 32, 32), 10, "convnet3"
CPU = torch.device("cpu")
BATCHES = (10, 50, 100)
EVALUATION = 50
IMAGES = 100
"""How many images a turn has at least."""

PRODUCTS = ((1024, 1024, 1024), (2048, 2048, 2048), (8192, 1024, 1024))
ROUNDS = 9
SECONDS = 3.0
"""How long a worker trains."""


PRECISIONS: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}
ENGINES: tuple[tuple[str, Precision], ...] = (("torch", "fp32"), ("ours", "fp32"), ("ours", "bf16"))


def measure(given: Options) -> Report:
    """Tables of rates; ``rounds`` turns for each alternative (9, and half as many for workers)."""
    rounds = given.rounds or ROUNDS
    torch.set_num_threads(1)
    tune_allocator()
    products = {
        (precision, size): _product(dtype, size)
        for precision, dtype in PRECISIONS.items()
        for size in PRODUCTS
    }
    networks = {
        (what, batch, engine, precision): make(engine, precision, batch)
        for what, make, batches in (("step", _step, BATCHES), ("evaluation", _read, (EVALUATION,)))
        for batch in batches
        for engine, precision in ENGINES
    }
    with arithmetic("fp32", CPU):
        times = _in_turns({**products, **networks}, rounds)
    seconds = {key: median(found) for key, found in times.items()}
    best = {
        precision: max(2 * m * n * k / seconds[precision, (m, n, k)] for m, n, k in PRODUCTS) / 1e9
        for precision in PRECISIONS
    }
    rows = []
    for what, batch, engine, precision in networks:
        spent = seconds[what, batch, engine, precision]
        rate = batch * flops(training=what == "step") / spent / 1e9
        rows.append(
            {
                "what": f"{what}, batch {batch}",
                "engine": f"{engine}, {precision}",
                "ms": 1000 * spent,
                "images/s": batch / spent,
                "GFLOP/s": rate,
                "of GEMM": round(rate / best[precision], 2),
                "times torch": round(seconds[what, batch, "torch", "fp32"] / spent, 2),
            }
        )
    pairs = {precision: _two_workers(precision, (rounds + 1) // 2) for precision in PRECISIONS}
    reached = ", ".join(f"{rate:.0f} GFLOP/s in {name}" for name, rate in best.items())
    fused = ", ".join(f"{name} {acceleration(STUDENT, SHAPE, name)}" for name in PRECISIONS)
    return Report(
        tables={"roofline": rows, "two workers": [_pair(*each) for each in pairs.items()]},
        notes=(
            f"GEMM: {reached}, the best of {len(PRODUCTS)} sizes. Ours: {fused}.",
            f"CPU time, medians of {rounds} turns.",
        ),
        raw={
            "seconds": {str(key): found for key, found in times.items()},
            "steps a CPU second": pairs,
        },
    )


def _pair(precision: str, rates: dict[str, list[float]]) -> Row:
    alone, together = (median(rates[key]) for key in ("alone", "together"))
    return {
        "engine": f"ours, {precision}",
        "one, images/s": BATCHES[-1] * alone,
        "two at once, images/s": 2 * BATCHES[-1] * together,
        "efficiency": round(together / alone, 3),
    }


def flops(*, training: bool) -> float:
    """Of one image: two for each product in convolutions and the linear layer.

    The backward pass costs as much again for the weights of each layer and, but for the first
    layer, for its inputs.
    """
    network, found = table.build(STUDENT, SHAPE, CLASSES, seed=0), []

    def count(layer: nn.Module, given: tuple[Tensor], out: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        found.append(2 * out[0].numel() * layer.weight[0].numel())

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    network(torch.zeros(1, *SHAPE))
    return 3 * sum(found) - found[0] if training else sum(found)


def _product(dtype: torch.dtype, size: tuple[int, int, int]) -> Callable[[], object]:
    m, n, k = size
    left, right = torch.randn(m, k).to(dtype), torch.randn(n, k).to(dtype)
    return partial(torch.mm, left, right.t(), out=torch.empty(m, n, dtype=dtype))


def _network(engine: str, precision: Precision) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    network = table.build(STUDENT, SHAPE, CLASSES, seed=0)
    run = forward(network, SHAPE, precision, CPU) if engine == "ours" else network
    return network, run


def _step(engine: str, precision: Precision, batch: int) -> Callable[[], object]:
    network, run = _network(engine, precision)
    optimizer = Optimizer(Sgd(), network.parameters())
    images, labels = torch.randn(batch, *SHAPE), torch.arange(batch) % CLASSES

    def once() -> None:
        optimizer.forget_gradients()
        F.cross_entropy(run(images), labels).backward()
        optimizer.step(0.01)

    return once


def _read(engine: str, precision: Precision, batch: int) -> Callable[[], object]:
    _, run = _network(engine, precision)
    images = torch.randn(batch, *SHAPE)

    def once() -> None:
        with torch.inference_mode():
            run(images)

    return once


def _in_turns(what: dict[tuple, Callable[[], object]], rounds: int) -> dict[tuple, list[float]]:
    """CPU seconds of each, all taking turns; a first turn warms up.

    Small batches come several in a row, as in a training: what they need stays in the cache.
    """
    found: dict[tuple, list[float]] = {key: [] for key in what}
    for turn in range(rounds + 1):
        for key, call in what.items():
            times = max(1, IMAGES // key[1]) if key[0] in ("step", "evaluation") else 1
            begun = time.thread_time()
            for _ in range(times):
                call()
            if turn:
                found[key].append((time.thread_time() - begun) / times)
    return found


def _two_workers(precision: Precision, rounds: int) -> dict[str, list[float]]:
    """Training steps a CPU second of a process alone, and of each of two at once."""
    found: dict[str, list[float]] = {"alone": [], "together": []}
    for _ in range(rounds):
        found["alone"] += _rates(precision, 1)
        found["together"] += _rates(precision, 2)
    return found


def _rates(precision: Precision, workers: int) -> list[float]:
    command = [sys.executable, "-m", "benchmarks.roofline", precision]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(workers)]
    return [json.loads(process.communicate()[0]) for process in started]


def worker(precision: Precision) -> float:
    """Training steps a CPU second of this process, over ``SECONDS`` of wall time."""
    torch.set_num_threads(1)
    tune_allocator()
    once = _step("ours", precision, BATCHES[-1])
    once()
    begun, end, steps = time.thread_time(), time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        once()
        steps += 1
    return steps / (time.thread_time() - begun)


if __name__ == "__main__":
    print(json.dumps(worker(sys.argv[1])))  # pyright: ignore[reportArgumentType]
