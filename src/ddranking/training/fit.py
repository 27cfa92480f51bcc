"""Trainings in, results out, each as soon as it is there.

There are no loader processes: a training's images live on its device, or are made there from bytes
(:mod:`ddranking.training.streamed`). A result depends on its job and the device alone, never on the
jobs beside it: each has its own weights, optimiser and random numbers, and the same kernels work on
it as if it were alone. Evaluation happens once, after the last epoch, on the one split that the
trial names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from ddranking.models import table
from ddranking.protocol.rules import Precision
from ddranking.protocol.trial import Trial
from ddranking.training.arithmetic import forward, kernels
from ddranking.training.lesson import Lesson, is_foreign, recordable, shape_of
from ddranking.training.memory import in_batches, in_smaller_groups, release
from ddranking.training.recorded import cuda_recorder
from ddranking.training.snapshot import Snapshot
from ddranking.training.targets import LabelledImages
from ddranking.training.turns import STEPS, as_many_as_pay, take_turns


@dataclass(frozen=True)
class Job:
    """A trial with the data it names.

    ``weights`` are given where an earlier trial already ended with them (the search trial of a
    selected rate); then nothing is trained and only ``evaluation`` is read. ``begun`` is asked,
    when the training starts, for what a run that was stopped left of it: it goes on from there.
    """

    trial: Trial
    training: LabelledImages
    evaluation: LabelledImages
    num_classes: int
    weights: Mapping[str, Tensor] | None = None
    trusted: bool = False
    begun: Callable[[], Snapshot | None] = lambda: None


@dataclass(frozen=True)
class Result:
    """What a job gave: accuracy on its split (a fraction), last-epoch loss, steps, weights.

    ``kernels`` says by what it was computed, ``seconds`` how long that took.
    """

    accuracy: float
    train_loss: float | None
    steps: int
    weights: dict[str, Tensor]
    kernels: str
    seconds: float = 0.0


Progress = Callable[[int, float], None]
"""Called with the job's index and the share of its epochs that are done."""


@dataclass(frozen=True)
class Saving:
    """Where snapshots of trainings go, so that a run that is stopped can go on from them.

    There are none of a network of a user's own callable, of which nobody knows what it remembers.

    Attributes:
        to: called between two epochs with the job's index and its training as it is, which has to
            be written down before it goes on.
        every: seconds between two snapshots of a training, and before the first.
    """

    to: Callable[[int, Snapshot], None]
    every: float


def fit(
    jobs: Sequence[Job],
    device: torch.device,
    progress: Progress = lambda index, share: None,
    together: bool | None = None,
    record: bool = True,
    saving: Saving | None = None,
) -> list[Result]:
    """Trains and evaluates every job; see :func:`fit_each`, whose results these are, in order."""
    found = dict(fit_each(jobs, device, progress, together, record, saving))
    return [found[index] for index in range(len(jobs))]


def fit_each(
    jobs: Sequence[Job],
    device: torch.device,
    progress: Progress = lambda index, share: None,
    together: bool | None = None,
    record: bool = True,
    saving: Saving | None = None,
) -> Iterator[tuple[int, Result]]:
    """Trains and evaluates every job, and yields each one's number and result when it has ended.

    On a GPU the jobs train side by side, each on a stream of its own, so that small networks fill
    it together: as many at once as pay, which is measured (:mod:`ddranking.training.turns`). On a
    CPU they train one after another. A group that does not fit is halved, and a training that does
    not fit by itself runs without recordings, which hold memory of their own.

    Args:
        jobs: what to train.
        device: where; products there have the precision that a job's rules name.
        progress: told of each finished epoch.
        together: all in turns of an epoch, or each from beginning to end; where None, by the
            device: each by itself on a CPU, as many in turns as pay on a GPU.
        record: steps as CUDA graphs, where the device is a GPU; else they run as they are.
        saving: of snapshots; none are taken where it is None.
    """
    gpu = device.type == "cuda"
    clock = _clock(device) if gpu and together is None else None
    listener = partial(_listener, progress, saving)

    def run(group: Mapping[int, Job]) -> Iterator[tuple[int, Result]]:
        return _in_turns(group, device, listener, record, clock)

    def sparing(group: Mapping[int, Job]) -> Iterator[tuple[int, Result]]:
        return _in_turns(group, device, listener, False, clock)

    numbered = dict(enumerate(jobs))
    apart = not (gpu if together is None else together)
    groups = [{number: job} for number, job in numbered.items()] if apart else [numbered]
    for group in groups:
        with _on(device):
            yield from in_smaller_groups(run, group, sparing if gpu and record else None)
            if gpu:
                release()  # what was recorded for this group is of no use to the next


def _on(device: torch.device) -> AbstractContextManager[object]:
    """The current GPU: side streams leave it as it was, and would wake up another one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


_FOUND: dict[Hashable, int] = {}
"""How many trainings of a kind were found to pay in this process, on each device."""


def _in_turns(
    group: Mapping[int, Job],
    device: torch.device,
    listener: Callable[[int], Told],
    record: bool,
    clock: Callable[[], float] | None,
) -> Iterator[tuple[int, Result]]:
    """Trains a group in turns of an epoch: all of it, or with a clock as many at once as pay."""
    there = _moving(device)
    trainings = [
        _training(number, job, device, record, there, partial(listener, number))
        for number, job in group.items()
    ]
    at_once = len(group)
    if clock is not None:
        job, kind = next(iter(group.values())), _kind(group, device, record)
        if kind not in _FOUND:
            steps = -(-len(job.training.images) // job.trial.training.batch_size)
            # In an epoch after the first, so that the shorter batch at its end is recorded, too.
            epochs = max(2, -(-STEPS // steps))
            found, answers = as_many_as_pay(trainings, epochs, clock)
            yield from answers
            if not answers:
                _FOUND[kind] = found
        at_once = _FOUND.get(kind, at_once)
    yield from take_turns(trainings, at_once)


def _kind(group: Mapping[int, Job], device: torch.device, record: bool) -> Hashable:
    """All that decides how many of a group pay: what a step computes, and how many there are."""
    job = next(iter(group.values()))
    rules = job.trial.training.model_copy(update={"learning_rate": 0.0})
    shape = tuple(job.training.images.shape)
    return device, record, len(group), job.trial.student, rules.model_dump_json(), shape


def _training(
    number: int,
    job: Job,
    device: torch.device,
    record: bool,
    there: Moving,
    listener: Callable[[], Told],
) -> Iterator[tuple[int, Result] | None]:
    """None after each epoch, then the job's number and result.

    Its seconds are those of its own turns. A GPU is asked ahead, so there a part of one training's
    may be counted as that of another one beside it.
    """
    since, told = time.monotonic(), listener()
    lesson = _lesson(job, device, record, there)
    seconds = lesson.begun.seconds if lesson.begun else 0.0
    for share in lesson.epochs() if job.weights is None else ():
        told(lesson, share, seconds + time.monotonic() - since)
        seconds += time.monotonic() - since
        yield None
        since = time.monotonic()
    result = _result(lesson, there(job.evaluation))
    del lesson  # which would hold its memory for as long as others of the group train
    yield number, replace(result, seconds=seconds + time.monotonic() - since)


Told = Callable[[Lesson, float, float], None]
"""Called between two epochs: with the share that is done, and the seconds that it took."""


def _listener(progress: Progress, saving: Saving | None, number: int) -> Told:
    """Tells of one job's progress, and takes its snapshots, from now on."""
    saved = time.monotonic()

    def told(lesson: Lesson, share: float, seconds: float) -> None:
        nonlocal saved
        progress(number, share)
        if saving is None or share == 1 or is_foreign(lesson.trial.student):
            return
        if time.monotonic() - saved < saving.every:
            return
        with suppress(Exception):  # what cannot be taken costs the snapshot, not the training
            saving.to(number, lesson.snapshot(seconds))
        saved = time.monotonic()

    return told


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
    data, begun = there(job.training), _begun(job, network, device)
    if device.type != "cuda":
        return Lesson(network, data, trial, device, begun=begun)
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))  # which moved the network and the data
    fits = recordable(trial.training, network, trial.student, shape_of(data), len(data.labels))
    recorder = cuda_recorder() if record and fits else None
    return Lesson(network, data, trial, device, stream, recorder, begun)


def _begun(job: Job, network: nn.Module, device: torch.device) -> Snapshot | None:
    """What a stopped run left of this training, where going on gives what it would have given."""
    begun = None if is_foreign(job.trial.student) else job.begun()
    if begun is None:
        return None
    rules = job.trial.training
    by = kernels(network, shape_of(job.training), rules.precision, device)
    return begun if begun.is_of(network, by, rules.epochs) else None


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
