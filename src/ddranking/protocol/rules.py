"""The vocabulary of training rules: what a recipe or a track may say, with its ranges.

Every closed choice is a model with a literal ``kind``; the training room holds one function per
kind in a table of the same names, and a contract test holds the two together. Imports no torch.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ddranking.protocol.augmentations import Augmentation
from ddranking.protocol.augmentations import Dsa as Dsa
from ddranking.protocol.frozen import Digest, Frozen, Plain, Rate, Share


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


RecipeId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}(@[0-9]+)?$")]


class TrackWeights(Frozen):
    """The track's own ``real_hard`` network of seed 0: its student, trained on the whole set."""

    kind: Literal["track"] = "track"


class TrainedWeights(Frozen):
    """A network trained here, on the whole real training set, from ``seed``.

    ``training`` are its rules, or in a recipe file the name of the recipe that holds them.
    """

    kind: Literal["trained"] = "trained"
    training: Training | RecipeId
    seed: Annotated[int, Field(ge=0)] = 0


class GivenWeights(Frozen):
    """A file of weights that the person who scores has, by digest."""

    kind: Literal["given"] = "given"
    digest: Digest


class PublishedWeights(Frozen):
    """Weights that torchvision or timm publish, for images in the space they were trained in.

    ``name`` is torchvision's; a timm network's name has them in itself.
    ``classes`` are the outputs that the dataset's classes have there, in their order; None takes
    all as they are.
    """

    kind: Literal["published"] = "published"
    name: Annotated[str, Field(max_length=100)] = "IMAGENET1K_V1"
    classes: tuple[Annotated[int, Field(ge=0)], ...] | None = None


class KnownWeights(Frozen):
    """In a trial: the weights that another training ended with, by that trial's key."""

    kind: Literal["trial"] = "trial"
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Weights = Annotated[
    TrackWeights | TrainedWeights | GivenWeights | PublishedWeights | KnownWeights,
    Field(discriminator="kind"),
]


class Network(Frozen):
    """One network of a teacher.

    ``model`` is a model's name, None with the track's own weights. ``space`` is the image space
    (its JSON form) that the network was trained in; in a recipe None, which is the dataset's usual
    one, or a whitened set's own.
    """

    model: Annotated[str, Field(max_length=200)] | None = None
    weights: Weights = TrackWeights()
    space: Plain | None = None

    @model_validator(mode="after")
    def _model_with_weights(self) -> Network:
        if (self.model is None) == (self.weights.kind == "track"):
            return self
        raise ValueError("model: a name, or none with weights of kind track, which say it")


class Teacher(Frozen):
    """Logits of frozen networks, without gradients and in evaluation mode; the mean of several.

    ``sees`` says what they look at: every augmented and mixed ``batch`` anew (SRe2L and its
    descendants), or each of the ``images`` once, before any augmentation; those labels are then
    mixed like stored ones.
    """

    kind: Literal["teacher"] = "teacher"
    networks: Annotated[
        tuple[Network, ...],
        Field(min_length=1, max_length=16, default_factory=lambda: (Network(),)),
    ]
    sees: Literal["batch", "images"] = "batch"


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
Labels = Annotated[Hard | Stored | Teacher, Field(discriminator="kind")]
Loss = Annotated[CrossEntropy | SoftCrossEntropy | Kl | MseGt, Field(discriminator="kind")]
SOFT_LABELS = frozenset({"stored", "teacher"})
"""The label strategies that give soft labels; the others give classes."""

SOFT_LOSSES = frozenset({"soft_cross_entropy", "kl", "mse_gt"})
"""The losses that compare with soft labels; the others compare with classes."""

Precision = Literal["fp32", "tf32", "bf16"]
LearningRate = Rate | Annotated[tuple[Rate, ...], Field(min_length=1)] | Literal["stored"]


class Training(Frozen):
    """How one network is trained, all but the data, the network and the seed.

    ``learning_rate`` is a number, a list to search on the validation split, or ``"stored"``: the
    rate that the distilled set carries. Lengths are in epochs; one epoch visits every image once.

    ``precision`` is that of the products in convolutions and linear layers: ``fp32`` is exact;
    ``tf32`` and ``bf16`` round their inputs to 10 and 7 bits of mantissa and sum in float32.
    Weights, norms, loss and optimiser are float32 in all three.
    """

    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Field(ge=1)]
    learning_rate: LearningRate
    optimizer: Optimizer = Sgd()
    schedule: Schedule = Constant()
    augmentation: tuple[Augmentation, ...] = ()
    labels: Labels = Hard()
    loss: Loss = CrossEntropy()
    precision: Precision = "fp32"

    @model_validator(mode="after")
    def _loss_fits_labels(self) -> Training:
        soft = self.labels.kind in SOFT_LABELS
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

    @cached_property
    def _at(self) -> dict[float, Training]:
        return {}

    def at(self, rate: float) -> Training:
        """These rules with one concrete learning rate; the same object for the same rate."""
        if rate not in self._at:
            self._at[rate] = self.model_copy(update={"learning_rate": rate})
        return self._at[rate]

    def rates(self, stored: float | None) -> tuple[float, ...]:
        """The concrete rates to try; ``stored`` is the distilled set's own rate, if it has one."""
        if self.learning_rate == "stored":
            return () if stored is None else (stored,)
        if isinstance(self.learning_rate, tuple):
            return self.learning_rate
        return (float(self.learning_rate),)


for _model in (TrainedWeights, Network, Teacher, Training):
    _model.model_rebuild()  # a teacher has rules of its own, so the vocabulary refers to itself
