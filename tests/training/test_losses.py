"""Losses against slow NumPy versions, against each other, and their gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ddranking.protocol.rules import CrossEntropy, Kl, MseGt, SoftCrossEntropy
from ddranking.training.losses import LOSSES, cross_entropy, loss
from ddranking.training.mixing import Mix
from ddranking.training.targets import Target

SPECS = [
    CrossEntropy(),
    CrossEntropy(label_smoothing=0.1),
    SoftCrossEntropy(),
    SoftCrossEntropy(temperature=4),
    Kl(temperature=1),
    Kl(temperature=20),
    Kl(temperature=3, multiply_t2=True),
    MseGt(),
    MseGt(weight=2),
]
LABELS = torch.tensor([0, 3, 1, 1, 2])
MIXES = (
    Mix(torch.tensor([4, 2, 0, 1, 3]), torch.full((5,), 0.75)),
    Mix(torch.tensor([1, 0, 3, 2, 4]), torch.tensor([0.5, 0.25, 1.0, 0.0, 0.5])),
)
each_loss = pytest.mark.parametrize("spec", SPECS, ids=str)


def numbers(seed: int) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(5, 4, generator=chance, dtype=torch.float64)


def target(spec, mixes=()) -> Target:
    soft = spec.kind != "cross_entropy"
    return Target(LABELS, numbers(1) if soft else None, "logits" if soft else None, mixes)


def softmax(row: np.ndarray) -> np.ndarray:
    odds = np.array([math.exp(value) for value in row])
    return odds / odds.sum()


def mixed(rows: np.ndarray, mixes) -> np.ndarray:
    for mix in mixes:
        rows = np.array(
            [
                float(lam) * row + (1 - float(lam)) * rows[int(partner)]
                for row, partner, lam in zip(rows, mix.partner, mix.lam, strict=True)
            ]
        )
    return rows


def slow(spec, logits: np.ndarray, soft: np.ndarray, mixes) -> float:
    """Class by class and image by image, from the formulas."""
    one_hot = mixed(np.eye(4)[LABELS.numpy()], mixes)
    total = 0.0
    for b in range(5):
        hard = -sum(one_hot[b, k] * math.log(softmax(logits[b])[k]) for k in range(4))
        if spec.kind == "cross_entropy":
            e = spec.label_smoothing
            even = -sum(math.log(softmax(logits[b])[k]) / 4 for k in range(4))
            total += (1 - e) * hard + e * even
        elif spec.kind == "mse_gt":
            wanted = mixed(soft, mixes)[b]
            total += sum((logits[b, k] - wanted[k]) ** 2 for k in range(4)) / 4 + spec.weight * hard
        else:
            high = spec.temperature
            q = mixed(np.array([softmax(row / high) for row in soft]), mixes)[b]
            p = softmax(logits[b] / high)
            cross = -sum(q[k] * math.log(p[k]) for k in range(4))
            if spec.kind == "kl":
                cross += sum(q[k] * math.log(q[k]) for k in range(4))
                cross *= high**2 if spec.multiply_t2 else 1
            total += cross
    return total / 5


def test_every_loss_is_tested() -> None:
    assert {spec.kind for spec in SPECS} == set(LOSSES)


@each_loss
@pytest.mark.parametrize("mixes", [(), MIXES[:1], MIXES], ids=["plain", "one mix", "two mixes"])
def test_a_loss_equals_its_slow_version(spec, mixes) -> None:
    value = loss(spec, numbers(0), target(spec, mixes))
    wanted = slow(spec, numbers(0).numpy(), numbers(1).numpy(), mixes)
    assert float(value) == pytest.approx(wanted, abs=1e-10)


@each_loss
@pytest.mark.parametrize("mixes", [(), MIXES], ids=["plain", "mixed"])
def test_gradients(spec, mixes) -> None:
    logits = numbers(0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(spec, x, target(spec, mixes)), (logits,))


def test_mixed_hard_labels_are_the_weighted_sum_of_both_losses() -> None:
    lam, partner = 0.75, MIXES[0].partner
    for spec in (CrossEntropy(), CrossEntropy(label_smoothing=0.1)):
        own, other = (loss(spec, numbers(0), Target(each)) for each in (LABELS, LABELS[partner]))
        both = loss(spec, numbers(0), target(spec, MIXES[:1]))
        assert float(both) == pytest.approx(float(lam * own + (1 - lam) * other), abs=1e-10)


def test_the_fields_own_forms() -> None:
    """As the public evaluators write them, on the same numbers."""
    s, t = numbers(0), numbers(1)
    soft = Target(LABELS, t, "logits")
    datm = -(F.softmax(t, dim=1) * F.log_softmax(s, dim=1)).sum() / 5
    torch.testing.assert_close(loss(SoftCrossEntropy(), s, soft), datm)
    sre2l = torch.nn.KLDivLoss(reduction="batchmean")(
        F.log_softmax(s / 20, dim=1), F.softmax(t / 20, dim=1)
    )
    torch.testing.assert_close(loss(Kl(temperature=20), s, soft), sre2l)
    edc = F.mse_loss(s, t) + 0.025 * F.cross_entropy(s, LABELS)
    torch.testing.assert_close(loss(MseGt(), s, soft), edc)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_probabilities_are_read_as_the_logits_they_came_from(temperature) -> None:
    as_logits = Target(LABELS, numbers(1), "logits")
    as_odds = Target(LABELS, numbers(1).softmax(1), "probabilities")
    for spec in (SoftCrossEntropy(temperature=temperature), Kl(temperature=temperature)):
        left, right = (loss(spec, numbers(0), each) for each in (as_logits, as_odds))
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_probability_of_zero_adds_nothing(temperature) -> None:
    one_hot = F.one_hot(LABELS, 4).double()
    odds = Target(LABELS, one_hot, "probabilities")
    wanted = cross_entropy(CrossEntropy(), numbers(0) / temperature, Target(LABELS))
    for spec in (SoftCrossEntropy(temperature=temperature), Kl(temperature=temperature)):
        logits = numbers(0).requires_grad_()
        value = loss(spec, logits, odds)
        torch.testing.assert_close(value, wanted)
        assert torch.isfinite(torch.autograd.grad(value, logits)[0]).all()
