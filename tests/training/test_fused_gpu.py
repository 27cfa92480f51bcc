"""ConvNets on a GPU: where they are fused, that the kernels compile, and what they compute there.

Most of it needs no GPU: Triton's interpreter runs the kernels on a CPU, and its compiler makes
machine code for GPUs that are not there.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddranking.models import table
from ddranking.models.names import Shape
from ddranking.training import fused_gpu as room
from ddranking.training.arithmetic import acceleration, arithmetic, forward
from ddranking.training.fused_gpu import FusedGpu, fused_gpu
from ddranking.training.native import SWITCH

CUDA = torch.device("cuda")
SHAPE: Shape = (3, 32, 32)
KERNELS = Path(__file__).with_name("test_fused_gpu_kernels.py")


@pytest.fixture
def triton() -> None:
    pytest.importorskip("triton", exc_type=ImportError)


@pytest.fixture
def right(monkeypatch, triton: None) -> None:
    """As on a GPU whose kernels have been found right."""
    monkeypatch.setattr(room, "fault", lambda *_: None)


def test_the_kernels_compute_what_torch_computes_when_interpreted(triton: None) -> None:
    """The values of ``test_fused_gpu_kernels.py``, where no GPU runs that file itself."""
    if torch.cuda.is_available():
        pytest.skip("a GPU runs them")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(KERNELS)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("shape", [(1, 128, 32, 32), (1, 20, 13, 7)], ids=["whole", "odd"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_kernels_compile_to_machine_code(
    capability: int, shape: tuple[int, ...], precision: str, triton: None, monkeypatch, tmp_path
) -> None:
    compiler = pytest.importorskip("triton.compiler")
    backends = pytest.importorskip("triton.backends.compiler")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from ddranking.training import fused_gpu_kernels as kernels

    short = precision == "bf16"
    like = torch.empty(
        shape,
        device="meta",
        dtype=torch.bfloat16 if short else torch.float32,
        memory_format=torch.channels_last if short else torch.contiguous_format,
    )
    constants, options = kernels.compiled_for(like)
    kinds = dict.fromkeys(("y", "out", "grad", "d_y"), f"*{precision}") | {"eps": "fp32"}
    for kernel in (kernels._forward, kernels._backward):
        types = {
            name: "constexpr" if name in constants else kinds.get(name, "*fp32")
            for name in kernel.arg_names
        }
        source = compiler.ASTSource(kernel, types, constexprs=constants)
        target = backends.GPUTarget("cuda", capability, 32)
        made = compiler.compile(source, target=target, options=options)
        assert len(made.asm["cubin"]) > 1000
        assert ("cvt.rn.bf16" in made.asm["ptx"]) == short  # rounds to nearest, as torch does


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize(
    ("student", "shape"),
    [("convnet3", SHAPE), ("convnet1-w7", (1, 28, 28)), ("convnet2", (3, 9, 11))],
)
def test_a_convnet_with_instance_norm_is_fused(
    student: str, shape: Shape, precision, right: None
) -> None:
    """Also where a CPU's operation is not: any width, and sides that do not halve."""
    made = fused_gpu(table.build(student, shape, 10, seed=0), shape, precision, CUDA)
    assert isinstance(made, FusedGpu)
    assert acceleration(student, shape, precision, "cuda") == f"fused, {precision}"


@pytest.mark.parametrize(
    "student", ["mlp", "convnet3-bn", "convnet3-gn", "convnet3-max", "resnet18"]
)
def test_every_other_network_runs_as_torch_runs_it(student: str, right: None) -> None:
    why = "not fused: not a ConvNet with instance norm and average pooling"
    assert acceleration(student, SHAPE, device="cuda") == why


def test_every_shape_of_a_map_is_tried_before_a_training(monkeypatch, triton: None) -> None:
    tried: list[object] = []
    monkeypatch.setattr(room, "fault", lambda *given: tried.append(given))
    fused_gpu(table.build("convnet3-w16", (1, 28, 28), 10, seed=0), (1, 28, 28), "bf16", CUDA)
    fused_gpu(table.build("convnet2", (3, 50, 15), 10, seed=0), (3, 50, 15), "tf32", CUDA)
    assert tried == [
        (CUDA, "bf16", (16, 32, 32)),
        (CUDA, "bf16", (16, 16, 16)),
        (CUDA, "bf16", (16, 8, 8)),
        (CUDA, "tf32", (128, 50, 15)),
        (CUDA, "tf32", (128, 25, 7)),
    ]


def test_reasons_are_one_line_and_torch_goes_on(monkeypatch, right: None) -> None:
    network = table.build("convnet3-w16", SHAPE, 10, seed=0)

    def why() -> str:
        assert forward(network, SHAPE, "fp32", CUDA) is network
        return acceleration("convnet3-w16", SHAPE, device="cuda")

    monkeypatch.setattr(room, "fault", lambda *_: "the kernels failed: no compiler")
    assert why() == "not fused: the kernels failed: no compiler"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert why() == f"not fused: {room.NO_TRITON}"
    monkeypatch.setenv(SWITCH, "0")
    assert why() == "not fused: DDRANKING_FUSED=0"


def test_a_device_that_is_not_there_is_a_reason(triton: None) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert "the kernels failed: " in acceleration("convnet3", SHAPE, device="cuda")


def test_a_full_device_says_nothing_of_the_kernels(monkeypatch) -> None:
    def full(*_: object) -> list[float]:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(room, "_distances", full)
    with pytest.raises(torch.OutOfMemoryError):
        room.fault.__wrapped__(CUDA, "fp32", (1, 2, 2))


def pair(student: str, shape: Shape, precision) -> tuple[FusedGpu, nn.Module, nn.Module]:
    """The fused form with its network, and a copy for torch, on the GPU."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    quick = table.build(student, shape, 10, seed=0).to(CUDA)
    made = fused_gpu(quick, shape, precision, CUDA)
    assert isinstance(made, FusedGpu), made
    return made, quick, deepcopy(quick)


def step(run: Callable[[Tensor], Tensor], of: nn.Module, images: Tensor) -> Tensor:
    logits = run(images)
    F.cross_entropy(logits, torch.arange(len(images), device=CUDA) % 10).backward()
    with torch.no_grad():
        for parameter in of.parameters():
            assert parameter.grad is not None
            parameter -= 0.01 * parameter.grad
            parameter.grad = None
    return logits.detach()


def away(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize(
    ("student", "shape"),
    [("convnet3", SHAPE), ("convnet3", (1, 28, 28)), ("convnet4", (3, 64, 61))],
)
def test_a_gpu_trains_what_torch_trains(student: str, shape: Shape, precision) -> None:
    made, quick, slow = pair(student, shape, precision)
    before = deepcopy(quick)
    images = torch.randn(20, *shape, generator=torch.Generator().manual_seed(0)).to(CUDA)

    def usual(given: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            return slow(given).float()

    near = {"fp32": 1e-5, "tf32": 5e-3, "bf16": 2e-2}[precision]
    gates = {"fp32": 0.01, "tf32": 0.15, "bf16": 0.4}[precision]
    with arithmetic(precision, CUDA):
        assert away(step(made, quick, images), step(usual, slow, images)) < near
    for start, one, other in zip(
        before.parameters(), quick.parameters(), slow.parameters(), strict=True
    ):
        if away(other, start) > 1e-5:  # a bias that a norm takes out does not move
            assert away(one - start, other - start) < gates


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_is_captured_in_a_graph_and_gives_the_same_bits(precision) -> None:
    made, quick, _ = pair("convnet3", SHAPE, precision)
    images = torch.randn(20, *SHAPE, generator=torch.Generator().manual_seed(0)).to(CUDA)
    with arithmetic(precision, CUDA):
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step(made, quick, images)
        torch.cuda.current_stream().wait_stream(stream)
        start = deepcopy(quick.state_dict())
        step(made, quick, images)
        wanted = deepcopy(quick.state_dict())
        quick.load_state_dict(start)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step(made, quick, images)
        graph.replay()
    torch.cuda.synchronize()
    for name, value in quick.state_dict().items():
        assert torch.equal(value, wanted[name]), name
