"""Label strategies: what a network is asked to predict for each image.

One function per kind of :data:`ddranking.protocol.rules.Labels` gives the targets of all training
images for one epoch; a batch takes its own, and they follow its augmentation: mixed as its images
were mixed, or made by a teacher that looks at the batch.

Shapes: N images (B in a batch), K classes, V stored views.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddranking.protocol.rules import Hard, Labels, Stored, Teacher
from ddranking.training.augment import Augmented
from ddranking.training.drawn import on_device
from ddranking.training.memory import in_batches
from ddranking.training.mixing import Mix
from ddranking.training.streamed import Streamed

SoftKind = Literal["logits", "probabilities"]


@dataclass(frozen=True)
class LabelledImages:
    """Images with what is known of their labels.

    Attributes:
        images: float32 [N,C,H,W] in the trial's space, whole or made batch by batch.
        labels: int64 [N].
        soft: float32 [N,K] or [N,V,K], or None.
        soft_kind: what ``soft`` holds, as its card declares.
        teacher: images [B,C,H,W] to logits [B,K] without gradients, see
            :mod:`ddranking.training.teacher`; None in a recipe without one.
    """

    images: Tensor | Streamed
    labels: Tensor
    soft: Tensor | None = None
    soft_kind: SoftKind | None = None
    teacher: nn.Module | None = None

    def to(self, device: torch.device) -> LabelledImages:
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            soft=None if self.soft is None else self.soft.to(device),
            teacher=None if self.teacher is None else self.teacher.to(device),
        )


@dataclass(frozen=True)
class Target:
    """The targets of some images, in each form that a loss may ask for.

    Attributes:
        labels: int64 [B], the class of each image before any mixing.
        soft: float [B,K], or None where labels are hard.
        kind: what ``soft`` holds.
        mixes: what was mixed, in order; the forms below are mixed accordingly.
        teacher: what labels each batch after its augmentation, or None.
        remade: whether ``soft`` was made for the mixed images, and is not to be mixed again.
    """

    labels: Tensor
    soft: Tensor | None = None
    kind: SoftKind | None = None
    mixes: tuple[Mix, ...] = ()
    teacher: nn.Module | None = None
    remade: bool = False

    def take(self, chosen: Tensor | slice) -> Target:
        """The targets of one batch."""
        soft = None if self.soft is None else self.soft[chosen]
        return replace(self, labels=self.labels[chosen], soft=soft)

    def after(self, made: Augmented) -> Target:
        """The targets of the same images after their augmentation: mixed, or made anew."""
        mixed = replace(self, mixes=self.mixes + made.mixes)
        if self.teacher is None:
            return mixed
        return replace(mixed, soft=self.teacher(made.images), kind="logits", remade=True)

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

        A teacher that looked at the mixed images has mixed already.

        Temperature comes before mixing: each image has its own soft label, and those are mixed.
        """
        soft = self._soft()
        if self.kind == "logits":
            soft = (soft / temperature).softmax(1)
        elif temperature != 1:
            soft = (soft.clamp_min(0).log() / temperature).softmax(1)
        return soft if self.remade else self._mix(soft)

    def logits(self) -> Tensor:
        """float [B,K]: stored logits, mixed, or a teacher's."""
        assert self.kind == "logits", "the plan refuses probabilities where logits are needed"
        return self._soft() if self.remade else self._mix(self._soft())

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
            [chosen] = on_device([torch.randint(views, (images,), generator=chance)], soft.device)
            soft = soft[torch.arange(images, device=soft.device), chosen]
    return Target(data.labels, soft, data.soft_kind)


def teacher(rules: Teacher, data: LabelledImages, epoch: int, chance: torch.Generator) -> Target:
    """A teacher's logits: of every augmented batch, or once of each image as it is.

    The labels of images that it saw once are ``data.soft``, made before the first epoch by
    :func:`prepared`.
    """
    if rules.sees == "images":
        assert data.soft is not None, "images are labelled before the first epoch"
        return Target(data.labels, data.soft, "logits")
    assert data.teacher is not None, "the workbench brings the teacher that a trial names"
    return Target(data.labels, teacher=data.teacher)


def prepared(rules: Labels, data: LabelledImages) -> LabelledImages:
    """``data`` with the labels that are made once, before the first epoch."""
    if not (isinstance(rules, Teacher) and rules.sees == "images"):
        return data
    assert data.teacher is not None, "the workbench brings the teacher that a trial names"
    soft = in_batches(data.teacher, data.images, data.labels.device)
    return replace(data, soft=soft, soft_kind="logits")


TARGETS = {"hard": hard, "stored": stored, "teacher": teacher}
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
