"""Losses: one function per kind of :data:`ddranking.protocol.rules.Loss`.

Shapes: B images in the batch, K classes. Logits are [B,K] and unnormalised; the result is a scalar,
the mean over the batch, in nats.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ddranking.protocol.rules import CrossEntropy, Loss


def cross_entropy(rules: CrossEntropy, logits: Tensor, target: Tensor) -> Tensor:
    """``-(1/B) sum_b sum_k q_bk log softmax(logits_b)_k`` with q the smoothed one-hot target.

    Args:
        logits: float [B,K].
        target: int64 [B], class indices in [0, K).

    With smoothing e, ``q = (1 - e) onehot + e / K`` (Szegedy et al. 2016, section 7).
    """
    return F.cross_entropy(logits, target, label_smoothing=rules.label_smoothing)


LOSSES = {"cross_entropy": cross_entropy}
"""Kind to function."""


def loss(rules: Loss, logits: Tensor, target: Tensor) -> Tensor:
    """The loss of a recipe on one batch."""
    return LOSSES[rules.kind](rules, logits, target)
