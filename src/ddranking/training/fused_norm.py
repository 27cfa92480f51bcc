"""Which passes of ``fused.cpp`` a norm takes: one by each image's own statistics, or two by all.

An instance norm's mean and variance are an image's own: one pass, and the map stays in the cache.
Those of a batch norm are of all images: a first pass gathers them, a second one uses them, and so
on the way back with the sums of the gradient; both times a map is computed again rather than kept.
In evaluation they are the running ones, and there is one pass. A convolution's bias is left out of
its maps, so here it is added to the mean that is remembered, as torch has it there.

Shapes: B images, C channels, and tables [C / G, 2, G] of G channels at once, mean before spread.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import torch
from torch import Tensor, nn

Norm = nn.GroupNorm | nn.BatchNorm2d
"""A norm of one group per channel, or of a batch."""


class Pass(IntEnum):
    """``Pass`` of ``fused.cpp``."""

    EACH = 0
    GATHER = 1
    GIVEN = 2


def forward(
    norm: Norm,
    bias: Tensor,
    images: int,
    pixels: int,
    group: int,
    run: Callable[[Pass, Tensor], None],
) -> Tensor:
    """Runs a block's passes; updates the running statistics of a batch norm in training.

    Args:
        norm: of the block.
        bias: of its convolution, [C].
        images: B.
        pixels: of a map of one image, before pooling.
        group: G.
        run: one pass, with the table or tables that it reads or writes.

    Returns:
        Mean and 1 / deviation: [B, C / G, 2, G] of each image, or [C / G, 2, G] of all.
    """
    channels = len(bias)
    if isinstance(norm, nn.GroupNorm):
        kept = torch.empty(images, channels // group, 2, group)
        run(Pass.EACH, kept)
        return kept
    assert norm.running_mean is not None and norm.running_var is not None
    if norm.training:
        each = torch.empty(images, channels // group, 2, group)
        run(Pass.GATHER, each)
        mean, variance = _of_all(each)
        _remember(norm, mean + bias, variance, images * pixels)
    else:
        mean, variance = norm.running_mean.double() - bias, norm.running_var.double()
    spread = (variance + norm.eps).rsqrt()
    kept = torch.stack([mean.view(-1, group), spread.view(-1, group)], 1).float()
    run(Pass.GIVEN, kept)
    return kept


def backward(norm: Norm, run: Callable[[Pass], None]) -> None:
    """Runs a block's passes on the way back.

    Raises:
        RuntimeError: a batch norm in evaluation, whose gradient nothing here needs.
    """
    if isinstance(norm, nn.GroupNorm):
        run(Pass.EACH)
        return
    if not norm.training:
        raise RuntimeError("a fused batch norm has gradients in training only")
    run(Pass.GATHER)
    run(Pass.GIVEN)


def _of_all(each: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance [C] over all images, from those of each, which have the same weight."""
    means, variances = each.double().unbind(2)
    mean = means.mean(0)
    return mean.flatten(), (variances + (means - mean).square()).mean(0).flatten()


def _remember(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """torch's update: a moving mean, and a moving variance over ``count - 1``."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.momentum is not None and norm.num_batches_tracked is not None
    norm.running_mean.lerp_(mean.float(), norm.momentum)
    norm.running_var.lerp_((variance * (count / (count - 1))).float(), norm.momentum)
    norm.num_batches_tracked += 1
