"""Instance norm, ReLU and 2x2 average pool as one Triton kernel, and the gradient as another.

    n = (y - mean) / sqrt(variance + eps)        over the pixels of one channel of one image
    z = gamma * n + beta
    out = sum of relu(z) over each 2x2 window / 4

As torch runs them these are several passes over the largest maps of a ConvNet, and as many for the
gradient. Here a map is read from the device's memory once (twice where what runs at the same time
exceeds its second cache), and only the pooled map is written; the way back computes n and z again.
Statistics, scale and shift are float32 whatever the maps are. Every sum has a fixed order, without
atomics, so the same input gives the same bits.

One program takes CHANNELS channels of one image, in tiles of PIXELS pixels one after another. Tiles
lie as memory does, so that threads side by side read addresses side by side:

    contiguous       [CHANNELS, PIXELS], AXIS = 1 is that of pixels: whole planes
    channels last    [PIXELS, CHANNELS], AXIS = 0 is that of pixels: the channels of a sector

Pixels of a map are numbered row by row. All shapes are constants of a compiled kernel but for the
number of images, and a launch reads no tensor, so that it can be captured in a CUDA graph once it
has run. Nothing is tuned by timing.

Shapes: B images, C channels, H and W sides of a map before pooling. Pooling leaves out an odd last
row or column; statistics do not.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

SECTOR = 32
"""Bytes that memory hands out at once: a program reads at least as much of each pixel."""
SMALLEST, LARGEST = 1024, 4096
"""Values of a tile: enough to be worth a program, and what its registers hold without spilling."""


@triton.jit
def _forward(
    y, gamma, beta, eps, out, mean_out, rstd_out,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    AXIS: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """``out`` of ``y``, and mean and 1 / standard deviation of each channel of each image."""
    image, channel, there = _place(C, AXIS, CHANNELS)
    y += image * (C * H * W)

    # The moments of each tile, joined as Chan, Golub and LeVeque do (1983).
    mean, square = tl.zeros_like(channel).to(tl.float32), tl.zeros_like(channel).to(tl.float32)
    for start in range(0, H * W, PIXELS):
        pixel = start + _line(PIXELS, 1 - AXIS)
        inside = pixel < H * W
        value = _load(y, pixel, channel, inside & there, C, H * W, AXIS)
        count = tl.minimum(H * W - start, PIXELS)
        own = tl.sum(value, AXIS, keep_dims=True) / count
        away = tl.where(inside, value - own, 0.0)
        shift, share = own - mean, count / (start + count)
        mean += shift * share
        square += tl.sum(away * away, AXIS, keep_dims=True) + shift * shift * (start * share)
    rstd = tl.rsqrt(square / (H * W) + eps)
    tl.store(mean_out + image * C + channel, mean, mask=there)
    tl.store(rstd_out + image * C + channel, rstd, mask=there)

    scale = tl.load(gamma + channel, mask=there, other=0.0)
    offset = tl.load(beta + channel, mask=there, other=0.0)
    h: tl.constexpr = H // 2
    w: tl.constexpr = W // 2
    out += image * (C * h * w)
    for start in range(0, h * w, PIXELS // 4):
        window = start + _line(PIXELS // 4, 1 - AXIS)
        upper_left = window // w * (2 * W) + window % w * 2
        kept = (window < h * w) & there
        total = tl.zeros(kept.shape, tl.float32)
        for corner in tl.static_range(4):  # pyright: ignore[reportGeneralTypeIssues]
            pixel = upper_left + corner // 2 * W + corner % 2
            value = _load(y, pixel, channel, kept, C, H * W, AXIS)
            z = (value - mean) * rstd * scale + offset
            total += tl.where(z <= 0, 0.0, z)  # keeps NaN, as torch does
        to = out + _at(window, channel, C, h * w, AXIS)
        tl.store(to, (total * 0.25).to(out.dtype.element_ty), mask=kept)


@triton.jit
def _backward(
    grad, y, gamma, beta, mean_in, rstd_in, d_y, d_beta, d_gamma,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr,
    AXIS: tl.constexpr, CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Gradient of ``y``, and what each image adds to those of beta and gamma.

    With g the gradient of z, and sums and means over the pixels of a channel:

        d_beta = sum g        d_gamma = sum g n
        d_y = gamma rstd (g - mean g - n mean(g n))
    """
    image, channel, there = _place(C, AXIS, CHANNELS)
    y += image * (C * H * W)
    d_y += image * (C * H * W)
    grad += image * (C * (H // 2) * (W // 2))
    mean = tl.load(mean_in + image * C + channel, mask=there, other=0.0)
    rstd = tl.load(rstd_in + image * C + channel, mask=there, other=0.0)
    scale = tl.load(gamma + channel, mask=there, other=0.0)
    offset = tl.load(beta + channel, mask=there, other=0.0)

    sum_g, sum_gn = tl.zeros_like(mean), tl.zeros_like(mean)
    for start in range(0, H * W, PIXELS):
        pixel = start + _line(PIXELS, 1 - AXIS)
        n, g = _again(grad, y, pixel, channel, there, mean, rstd, scale, offset, C, H, W, AXIS)
        sum_g += tl.sum(g, AXIS, keep_dims=True)
        sum_gn += tl.sum(g * n, AXIS, keep_dims=True)

    mean_g, mean_gn, factor = sum_g / (H * W), sum_gn / (H * W), scale * rstd
    for start in range(0, H * W, PIXELS):
        pixel = start + _line(PIXELS, 1 - AXIS)
        n, g = _again(grad, y, pixel, channel, there, mean, rstd, scale, offset, C, H, W, AXIS)
        value = factor * (g - mean_g - n * mean_gn)
        to = d_y + _at(pixel, channel, C, H * W, AXIS)
        tl.store(to, value.to(d_y.dtype.element_ty), mask=(pixel < H * W) & there)
    tl.store(d_beta + image * C + channel, sum_g, mask=there)
    tl.store(d_gamma + image * C + channel, sum_gn, mask=there)


@triton.jit
def _again(
    grad, y, pixel, channel, there, mean, rstd, scale, offset,
    C: tl.constexpr, H: tl.constexpr, W: tl.constexpr, AXIS: tl.constexpr,
):  # fmt: skip
    """n and the gradient of z at ``pixel``; both are zero outside of the map."""
    h: tl.constexpr = H // 2
    w: tl.constexpr = W // 2
    inside = (pixel < H * W) & there
    value = _load(y, pixel, channel, inside, C, H * W, AXIS)
    n = tl.where(inside, (value - mean) * rstd, 0.0)
    row, column = pixel // W // 2, pixel % W // 2
    pooled = inside & (row < h) & (column < w)
    g = _load(grad, row * w + column, channel, pooled, C, h * w, AXIS) * 0.25
    return n, tl.where(n * scale + offset <= 0, 0.0, g)


@triton.jit
def _place(C: tl.constexpr, AXIS: tl.constexpr, CHANNELS: tl.constexpr):
    """A program's image (in 64 bits: a batch may hold 2^31 values), channels, and which exist."""
    groups: tl.constexpr = (C + CHANNELS - 1) // CHANNELS
    program = tl.program_id(0)
    channel = program % groups * CHANNELS + _line(CHANNELS, AXIS)
    return (program // groups).to(tl.int64), channel, channel < C


@triton.jit
def _line(count: tl.constexpr, axis: tl.constexpr):
    """0, 1, ... count - 1 across the axis that is not ``axis``."""
    return tl.expand_dims(tl.arange(0, count), axis)


@triton.jit
def _at(pixel, channel, C: tl.constexpr, pixels: tl.constexpr, AXIS: tl.constexpr):
    """Where a value of an image lies: channels last if AXIS is 0, else plane by plane."""
    if AXIS == 0:
        return pixel * C + channel
    else:
        return channel * pixels + pixel


@triton.jit
def _load(
    maps, pixel, channel, mask, C: tl.constexpr, pixels: tl.constexpr, AXIS: tl.constexpr
):  # fmt: skip
    return tl.load(maps + _at(pixel, channel, C, pixels, AXIS), mask=mask, other=0.0).to(tl.float32)


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, y: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float
    ) -> Tensor:
        images, channels, height, width = y.shape
        layout = _layout(y)
        y = y.contiguous(memory_format=layout)
        out = torch.empty(
            (images, channels, height // 2, width // 2),
            dtype=y.dtype,
            device=y.device,
            memory_format=layout,
        )
        moments = gamma.new_empty(2, images, channels)
        _launch(_forward, y, gamma, beta, eps, out, *moments, like=y)
        ctx.save_for_backward(y, gamma, beta, moments)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        y, gamma, beta, moments = ctx.saved_tensors
        grad = grad.contiguous(memory_format=_layout(y))
        d_y, sums = torch.empty_like(y), torch.empty_like(moments)
        _launch(_backward, grad, y, gamma, beta, *moments, d_y, *sums, like=y)
        d_beta, d_gamma = sums.sum(1)
        return d_y, torch.zeros_like(gamma), d_gamma, d_beta, None


def norm_relu_pool(y: Tensor, bias: Tensor, norm: nn.GroupNorm) -> Tensor:
    """``pool(relu(norm(y + bias)))``, with its gradients, on the device of ``y``.

    Args:
        y: [B,C,H,W] float32 or bfloat16, contiguous or channels last, as a convolution without a
            bias leaves it; H and W are 2 or more.
        bias: [C], the convolution's. The norm takes out what it adds, so it is not read, and its
            gradient is zero.
        norm: one group for each channel; its scale and shift are float32.

    Returns:
        [B,C,H//2,W//2] in the type and layout of ``y``.
    """
    return _Block.apply(y, bias, norm.weight, norm.bias, norm.eps)


def _layout(y: Tensor) -> torch.memory_format:
    last = y.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _launch(kernel: Any, *arguments: Any, like: Tensor) -> None:
    """Runs ``kernel`` for maps of the shape, type and layout of ``like``."""
    constants, options = compiled_for(like)
    programs = len(like) * triton.cdiv(constants["C"], constants["CHANNELS"])
    with torch.cuda.device_of(like):  # Triton starts a kernel on the current device
        kernel[(programs,)](*arguments, **constants, **options)


def compiled_for(like: Tensor) -> tuple[dict[str, int], dict[str, int]]:
    """Constants of the kernels for maps like ``like`` [B,C,H,W], and options of the compiler."""
    _, channels, height, width = like.shape
    last = _layout(like) is torch.channels_last
    together = SECTOR // like.itemsize if last else 1
    pixels = min(triton.next_power_of_2(height * width), LARGEST // together)
    group = min(max(together, SMALLEST // pixels), triton.next_power_of_2(channels))
    constants = {
        "C": channels,
        "H": height,
        "W": width,
        "AXIS": 0 if last else 1,
        "CHANNELS": group,
        "PIXELS": pixels,
    }
    # Both kernels must round z alike, as its sign opens the gate: no multiplication is fused with
    # an addition in the one that is not in the other.
    return constants, {"num_warps": max(group * pixels // 512, 1), "enable_fp_fusion": False}
