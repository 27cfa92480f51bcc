"""Networks from elsewhere: torchvision's and timm's by name, and a user's own callable.

As students none of them is pretrained: only the architecture is taken, and it is initialised by
its own rules; :func:`published` is for teachers. What they can take differs, so each is run once
on two blank images after it is built, and one that cannot take the images is an error there and not
in the first training step.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ddranking.errors import BadInput, MissingData, MissingExtra, UnknownName
from ddranking.models.names import Shape

TORCHVISION_OPTIONS: dict[str, dict[str, Any]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
"""Without these the two return named tuples in training, and not logits."""


def check_torchvision(name: str) -> str:
    """Canonical torchvision name; raises UnknownName with the closest classifier."""
    from torchvision import models

    known = models.list_models(module=models)
    lower = name.lower()
    if lower not in known:
        raise UnknownName("torchvision model", name, known)
    return lower


def build_torchvision(name: str, shape: Shape, num_classes: int) -> nn.Module:
    """A torchvision classifier; its first convolution is replaced unless images have 3 channels."""
    from torchvision import models

    options = dict(TORCHVISION_OPTIONS.get(name, {}))
    if name.startswith("vit_"):
        options["image_size"] = shape[1]
    if name.startswith("maxvit"):
        options["input_size"] = shape[1:]
    network = models.get_model(name, weights=None, num_classes=num_classes, **options)
    if shape[0] != 3:
        _take_channels(network, shape[0])
    return network


def _take_channels(network: nn.Module, channels: int) -> None:
    """Replaces the first convolution by one for ``channels``, with PyTorch's initialisation."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.in_channels == 3 and layer.groups == 1:
            first = nn.Conv2d(
                channels,
                layer.out_channels,
                layer.kernel_size,  # pyright: ignore[reportArgumentType]
                stride=layer.stride,  # pyright: ignore[reportArgumentType]
                padding=layer.padding,  # pyright: ignore[reportArgumentType]
                dilation=layer.dilation,  # pyright: ignore[reportArgumentType]
                bias=layer.bias is not None,
                padding_mode=layer.padding_mode,
            )
            network.set_submodule(name, first)
            return
    raise BadInput("model", expected=f"a network for {channels} channels", got="one for 3 only")


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError as error:
        raise MissingExtra("timm", "timm", "model timm:NAME") from error


def check_timm(name: str) -> str:
    """Canonical timm architecture name, without a pretrained tag; raises UnknownName."""
    known = _timm().list_models()
    lower = name.lower()
    if lower not in known:
        raise UnknownName("timm model", name, known)
    return lower


def build_timm(name: str, shape: Shape, num_classes: int) -> nn.Module:
    """A timm classifier for this many channels; transformers also get their image size."""
    timm = _timm()
    config = timm.models.get_pretrained_cfg(name)
    sized = config is not None and config.fixed_input_size
    options = {"img_size": shape[1:]} if sized else {}
    return timm.create_model(
        name, pretrained=False, num_classes=num_classes, in_chans=shape[0], **options
    )


def published(name: str, weights: str, shape: Shape) -> nn.Module:
    """A network of torchvision or timm with the weights that they publish, fetched if need be.

    Args:
        name: ``torchvision:NAME`` or ``timm:NAME``.
        weights: torchvision's name of them; timm has them in the network's name.
        shape: of the images, (channels, height, width).

    Raises:
        UnknownName: no such network or weights.
        BadInput: another source, or images that it cannot take.
        MissingData: the weights are neither here nor can they be fetched.
    """
    source, _, rest = name.partition(":")
    if source == "torchvision":
        from torchvision import models

        members = models.get_model_weights(check_torchvision(rest)).__members__
        # "DEFAULT" means others in other versions, and would not say what was trained with.
        known = [each for each in members if each != "DEFAULT"]
        if weights not in known:
            raise UnknownName(f"weights of {name}", weights, known)

        def make() -> nn.Module:
            return models.get_model(rest.lower(), weights=weights)
    elif source == "timm":
        check_timm(rest.partition(".")[0])

        def make() -> nn.Module:
            return _timm().create_model(rest, pretrained=True)
    else:
        raise BadInput(
            f"published weights of {name}", expected="torchvision:NAME or timm:NAME", got=name
        )
    try:
        network = make().eval()
    except Exception as error:  # each library has its own way to fail at fetching
        raise MissingData(
            f"weights {weights} of {name}",
            expected="them in the library's cache, or a network to fetch them over",
            got=f"{type(error).__name__}: {error}"[:200],
            hint="Fetch them where there is a network, or name a file of weights with --teacher.",
        ) from error
    with torch.no_grad():
        try:
            network(torch.zeros(2, *shape))
        except Exception as error:
            raise BadInput(
                f"teacher {name}",
                expected="images that it can take",
                got=f"{'x'.join(map(str, shape))}: {error}"[:200],
            ) from error
    return network


def resolve(path: str) -> Callable[..., Any]:
    """The callable at ``package.module:attribute``. This runs the module's code."""
    module, _, attribute = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # importing runs any code, so anything can come out
        raise BadInput(
            f"model {path!r}",
            expected="an importable package.module:callable",
            got=f"{type(error).__name__}: {error}",
            hint="Check the name, and that PYTHONPATH holds the module",
        ) from error
    if not callable(found):
        raise BadInput(f"model {path!r}", expected="a callable", got=type(found).__name__)
    return found


def build_user(path: str, shape: Shape, num_classes: int) -> nn.Module:
    """Calls a user's ``f(num_classes=, shape=)``, or ``f(num_classes, shape)``.

    It should draw its initialisation from torch's CPU generator, which is seeded around the call.
    """
    function = resolve(path)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # callables written in C have no signature
        parameters = ()
    by_name = {each.name for each in parameters} >= {"num_classes", "shape"} or any(
        each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters
    )
    if by_name:
        network = function(num_classes=num_classes, shape=shape)
    else:
        network = function(num_classes, shape)
    if not isinstance(network, nn.Module):
        raise BadInput(
            f"model {path!r}", expected="it to return a torch.nn.Module", got=type(network).__name__
        )
    return network


def try_out(name: str, make: Callable[[], nn.Module], shape: Shape, num_classes: int) -> nn.Module:
    """Makes a network and runs it on two blank images; raises BadInput unless logits come out."""
    size = "x".join(str(side) for side in shape)
    try:
        network = make().to("cpu").eval()
        with torch.no_grad():
            logits = network(torch.zeros(2, *shape))
    except BadInput:
        raise
    except Exception as error:  # other people's code: each has its own way to refuse a size
        raise BadInput(
            f"model {name!r}",
            expected=f"a network that takes {size} images and gives {num_classes} logits",
            got=f"{type(error).__name__}: {error}",
            hint="Choose another model, or images of the size that it is made for",
        ) from error
    came = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if came != (2, num_classes):
        raise BadInput(
            f"model {name!r}",
            expected=f"logits of shape {(2, num_classes)} for two {size} images",
            got=str(came),
        )
    return network.train()
