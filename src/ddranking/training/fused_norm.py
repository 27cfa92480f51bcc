"""Which passes of ``fused.cpp`` a norm takes: one by each image's own statistics, or two by all.

An instance norm's mean and variance are an image's own: one pass, and the map stays in the cache.
Those of a batch norm in training are of all images: a first pass gathers them, a second one uses
them, and so on the way back with the sums of the gradient. In evaluation they are the running ones,
and there is one pass. A convolution's bias is left out of its maps, so here it is part of the mean
that is remembered, as torch has it there.

Shapes: B images, C channels, and tables [C / G, 2, G] of G channels at once, mean before spread.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import torch
from torch import Tensor, nn

NormLayer = nn.GroupNorm | nn.BatchNorm2d
"""A norm of one group per channel, or of a batch."""

Block = tuple[nn.Conv2d, NormLayer]
"""A convolution and the norm that follows it."""


class Pass(IntEnum):
    """``Pass`` of ``fused.cpp``."""

    EACH = 0
    GATHER = 1
    GIVEN = 2


def forward(
    block: Block, images: int, pixels: int, group: int, run: Callable[[Pass, Tensor], None]
) -> Tensor:
    """Runs a block's passes; updates the running statistics of a batch norm in training.

    Args:
        block: convolution and norm.
        images: B.
        pixels: of a map of one image, before pooling.
        group: G.
        run: one pass, with the table or tables that it reads or writes.

    Returns:
        Mean and 1 / deviation for :func:`backward`: [B, C / G, 2, G] of each image, [C / G, 2, G]
        of all, or nothing after a batch norm in evaluation.
    """
    convolution, norm = block
    each = torch.empty(images, convolution.out_channels // group, 2, group)
    if isinstance(norm, nn.GroupNorm):
        run(Pass.EACH, each)
        return each
    assert norm.running_mean is not None and norm.running_var is not None
    assert convolution.bias is not None
    bias, training = convolution.bias.detach(), norm.training
    if training:
        run(Pass.GATHER, each)
        mean, variance = _of_all(each)
        _remember(norm, mean + bias, variance, images * pixels)
    else:
        mean, variance = norm.running_mean.double() - bias, norm.running_var.double()
    spread = (variance + norm.eps).rsqrt()
    of_all = torch.stack([mean.view(-1, group), spread.view(-1, group)], 1).float()
    run(Pass.GIVEN, of_all)
    return of_all if training else torch.empty(0)


def backward(norm: NormLayer, moments: Tensor, run: Callable[[Pass], None]) -> None:
    """Runs a block's passes on the way back.

    Args:
        norm: of the block.
        moments: what :func:`forward` returned.
        run: one pass.

    Raises:
        RuntimeError: forward was in evaluation by a batch norm, whose gradient nothing here needs.
    """
    if isinstance(norm, nn.GroupNorm):
        run(Pass.EACH)
        return
    if not moments.numel():
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
