"""How a network made for 32 px takes images of other sizes, in one place.

Only plain average pooling is used where a map is too large: the gradient of adaptive pooling adds
in no fixed order on a GPU, and then a seed would no longer determine a training.
"""

from __future__ import annotations

from torch import nn

from ddranking.models.names import Shape


def first_padding(shape: Shape, usual: int) -> int:
    """Padding of the first convolution: two more on 28x28 images, so that maps are 32x32.

    The field's code (VICO-UoE/DatasetCondensation ``networks.py``) asks for one channel instead of
    28 pixels; its one-channel datasets are the 28x28 ones, and on those the two rules agree.
    """
    return usual + 2 if shape[1:] == (28, 28) else usual


def map_size(shape: Shape) -> tuple[int, int]:
    """Height and width of the first map: the image's own, 32x32 for 28x28 images."""
    return (32, 32) if shape[1:] == (28, 28) else shape[1:]


def average_to(size: tuple[int, int], target: int) -> tuple[nn.Module, tuple[int, int]]:
    """Average pooling that leaves ``min(side, target)`` pixels a side, and that size.

    With stride ``s = side // target`` and window ``side - (target - 1) * s`` exactly ``target``
    windows cover the side. A side that is already small enough is left alone.
    """
    if max(size) <= target:
        return nn.Identity(), size
    out = tuple(min(side, target) for side in size)
    stride = tuple(side // goal for side, goal in zip(size, out, strict=True))
    window = tuple(
        side - (goal - 1) * step for side, goal, step in zip(size, out, stride, strict=True)
    )
    return nn.AvgPool2d(window, stride=stride), out  # pyright: ignore[reportReturnType, reportArgumentType]
