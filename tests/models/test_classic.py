"""MLP, LeNet, AlexNet: counts by hand, published geometry, other sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ddranking.models import build


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("mlp", (3, 32, 32), 3072 * 128 + 128 + 128 * 128 + 128 + 1290),
        ("mlp", (1, 28, 28), 118_282),
        ("lenet", (3, 32, 32), 62_006),
        ("lenet", (1, 28, 28), 61_706),
        ("lenet", (3, 224, 224), 62_006),
        ("lenet", (3, 8, 8), 62_006 - 120 * 16 * (25 - 4)),
        ("alexnet", (3, 32, 32), 1_872_202),
        ("alexnet", (3, 64, 64), 1_872_202),
        ("alexnet", (1, 28, 28), 1_872_202 - 2 * 25 * 128),
        ("alexnet", (3, 8, 8), 1_872_202 - 192 * 15 * 10),
    ],
)
def test_parameter_counts(name, shape, expected):
    assert sum(p.numel() for p in build(name, shape, 10, seed=0).parameters()) == expected


@pytest.mark.parametrize(("side", "padding"), [(28, 2), (32, 0)])
def test_lenet_equals_the_published_network_at_its_sizes(side, padding):
    model = build("lenet", (1, side, side), 10, seed=1)
    s = model.state_dict()
    images = torch.randn(3, 1, side, side, generator=torch.Generator().manual_seed(0))
    x = F.conv2d(images, s["features.0.weight"], s["features.0.bias"], padding=padding)
    x = F.max_pool2d(x.relu(), 2)
    x = F.max_pool2d(F.conv2d(x, s["features.3.weight"], s["features.3.bias"]).relu(), 2)
    assert x.shape == (3, 16, 5, 5)
    x = x.reshape(3, 400)
    for layer in ("fc_1", "fc_2"):
        x = (x @ s[f"{layer}.weight"].T + s[f"{layer}.bias"]).relu()
    expected = x @ s["fc_3.weight"].T + s["fc_3.bias"]
    torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("side", "padding"), [(28, 4), (32, 2)])
def test_alexnet_equals_the_published_network_at_its_sizes(side, padding):
    model = build("alexnet", (2, side, side), 10, seed=1)
    s = model.state_dict()
    x = images = torch.randn(2, 2, side, side, generator=torch.Generator().manual_seed(0))
    for at, pad, pool in ((0, padding, 2), (3, 2, 2), (6, 1, 1), (8, 1, 1), (10, 1, 2)):
        x = F.conv2d(x, s[f"features.{at}.weight"], s[f"features.{at}.bias"], padding=pad).relu()
        x = F.max_pool2d(x, pool)
    assert x.shape == (2, 192, 4, 4)
    expected = x.reshape(2, -1) @ s["fc.weight"].T + s["fc.bias"]
    torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-6)


def test_mlp_equals_three_affine_maps():
    model = build("mlp", (3, 8, 9), 4, seed=1)
    s = model.state_dict()
    images = torch.randn(5, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    x = images.reshape(5, -1)
    for layer in ("fc_1", "fc_2"):
        x = (x @ s[f"{layer}.weight"].T + s[f"{layer}.bias"]).relu()
    expected = x @ s["fc_3.weight"].T + s["fc_3.bias"]
    torch.testing.assert_close(model(images), expected, rtol=1e-5, atol=1e-6)
