"""Every network by name: the table, and ``check`` and ``build`` that read it.

To add a network, write its module beside this one and a row in ``MODELS``; the contract tests
iterate the table. Nothing here imports torch until a network is built, so that names can be
checked and listed quickly.

Besides the rows, three sources have names with a colon: ``torchvision:NAME``, ``timm:NAME`` and a
user's ``package.module:callable``.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING

from ddranking import seeds
from ddranking.errors import BadInput
from ddranking.models.names import NORMS, POOLINGS, Family, ModelName, Shape, canonical, parse

if TYPE_CHECKING:
    import torch

SMALLEST = 8
"""Smallest image side in pixels."""


def _convnet(name: ModelName, shape: Shape, num_classes: int) -> torch.nn.Module:
    from ddranking.models.convnet import ConvNet

    return ConvNet(name, shape, num_classes)


def _mlp(name: ModelName, shape: Shape, num_classes: int) -> torch.nn.Module:
    from ddranking.models.classic import MLP

    return MLP(name, shape, num_classes)


def _lenet(name: ModelName, shape: Shape, num_classes: int) -> torch.nn.Module:
    from ddranking.models.classic import LeNet

    return LeNet(name, shape, num_classes)


def _alexnet(name: ModelName, shape: Shape, num_classes: int) -> torch.nn.Module:
    from ddranking.models.classic import AlexNet

    return AlexNet(name, shape, num_classes)


def _vgg(name: ModelName, shape: Shape, num_classes: int) -> torch.nn.Module:
    from ddranking.models.vgg import VGG

    return VGG(name, shape, num_classes)


def _resnet(name: ModelName, shape: Shape, num_classes: int) -> torch.nn.Module:
    from ddranking.models.resnet import ResNet

    return ResNet(name, shape, num_classes)


def _poolings_fit(name: ModelName, shape: Shape) -> None:
    """ConvNet-D halves the map D times, and 28x28 images start as 32x32."""
    side = 32 if shape[1:] == (28, 28) else min(shape[1:])
    deepest = side.bit_length() - 1
    if name.number > deepest:
        raise BadInput(
            f"model convnet{name.number}",
            expected=f"at most {deepest} poolings on {shape[1]}x{shape[2]} images",
            got=f"{name.number}",
            hint=f"Choose convnet{deepest} or a shallower one",
        )


MODELS: MappingProxyType[str, Family] = MappingProxyType(
    {
        "convnet": Family(
            about="ConvNet-D: D blocks of conv 3x3, norm, ReLU, pooling; options -wWIDTH "
            "-in|-bn|-ln|-gn|-none -avg|-max",
            build=_convnet,
            shown=("convnet3", "convnet3-bn", "convnet4", "convnet4-bn", "convnet5", "convnet6"),
            numbers=None,
            width=128,
            norms=NORMS,
            poolings=POOLINGS,
            fits=_poolings_fit,
        ),
        "mlp": Family(
            about="Flattened pixels, two hidden layers of 128",
            build=_mlp,
            shown=("mlp",),
        ),
        "lenet": Family(
            about="LeNet-5 with ReLU and max-pooling",
            build=_lenet,
            shown=("lenet",),
        ),
        "alexnet": Family(
            about="AlexNet for small images, five convolutions and one linear layer",
            build=_alexnet,
            shown=("alexnet",),
        ),
        "vgg": Family(
            about="VGG-11, -13, -16, -19 with one linear layer; options -in|-bn",
            build=_vgg,
            shown=("vgg11", "vgg11-bn", "vgg13", "vgg16", "vgg19"),
            numbers=(11, 13, 16, 19),
            norms=("in", "bn"),
        ),
        "resnet": Family(
            about="ResNet-18, -34, -50, 3x3 stem below 128 px; options -in|-bn",
            build=_resnet,
            shown=("resnet18", "resnet18-bn", "resnet34", "resnet34-bn", "resnet50", "resnet50-bn"),
            numbers=(18, 34, 50),
            norms=("in", "bn"),
        ),
    }
)
"""Family -> how its names read and what builds it; the default norm and pooling stand first."""

SOURCES: MappingProxyType[str, str] = MappingProxyType(
    {
        "torchvision:NAME": "any torchvision classifier, untrained, as it is published",
        "timm:NAME": "any timm classifier, untrained, as it is published (extra: timm)",
        "package.module:callable": "your own f(num_classes=, shape=) -> torch.nn.Module; runs code",
    }
)
"""Names with a colon, for people; what they mean is in ``external.py``."""

_USER = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def listing() -> list[tuple[str, str]]:
    """(name, one line) of everything that can be named, in the order of the table."""
    rows = [(name, family.about) for family in MODELS.values() for name in family.shown]
    return rows + list(SOURCES.items())


def check(name: str, shape: Shape | None = None, *, trusted: bool | None = None) -> str:
    """The canonical name of a network, checked without building it.

    Args:
        name: as a person wrote it; ``ConvNet-3`` and ``convnet3-w128-in`` are ``convnet3``.
        shape: (channels, height, width) of the images, at least 8 pixels a side; None to check the
            name alone. Whether a network from elsewhere takes a size shows when it is built.
        trusted: about ``package.module:callable`` only. None (default) checks its form; False
            refuses it; True imports it, which runs its code.

    Raises:
        UnknownName: no such network; the closest name is in the message.
        BadInput: a malformed option, an image too small, or an untrusted callable.
        MissingExtra: ``timm:`` without timm.

    >>> check("ConvNet-3-BN", (3, 32, 32))
    'convnet3-bn'
    """
    if not isinstance(name, str) or not name.strip():
        raise BadInput(
            "model", expected="a name", got=repr(name), hint="See: ddranking list models"
        )
    name = name.strip()
    if shape is not None:
        _check_shape(shape)
    source, colon, rest = name.partition(":")
    if not colon:
        model = parse(name, MODELS)
        if shape is not None:
            MODELS[model.family].fits(model, shape)
        return canonical(model, MODELS[model.family])
    if source.lower() == "torchvision":
        from ddranking.models.external import check_torchvision

        return f"torchvision:{check_torchvision(rest)}"
    if source.lower() == "timm":
        from ddranking.models.external import check_timm

        return f"timm:{check_timm(rest)}"
    if not _USER.fullmatch(name):
        raise BadInput(
            "model",
            expected="torchvision:NAME, timm:NAME or package.module:callable",
            got=repr(name),
        )
    if trusted is False:
        raise BadInput(
            f"model {name!r}",
            expected="your word that its code may run",
            got="none",
            hint="If you wrote or read it, add --trust-code (in Python, trusted=True)",
        )
    if trusted:
        from ddranking.models.external import resolve

        resolve(name)
    return name


def build(
    name: str, shape: Shape, num_classes: int, *, seed: int, trusted: bool = False
) -> torch.nn.Module:
    """A network on the CPU, in training mode, with logits ``[B, num_classes]`` as its output.

    Its parameters depend only on the four arguments: they are drawn from stream
    ``initialisation`` of ``seed``, and torch's own generators are left as they were.

    Args:
        name: any name that :func:`check` takes.
        shape: (channels, height, width) of one image.
        num_classes: 2 or more.
        seed: 0, 1, 2, ...
        trusted: whether the code of ``package.module:callable`` may run.

    Raises:
        what :func:`check` raises; BadInput where a network from elsewhere cannot take ``shape``.

    >>> sum(p.numel() for p in build("convnet3", (3, 32, 32), 10, seed=0).parameters())
    320010
    """
    name = check(name, shape, trusted=trusted)
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise BadInput("num_classes", expected="an integer from 2", got=repr(num_classes))

    import torch

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        # torch.manual_seed would also seed the GPUs, which the fork does not restore.
        torch.default_generator.manual_seed(seeds.derive(seed, "initialisation"))
        return _make(name, shape, num_classes)


def _make(name: str, shape: Shape, num_classes: int) -> torch.nn.Module:
    source, colon, rest = name.partition(":")
    if not colon:
        model = parse(name, MODELS)
        return MODELS[model.family].build(model, shape, num_classes)
    from ddranking.models import external

    builders = {"torchvision": external.build_torchvision, "timm": external.build_timm}
    builder = builders.get(source)
    if builder is None:
        return external.try_out(
            name, lambda: external.build_user(name, shape, num_classes), shape, num_classes
        )
    return external.try_out(name, lambda: builder(rest, shape, num_classes), shape, num_classes)


def _check_shape(shape: Shape) -> None:
    whole = isinstance(shape, tuple) and len(shape) == 3 and all(type(n) is int for n in shape)
    if not whole or shape[0] < 1 or min(shape[1:]) < SMALLEST:
        raise BadInput(
            "image shape",
            expected=f"(channels, height, width), 1 channel or more, {SMALLEST} px a side or more",
            got=repr(shape),
        )
