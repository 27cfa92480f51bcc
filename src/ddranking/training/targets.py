"""Label strategies: what a network is asked to predict for each image.

One function per kind of :data:`ddranking.protocol.rules.Labels` gives the targets of all training
images for one epoch; a batch takes its own and mixes them as its images were mixed. A strategy that
labels augmented batches (a teacher's) would go between: after the augmentation, in place of mixing.

Shapes: N images (B in a batch), K classes, V stored views.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ddranking.protocol.rules import Hard, Labels, Stored
from ddranking.training.mixing import Mix

SoftKind = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class LabelledImages:
    """Images with what is known of their labels.

    Attributes:
        images: float32 [N,C,H,W] in the trial's space.
        labels: int64 [N].
        soft: float32 [N,K] or [N,V,K], or None.
        soft_kind: what ``soft`` holds, as its card declares.
    """

    images: Tensor
    labels: Tensor
    soft: Tensor | None = None
    soft_kind: SoftKind | None = None

    def to(self, device: torch.device) -> LabelledImages:
        soft = None if self.soft is None else self.soft.to(device)
        return LabelledImages(self.images.to(device), self.labels.to(device), soft, self.soft_kind)


@dataclass(frozen=True)
class Target:
    """The targets of some images, in each form that a loss may ask for.

    Attributes:
        labels: int64 [B], the class of each image before any mixing.
        soft: float [B,K], or None where labels are hard.
        kind: what ``soft`` holds.
        mixes: what was mixed, in order; the forms below are mixed accordingly.
    """

    labels: Tensor
    soft: Tensor | None = None
    kind: SoftKind | None = None
    mixes: tuple[Mix, ...] = ()

    def take(self, chosen: Tensor | slice) -> Target:
        """The targets of one batch."""
        soft = None if self.soft is None else self.soft[chosen]
        return replace(self, labels=self.labels[chosen], soft=soft)

    def mixed(self, mixes: tuple[Mix, ...]) -> Target:
        """The targets of the same images after they were mixed."""
        return replace(self, mixes=self.mixes + mixes)

    def classes(self, count: int) -> Tensor:
        """Classes int64 [B], or where images are mixed their shares: float32 [B,K].

        Cross-entropy with shares is the share-weighted sum of the cross-entropies with the classes.
        """
        return self.shares(count) if self.mixes else self.labels

    def shares(self, count: int) -> Tensor:
        """float32 [B,K]: one-hot classes, mixed."""
        return self._mix(F.one_hot(self.labels, count).float())

    def probabilities(self, temperature: float = 1.0) -> Tensor:
        """float [B,K]: ``softmax(t / T)``, mixed; of stored probabilities p, t is ``log p``.

        Temperature comes before mixing: each image has its own soft label, and those are mixed.
        """
        soft = self._soft()
        if self.kind == "logits":
            soft = (soft / temperature).softmax(1)
        elif temperature != 1:
            soft = (soft.clamp_min(0).log() / temperature).softmax(1)
        return self._mix(soft)

    def logits(self) -> Tensor:
        """float [B,K]: stored logits, mixed."""
        assert self.kind == "logits", "the plan refuses probabilities where logits are needed"
        return self._mix(self._soft())

    def _soft(self) -> Tensor:
        assert self.soft is not None, "the rules refuse a soft loss with hard labels"
        return self.soft

    def _mix(self, targets: Tensor) -> Tensor:
        for mix in self.mixes:
            targets = mix.labels(targets)
        return targets


def hard(rules: Hard, data: LabelledImages, epoch: int, chance: torch.Generator) -> Target:
    """The class index of each image, as it came."""
    return Target(data.labels)


def stored(rules: Stored, data: LabelledImages, epoch: int, chance: torch.Generator) -> Target:
    """The stored soft label of each image; of several views, the epoch's or a random one."""
    soft = data.soft
    assert soft is not None, "the plan refuses stored labels where the set has none"
    if soft.ndim == 3:
        images, views, _ = soft.shape
        if rules.view == "epoch":
            soft = soft[:, epoch % views]
        else:
            chosen = torch.randint(views, (images,), generator=chance).to(soft.device)
            soft = soft[torch.arange(images, device=soft.device), chosen]
    return Target(data.labels, soft, data.soft_kind)


TARGETS = {"hard": hard, "stored": stored}
"""Kind to function."""


def targets(rules: Labels, data: LabelledImages, epoch: int, chance: torch.Generator) -> Target:
    """The targets of all images in one epoch under a recipe's label strategy.

    Args:
        rules: the strategy.
        data: the training set, on the device.
        epoch: 0-based.
        chance: the trial's CPU generator for labels; advanced where a strategy draws.
    """
    return TARGETS[rules.kind](rules, data, epoch, chance)
