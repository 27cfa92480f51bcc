"""A list of trainings in, a list of results out, in the same order.

There are no loader processes: a training's images live on its device, or are made there from bytes
(:mod:`ddranking.training.streamed`). A result depends on its job and the device alone, never on the
jobs beside it: each has its own weights, optimiser and random numbers, and the same kernels work on
it as if it were alone. Evaluation happens once, after the last epoch, on the one split that the
trial names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ddranking.models import table
from ddranking.protocol.rules import Precision
from ddranking.protocol.trial import Trial
from ddranking.training.arithmetic import forward, kernels
from ddranking.training.lesson import Lesson, recordable, shape_of
from ddranking.training.memory import in_batches, in_smaller_groups, release
from ddranking.training.recorded import cuda_recorder
from ddranking.training.targets import LabelledImages
from ddranking.training.turns import STEPS, take_turns, take_turns_that_pay


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
    """What a job gave: accuracy on its split (a fraction), last-epoch loss, steps, weights.

    ``kernels`` says by what it was computed. ``seconds`` are of the device: those of a group that
    trained together are shared evenly.
    """

    accuracy: float
    train_loss: float | None
    steps: int
    weights: dict[str, Tensor]
    kernels: str
    seconds: float = 0.0


Progress = Callable[[int, float], None]
"""Called with the job's index and the share of its epochs that are done."""


def fit(
    jobs: Sequence[Job],
    device: torch.device,
    progress: Progress = lambda index, share: None,
    together: bool | None = None,
    record: bool = True,
) -> list[Result]:
    """Trains and evaluates every job.

    On a GPU the jobs train side by side, each on a stream of its own, so that small networks fill
    it together: as many at once as pay, which is measured (:mod:`ddranking.training.turns`). On a
    CPU they train one after another. A group that does not fit is halved, and a training that does
    not fit by itself runs without recordings, which hold memory of their own.

    Args:
        jobs: what to train.
        device: where; products there have the precision that a job's rules name.
        progress: told of each finished epoch.
        together: all in turns of an epoch, or each from beginning to end; by the device where None.
        record: steps as CUDA graphs, where the device is a GPU; else they run as they are.
    """

    def run(group: Sequence[tuple[int, Job]]) -> list[Result]:
        return _fit_together(group, device, progress, record, clock)

    def sparing(group: Sequence[tuple[int, Job]]) -> list[Result]:
        return _fit_together(group, device, progress, False, clock)

    recorded = record and device.type == "cuda"
    numbered = list(enumerate(jobs))
    clock = _clock(device) if together is None and device.type == "cuda" else None
    if together is None:
        together = device.type == "cuda"
    groups = [numbered] if together else [[one] for one in numbered]
    results: list[Result] = []
    with _on(device):
        for group in groups:
            results += in_smaller_groups(run, group, sparing if recorded else None)
            if device.type == "cuda":
                release()  # what was recorded for this group is of no use to the next
    return results


def _on(device: torch.device) -> AbstractContextManager[object]:
    """The current GPU: side streams leave it as it was, and would wake up another one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _fit_together(
    group: Sequence[tuple[int, Job]],
    device: torch.device,
    progress: Progress,
    record: bool,
    clock: Callable[[], float] | None,
) -> list[Result]:
    """Trains a group in turns of an epoch, then evaluates one after another.

    With a clock as many of the group take turns as pay; without one all of it.
    """
    start = time.monotonic()
    there = _moving(device)
    lessons = [_lesson(job, device, record, there) for _, job in group]
    trainings = [
        _told(lesson, partial(progress, index))
        for (index, job), lesson in zip(group, lessons, strict=True)
        if job.weights is None
    ]
    if clock is None:
        take_turns(trainings, len(trainings))
    elif trainings:
        epochs = -(-STEPS // min(lesson.steps_of_an_epoch for lesson in lessons))
        take_turns_that_pay(trainings, epochs, clock)
    results = [
        _result(lesson, there(job.evaluation))
        for (_, job), lesson in zip(group, lessons, strict=True)
    ]
    seconds = (time.monotonic() - start) / len(group)
    return [replace(result, seconds=seconds) for result in results]


def _told(lesson: Lesson, progress: Callable[[float], None]) -> Iterator[None]:
    """An epoch of a lesson for each value that is asked for; ``progress`` is told of it."""
    for share in lesson.epochs():
        progress(share)
        yield


def _clock(device: torch.device) -> Callable[[], float]:
    """Seconds when a GPU has done all that it was asked for."""

    def seconds() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return seconds


Moving = Callable[[LabelledImages], LabelledImages]


def _moving(device: torch.device) -> Moving:
    """Puts images on ``device``: those that jobs share once, as one copy for all of them."""
    moved: dict[tuple[int, ...], LabelledImages] = {}

    def there(data: LabelledImages) -> LabelledImages:
        parts = tuple(id(part) for part in (data.images, data.labels, data.soft, data.teacher))
        if parts not in moved:
            moved[parts] = data.to(device)
        return moved[parts]

    return there


def _lesson(job: Job, device: torch.device, record: bool, there: Moving) -> Lesson:
    """The job's network and data on the device, before the first step or with weights given."""
    trial = job.trial
    network = table.build(
        trial.student, shape_of(job.training), job.num_classes, seed=trial.seed, trusted=job.trusted
    ).to(device)
    if job.weights is not None:
        network.load_state_dict(job.weights)
        return Lesson(network, job.training, trial, device)
    data = there(job.training)
    if device.type != "cuda":
        return Lesson(network, data, trial, device)
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))  # which moved the network and the data
    fits = recordable(trial.training, network, trial.student, shape_of(data), len(data.labels))
    recorder = cuda_recorder() if record and fits else None
    return Lesson(network, data, trial, device, stream, recorder)


def _result(lesson: Lesson, evaluation: LabelledImages) -> Result:
    """Evaluated on the device's common stream: each stream would keep maps of its own."""
    if lesson.stream is not None:
        torch.cuda.current_stream(lesson.device).wait_stream(lesson.stream)
        lesson.stream = None
    with lesson.place():
        network, device = lesson.network, lesson.device
        precision = lesson.trial.training.precision
        right = accuracy(network, evaluation, device, precision)
        state = network.state_dict()
        return Result(
            accuracy=right,
            train_loss=lesson.mean_loss(),
            steps=lesson.steps,
            weights={name: value.cpu().contiguous() for name, value in state.items()},
            kernels=kernels(network, shape_of(evaluation), precision, device),
        )


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
    named = in_batches(lambda images: run(images).argmax(1), data.images.to(device), device)
    return int((named == data.labels.to(device)).sum()) / len(data.labels)
