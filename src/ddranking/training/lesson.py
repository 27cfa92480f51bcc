"""One training, epoch by epoch: the only training loop.

All of a trial's randomness is drawn on the CPU from the trial's own streams, before the step that
needs it; where it has to travel, it does so for many steps at once. A step is a function of tensors
(images, targets, what was drawn, the learning rate) and changes weights in place, so that a GPU can
record it, see :mod:`ddranking.training.recorded`.

Shapes: N images of the training set, B of a batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ddranking import seeds
from ddranking.models.names import Shape
from ddranking.protocol.rules import Training
from ddranking.protocol.trial import Trial
from ddranking.training.arithmetic import arithmetic, forward, kernels
from ddranking.training.augment import apply, draw
from ddranking.training.drawn import forked, on_device, tensors
from ddranking.training.losses import loss
from ddranking.training.optim import Optimizer, Rate, rate_factor
from ddranking.training.recorded import SHORT_STEP, Recorded, Recorder
from ddranking.training.snapshot import Snapshot, on_the_cpu
from ddranking.training.targets import LabelledImages, Target, prepared, targets

LIBRARIES = {"torchvision", "timm"}
"""Whose networks draw in layers that say so in their names."""

STEPS_AHEAD, BYTES_AHEAD = 64, 32 << 20
"""Steps whose randomness goes to a GPU in one transfer, and about how many bytes at most."""


Step = Callable[[Tensor, Target, tuple[Any, ...], Rate], None]
"""Images, their targets, what augmentations drew for them, and the learning rate."""


class Planned(NamedTuple):
    """The randomness of one step: which images (None: all), what augmentations drew, and the rate.

    ``here`` are the same images as ``chosen``, for those who choose on the CPU.
    """

    chosen: Tensor | None
    augmentations: tuple[Any, ...]
    rate: Rate
    here: Tensor | None


@dataclass
class Lesson:
    """A network in training by a trial's rules.

    Attributes:
        network: on ``device``; trained in place.
        data: the training set.
        trial: rules, rate and seed.
        device: where.
        stream: of a GPU, on which all of it happens.
        record: what records its steps; None runs each as it is.
        begun: what a run that was stopped left of the same training, to go on from.
        steps: those taken so far.
    """

    network: nn.Module
    data: LabelledImages
    trial: Trial
    device: torch.device
    stream: torch.cuda.Stream | None = None
    record: Recorder | None = None
    begun: Snapshot | None = None
    steps: int = 0
    _total: Tensor | None = field(default=None, repr=False)
    _optimizer: Optimizer | None = field(default=None, repr=False)

    @contextmanager
    def place(self) -> Iterator[None]:
        """The precision of the rules and, on a GPU, the lesson's stream."""
        stream = nullcontext() if self.stream is None else torch.cuda.stream(self.stream)
        with arithmetic(self.trial.training.precision, self.device), stream:
            yield

    def epochs(self) -> Iterator[float]:
        """Trains; after each epoch gives the share of all epochs that is done, in (0, 1].

        On a GPU an epoch is asked for and not waited for. Other lessons may run between epochs.
        """
        rules = self.trial.training
        views, draws = _stream(self.trial, "labels"), draws_itself(self.network, self.trial.student)
        with self.place():
            self._total = torch.zeros((), device=self.device)
            self.data = prepared(rules.labels, self.data)
            step = self._step(rules, self._total)
            done = self._resume(views)
            planned = self._planned(rules)
        count = self._steps_of_an_epoch()
        for epoch in range(done, rules.epochs):
            with self.place(), self._chance(epoch) if draws else nullcontext():
                if not self.network.training:  # asked for first: train() visits every layer
                    self.network.train()
                self._total.zero_()
                wanted = targets(rules.labels, self.data, epoch, views)
                for one in islice(planned, count):
                    target = wanted.take(slice(None) if one.chosen is None else one.chosen)
                    step(self._images(one), target, one.augmentations, one.rate)
                    self.steps += 1
            yield (epoch + 1) / rules.epochs

    def snapshot(self, seconds: float) -> Snapshot:
        """The training as it is between two epochs, so far in ``seconds``."""
        assert self._optimizer is not None, "of a training under way"
        precision = self.trial.training.precision
        with self.place():
            return Snapshot(
                self.steps // self._steps_of_an_epoch(),
                seconds,
                kernels(self.network, shape_of(self.data), precision, self.device),
                {name: on_the_cpu(value) for name, value in self.network.state_dict().items()},
                {
                    place: tuple(on_the_cpu(value) for value in moments)
                    for place, moments in self._optimizer.moments.items()
                },
            )

    def _resume(self, views: torch.Generator) -> int:
        """Puts the training where ``begun`` left it; the number of epochs that are done."""
        begun, self.begun = self.begun, None  # its memory is of no use any more
        if begun is None:
            return 0
        assert self._optimizer is not None
        self.network.load_state_dict(begun.network)
        self._optimizer.remember(begun.moments)
        for epoch in range(begun.epochs):  # draws what those epochs drew
            targets(self.trial.training.labels, self.data, epoch, views)
        self.steps = begun.epochs * self._steps_of_an_epoch()
        return begun.epochs

    def _steps_of_an_epoch(self) -> int:
        return -(-len(self.data.images) // self.trial.training.batch_size)

    def _chance(self, epoch: int) -> AbstractContextManager[None]:
        """What a network with dropout draws from: torch's own generators, seeded for this epoch."""
        return forked(seeds.derive(self.trial.seed, "network", epoch), self.device)

    def mean_loss(self) -> float | None:
        """The mean loss per image of the last epoch; None where there was none or no finite one."""
        if self._total is None:
            return None
        mean = float(self._total) / len(self.data.images)
        return mean if math.isfinite(mean) else None

    def _step(self, rules: Training, total: Tensor) -> Step:
        """One step: augmentation, forward, loss, backward, and the optimiser's change.

        ``total`` gathers the loss of each image.
        """
        run = forward(self.network, shape_of(self.data), rules.precision, self.device)
        optimizer = self._optimizer = Optimizer(rules.optimizer, self.network.parameters())

        def step(images: Tensor, wanted: Target, drawn: tuple[Any, ...], rate: Rate) -> None:
            made = apply(rules.augmentation, images, drawn)
            optimizer.forget_gradients()
            value = loss(rules.loss, run(made.images), wanted.after(made))
            value.backward()
            optimizer.step(rate)
            total.add_(value.detach() * len(made.images))

        return step if self.record is None else Recorded(step, self.record)

    def _images(self, planned: Planned) -> Tensor:
        images = self.data.images
        chosen = planned.chosen if isinstance(images, Tensor) else planned.here
        return images[:] if chosen is None else images[chosen]

    def _planned(self, rules: Training) -> Iterator[Planned]:
        """The randomness of every step, on the device; drawn ahead where it has to travel."""
        steps = islice(self._planned_here(rules), self.steps, None)
        if self.device.type == "cpu" and self.record is None:
            yield from steps
            return
        while ahead := _some(steps):
            rated = [one._replace(rate=torch.tensor(one.rate)) for one in ahead]
            there = on_device([one[:3] for one in rated], self.device)
            for one, moved in zip(ahead, there, strict=True):
                yield Planned(*moved, here=one.here)

    def _planned_here(self, rules: Training) -> Iterator[Planned]:
        """The randomness of every step, on the CPU, each part from a stream of its own."""
        order, chance = _stream(self.trial, "order"), _stream(self.trial, "augmentation")
        count, *shape = self.data.images.shape
        for epoch in range(rules.epochs):
            rate = self.trial.rate * rate_factor(rules.schedule, epoch, rules.epochs)
            for chosen in _batches(count, rules.batch_size, order):
                size = count if chosen is None else len(chosen)
                drawn = draw(rules.augmentation, (size, *shape), chance)
                yield Planned(chosen, drawn, rate, chosen)


def draws_itself(network: nn.Module, student: str) -> bool:
    """Whether a network draws random numbers in training: by its layers' names, or unknown."""
    kinds = {type(layer).__name__.lower() for layer in network.modules()}
    return is_foreign(student) or any("drop" in kind or "stochastic" in kind for kind in kinds)


def is_foreign(student: str) -> bool:
    """Whether a network is of a user's own callable: nobody knows what it draws, or remembers."""
    source, colon, _ = student.partition(":")
    return bool(colon) and source not in LIBRARIES


def recordable(
    rules: Training, network: nn.Module, student: str, shape: Shape, images: int
) -> bool:
    """Whether steps under ``rules`` are short, and functions of tensors.

    torchvision's transforms by name draw for themselves, and so do networks with dropout.

    Args:
        rules: of the training.
        network: in training.
        student: its name.
        shape: (C, H, W) of the images.
        images: of the training set.
    """
    named = any(one.kind == "torchvision" for one in rules.augmentation)
    short = min(images, rules.batch_size) * math.prod(shape) <= SHORT_STEP
    return short and not named and not draws_itself(network, student)


def shape_of(data: LabelledImages) -> Shape:
    """(C, H, W) of its images."""
    _, channels, height, width = data.images.shape
    return channels, height, width


def _stream(trial: Trial, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(seeds.derive(trial.seed, name))


def _some(steps: Iterator[Planned]) -> Sequence[Planned]:
    """The next steps, as many as may travel together."""
    taken: list[Planned] = []
    size = 0
    while len(taken) < STEPS_AHEAD and size < BYTES_AHEAD:
        one = next(steps, None)
        if one is None:
            break
        taken.append(one)
        size += sum(tensor.nbytes for tensor in tensors(one.augmentations))
    return taken


def _batches(count: int, size: int, order: torch.Generator) -> Iterator[Tensor | None]:
    """Index batches of one epoch, the last one possibly smaller; None for one whole batch.

    Where all images fit one batch their order has no meaning, so nothing is gathered.
    """
    if count <= size:
        yield None
        return
    yield from torch.randperm(count, generator=order).split(size)
