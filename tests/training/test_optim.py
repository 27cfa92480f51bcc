"""Optimisers change weights in the order in which they lie in memory."""

from __future__ import annotations

import pytest
import torch

from ddranking.protocol import rules
from ddranking.training.optim import Optimizer


@pytest.mark.parametrize(
    "spec",
    [rules.Sgd(momentum=0.9, weight_decay=0.01), rules.Sgd(nesterov=True), rules.AdamW()],
    ids=lambda spec: spec.kind,
)
@pytest.mark.parametrize("layouts", [("last", "last"), ("last", "first"), ("first", "last")])
def test_a_layout_changes_no_step(spec: rules.Optimizer, layouts: tuple[str, str]) -> None:
    """Of a weight and of its gradient, channels last or not."""
    formats = {"last": torch.channels_last, "first": torch.contiguous_format}
    chance = torch.Generator().manual_seed(0)
    start = torch.randn(32, 16, 3, 3, generator=chance)
    plain = torch.nn.Parameter(start.clone())
    other = torch.nn.Parameter(start.clone(memory_format=formats[layouts[0]]))
    one, two = Optimizer(spec, [plain]), Optimizer(spec, [other])
    for _ in range(3):
        gradient = torch.randn(start.shape, generator=chance)
        plain.grad = gradient
        other.grad = gradient.contiguous(memory_format=formats[layouts[1]])
        one.step(0.1)
        two.step(0.1)
        assert torch.equal(plain, other)
    assert other.is_contiguous(memory_format=formats[layouts[0]])
