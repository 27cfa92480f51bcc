"""The only training loop: a list of trainings in, a list of results out, in the same order.

The whole set lives on the device as one tensor; there are no loader processes. A result depends on
its job and the device alone, never on the jobs beside it. Evaluation happens once, after the last
epoch, on the one split that the trial names.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ddranking import seeds
from ddranking.models import table
from ddranking.models.names import Shape
from ddranking.protocol.rules import Precision, Training
from ddranking.protocol.trial import Trial
from ddranking.training.arithmetic import arithmetic, forward
from ddranking.training.augment import augment
from ddranking.training.losses import loss
from ddranking.training.memory import in_smaller_groups, with_smaller_batches
from ddranking.training.optim import optimizer, rate_factor
from ddranking.training.targets import LabelledImages, prepared, targets

EVALUATION_BATCH = {"cpu": 50, "cuda": 2000}
"""Images a batch in evaluation: on a CPU, 50 keep the first layer's maps in the cache."""


@dataclass(frozen=True)
class Job:
    """A trial with the data it names.

    ``weights`` are given where an earlier trial already ended with them (the search trial of a
    selected rate); then nothing is trained and only ``evaluation`` is read.
    """

    trial: Trial
    training: LabelledImages
    evaluation: LabelledImages
    num_classes: int
    weights: Mapping[str, Tensor] | None = None
    trusted: bool = False


@dataclass(frozen=True)
class Result:
    """What a job gave: accuracy on its split (a fraction), last-epoch loss, steps, weights."""

    accuracy: float
    train_loss: float | None
    steps: int
    weights: dict[str, Tensor]
    seconds: float


Progress = Callable[[int, float], None]
"""Called with the job's index and the share of its epochs that are done."""


def fit(
    jobs: Sequence[Job], device: torch.device, progress: Progress = lambda index, share: None
) -> list[Result]:
    """Trains and evaluates every job.

    Args:
        jobs: what to train.
        device: where; products there have the precision that a job's rules name.
        progress: told of each finished epoch.
    """

    def run(group: Sequence[tuple[int, Job]]) -> list[Result]:
        return [
            _fit_one(job, device, lambda share, index=index: progress(index, share))
            for index, job in group
        ]

    return in_smaller_groups(run, list(enumerate(jobs)))


def _fit_one(job: Job, device: torch.device, progress: Callable[[float], None]) -> Result:
    start = time.monotonic()
    trial = job.trial
    precision = trial.training.precision
    network = table.build(
        trial.student,
        shape_of(job.training),
        job.num_classes,
        seed=trial.seed,
        trusted=job.trusted,
    ).to(device)
    with arithmetic(precision, device):
        if job.weights is None:
            train_loss, steps = train(network, job.training, trial, device, progress)
        else:
            network.load_state_dict(job.weights)
            train_loss, steps = None, 0
        right = accuracy(network, job.evaluation, device, precision)
    return Result(
        accuracy=right,
        train_loss=train_loss,
        steps=steps,
        weights={name: value.cpu().contiguous() for name, value in network.state_dict().items()},
        seconds=time.monotonic() - start,
    )


def train(
    network: nn.Module,
    data: LabelledImages,
    trial: Trial,
    device: torch.device,
    progress: Callable[[float], None],
) -> tuple[float | None, int]:
    """Trains ``network`` in place by the trial's rules.

    Returns:
        the mean loss per image of the last epoch (None where not finite), and the steps taken.
    """
    rules: Training = trial.training
    data = prepared(rules.labels, data.to(device))
    images = data.images
    order = torch.Generator().manual_seed(seeds.derive(trial.seed, "order"))
    chance = torch.Generator().manual_seed(seeds.derive(trial.seed, "augmentation"))
    views = torch.Generator().manual_seed(seeds.derive(trial.seed, "labels"))
    run = forward(network, shape_of(data), rules.precision, device)
    optim = optimizer(rules.optimizer, network.parameters(), trial.rate)
    total, steps = torch.zeros((), device=device), 0
    network.train()
    for epoch in range(rules.epochs):
        for group in optim.param_groups:
            group["lr"] = trial.rate * rate_factor(rules.schedule, epoch, rules.epochs)
        total.zero_()
        wanted = targets(rules.labels, data, epoch, views)
        for batch in _batches(len(images), rules.batch_size, order):
            chosen = slice(None) if batch is None else batch.to(device)
            made = augment(images[chosen], rules.augmentation, chance)
            optim.zero_grad(set_to_none=True)
            value = loss(rules.loss, run(made.images), wanted.take(chosen).after(made))
            value.backward()
            optim.step()
            total += value.detach() * len(made.images)
            steps += 1
        progress((epoch + 1) / rules.epochs)
    mean = float(total) / len(images)
    return (mean if math.isfinite(mean) else None), steps


def _batches(count: int, size: int, order: torch.Generator) -> Iterator[Tensor | None]:
    """Index batches of one epoch, the last one possibly smaller; None for one whole batch.

    Where all images fit one batch their order has no meaning, so nothing is gathered.
    """
    if count <= size:
        yield None
        return
    yield from torch.randperm(count, generator=order).split(size)


@torch.inference_mode()
def accuracy(
    network: nn.Module,
    data: LabelledImages,
    device: torch.device,
    precision: Precision = "fp32",
) -> float:
    """Share of ``data`` whose largest logit is the label's, a fraction in [0, 1]."""
    network.eval()
    run = forward(network, shape_of(data), precision, device)

    def right(size: int) -> int:
        total = torch.zeros((), dtype=torch.int64, device=device)
        for images, labels in zip(data.images.split(size), data.labels.split(size), strict=True):
            total += (run(images.to(device)).argmax(1) == labels.to(device)).sum()
        return int(total)

    return with_smaller_batches(right, EVALUATION_BATCH.get(device.type, 500)) / len(data.labels)


def shape_of(data: LabelledImages) -> Shape:
    """(C, H, W) of its images."""
    _, channels, height, width = data.images.shape
    return channels, height, width
