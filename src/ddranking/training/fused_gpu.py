"""ConvNets with instance norm and average pooling on a GPU: a convolution and one kernel a block.

The same function as :class:`ddranking.models.convnet.ConvNet`, which stays the reference. The
convolution is cuDNN's; all that follows it in a block is one Triton kernel, and so is its gradient
(see ``fused_gpu_kernels.py``). Maps lie as cuDNN's kernels want them: channels last in bfloat16,
which tensor cores multiply that way, so that no map is transposed; contiguous in float32, for which
NVIDIA went back to that layout after tests of both (tensorflow/tensorflow, pull request 56744).

In bf16 maps, weights of products and their gradients are rounded to bfloat16; norms, loss and
optimiser are float32, and the linear layer multiplies rounded numbers in float32. Every other
network, and every GPU on which the kernels do not compile or do not give what torch gives, runs as
torch runs it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddranking.models.convnet import ConvNet
from ddranking.models.names import Shape
from ddranking.protocol.rules import Precision
from ddranking.training.fused import blocks_of
from ddranking.training.fused_norm import Block
from ddranking.training.memory import is_out_of_memory
from ddranking.training.native import SWITCH

OTHER_NETWORK = "not a ConvNet with instance norm and average pooling"
NO_TRITON = "no Triton, which comes with torch for CUDA"
AGREES = 0.01
"""Distance from torch's result, relative to its size, below which the two differ by rounding: of
bfloat16, or of a value that one lets through a ReLU and the other does not."""


@dataclass(frozen=True)
class FusedGpu:
    """Logits [B,K] of images [B,C,H,W], as the network it was made from gives them.

    Attributes:
        blocks: convolution and norm of each block.
        classifier: the linear layer.
        precision: of products.
        finish: ``norm_relu_pool`` of ``fused_gpu_kernels``, which follows each convolution.
    """

    blocks: tuple[tuple[nn.Conv2d, nn.GroupNorm], ...]
    classifier: nn.Linear
    precision: Precision
    finish: Callable[[Tensor, Tensor, nn.GroupNorm], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        dtype, layout = _of_maps(self.precision)
        maps = images.to(dtype, memory_format=layout)
        for convolution, norm in self.blocks:
            weight = convolution.weight.to(dtype, memory_format=layout)
            y = F.conv2d(maps, weight, padding=_padding(convolution))
            assert convolution.bias is not None
            maps = self.finish(y, convolution.bias, norm)
        weight = self.classifier.weight.to(dtype).float()
        return F.linear(maps.flatten(1).float(), weight, self.classifier.bias)


def fused_gpu(
    network: nn.Module, shape: Shape, precision: Precision, device: torch.device
) -> FusedGpu | str:
    """``network`` in its fused form, or in one line why it runs as torch runs it.

    Compiles the kernels on its first call, which takes seconds, and compares them with torch on
    the device, for each shape of a map that the network has.

    Args:
        network: a ConvNet may be fused.
        shape: (C, H, W) of its images.
        precision: of products.
        device: a GPU.
    """
    if os.environ.get(SWITCH) == "0":
        return f"{SWITCH}=0"
    found = blocks_of(network) or ()
    blocks = tuple((layer, norm) for layer, norm in found if isinstance(norm, nn.GroupNorm))
    if not blocks:
        return OTHER_NETWORK
    if importlib.util.find_spec("triton") is None:
        return NO_TRITON
    for maps in _maps(blocks, shape):
        why = fault(device, precision, maps)
        if why is not None:
            return why
    assert isinstance(network, ConvNet)
    from ddranking.training.fused_gpu_kernels import norm_relu_pool

    return FusedGpu(blocks, network.classifier, precision, norm_relu_pool)


@cache
def fault(device: torch.device, precision: Precision, shape: Shape) -> str | None:
    """Why the kernels are not used for maps [B, *shape]; None where they give what torch gives.

    Raises:
        torch.OutOfMemoryError: the device is full, which says nothing of the kernels.
    """
    try:
        distances = _distances(device, precision, shape)
    except Exception as error:  # a compiler, a driver, a missing file: torch needs none of them
        if is_out_of_memory(error):
            raise
        first = " ".join(str(error).split())[:200]
        return f"the kernels failed: {type(error).__name__}: {first}"
    if all(distance < AGREES for distance in distances):
        return None
    return f"the kernels do not give what torch gives for maps of {'x'.join(map(str, shape))}"


@torch.inference_mode(False)
@torch.enable_grad()
def _distances(device: torch.device, precision: Precision, shape: Shape) -> list[float]:
    """How far the pooled map and the gradients of y, gamma and beta are from torch's in float32."""
    from ddranking.training.fused_gpu_kernels import norm_relu_pool

    chance = torch.Generator().manual_seed(0)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=chance).to(device)

    dtype, layout = _of_maps(precision)
    channels, height, width = shape
    norm = nn.GroupNorm(channels, channels, device=device)
    for parameter in norm.parameters():
        parameter.data += normal(channels) / 4
    y = (2 * normal(2, *shape) + 1).to(dtype, memory_format=layout).requires_grad_()
    grad = normal(2, channels, height // 2, width // 2).to(dtype)

    def results(pooled: Tensor) -> list[Tensor]:
        inputs = (y, norm.weight, norm.bias)
        gradients = torch.autograd.grad(pooled, inputs, grad.to(pooled.dtype))
        return [each.detach().float() for each in (pooled, *gradients)]

    found = results(norm_relu_pool(y, torch.zeros_like(norm.bias), norm))
    wanted = results(F.avg_pool2d(F.relu(norm(y.float())), 2))
    return [float((a - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True)]


def _of_maps(precision: Precision) -> tuple[torch.dtype, torch.memory_format]:
    """Type and layout of the maps between blocks."""
    if precision == "bf16":
        return torch.bfloat16, torch.channels_last
    return torch.float32, torch.contiguous_format


def _maps(blocks: Iterable[Block], shape: Shape) -> Iterable[Shape]:
    """(C, H, W) of each block's map before pooling."""
    _, height, width = shape
    for convolution, _ in blocks:
        more = 2 * _padding(convolution) - 2
        height, width = height + more, width + more
        yield convolution.out_channels, height, width
        height, width = height // 2, width // 2


def _padding(convolution: nn.Conv2d) -> int:
    return int(convolution.padding[0])
