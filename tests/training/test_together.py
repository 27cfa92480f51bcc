"""A training ends with the same bits beside any others: all forms of rules, all families of models.

In a group trainings take turns of an epoch; a worker alone trains one after another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.training.test_recorded import FORMS, images, trial

from ddranking.models.table import MODELS
from ddranking.training.fit import Job, Result, fit
from ddranking.training.targets import LabelledImages

CPU = torch.device("cpu")
FUSED: dict[str, dict[str, Any]] = {
    f"fused, {student}, {precision}": {"student": student, "precision": precision}
    for student in ("convnet2-w32", "convnet2-w32-bn")
    for precision in ("fp32", "bf16")
}
"""Widths that ``fused.cpp`` takes, where it is built; else two more that torch runs."""


def jobs(seed: int) -> dict[str, Job]:
    """One of each form, with a rate of its own."""
    shared = images()
    return {
        name: Job(
            trial(**changes, learning_rate=0.01 / (1 + number)).model_copy(update={"seed": seed}),
            shared,
            images(12),
            num_classes=4,
        )
        for number, (name, changes) in enumerate((FORMS | FUSED).items())
    }


def families(seed: int) -> dict[str, Job]:
    """One of each family of models and each of its norms and poolings, with few steps."""
    chance = torch.Generator().manual_seed(0)
    shared = LabelledImages(torch.randn(6, 3, 32, 32, generator=chance), torch.arange(6) % 4)
    students = [
        *(f"convnet2-w8{option}" for option in ("", "-bn", "-ln", "-gn", "-none", "-max")),
        *(family.shown[0] for name, family in MODELS.items() if name != "convnet"),
        "vgg11-bn",
        "resnet18-bn",
        "torchvision:shufflenet_v2_x0_5",
    ]
    return {
        student: Job(
            trial(student=student, epochs=2, batch_size=4).model_copy(update={"seed": seed}),
            shared,
            shared,
            num_classes=4,
        )
        for student in students
    }


def same(one: Result, other: Result) -> bool:
    """In everything but the time it took."""
    return (
        (one.accuracy, one.train_loss, one.steps) == (other.accuracy, other.train_loss, other.steps)
        and one.weights.keys() == other.weights.keys()
        and all(torch.equal(other.weights[name], value) for name, value in one.weights.items())
    )


@pytest.mark.parametrize("made", [jobs, families])
def test_all_in_one_group_and_each_alone(made: Callable[[int], dict[str, Job]]) -> None:
    first, second = made(0), made(1)
    alone = {name: fit([job], CPU)[0] for name, job in first.items()}
    mixed = [job for pair in zip(second.values(), first.values(), strict=True) for job in pair]
    together = dict(zip(first, fit(mixed, CPU, together=True)[1::2], strict=True))
    assert [name for name in alone if not same(alone[name], together[name])] == []
    assert len({result.train_loss for result in alone.values()}) == len(alone), "all differ"
