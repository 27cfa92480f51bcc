"""The spaces that images live in, and the way there from pixels.

A distilled image lives in the space it was optimised in, and test images have to be put into the
same one: pixels in [0, 1], standardised with given constants, or ZCA-whitened. Showing a network
test images of another space is the first cause of "released data evaluates to 10 %".

Shapes: ``[N, C, H, W]`` uint8 in, float32 out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from ddranking.data import whitening
from ddranking.data.images import Constants, Images, read_rows
from ddranking.errors import BadInput, UnknownName, first_fault

CHUNK = 8192
"""Images converted at a time, so that no float copy larger than the answer is ever made."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Pixel(_Frozen):
    """``x = pixel / 255``, in [0, 1]."""

    kind: Literal["pixel"] = "pixel"


class Standardized(_Frozen):
    """``x = (pixel / 255 - mean) / std`` per channel."""

    kind: Literal["standardized"] = "standardized"
    mean: tuple[float, ...] = Field(min_length=1)
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _same_length(self) -> Standardized:
        if len(self.mean) != len(self.std):
            raise ValueError(f"{len(self.mean)} means but {len(self.std)} standard deviations")
        return self


class Zca(_Frozen):
    """Whitened with the covariance of the training images; see :mod:`ddranking.data.whitening`.

    ``kornia`` is what MTT and DATM use, ``kip`` what KIP and RFAD use. ``eps`` regularises:
    added to the covariance's eigenvalues (kornia), or times their mean added (kip).
    """

    kind: Literal["zca"] = "zca"
    variant: Literal["kornia", "kip"] = "kornia"
    eps: float = Field(default=0.1, gt=0)


Space = Annotated[Pixel | Standardized | Zca, Field(discriminator="kind")]
SPACE: TypeAdapter[Pixel | Standardized | Zca] = TypeAdapter(Space)
"""Validates and dumps a :data:`Space`: ``SPACE.validate_python({"kind": "pixel"})``."""

NAMES = ("pixel", "standardized", "zca", "zca-kip")

HALF = "half"
"""Constants of every dataset: mean 0.5 and std 0.5, which puts pixels into [-1, 1], as the code
of diffusion models and GANs stores them."""


class HasConstants(Protocol):
    """A dataset, or the facts about one."""

    @property
    def name(self) -> str: ...
    @property
    def mean(self) -> tuple[float, ...]: ...
    @property
    def std(self) -> tuple[float, ...]: ...
    @property
    def lineages(self) -> Mapping[str, Constants]: ...


def parse_space(value: str | Mapping[str, Any] | Space, dataset: HasConstants) -> Space:
    """The space that a user or a card names.

    Args:
        value: "pixel"; "standardized" (the dataset's constants); "standardized:mtt" (those of a
            lineage, see the catalog), "standardized:half" (pixels in [-1, 1]) or
            "standardized:MEAN/STD" in numbers, one or one a channel, as in
            "standardized:0.5,0.5,0.5/0.25,0.25,0.25"; "zca" (kornia's); "zca-kip"; or the JSON
            form, as in ``{"kind": "standardized", "mean": [0.13], "std": [0.31]}``.
        dataset: whose constants "standardized" means.

    Raises:
        UnknownName: a name or a lineage that is not there.
        BadInput: a JSON form that does not validate, numbers that are no constants, or constants
            for another channel count.

    >>> from ddranking.data.catalog import facts
    >>> parse_space("standardized:mtt", facts("cifar100")).std
    (0.2023, 0.1994, 0.201)
    >>> parse_space("standardized:0/1", facts("cifar100")).std
    (1.0, 1.0, 1.0)
    """
    if isinstance(value, str) and value.startswith("standardized:") and "/" in value:
        value = _in_numbers(value, len(dataset.mean))
    if isinstance(value, str):
        return _named_space(value, dataset)
    if not isinstance(value, BaseModel):
        try:
            value = SPACE.validate_python(dict(value))
        except ValidationError as error:
            first = first_fault(error)
            where = ".".join(str(part) for part in first["loc"])
            raise BadInput(
                "space",
                expected='a form as {"kind": "pixel"}',
                got=f"{where + ': ' if where else ''}{first['msg']}",
            ) from error
    if isinstance(value, Standardized) and len(value.mean) != len(dataset.mean):
        raise BadInput(
            "space",
            expected=f"{len(dataset.mean)} constants, one per channel of {dataset.name}",
            got=str(len(value.mean)),
        )
    return value  # type: ignore[return-value]


def constants_in_use(dataset: HasConstants) -> dict[str, Constants]:
    """Constants that ``standardized:NAME`` knows: the dataset's lineages, and ``HALF``."""
    half = (0.5,) * len(dataset.mean)
    return {**dataset.lineages, HALF: (half, half)}


def _in_numbers(text: str, channels: int) -> dict[str, Any]:
    """The JSON form of ``standardized:MEAN/STD``; one number stands for every channel."""
    try:
        mean, std = (
            tuple(float(each) for each in part.split(","))
            for part in text.partition(":")[2].split("/")
        )
    except ValueError:
        raise BadInput(
            "space",
            expected="standardized:MEAN/STD in numbers, as standardized:0.5,0.5,0.5/0.2,0.2,0.2",
            got=text,
        ) from None
    mean, std = (each * channels if len(each) == 1 else each for each in (mean, std))
    return {"kind": "standardized", "mean": mean, "std": std}


def _named_space(text: str, dataset: HasConstants) -> Space:
    name, _, lineage = text.partition(":")
    constants = constants_in_use(dataset)
    if lineage and name == "standardized":
        if lineage not in constants:
            raise UnknownName(f"constants of {dataset.name}", lineage, constants)
        mean, std = constants[lineage]
        return Standardized(mean=mean, std=std)
    named: dict[str, Space] = {
        "pixel": Pixel(),
        "standardized": Standardized(mean=dataset.mean, std=dataset.std),
        "zca": Zca(),
        "zca-kip": Zca(variant="kip"),
    }
    if lineage or name not in named:
        raise UnknownName("space", text, [*NAMES, *(f"standardized:{k}" for k in constants)])
    return named[name]


class FittedSpace(Protocol):
    """A space with everything it needs from the training images."""

    @property
    def space(self) -> Space: ...

    @property
    def levels(self) -> np.ndarray | None:
        """float32 ``[C, 256]``: what each level of each channel becomes.

        None where the values of an image depend on each other, as whitened ones do.
        """
        ...

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 ``[N, C, H, W]`` to float32 of the same shape, in this space."""
        ...

    def invert_to_pixels(self, images: np.ndarray) -> np.ndarray:
        """float ``[N, C, H, W]`` of this space to float32 where [0, 1] is black to white.

        Not clipped: distilled images leave [0, 1]. For pictures; training never goes this way.
        """
        ...


def fit(space: Space, train: Images, cache_dir: str | Path | None = None) -> FittedSpace:
    """Learn from the training images what ``space`` needs.

    Args:
        space: where to go. Only ZCA learns anything.
        train: the training images of the real dataset.
        cache_dir: where a whitening is kept, so that it is computed once; nowhere when None.

    Raises:
        BadInput: constants for another channel count, or images too large to whiten.
        StoreUnusable: a cache folder that cannot be written.
    """
    if isinstance(space, Zca):
        return _FittedZca(space, whitening.fit(train.pixels, space.variant, space.eps, cache_dir))
    channels = train.shape[0]
    if isinstance(space, Standardized):
        if len(space.mean) != channels:
            raise BadInput(
                "space", expected=f"constants for {channels} channels", got=str(len(space.mean))
            )
        return _FittedAffine(space, space.mean, space.std)
    return _FittedAffine(space, (0.0,) * channels, (1.0,) * channels)


def standardize(pixels: np.ndarray, space: Standardized) -> np.ndarray:
    """uint8 pixels ``[N, C, H, W]`` as float32 images in ``space``, to the bit as real images."""
    return _FittedAffine(space, space.mean, space.std).apply(pixels)


@dataclass(frozen=True)
class _FittedAffine:
    """Pixel and standardised: ``x = (pixel / 255 - mean) / std``."""

    space: Space
    mean: Sequence[float]
    std: Sequence[float]

    @property
    def levels(self) -> np.ndarray:
        # 256 levels and a handful of channels: a table computed in float64 is exact and fast.
        mean, std = (np.asarray(v, np.float64)[:, None] for v in (self.mean, self.std))
        return ((np.arange(256) / 255 - mean) / std).astype(np.float32)

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        images = np.empty(pixels.shape, np.float32)
        for channel, table in enumerate(self.levels):
            for start in range(0, len(pixels), CHUNK):
                block = slice(start, start + CHUNK)
                images[block, channel] = table[pixels[block, channel]]
        return images

    def invert_to_pixels(self, images: np.ndarray) -> np.ndarray:
        mean, std = (np.asarray(v, np.float64)[:, None, None] for v in (self.mean, self.std))
        return (images * std + mean).astype(np.float32)


@dataclass(frozen=True)
class _FittedZca:
    space: Space
    whitening: whitening.Whitening
    levels: None = None

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        images = np.empty(pixels.shape, np.float32)
        for start in range(0, len(pixels), CHUNK):
            block = slice(start, start + CHUNK)
            images[block] = self.whitening.whiten(read_rows(pixels, block))
        return images

    def invert_to_pixels(self, images: np.ndarray) -> np.ndarray:
        return self.whitening.colour(images)
