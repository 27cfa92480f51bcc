"""ConvNet-D against an independent functional reference and counts by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ddranking.models import build


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def reference(state, images, *, depth: int, norm: str, pooling: str):
    """ConvNet-D written out: convolution, norm from its definition, ReLU, pooling, linear."""
    x = images
    per_block = 3 if norm == "none" else 4
    for block in range(depth):
        at = f"features.{block * per_block}"
        first_on_28 = block == 0 and images.shape[-2:] == (28, 28)
        x = F.conv2d(x, state[f"{at}.weight"], state[f"{at}.bias"], padding=3 if first_on_28 else 1)
        if norm != "none":
            at = f"features.{block * per_block + 1}"
            x = normalise(x, norm, state[f"{at}.weight"], state[f"{at}.bias"])
        x = x.clamp(min=0)
        x = F.avg_pool2d(x, 2) if pooling == "avg" else F.max_pool2d(x, 2)
    return x.reshape(len(x), -1) @ state["classifier.weight"].T + state["classifier.bias"]


def normalise(x, norm, weight, bias):
    b, c, h, w = x.shape
    if norm == "bn":
        grouped, axes = x, (0, 2, 3)
    else:
        groups = {"in": c, "gn": 4, "ln": 1}[norm]
        grouped, axes = x.reshape(b, groups, c // groups, h, w), (2, 3, 4)
    mean = grouped.mean(axes, keepdim=True)
    variance = (grouped - mean).square().mean(axes, keepdim=True)
    plain = ((grouped - mean) / (variance + 1e-5).sqrt()).reshape(b, c, h, w)
    if norm == "ln":
        return plain * weight + bias
    return plain * weight[:, None, None] + bias[:, None, None]


@pytest.mark.parametrize(
    ("name", "shape", "depth", "norm", "pooling"),
    [
        ("convnet3", (3, 32, 32), 3, "in", "avg"),
        ("convnet3", (1, 28, 28), 3, "in", "avg"),
        ("convnet2-w16-bn", (1, 28, 28), 2, "bn", "avg"),
        ("convnet3-w16-gn-max", (3, 17, 30), 3, "gn", "max"),
        ("convnet2-w8-ln", (4, 16, 8), 2, "ln", "avg"),
        ("convnet4-w8-none-max", (2, 28, 28), 4, "none", "max"),
        ("convnet1-w1", (1, 8, 8), 1, "in", "avg"),
    ],
)
def test_equals_the_functional_reference(name, shape, depth, norm, pooling):
    model = build(name, shape, 7, seed=5)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():  # scale and shift start at 1 and 0, where a wrong use would not show
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
    images = torch.randn(3, *shape, generator=random)
    state = {key: value.double() for key, value in model.state_dict().items()}
    expected = reference(state, images.double(), depth=depth, norm=norm, pooling=pooling)
    torch.testing.assert_close(model.double()(images.double()), expected, rtol=1e-9, atol=1e-9)
    single = model.float()(images)
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "num_classes", "expected"),
    [
        # 3*9*128+128 + 2*(128*9*128+128) convolutions, 3*256 norms, 2048*10+10 head
        ("convnet3", (3, 32, 32), 10, 320_010),
        ("convnet3-bn", (3, 32, 32), 10, 320_010),
        ("convnet3-none", (3, 32, 32), 10, 320_010 - 768),
        ("convnet3", (3, 32, 32), 100, 504_420),
        ("convnet3", (1, 28, 28), 10, 317_706),
        ("convnet3-w256", (3, 32, 32), 10, 1_229_834),
        ("convnet4", (3, 64, 64), 200, 857_160),
        ("convnet5", (3, 128, 128), 10, 615_690),
        # layer norm has one scale and shift per pixel of its map: 2*128*(32*32+16*16+8*8)
        ("convnet3-ln", (3, 32, 32), 10, 320_010 - 768 + 344_064),
    ],
)
def test_parameter_counts(name, shape, num_classes, expected):
    assert count(build(name, shape, num_classes, seed=0)) == expected


def test_tensor_names_are_the_fields():
    names = list(build("convnet3", (3, 32, 32), 10, seed=0).state_dict())
    assert names == [
        f"{layer}.{kind}"
        for layer in ("features.0", "features.1", "features.4", "features.5", "features.8",
                      "features.9", "classifier")
        for kind in ("weight", "bias")
    ]  # fmt: skip


def test_28_px_images_have_the_maps_and_the_head_of_32_px_images():
    small, large = (build("convnet3", (1, side, side), 10, seed=0) for side in (28, 32))
    assert small.get_submodule("features")(torch.zeros(1, 1, 28, 28)).shape == (1, 128, 4, 4)
    assert [p.shape for p in small.parameters()] == [p.shape for p in large.parameters()]


def test_initialisation_is_pytorchs_uniform_within_its_bound():
    weight = build("convnet3", (3, 32, 32), 10, seed=0).get_parameter("features.4.weight").detach()
    bound = (128 * 9) ** -0.5
    assert 0.98 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.01)
