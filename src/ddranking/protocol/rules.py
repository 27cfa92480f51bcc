"""The vocabulary of training rules: what a recipe or a track may say, with its ranges.

Every closed choice is a model with a literal ``kind``; the training room holds one function per
kind in a table of the same names, and a contract test holds the two together. Imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """An immutable value with no unknown fields and no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Rate = Annotated[float, Field(gt=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]


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


class Dsa(Frozen):
    """Differentiable siamese augmentation (Zhao and Bilen 2021), in its evaluation form.

    One of ``families`` is drawn for each batch, its parameters for each image.

    ``flip`` is a probability, ``rotate`` degrees, ``saturation``, ``brightness`` and ``contrast``
    ranges of the factors, ``scale`` the largest factor, ``crop`` the shift and ``cutout`` the
    square's side, both as shares of the image's side.
    """

    kind: Literal["dsa"] = "dsa"
    families: tuple[Literal["color", "crop", "cutout", "flip", "scale", "rotate"], ...] = (
        "color",
        "crop",
        "cutout",
        "flip",
        "scale",
        "rotate",
    )
    flip: Share = 0.5
    rotate: Annotated[float, Field(ge=0, le=180)] = 15.0
    saturation: Annotated[float, Field(ge=0)] = 2.0
    brightness: Annotated[float, Field(ge=0)] = 1.0
    contrast: Annotated[float, Field(ge=0)] = 0.5
    scale: Annotated[float, Field(ge=1)] = 1.2
    crop: Share = 0.125
    cutout: Share = 0.5


class Hard(Frozen):
    """One class index per image."""

    kind: Literal["hard"] = "hard"


class CrossEntropy(Frozen):
    """Mean of ``-log softmax(s)[y]`` over the batch, with optional label smoothing."""

    kind: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0


Optimizer = Annotated[Sgd | Adam | AdamW, Field(discriminator="kind")]
Schedule = Annotated[Constant | Step | Cosine | HalfCosine, Field(discriminator="kind")]
# Unions of one member today; a new strategy is one class here and one function in training.
Augmentation = Dsa
Labels = Hard
Loss = CrossEntropy

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

    def rates(self, stored: float | None) -> tuple[float, ...]:
        """The concrete rates to try; ``stored`` is the distilled set's own rate, if it has one."""
        if self.learning_rate == "stored":
            return () if stored is None else (stored,)
        if isinstance(self.learning_rate, tuple):
            return self.learning_rate
        return (float(self.learning_rate),)
