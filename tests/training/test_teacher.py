"""A frozen teacher: what it is shown, what it answers, and what it never does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ddranking.models import build
from ddranking.training.teacher import Seeing, Teacher

IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SAME = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)


def network(seed: int, name: str = "convnet2-w8-bn") -> nn.Module:
    return build(name, (3, 16, 16), 4, seed=seed)


def test_its_labels_are_the_mean_of_the_logits() -> None:
    networks = [network(seed).eval() for seed in range(3)]
    with torch.no_grad():
        slow = sum(each(IMAGES) for each in networks) / 3
    teacher = Teacher([Seeing(copy.deepcopy(each), *SAME) for each in networks])
    torch.testing.assert_close(teacher(IMAGES), slow)


@pytest.mark.parametrize("name", ["convnet2-w8-bn", "convnet2-w32-bn"])
def test_it_stays_frozen_in_evaluation_mode_and_keeps_no_graph(name: str) -> None:
    """As torch runs it, and fused where it can be."""
    teacher = Teacher([Seeing(network(0, name).train(), *SAME)])
    before = copy.deepcopy(teacher.state_dict())
    teacher.train()
    shown = IMAGES.clone().requires_grad_()
    logits = teacher(shown)
    assert not logits.requires_grad
    assert not any(module.training for module in teacher.modules())
    assert not any(each.requires_grad for each in teacher.parameters())
    after = teacher.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)  # batch norm's too


def test_it_is_shown_images_of_its_own_space() -> None:
    inner, scale, shift = network(1).eval(), (2.0, 0.5, 1.0), (0.1, -0.2, 0.0)
    shown = torch.stack([IMAGES[:, c] * scale[c] + shift[c] for c in range(3)], 1)
    with torch.no_grad():
        slow = inner(shown)
    torch.testing.assert_close(Teacher([Seeing(inner, scale, shift)])(IMAGES), slow)


def test_of_a_larger_network_it_takes_the_outputs_of_its_classes() -> None:
    inner = network(2).eval()
    with torch.no_grad():
        slow = inner(IMAGES)[:, [3, 0]]
    assert torch.equal(Teacher([Seeing(inner, *SAME, classes=(3, 0))])(IMAGES), slow)


def test_its_labels_are_those_of_its_network_fused_or_not() -> None:
    for name in ("convnet2-w8-bn", "convnet2-w32", "convnet2-w32-bn"):
        inner = network(3, name).eval()
        with torch.no_grad():
            slow = copy.deepcopy(inner)(IMAGES)
        teacher = Teacher([Seeing(inner, *SAME)])
        torch.testing.assert_close(teacher(IMAGES), slow, rtol=1e-4, atol=1e-5)


def test_products_of_a_teacher_are_exact_where_those_of_the_training_are_not() -> None:
    seen: list[str] = []

    class Telling(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(torch.get_float32_matmul_precision())
            return images.mean((2, 3))

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        Teacher([Seeing(Telling(), *SAME)])(IMAGES)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == ["highest"]
