"""The grammar of model names, without torch: ``convnet3-w256-bn`` is a head and its options.

    name    = head ("-" option)*          any order, any case
    head    = word [number]               convnet3, resnet18, mlp
    option  = "w" width | norm | pooling  w256, bn, max

Every spelling of one network has one canonical name, because the name is part of a trial's key:
options that are the default are dropped, the others come in the order width, norm, pooling.
The spellings of papers (``ConvNet-3``, ``ConvNet-4-BN``, ``ResNet-18``, ``ResNet18BN``) are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ddranking.errors import BadInput, UnknownName

if TYPE_CHECKING:
    import torch

Shape = tuple[int, int, int]
"""One image: (channels, height, width)."""

NORMS = ("in", "bn", "ln", "gn", "none")
"""Instance (GroupNorm(C, C)), batch, layer, group normalisation (4 groups), or none."""

POOLINGS = ("avg", "max")


@dataclass(frozen=True)
class ModelName:
    """A parsed name. ``number`` is the depth or layer count, 0 where a family has none."""

    family: str
    number: int = 0
    width: int = 0
    norm: str = ""
    pooling: str = ""


@dataclass(frozen=True)
class Family:
    """One row of the table of models.

    Attributes:
        about: one line for a person.
        build: makes the network, ``(ModelName, shape, num_classes) -> module``, on the CPU.
        numbers: the numbers that may follow the head; empty where none may, None for any from 1.
        width: default width, 0 where the width cannot be chosen.
        norms, poolings: what may be chosen, the default first.
        shown: full names to list to people, and to test.
        fits: raises BadInput if the network cannot take images of this shape.
    """

    about: str
    build: Callable[[ModelName, Shape, int], torch.nn.Module]
    shown: tuple[str, ...]
    numbers: tuple[int, ...] | None = ()
    width: int = 0
    norms: tuple[str, ...] = ()
    poolings: tuple[str, ...] = ()
    fits: Callable[[ModelName, Shape], None] = lambda name, shape: None


# "ConvNet-3", "ConvNetD3", "ResNet-18", "ResNet18BN" and "VGG11BN" are the field's own spellings.
_SPELLING = re.compile(r"(convnet|resnet|vgg)-?d?(\d{1,4})-?(?=[a-z]|$)(.*)", re.ASCII)
_HEAD = re.compile(r"(.*?)(\d{0,4})", re.ASCII | re.DOTALL)


def parse(name: str, table: Mapping[str, Family]) -> ModelName:
    """Reads a plain name; raises UnknownName or BadInput with what would have been right.

    >>> from ddranking.models.table import MODELS
    >>> parse("ConvNet-4-BN", MODELS)
    ModelName(family='convnet', number=4, width=128, norm='bn', pooling='avg')
    """
    spelt = name.strip().lower()
    match = _SPELLING.fullmatch(spelt)
    if match:
        head, digits, rest = match.groups()
        spelt = f"{head}{int(digits)}" + (f"-{rest}" if rest else "")
    head, *options = spelt.split("-")
    split = _HEAD.fullmatch(head)
    word, digits = split.groups() if split else (head, "")
    family = table.get(word)
    if family is None or not _has_number(family, digits):
        raise unknown(name, table)
    return _with_options(name, ModelName(word, int(digits or 0)), family, options)


def canonical(model: ModelName, family: Family) -> str:
    """The one name of a network: defaults dropped, options in fixed order."""
    parts = [f"{model.family}{model.number or ''}"]
    if model.width != family.width:
        parts.append(f"w{model.width}")
    if family.norms and model.norm != family.norms[0]:
        parts.append(model.norm)
    if family.poolings and model.pooling != family.poolings[0]:
        parts.append(model.pooling)
    return "-".join(parts)


def unknown(name: str, table: Mapping[str, Family]) -> UnknownName:
    """The error for a name that no family reads; lists what people can choose."""
    shown = [each for family in table.values() for each in family.shown]
    return UnknownName(
        "model",
        name,
        shown,
        hint="See: ddranking list models. Your own: package.module:callable",
    )


def _has_number(family: Family, digits: str) -> bool:
    if family.numbers is None:
        return int(digits or 0) > 0
    return (int(digits) in family.numbers) if digits else not family.numbers


def _with_options(name: str, model: ModelName, family: Family, options: list[str]) -> ModelName:
    chosen: dict[str, str] = {}
    for option in options:
        if family.width and re.fullmatch(r"w[1-9]\d{0,4}", option, re.ASCII):
            kind = "width"
        elif option in family.norms:
            kind = "norm"
        elif option in family.poolings:
            kind = "pooling"
        else:
            raise BadInput(
                f"model {name!r}",
                expected=f"options {_allowed(family)}",
                got=f"{option!r}",
                hint="See: ddranking list models",
            )
        if kind in chosen:
            raise BadInput(
                f"model {name!r}",
                expected=f"one {kind}",
                got=f"{chosen[kind]!r} and {option!r}",
                hint="Leave one out",
            )
        chosen[kind] = option
    parsed = ModelName(
        family=model.family,
        number=model.number,
        width=int(chosen["width"][1:]) if "width" in chosen else family.width,
        norm=chosen.get("norm", family.norms[0] if family.norms else ""),
        pooling=chosen.get("pooling", family.poolings[0] if family.poolings else ""),
    )
    if parsed.norm == "gn" and parsed.width % 4:
        raise BadInput(
            f"model {name!r}",
            expected="a width that 4 groups divide",
            got=f"width {parsed.width}",
            hint=f"Choose w{parsed.width + 4 - parsed.width % 4}",
        )
    return parsed


def _allowed(family: Family) -> str:
    kinds = [
        "w{WIDTH}" if family.width else "",
        "|".join(family.norms),
        "|".join(family.poolings),
    ]
    return ", ".join(kind for kind in kinds if kind) or "none"
