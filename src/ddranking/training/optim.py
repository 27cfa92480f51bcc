"""Optimisers and learning-rate schedules, by kind.

Every optimiser is the functional form of torch's, fused: a step on the 320,000 parameters of a
ConvNet-3 takes half as long as one parameter after another, which shows where a batch is ten
images. The classes of ``torch.optim`` do the same sums, but import torch's compiler with their
first step (150 MB and a second of every worker), and take a learning rate as a number, where a
recorded step needs a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from ddranking.protocol import rules

Rate = float | Tensor
"""A learning rate: a number, or where a step is recorded a float32 tensor [] on the device."""


class Optimizer:
    """The optimiser of a recipe over ``parameters``; :meth:`step` changes them in place.

    Args:
        spec: its rules.
        parameters: those that the loss depends on; one without a gradient is left as it is.
    """

    def __init__(self, spec: rules.Optimizer, parameters: Iterable[nn.Parameter]) -> None:
        self.spec, self.parameters = spec, list(parameters)
        self._moments: dict[nn.Parameter, tuple[Tensor, ...]] = {}

    @property
    def moments(self) -> dict[int, tuple[Tensor, ...]]:
        """What is remembered of each parameter, by its place; those without a gradient lack."""
        places = enumerate(self.parameters)
        return {place: self._moments[one] for place, one in places if one in self._moments}

    def remember(self, moments: Mapping[int, tuple[Tensor, ...]]) -> None:
        """Goes on from :attr:`moments` of an optimiser of the same rules and parameters."""
        for place, remembered in moments.items():
            one = self.parameters[place]
            self._moments[one] = tuple(value.to(one.device, copy=True) for value in remembered)

    def forget_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: Rate) -> None:
        """One step at learning rate ``rate`` along the parameters' gradients."""
        moved = [one for one in self.parameters if one.grad is not None]
        gradients = [one.grad for one in moved if one.grad is not None]
        remembered, change = OPTIMIZERS[self.spec.kind]
        gradients = [_as_stored(one, of) for one, of in zip(moved, gradients, strict=True)]
        for parameter, gradient in zip(moved, gradients, strict=True):
            if parameter not in self._moments:
                self._moments[parameter] = remembered(gradient)
        stored = [_as_stored(one, one) for one in moved]
        change(self.spec, stored, gradients, [self._moments[one] for one in moved], rate)


def _as_stored(of: Tensor, tensor: Tensor) -> Tensor:
    """``tensor`` in the order in which ``of`` lies in memory.

    torch's fused steps take one order for all that belongs to a parameter, and copy what is not
    contiguous.
    """
    if of.is_contiguous():
        return tensor.contiguous()
    if of.ndim == 4 and of.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).contiguous()
    return tensor


def _velocity(gradient: Tensor) -> tuple[Tensor, ...]:
    return (torch.zeros_like(gradient),)


def _mean_square_and_count(gradient: Tensor) -> tuple[Tensor, ...]:
    count = torch.zeros((), device=gradient.device)
    return torch.zeros_like(gradient), torch.zeros_like(gradient), count


Moments = Sequence[tuple[Tensor, ...]]
"""What an optimiser remembers of each parameter."""


def _sgd(
    spec: rules.Sgd, parameters: list[Any], gradients: list[Tensor], moments: Moments, rate: Rate
) -> None:
    sgd(
        parameters,
        gradients,
        [velocity for (velocity,) in moments],
        lr=rate,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
        nesterov=spec.nesterov,
        dampening=0.0,
        maximize=False,
        fused=True,
    )


def _adam(
    spec: rules.Adam | rules.AdamW,
    parameters: list[Any],
    gradients: list[Tensor],
    moments: Moments,
    rate: Rate,
) -> None:
    means, squares, counts = zip(*moments, strict=True)
    adam(
        parameters,
        gradients,
        list(means),
        list(squares),
        [],
        list(counts),
        lr=rate,
        beta1=spec.betas[0],
        beta2=spec.betas[1],
        weight_decay=spec.weight_decay,
        decoupled_weight_decay=spec.kind == "adamw",
        eps=1e-8,
        amsgrad=False,
        maximize=False,
        fused=True,
    )


OPTIMIZERS: dict[str, tuple[Callable[..., tuple[Tensor, ...]], Callable[..., None]]] = {
    "sgd": (_velocity, _sgd),
    "adam": (_mean_square_and_count, _adam),
    "adamw": (_mean_square_and_count, _adam),
}
"""Kind to what is remembered of a parameter, and to a step."""


def _constant(spec: rules.Constant, progress: float) -> float:
    return 1.0


def _step(spec: rules.Step, progress: float) -> float:
    return spec.factor ** sum(progress >= milestone for milestone in spec.milestones)


def _cosine(spec: rules.Cosine, progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _half_cosine(spec: rules.HalfCosine, progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress / 2))


SCHEDULES = {"constant": _constant, "step": _step, "cosine": _cosine, "half_cosine": _half_cosine}


def rate_factor(spec: rules.Schedule, epoch: int, epochs: int) -> float:
    """What the learning rate is multiplied by in ``epoch`` (0-based) of ``epochs``.

    With t = epoch / epochs in [0, 1): constant 1; step ``factor ** (milestones passed)``; cosine
    ``(1 + cos(pi t)) / 2``, towards 0; half cosine ``(1 + cos(pi t / 2)) / 2``, towards 1/2.
    """
    return SCHEDULES[spec.kind](spec, epoch / epochs)
