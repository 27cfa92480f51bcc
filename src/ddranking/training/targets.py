"""Label strategies: what a network is asked to predict for each image of a batch.

One function per kind of :data:`ddranking.protocol.rules.Labels`.
"""

from __future__ import annotations

from torch import Tensor

from ddranking.protocol.rules import Hard, Labels


def hard(rules: Hard, labels: Tensor) -> Tensor:
    """The class index of each image: int64 [B], as it came."""
    return labels


TARGETS = {"hard": hard}
"""Kind to function."""


def target(rules: Labels, labels: Tensor) -> Tensor:
    """The training target of one batch under a recipe's label strategy."""
    return TARGETS[rules.kind](rules, labels)
