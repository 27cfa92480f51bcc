"""Optimisers and learning-rate schedules, by kind.

Every optimiser is torch's fused one: a step on the 320,000 parameters of a ConvNet-3 takes half as
long as one parameter after another, which shows where a batch is ten images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn

from ddranking.protocol import rules


def _sgd(spec: rules.Sgd, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters,
        lr=rate,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
        nesterov=spec.nesterov,
        fused=True,
    )


def _adam(spec: rules.Adam, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        parameters, lr=rate, betas=spec.betas, weight_decay=spec.weight_decay, fused=True
    )


def _adamw(spec: rules.AdamW, parameters: list[nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters, lr=rate, betas=spec.betas, weight_decay=spec.weight_decay, fused=True
    )


OPTIMIZERS = {"sgd": _sgd, "adam": _adam, "adamw": _adamw}


def optimizer(
    spec: rules.Optimizer, parameters: Iterable[nn.Parameter], rate: float
) -> torch.optim.Optimizer:
    """The optimiser of a recipe over ``parameters``, starting at learning rate ``rate``."""
    return OPTIMIZERS[spec.kind](spec, list(parameters), rate)


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
