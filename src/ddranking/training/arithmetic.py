"""In which arithmetic a network runs: precision, and the fused form where there is one.

Shapes: B images, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ddranking.models import table
from ddranking.models.names import Shape
from ddranking.protocol.rules import Precision
from ddranking.training.fused import fused
from ddranking.training.fused_gpu import fused_gpu

Forward = Callable[[Tensor], Tensor]
"""Images [B,C,H,W] to float32 logits [B,K]."""


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Deterministic convolutions, TF32 only where ``precision`` says so; restored afterwards.

    A CPU has no TF32, so there tf32 is fp32: closer to exact than what was asked for.
    """
    before = torch.get_float32_matmul_precision()
    tf32 = precision == "tf32" and device.type == "cuda"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def forward(
    network: nn.Module, shape: Shape, precision: Precision, device: torch.device
) -> Forward:
    """``network`` as it is run: fused where that is possible, else as torch runs it.

    Args:
        network: on ``device``; its parameters are read at each call.
        shape: (C, H, W) of the images.
        precision: of products. Where bf16 is not fused it is torch's autocast, also on hardware
            that has to emulate it.
        device: where it runs.
    """
    quick = _fused(network, shape, precision, device)
    if not isinstance(quick, str):
        return quick
    if precision != "bf16":
        return network

    def rounded(images: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            logits = network(images)
        return logits.float()

    return rounded


def acceleration(
    student: str, shape: Shape, precision: Precision = "fp32", device: str = "cpu"
) -> str:
    """One line for people: whether trainings of ``student`` are fused here, or why they are not.

    Builds the library or the kernels on its first call, as a training would.

    >>> acceleration("mlp", (3, 32, 32))
    'not fused: not a ConvNet with instance or batch norm and average pooling'
    """
    network = table.build(student, shape, 2, seed=0)
    quick = _fused(network, shape, precision, torch.device(device))
    return f"not fused: {quick}" if isinstance(quick, str) else f"fused, {precision}"


def kernels(network: nn.Module, shape: Shape, precision: Precision, device: torch.device) -> str:
    """By what ``network`` is computed, for the provenance of an outcome: last bits depend on it.

    ``fused`` or ``torch``; on a CPU also the instructions that torch uses, and AMX where it is.
    """
    how = "torch" if isinstance(_fused(network, shape, precision, device), str) else "fused"
    if device.type != "cpu":
        return how
    tiles = ", AMX" if torch.cpu._is_amx_tile_supported() else ""
    return f"{how}, {torch.backends.cpu.get_cpu_capability()}{tiles}"


def _fused(
    network: nn.Module, shape: Shape, precision: Precision, device: torch.device
) -> Forward | str:
    """The fused form for ``device``, or why there is none."""
    make = fused_gpu if device.type == "cuda" else fused
    return make(network, shape, precision, device)
