"""The vocabulary of training rules: what a recipe or a track may say, with its ranges.

Every closed choice is a model with a literal ``kind``; the training room holds one function per
kind in a table of the same names, and a contract test holds the two together. Imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ddranking.protocol.augmentations import Augmentation
from ddranking.protocol.augmentations import Dsa as Dsa
from ddranking.protocol.frozen import Frozen, Rate, Share


class Sgd(Frozen):
    """Stochastic gradient descent with momentum and (coupled) weight decay."""

    kind: Literal["sgd"] = "sgd"
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    nesterov: bool = False


class Adam(Frozen):
    """Adam (Kingma and Ba 2015) with coupled weight decay."""

    kind: Literal["adam"] = "adam"
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class AdamW(Frozen):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.01


class Constant(Frozen):
    """The learning rate never changes."""

    kind: Literal["constant"] = "constant"


class Step(Frozen):
    """The rate is multiplied by ``factor`` at each milestone (a share of all epochs)."""

    kind: Literal["step"] = "step"
    milestones: tuple[Share, ...] = (0.5,)
    factor: Share = 0.1


class Cosine(Frozen):
    """Full cosine to zero: ``0.5 * (1 + cos(pi * t / T))`` (SRe2L)."""

    kind: Literal["cosine"] = "cosine"


class HalfCosine(Frozen):
    """Cosine that ends at half the rate: ``0.5 * (1 + cos(pi * t / T / 2))`` (RDED)."""

    kind: Literal["half_cosine"] = "half_cosine"


class Hard(Frozen):
    """One class index per image."""

    kind: Literal["hard"] = "hard"


class Stored(Frozen):
    """The soft labels that the distilled set carries, one per image or several views of each.

    Its card declares them as logits or probabilities; the loss says at which temperature they are
    read. Of V views, ``view`` takes number ``epoch mod V`` for every image, or a random one, drawn
    for each image and epoch.
    """

    kind: Literal["stored"] = "stored"
    view: Literal["epoch", "random"] = "epoch"


class CrossEntropy(Frozen):
    """Mean of ``-log softmax(s)[y]`` over the batch, with optional label smoothing."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


Temperature = Annotated[float, Field(gt=0, le=1000)]


class SoftCrossEntropy(Frozen):
    """Mean of ``-sum softmax(t/T) log softmax(s/T)`` over the batch (DATM, with T = 1)."""

    kind: Literal["soft_cross_entropy"] = "soft_cross_entropy"
    temperature: Temperature = 1.0


class Kl(Frozen):
    """Mean of ``KL(softmax(t/T) || softmax(s/T))`` over the batch, times T^2 where asked for.

    Hinton et al. 2015 multiply by T^2; SRe2L and RDED do not (T = 20 or 30).
    """

    kind: Literal["kl"] = "kl"
    temperature: Temperature = 1.0
    multiply_t2: bool = False


class MseGt(Frozen):
    """Mean squared distance of logits, plus ``weight`` times the cross-entropy (EDC: 0.025).

    The cross-entropy is with the true class; the soft labels must be logits.
    """

    kind: Literal["mse_gt"] = "mse_gt"
    weight: Annotated[float, Field(ge=0, le=1000)] = 0.025


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="kind")]
Schedule = Annotated[Constant | Step | Cosine | HalfCosine, Field(discriminator="kind")]
Labels = Annotated[Hard | Stored, Field(discriminator="kind")]
Loss = Annotated[CrossEntropy | SoftCrossEntropy | Kl | MseGt, Field(discriminator="kind")]
SOFT_LOSSES = frozenset({"soft_cross_entropy", "kl", "mse_gt"})
"""The losses that compare with soft labels; the others compare with classes."""

LearningRate = Rate | Annotated[tuple[Rate, ...], Field(min_length=1)] | Literal["stored"]


class Training(Frozen):
    """How one network is trained, all but the data, the network and the seed.

    ``learning_rate`` is a number, a list to search on the validation split, or ``"stored"``: the
    rate that the distilled set carries. Lengths are in epochs; one epoch visits every image once.
    """

    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: LearningRate
    optimizer: Optimizer = Sgd()
    schedule: Schedule = Constant()
    augmentation: tuple[Augmentation, ...] = ()
    labels: Labels = Hard()
    loss: Loss = CrossEntropy()
    precision: Literal["fp32"] = "fp32"

    @model_validator(mode="after")
    def _loss_fits_labels(self) -> Training:
        soft = self.labels.kind != "hard"
        if soft == (self.loss.kind in SOFT_LOSSES):
            return self
        raise ValueError(
            f"loss: expected one for {'soft' if soft else 'hard'} labels, as labels.kind is "
            f"{self.labels.kind}, got {self.loss.kind}"
        )

    @field_validator("learning_rate")
    @classmethod
    def _each_rate_once(cls, rate: LearningRate) -> LearningRate:
        if isinstance(rate, tuple) and len(set(rate)) != len(rate):
            raise ValueError("each learning rate of a search once")
        return rate

    def rates(self, stored: float | None) -> tuple[float, ...]:
        """The concrete rates to try; ``stored`` is the distilled set's own rate, if it has one."""
        if self.learning_rate == "stored":
            return () if stored is None else (stored,)
        if isinstance(self.learning_rate, tuple):
            return self.learning_rate
        return (float(self.learning_rate),)
