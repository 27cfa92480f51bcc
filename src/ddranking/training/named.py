"""torchvision transforms by name: as they are, but with the trial's own random numbers.

``torchvision.transforms.v2`` draws from torch's global generator. One number of the trial's
generator seeds a fork of it, which is put back afterwards, so that a trial neither reads nor
changes anything global. A transform draws once for all images it is given; where it shall draw for
each image, this is the one augmentation that visits images one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ddranking.errors import BadProtocol
from ddranking.protocol.augmentations import Torchvision
from ddranking.training.drawn import forked


def draw_torchvision(
    rules: Torchvision, shape: Sequence[int], generator: torch.Generator
) -> Tensor:
    """int64 []: the seed of the fork."""
    return torch.randint(2**62, (), generator=generator)


def apply_torchvision(rules: Torchvision, images: Tensor, draw: Tensor) -> Tensor:
    """The transform under a forked generator, on each image alone or on the batch at once.

    Some transforms draw on the device of the images; their numbers differ between devices.
    """
    transform = _transform(rules)
    with forked(int(draw), images.device):
        if rules.each == "batch":
            return transform(images)
        return torch.stack([transform(image) for image in images])


def check_torchvision(rules: Torchvision, shape: Sequence[int]) -> None:
    """Builds the transform and tries it on two images of ``shape`` (C, H, W).

    Raises:
        BadProtocol: parameters that torchvision does not take, or another shape that comes out.
    """
    what = f"augmentation torchvision {rules.name}"
    try:
        out = apply_torchvision(rules, torch.zeros(2, *shape), torch.tensor(0))
    except Exception as error:  # torchvision raises whatever it likes
        raise BadProtocol(
            what,
            expected=f"parameters that torchvision takes for images {'x'.join(map(str, shape))}",
            got=f"{error}"[:200],
        ) from None
    if out.shape[1:] != torch.Size(shape) or not out.is_floating_point():
        raise BadProtocol(
            what,
            expected="images of the same size back",
            got="x".join(map(str, out.shape[1:])),
            hint=f"Set size to {list(shape[1:])}.",
        )


def _transform(rules: Torchvision) -> nn.Module:
    from torchvision.transforms import v2

    return getattr(v2, rules.name)(**{k: _value(k, v) for k, v in rules.parameters.items()})


def _value(name: str, value: Any) -> Any:
    """A setting as torchvision expects it: whole numbers as int, interpolations by name."""
    if name == "interpolation":
        from torchvision.transforms import InterpolationMode

        return InterpolationMode(value)
    if isinstance(value, tuple):
        return [_value("", each) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
