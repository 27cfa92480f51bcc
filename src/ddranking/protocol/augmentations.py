"""The augmentations that a recipe may name, with their parameters and ranges.

All work on images as they are trained on: in the space of the distilled set, which is often
standardised. Where a source applies its augmentation to pixels in [0, 1] and standardises after,
"zero" here is the mean colour where the source has black; shifts and standard deviations are in
units of the space; and nothing is clipped, as standardised images have no range to clip to.

Parameters are drawn for each image unless a kind says "for the batch". Imports no torch; the
functions are in :mod:`ddranking.training.augment`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ddranking.protocol.frozen import Frozen, Share

Spread = Annotated[float, Field(ge=0, le=100)]
Positive = Annotated[float, Field(gt=0, le=1000)]


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


class Flip(Frozen):
    """Mirrors each image left to right with probability ``p``."""

    kind: Literal["flip"] = "flip"
    p: Share = 0.5


class Crop(Frozen):
    """Pads each image by ``padding`` pixels a side and crops its own size back at random.

    The padding is zero or the image reflected at its border (which is not repeated). He et al.
    2016, section 4.2, as in SRe2L's CIFAR evaluation: 4 pixels of zero.
    """

    kind: Literal["crop"] = "crop"
    padding: Annotated[int, Field(ge=1, le=256)] = 4
    mode: Literal["zero", "reflect"] = "zero"


class ResizedCrop(Frozen):
    """Crops a random box of each image and resizes it to the image's own size, bilinearly.

    ``scale`` is the range of the box's area as a share of the image's, ``ratio`` the range of its
    width over its height, log-uniform (Szegedy et al. 2015, section 6, and torchvision's
    ``RandomResizedCrop``). A box is never larger than the image, so the resize only enlarges, and
    antialiasing, on in the sources, changes nothing. SRe2L, RDED: scale from 0.08; EDC: from 0.5.
    """

    kind: Literal["resized_crop"] = "resized_crop"
    scale: tuple[Share, Share] = (0.08, 1.0)
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)

    @model_validator(mode="after")
    def _ranges_ascend(self) -> ResizedCrop:
        for name, (low, high) in (("scale", self.scale), ("ratio", self.ratio)):
            if not 0 < low <= high:
                raise ValueError(f"{name}: expected 0 < low <= high, got {low:g}, {high:g}")
        return self


class ColorJitter(Frozen):
    """Changes brightness, contrast, saturation and hue, in an order drawn for the batch.

    The three factors are uniform in ``[max(0, 1 - x), 1 + x]``, the shift of the hue in
    ``[-hue, hue]`` turns of the colour circle, as torchvision's ``ColorJitter``: brightness
    multiplies, contrast scales about the mean grey, saturation about each pixel's grey, with grey
    0.2989 R + 0.587 G + 0.114 B. Unlike there nothing is clipped to [0, 1]. On images that are not
    RGB, saturation and hue change nothing.
    """

    kind: Literal["color_jitter"] = "color_jitter"
    brightness: Spread = 0.0
    contrast: Spread = 0.0
    saturation: Spread = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0


class Cutout(Frozen):
    """Erases (to zero) one square of each image, ``side`` times the image's side wide.

    The square's centre is any pixel, so that it may hang over the border (DeVries and Taylor 2017:
    0.5 for CIFAR-10, 0.25 for CIFAR-100).
    """

    kind: Literal["cutout"] = "cutout"
    side: Annotated[float, Field(gt=0, le=1)] = 0.5


class Noise(Frozen):
    """Adds Gaussian noise of standard deviation ``std`` (in units of the space) to every value."""

    kind: Literal["noise"] = "noise"
    std: Annotated[float, Field(gt=0, le=100)] = 0.1


class PatchShuffle(Frozen):
    """Cuts each image into ``factor`` columns and shuffles them, then ``factor`` rows likewise.

    So patches move, and neighbours in a row stay in a row (RDED's and EDC's ``ShufflePatches``,
    factor 2 on ImageNet-1K; with factor 1, RDED's below it, nothing moves). Pixels beyond
    ``factor`` equal strips keep their place.
    """

    kind: Literal["patch_shuffle"] = "patch_shuffle"
    factor: Annotated[int, Field(ge=1, le=64)] = 2


class Mixup(Frozen):
    """Mixes each image with another of the batch, and its label: Zhang et al. 2018.

    ``lam * image + (1 - lam) * partner`` with lam from Beta(alpha, alpha), drawn once for the
    batch, as in SRe2L's and RDED's evaluation code; partners are a permutation of the batch.
    """

    kind: Literal["mixup"] = "mixup"
    alpha: Positive = 0.8


class Cutmix(Frozen):
    """Pastes a box of another image of the batch into each, and mixes the labels: Yun et al. 2019.

    lam is from Beta(alpha, alpha); one box a batch with sides ``sqrt(1 - lam)`` of the image's
    around a uniform centre, as in SRe2L's and RDED's evaluation code. Labels mix by the share of
    pixels that really are the image's own, after the box is clipped at the border.
    """

    kind: Literal["cutmix"] = "cutmix"
    alpha: Positive = 1.0


Setting = bool | float | str | None | Annotated[tuple[float, ...], Field(max_length=16)]


class Torchvision(Frozen):
    """A transform of ``torchvision.transforms.v2`` by ``name``, with its own ``parameters``.

    Drawn anew for each image, or once for the batch. Only transforms that mean the same in every
    image space can be named: those that clip to [0, 1], posterise or equalise (``ColorJitter``,
    ``RandAugment``, ``GaussianNoise``, ...) would silently ruin standardised images.
    """

    kind: Literal["torchvision"] = "torchvision"
    name: Literal[
        "ElasticTransform",
        "GaussianBlur",
        "RandomAffine",
        "RandomChannelPermutation",
        "RandomCrop",
        "RandomErasing",
        "RandomGrayscale",
        "RandomHorizontalFlip",
        "RandomPerspective",
        "RandomResizedCrop",
        "RandomRotation",
        "RandomVerticalFlip",
    ]
    parameters: dict[str, Setting] = Field(default_factory=dict, max_length=16)
    each: Literal["image", "batch"] = "image"


Augmentation = Annotated[
    Dsa
    | Flip
    | Crop
    | ResizedCrop
    | ColorJitter
    | Cutout
    | Noise
    | PatchShuffle
    | Mixup
    | Cutmix
    | Torchvision,
    Field(discriminator="kind"),
]
