"""The kernels and the network on top of them, against torch's own modules in float64.

On a GPU where there is one; else ``test_fused_gpu.py`` runs this file in Triton's interpreter,
which has to be chosen before Triton is imported.
"""

from __future__ import annotations

import os
from copy import deepcopy
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddranking.models import table
from ddranking.models.convnet import ConvNet
from ddranking.models.names import Shape
from ddranking.protocol.rules import Precision
from ddranking.training import fused_gpu as room
from ddranking.training.fused import blocks_of
from ddranking.training.fused_gpu import FusedGpu

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
if not INTERPRETED and not torch.cuda.is_available():
    pytest.skip("no GPU: test_fused_gpu.py runs these interpreted", allow_module_level=True)
kernels = pytest.importorskip("ddranking.training.fused_gpu_kernels", exc_type=ImportError)

pytestmark = pytest.mark.gpu
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
Maps = tuple[int, int, int, int]

LAYOUTS = [torch.contiguous_format, torch.channels_last]
SHAPES: list[Maps] = [
    (2, 3, 28, 28),
    (1, 10, 32, 32),  # channels last: more channels and more pixels than a tile
    (1, 1, 64, 64),
    (1, 1, 65, 66),  # more pixels than a tile
    (5, 20, 7, 7),
    (2, 3, 13, 13),
    (1, 128, 4, 4),
    (3, 70, 3, 2),
    (1, 1, 2, 2),
]


class Results(NamedTuple):
    """The pooled map and the gradients, in float64."""

    out: Tensor
    y: Tensor
    bias: Tensor
    gamma: Tensor
    beta: Tensor


def maps(shape: Maps, dtype: torch.dtype, layout: torch.memory_format, seed: int = 0) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return (2 * made + 1).to(DEVICE, dtype).contiguous(memory_format=layout)


def layer(channels: int, seed: int = 0) -> nn.GroupNorm:
    """An instance norm away from its initialisation."""
    chance = torch.Generator().manual_seed(seed)
    made = nn.GroupNorm(channels, channels)
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn(channels, generator=chance)
    return made.to(DEVICE)


def incoming(like: Tensor) -> Tensor:
    made = torch.randn(like.shape, generator=torch.Generator().manual_seed(2))
    return made.to(like.device).to(torch.bfloat16).to(like.dtype)  # one that every type can hold


def fused(y: Tensor, norm: nn.GroupNorm) -> Results:
    y, bias = (
        y.clone().requires_grad_(),
        torch.ones(len(norm.weight), device=DEVICE).requires_grad_(),
    )
    out = kernels.norm_relu_pool(y, bias, norm)
    found = torch.autograd.grad(out, [y, bias, norm.weight, norm.bias], incoming(out))
    return Results(*(each.detach().double() for each in (out, *found)))


def exact(y: Tensor, norm: nn.GroupNorm) -> Results:
    norm, y = deepcopy(norm).double(), y.double().requires_grad_()
    bias = torch.ones(len(norm.weight), device=DEVICE).double().requires_grad_()
    out = F.avg_pool2d(F.relu(norm(y + bias[:, None, None])), 2)
    found = torch.autograd.grad(out, [y, bias, norm.weight, norm.bias], incoming(out))
    return Results(*(each.detach() for each in (out, *found)))


def away(found: Tensor, wanted: Tensor) -> float:
    """Distance relative to the size of ``wanted``."""
    return float((found.double() - wanted).detach().norm() / wanted.detach().norm())


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "last"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_values_and_gradients_are_those_of_torch(
    shape: Maps, dtype: torch.dtype, layout: torch.memory_format
) -> None:
    """In bf16 what comes in is rounded already, so only what goes out is.

    A GPU rounds it to half of 2^-8; Triton's interpreter, which truncates, to 2^-8.
    """
    y, norm = maps(shape, dtype, layout), layer(shape[1])
    found, wanted = fused(y, norm), exact(y, norm)
    rounding = 2e-6 if dtype is torch.float32 else 4e-3
    assert away(found.out, wanted.out) < rounding
    assert away(found.y, wanted.y) < rounding
    assert away(found.gamma, wanted.gamma) < 4e-6
    assert away(found.beta, wanted.beta) < 4e-6
    assert found.bias.abs().max() == 0
    assert wanted.bias.abs().max() < 1e-9


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "last"])
def test_type_and_layout_stay_as_they_are(layout: torch.memory_format) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        y = maps((2, 4, 6, 6), dtype, layout).requires_grad_()
        norm = layer(4)
        out = kernels.norm_relu_pool(y, torch.zeros(4, device=DEVICE), norm)
        out.backward(torch.ones_like(out).contiguous())  # whatever the layout it comes in
        assert y.grad is not None
        assert norm.weight.grad is not None
        assert out.dtype == y.grad.dtype == dtype
        assert out.is_contiguous(memory_format=layout)
        assert y.grad.is_contiguous(memory_format=layout)
        assert norm.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "last"])
def test_an_image_does_not_depend_on_its_batch(layout: torch.memory_format) -> None:
    y, norm = maps((4, 6, 9, 9), torch.float32, layout), layer(6)
    together = kernels.norm_relu_pool(y, torch.zeros(6, device=DEVICE), norm)
    for index in range(4):
        alone = kernels.norm_relu_pool(y[[index]], torch.zeros(6, device=DEVICE), norm)
        assert torch.equal(alone[0], together[index])


@pytest.mark.parametrize("layout", LAYOUTS, ids=["contiguous", "last"])
def test_the_variance_of_a_map_far_from_zero_is_not_lost(layout: torch.memory_format) -> None:
    """Two tiles a channel, and a mean of 100 standard deviations."""
    y, norm = maps((1, 2, 65, 66), torch.float32, layout) + 200, layer(2)
    found, wanted = fused(y, norm), exact(y, norm)
    assert away(found.out, wanted.out) < 2e-4
    assert away(found.gamma, wanted.gamma) < 2e-4


def test_constant_maps_have_no_variance_and_no_nan() -> None:
    y, norm = torch.full((1, 3, 8, 8), 5.0, device=DEVICE), layer(3)
    found, wanted = fused(y, norm), exact(y, norm)
    torch.testing.assert_close(found.out, wanted.out, atol=1e-6, rtol=1e-6)
    assert all(value.isfinite().all() for value in found)


def test_what_diverged_gives_nan_and_its_neighbours_do_not() -> None:
    y = maps((2, 3, 8, 8), torch.float32, torch.contiguous_format)
    y[1, 2, 3, 4] = float("nan")
    found = fused(y, layer(3))
    assert found.out[1, 2].isnan().all()
    assert found.y[1, 2].isnan().all()
    assert found.out.isnan().sum() == 16
    assert found.gamma.isnan().tolist() == [False, False, True]


def network(student: str, shape: Shape) -> ConvNet:
    made = table.build(student, shape, 10, seed=0)
    chance = torch.Generator().manual_seed(0)
    for parameter in made.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=chance)
    assert isinstance(made, ConvNet)
    return made.to(DEVICE)


def made_fused(of: ConvNet, precision: Precision) -> FusedGpu:
    blocks = blocks_of(of)
    assert blocks is not None
    return FusedGpu(blocks, of.classifier, precision, kernels.norm_relu_pool)


def gradients(run, of: nn.Module, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    of.zero_grad(set_to_none=True)
    logits = run(images)
    F.cross_entropy(logits, torch.arange(len(images), device=DEVICE) % 10).backward()
    found = {name: p.grad.double() for name, p in of.named_parameters() if p.grad is not None}
    return logits.detach().double(), found


STUDENTS: list[tuple[str, Shape]] = [
    ("convnet2-w5", (1, 28, 28)),
    ("convnet3-w8", (3, 15, 13)),
]


@pytest.mark.parametrize(("student", "shape"), STUDENTS)
def test_a_network_in_fp32_is_that_of_torch(student: str, shape: Shape) -> None:
    quick = network(student, shape)
    exact = deepcopy(quick).double()
    images = maps((3, *shape), torch.float32, torch.contiguous_format)
    logits, found = gradients(made_fused(quick, "fp32"), quick, images)
    wanted_logits, wanted = gradients(exact, exact, images.double())
    assert away(logits, wanted_logits) < 1e-5
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if value.norm() < 1e-9:  # a bias that a norm takes out
            assert found[name].abs().max() == 0
        else:
            assert away(found[name], value) < 1e-4, name


def in_bfloat16(of: ConvNet, images: Tensor) -> Tensor:
    """What bf16 means on a GPU, with torch's own modules."""
    layers, maps = list(of.features), images.bfloat16()
    for first in range(0, len(layers), 4):
        convolution, norm, relu, pool = layers[first : first + 4]
        assert isinstance(convolution, nn.Conv2d)
        y = F.conv2d(maps, convolution.weight.bfloat16(), padding=convolution.padding)
        maps = pool(relu(norm(y.float()))).bfloat16()
    weight = of.classifier.weight.bfloat16().float()
    return F.linear(maps.float().flatten(1), weight, of.classifier.bias)


@pytest.mark.parametrize(
    ("student", "shape", "gates"),
    [("convnet1-w20", (3, 8, 8), 0.01), ("convnet3-w8", (3, 15, 13), 0.3)],
)
def test_a_network_in_bf16_rounds_maps_and_weights(
    student: str, shape: Shape, gates: float
) -> None:
    """Triton's interpreter truncates where a GPU rounds, so gates of a deeper network differ."""
    quick = network(student, shape)
    slow, images = deepcopy(quick), maps((3, *shape), torch.float32, torch.contiguous_format)
    logits, found = gradients(made_fused(quick, "bf16"), quick, images)
    wanted_logits, wanted = gradients(lambda x: in_bfloat16(slow, x), slow, images)
    assert 1e-4 < away(logits, gradients(slow, slow, images)[0]) < 0.01
    assert away(logits, wanted_logits) < 0.01
    for name, value in wanted.items():
        assert away(found[name], value) < gates, name
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in quick.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_evaluation_is_the_forward_pass_of_training(precision: Precision) -> None:
    run = made_fused(network("convnet1-w8", (3, 8, 8)), precision)
    images = maps((3, 3, 8, 8), torch.float32, torch.contiguous_format)
    with torch.inference_mode():
        there = run(images)
    assert torch.equal(run(images).detach(), there)
    assert there.dtype == torch.float32


def first_use(precision: Precision = "fp32") -> str | None:
    return room.fault.__wrapped__(DEVICE, precision, (6, 9, 8))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_first_use_finds_right_kernels_right(precision: Precision) -> None:
    with torch.inference_mode():
        assert first_use(precision) is None


def test_the_first_use_finds_wrong_kernels_wrong(monkeypatch) -> None:
    right = kernels.norm_relu_pool
    monkeypatch.setattr(kernels, "norm_relu_pool", lambda *given: 1.02 * right(*given))
    assert "not give what torch gives" in str(first_use())
    monkeypatch.setattr(kernels, "norm_relu_pool", lambda *given: right(*given) * float("nan"))
    assert "not give what torch gives" in str(first_use())


def test_kernels_that_do_not_compile_are_a_reason(monkeypatch) -> None:
    def broken(*_: object) -> Tensor:
        raise ValueError("no compiler\nwas found")

    monkeypatch.setattr(kernels, "norm_relu_pool", broken)
    assert first_use() == "the kernels failed: ValueError: no compiler was found"
