"""Contracts of every network in the table, whatever it is."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from ddranking.errors import BadInput, UnknownName
from ddranking.models import MODELS, build, check, listing

NAMES = [name for family in MODELS.values() for name in family.shown]
QUICK = [(1, 8, 8), (1, 28, 28), (4, 32, 32)]
OPTIONS = ["convnet2-w32-ln", "convnet2-w32-gn-max", "convnet2-w32-none", "convnet1-w1"]


def fits(name: str, shape: tuple[int, int, int]) -> bool:
    try:
        check(name, shape)
    except BadInput:
        return False
    return True


def cases(names, shapes):
    return [
        pytest.param(name, shape, id=f"{name}-{'x'.join(map(str, shape))}")
        for name in names
        for shape in shapes
        if fits(name, shape)
    ]


def parameters(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def images(shape: tuple[int, int, int], batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(7))


def holds_contract(name: str, shape: tuple[int, int, int], num_classes: int) -> None:
    model = build(name, shape, num_classes, seed=0)
    x = images(shape)
    version = x._version
    logits = model(x)
    assert logits.shape == (2, num_classes)
    assert torch.isfinite(logits).all()
    assert x._version == version, "forward wrote into its input"
    F.cross_entropy(logits, torch.arange(2)).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        # A bias before a per-channel norm has no effect by construction; every weight has one.
        if parameter.ndim > 1:
            assert parameter.grad.abs().max() > 1e-7, key
    assert not torch.equal(logits[0], logits[1]), "the logits do not depend on the image"


@pytest.mark.parametrize(("name", "shape"), cases(NAMES + OPTIONS, QUICK))
def test_logits_are_finite_and_gradients_reach_every_weight(name, shape):
    holds_contract(name, shape, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    cases(
        [name for name in NAMES if name not in ("resnet34-bn", "resnet50-bn", "vgg13", "vgg16")],
        [(3, 9, 15), (3, 64, 64), (3, 96, 96)],
    )
    + cases(["convnet6", "lenet", "mlp", "alexnet", "vgg11", "resnet18"], [(3, 224, 224)]),
)
def test_larger_and_oblong_images(name, shape):
    holds_contract(name, shape, 1000 if shape[1] == 64 else 2)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_depend_on_the_seed_and_on_nothing_else(name):
    shape = (1, 8, 8) if fits(name, (1, 8, 8)) else (1, 64, 64)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = parameters(build(name, shape, 2, seed=3))
    assert torch.equal(torch.random.get_rng_state(), before), "torch's own generator moved"
    torch.manual_seed(2)
    assert torch.equal(first, parameters(build(name, shape, 2, seed=3)))
    assert not torch.equal(first, parameters(build(name, shape, 2, seed=4)))


@pytest.mark.parametrize(
    "name",
    [
        "convnet3",
        "convnet3-bn",
        "convnet2-w32-ln-max",
        "lenet",
        "alexnet",
        "mlp",
        "vgg11",
        "vgg11-bn",
        "resnet18",
        "resnet18-bn",
    ],
)
def test_many_models_at_once_give_the_gradients_of_each_alone(name):
    shape, seeds = (1, 8, 8), (0, 1)
    models = [build(name, shape, 3, seed=seed).double() for seed in seeds]
    x, y = images(shape, batch=4).double(), torch.tensor([0, 1, 2, 0])
    # Batch norm writes its running statistics, so each model needs buffers of its own.
    params, buffers = torch.func.stack_module_state(models)

    def loss(params, buffers):
        return F.cross_entropy(torch.func.functional_call(models[0], (params, buffers), (x,)), y)

    together = torch.func.vmap(torch.func.grad(loss))(params, buffers)
    for index, model in enumerate(models):
        F.cross_entropy(model(x), y).backward()
        for key, parameter in model.named_parameters():
            torch.testing.assert_close(together[key][index], parameter.grad, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ["convnet3", "lenet", "alexnet", "mlp", "vgg11", "resnet18"])
def test_memory_format_changes_nothing(name):
    model = build(name, (3, 16, 16), 5, seed=0).double()
    x = images((3, 16, 16)).double()
    expected = model(x)
    model = model.to(memory_format=torch.channels_last)
    got = model(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_importing_checking_and_listing_need_no_torch():
    code = (
        "import sys; from ddranking.models import check, listing; "
        "check('ConvNet-3', (3, 32, 32)); check('my.module:net'); listing(); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_listing_names_can_be_built_and_have_one_line():
    rows = listing()
    assert [name for name, _ in rows[: len(NAMES)]] == NAMES
    assert all(about and "\n" not in about for _, about in rows)
    assert [check(name) for name in NAMES] == NAMES, "a listed name is not canonical"


@pytest.mark.parametrize(
    ("size", "deepest"), [(8, 3), (15, 3), (16, 4), (28, 5), (32, 5), (64, 6), (224, 7)]
)
def test_convnet_depth_ends_where_its_map_would_vanish(size, deepest):
    shape = (3, size, size)
    assert build(f"convnet{deepest}-w4", shape, 2, seed=0)(images(shape)).shape == (2, 2)
    with pytest.raises(BadInput, match=f"Choose convnet{deepest} "):
        check(f"convnet{deepest + 1}", shape)
    with pytest.raises(BadInput):
        build(f"convnet{deepest + 1}", shape, 2, seed=0)


@pytest.mark.parametrize(
    "shape", [(3, 32), (3, 7, 32), (3, 32, 7), (0, 32, 32), (3.0, 32, 32), "3x32x32", (True, 8, 8)]
)
def test_wrong_shapes_are_told(shape):
    with pytest.raises(BadInput, match=r"image shape: expected .* got"):
        check("mlp", shape)


@pytest.mark.parametrize("num_classes", [1, 0, -3, 2.0, "10", True])
def test_wrong_class_counts_are_told(num_classes):
    with pytest.raises(BadInput, match="num_classes"):
        build("mlp", (3, 8, 8), num_classes, seed=0)


def test_a_wrong_name_gets_the_closest_one():
    with pytest.raises(UnknownName, match="Did you mean 'resnet18'"):
        check("rensnet18")
    with pytest.raises(UnknownName, match="Did you mean 'vgg1"):
        build("vgg61", (3, 32, 32), 10, seed=0)
