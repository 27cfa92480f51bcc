"""Losses: one function per kind of :data:`ddranking.protocol.rules.Loss`.

Shapes: B images in the batch, K classes. Logits s are [B,K] and unnormalised; t are the logits of
soft labels (``log p`` where they are stored as probabilities), T a temperature. The result is a
scalar in nats (squared logits for ``mse_gt``), the mean over the batch. Where images were mixed the
target is too, see :class:`ddranking.training.targets.Target`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ddranking.protocol.rules import CrossEntropy, Kl, Loss, MseGt, SoftCrossEntropy
from ddranking.training.targets import Target


def cross_entropy(rules: CrossEntropy, logits: Tensor, target: Target) -> Tensor:
    """``-(1/B) sum_b sum_k q_bk log softmax(logits_b)_k`` with q the smoothed one-hot target.

    Args:
        logits: float [B,K].
        target: with labels in [0, K). Mixed labels mix the one-hot targets, which is the sum of
            both cross-entropies weighted by lam and 1 - lam (Zhang et al. 2018).

    With smoothing e, ``q = (1 - e) onehot + e / K`` (Szegedy et al. 2016, section 7).
    """
    wanted = target.classes(logits.shape[1])
    if wanted.is_floating_point():
        wanted = wanted.to(logits.dtype)
    return F.cross_entropy(logits, wanted, label_smoothing=rules.label_smoothing)


def soft_cross_entropy(rules: SoftCrossEntropy, logits: Tensor, target: Target) -> Tensor:
    """``-(1/B) sum_b sum_k softmax(t_b / T)_k log softmax(s_b / T)_k``.

    Source: DATM (Guo et al. 2024), its evaluation, with T = 1.
    """
    likelihood = (logits / rules.temperature).log_softmax(1)
    return -(target.probabilities(rules.temperature) * likelihood).sum(1).mean()


def kl(rules: Kl, logits: Tensor, target: Target) -> Tensor:
    """``(1/B) sum_b KL(softmax(t_b / T) || softmax(s_b / T))``, in [0, inf), times T^2 if asked.

    Source: Hinton et al. 2015, section 2.1, who multiply by T^2 so that gradients keep their size;
    SRe2L (Yin et al. 2023) and RDED (Sun et al. 2024) do not. Classes of probability zero add
    nothing.
    """
    likelihood = (logits / rules.temperature).log_softmax(1)
    value = F.kl_div(likelihood, target.probabilities(rules.temperature), reduction="batchmean")
    return value * rules.temperature**2 if rules.multiply_t2 else value


def mse_gt(rules: MseGt, logits: Tensor, target: Target) -> Tensor:
    """``(1/(B K)) sum_bk (s_bk - t_bk)^2 + weight * cross_entropy(s, y)``, y the true classes.

    Source: EDC (Shao et al. 2024), weight 0.025.
    """
    wanted = target.logits().to(logits.dtype)
    return F.mse_loss(logits, wanted) + rules.weight * cross_entropy(CrossEntropy(), logits, target)


LOSSES = {
    "cross_entropy": cross_entropy,
    "soft_cross_entropy": soft_cross_entropy,
    "kl": kl,
    "mse_gt": mse_gt,
}
"""Kind to function."""


def loss(rules: Loss, logits: Tensor, target: Target) -> Tensor:
    """The loss of a recipe on one batch."""
    return LOSSES[rules.kind](rules, logits, target)
