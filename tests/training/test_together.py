"""A training ends with the same bits beside any others: every form of rules, fused ones too."""

from __future__ import annotations

from typing import Any

import torch
from tests.training.test_recorded import FORMS, images, trial

from ddranking.training.fit import Job, Result, fit

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


def same(one: Result, other: Result) -> bool:
    """In everything but the time it took."""
    return (
        (one.accuracy, one.train_loss, one.steps) == (other.accuracy, other.train_loss, other.steps)
        and one.weights.keys() == other.weights.keys()
        and all(torch.equal(other.weights[name], value) for name, value in one.weights.items())
    )


def test_all_forms_in_one_group_and_each_alone() -> None:
    first, second = jobs(seed=0), jobs(seed=1)
    alone = {name: fit([job], CPU)[0] for name, job in first.items()}
    mixed = [job for pair in zip(second.values(), first.values(), strict=True) for job in pair]
    together = dict(zip(first, fit(mixed, CPU, together=True)[1::2], strict=True))
    assert [name for name in alone if not same(alone[name], together[name])] == []
    assert len({result.train_loss for result in alone.values()}) == len(alone), "all differ"
