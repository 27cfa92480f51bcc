"""ConvNets with average pooling, whose first map is never stored (see ``fused.cpp``).

The same function as :class:`ddranking.models.convnet.ConvNet`, which stays the reference: in fp32
the logits and gradients agree within rounding. In bf16 the inputs of convolutions and of the linear
layer are rounded to bfloat16 and products are summed in float32; norms, loss and optimiser are
float32. Norms are instance or batch norms. Every other network or machine runs as torch runs it;
``fused_gpu.py`` is for GPUs.

Shapes: B images, C channels, H and W sides of a block's map before pooling, K classes.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddranking.models.convnet import ConvNet
from ddranking.models.names import Shape
from ddranking.protocol.rules import Precision
from ddranking.training import fused_norm
from ddranking.training.fused_norm import Block, NormLayer, Pass
from ddranking.training.native import Native, native

OTHER_NETWORK = "not a ConvNet with instance or batch norm and average pooling"
NO_TILES = "no AMX, which bf16 needs to be fast"


class _Shape(ctypes.Structure):
    """``Shape`` of ``fused.cpp``."""

    _fields_ = tuple(
        (name, ctypes.c_long)
        for name in ("images", "c_in", "side_h", "side_w", "padding", "channels")
    )


@dataclass(frozen=True)
class Fused:
    """Logits [B,K] of images [B,C,H,W], as the network it was made from gives them.

    Attributes:
        blocks: convolution and norm of each block.
        classifier: the linear layer.
        precision: of products.
        native: the library.
    """

    blocks: tuple[Block, ...]
    classifier: nn.Linear
    precision: Precision
    native: Native

    def __call__(self, images: Tensor) -> Tensor:
        parameters = [
            parameter
            for convolution, norm in self.blocks
            for parameter in (convolution.weight, convolution.bias, norm.weight, norm.bias)
        ]
        parameters += [self.classifier.weight, self.classifier.bias]
        if torch.is_grad_enabled():
            return _Network.apply(self, images, *parameters)
        return self.forward(images, [])

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def forward(self, images: Tensor, kept: list[Any]) -> Tensor:
        """The logits; what the backward pass needs is appended to ``kept``."""
        maps = images.detach().float().contiguous()
        for index, block in enumerate(self.blocks):
            weight = block[0].weight.detach()
            if index == 0:
                before, (maps, moments) = maps, self._first(maps, weight, block)
                kept.append((before, weight, moments))
                continue
            weight = weight.to(self.dtype, memory_format=torch.channels_last)
            y = F.conv2d(maps, weight, padding=1)
            y = y.contiguous(memory_format=torch.channels_last)
            before, (maps, moments) = maps, self._later(y, block)
            kept.append((before, weight, moments, y))
        features = maps.contiguous().flatten(1).float()
        weight, bias = self.classifier.weight.detach(), self.classifier.bias.detach()
        if self.precision == "bf16":
            weight = weight.bfloat16().float()
        kept.append((features, weight, maps.shape))
        return torch.addmm(bias, features, weight.t())

    def backward(self, grad: Tensor, kept: list[Any]) -> list[Tensor]:
        """Gradients in the order of the parameters of :meth:`__call__`."""
        features, weight, shape = kept[-1]
        d_bias = grad.sum(0)
        if self.precision == "bf16":
            grad = grad.bfloat16().float()
        found = [d_bias, grad.t() @ features]
        maps = (grad @ weight).view(shape).to(self.dtype)
        for index in range(len(self.blocks) - 1, -1, -1):
            _, norm = block = self.blocks[index]
            maps = maps.contiguous(memory_format=torch.channels_last)
            d_gamma, d_beta = torch.zeros(2, *norm.weight.shape)
            if index == 0:
                d_weight = self._first_backward(maps, kept[0], block, d_gamma, d_beta)
            else:
                before, weight, moments, y = kept[index]
                d_y = self._later_backward(maps, y, moments, norm, d_gamma, d_beta)
                maps, d_weight = self._convolution_backward(d_y, before, weight)
            # These norms take out what the bias adds, so its gradient is zero.
            found += [d_beta, d_gamma, torch.zeros(len(d_beta)), d_weight]
        return found[::-1]

    def _call(self, name: str, *arguments: Any) -> None:
        given = [
            ctypes.c_void_p(a.data_ptr())
            if isinstance(a, Tensor)
            else ctypes.c_float(a)
            if isinstance(a, float)
            else ctypes.byref(a)
            if isinstance(a, _Shape)
            else ctypes.c_long(a)
            for a in arguments
        ]
        suffix = "bf16" if self.precision == "bf16" else "fp32"
        getattr(self.native.library, f"{name}_{suffix}")(*given)

    def _maps(self, images: int, channels: int, height: int, width: int) -> Tensor:
        return torch.empty(
            (images, channels, height, width),
            dtype=self.dtype,
            memory_format=torch.channels_last,
        )

    def _first(self, images: Tensor, weight: Tensor, block: Block) -> tuple[Tensor, Tensor]:
        """The pooled map of the first block, and what :mod:`fused_norm` keeps of its norm."""
        convolution, norm = block
        shape, height, width = _shape(images, convolution)
        out = self._maps(len(images), len(weight), height // 2, width // 2)
        weight = weight.contiguous()

        def run(which: Pass, moments: Tensor) -> None:
            self._call(
                "first_forward", which, shape, images, weight, norm.weight, norm.bias,
                norm.eps, out, moments,
            )  # fmt: skip

        count, pixels = len(images), height * width
        return out, fused_norm.forward(block, count, pixels, self.native.group, run)

    def _first_backward(self, grad: Tensor, kept: Any, block: Block, *sums: Tensor) -> Tensor:
        (convolution, norm), (images, weight, moments) = block, kept
        shape, _, _ = _shape(images, convolution)
        weight, d_weight = weight.contiguous(), torch.empty(weight.shape)

        def run(which: Pass) -> None:
            self._call(
                "first_backward", which, shape, images, weight, norm.weight, norm.bias,
                moments, grad, d_weight, *sums,
            )  # fmt: skip

        fused_norm.backward(norm, moments, run)
        return d_weight

    def _later(self, y: Tensor, block: Block) -> tuple[Tensor, Tensor]:
        """The pooled map of a later block, and what :mod:`fused_norm` keeps of its norm."""
        _, norm = block
        images, channels, height, width = y.shape
        out = self._maps(images, channels, height // 2, width // 2)

        def run(which: Pass, moments: Tensor) -> None:
            self._call(
                "later_forward", which, images, height, width, channels, y, norm.weight, norm.bias,
                norm.eps, out, moments,
            )  # fmt: skip

        return out, fused_norm.forward(block, images, height * width, self.native.group, run)

    def _later_backward(
        self, grad: Tensor, y: Tensor, moments: Tensor, norm: NormLayer, *sums: Tensor
    ) -> Tensor:
        images, channels, height, width = y.shape
        d_y = self._maps(*y.shape)

        def run(which: Pass) -> None:
            self._call(
                "later_backward", which, images, height, width, channels, y, norm.weight, norm.bias,
                moments, grad, d_y, *sums,
            )  # fmt: skip

        fused_norm.backward(norm, moments, run)
        return d_y

    def _convolution_backward(
        self, d_y: Tensor, maps: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of a later convolution's input and weight."""
        ours = self.precision == "bf16"
        d_maps, d_weight, _ = torch.ops.aten.convolution_backward(
            d_y, maps, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1,
            [True, not ours, False],
        )  # fmt: skip
        if ours:
            (images, channels, height, width) = maps.shape
            sums = torch.empty(channels, 3, 3, channels)
            self._call("later_weights", images, height, width, channels, maps, d_y, sums)
            d_weight = sums.permute(0, 3, 1, 2)
        return d_maps, d_weight


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, network: Fused, images: Tensor, *parameters: Tensor) -> Tensor:
        ctx.network, ctx.kept = network, []
        return network.forward(images, ctx.kept)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        gradients = ctx.network.backward(grad.contiguous(), ctx.kept)
        ctx.kept = None
        return None, None, *gradients


def _shape(images: Tensor, convolution: nn.Conv2d) -> tuple[_Shape, int, int]:
    """For ``fused.cpp``, and the sides of the first map."""
    padding, (height, width) = int(convolution.padding[0]), images.shape[2:]
    shape = _Shape(len(images), images.shape[1], height, width, padding, convolution.out_channels)
    return shape, height + 2 * padding - 2, width + 2 * padding - 2


def fused(
    network: nn.Module, shape: Shape, precision: Precision, device: torch.device
) -> Fused | str:
    """``network`` in its fused form, or in one line why it runs as torch runs it.

    Args:
        network: on ``device``. Its later convolutions are laid out channels last, in place.
        shape: (C, H, W) of its images.
        precision: of products; a CPU has no tf32, and computes it in fp32.
        device: where it is.
    """
    if device.type != "cpu":
        return f"on {device.type}"
    blocks = blocks_of(network)
    if blocks is None:
        return OTHER_NETWORK
    library = native()
    if isinstance(library, str):
        return library
    if precision == "bf16" and not library.tiles:
        return NO_TILES
    first = blocks[0][0]
    height, width = (side + 2 * int(first.padding[0]) - 2 for side in shape[1:])
    deepest = 2 ** len(blocks)
    if height % deepest or width % deepest or width % 8 or height % 4:
        return f"maps of {height}x{width} pixels, which do not halve {len(blocks)} times"
    if first.out_channels % library.group:
        return f"width {first.out_channels}, not a multiple of {library.group}"
    if precision == "bf16" and first.in_channels > 3:
        return f"{first.in_channels} channels in bf16"
    for convolution, _ in blocks[1:]:
        weight = convolution.weight
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    assert isinstance(network, ConvNet)
    return Fused(blocks, network.classifier, precision, library)


def blocks_of(network: nn.Module) -> tuple[Block, ...] | None:
    """The convolution and norm of each block, where all blocks are of the kind that is fused."""
    if not isinstance(network, ConvNet):
        return None
    layers = list(network.features)
    found: list[Block] = []
    for first in range(0, len(layers), 4):
        match layers[first : first + 4]:
            case [nn.Conv2d() as convolution, norm, nn.ReLU(), nn.AvgPool2d()] if _fits(norm):
                found.append((convolution, norm))
            case _:
                return None
    return tuple(found)


def _fits(norm: nn.Module) -> TypeGuard[NormLayer]:
    match norm:
        case nn.GroupNorm():
            return norm.num_groups == norm.num_channels
        case nn.BatchNorm2d(affine=True, track_running_stats=True, momentum=float()):
            return True
        case _:
            return False
