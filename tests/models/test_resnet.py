"""ResNet against torchvision's at ImageNet's stem, and published counts at the 3x3 stem."""

from __future__ import annotations

import pytest
import torch
import torchvision

from ddranking.models import build


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(18, 11_173_962), (34, 21_282_122), (50, 23_520_842)],  # kuangliu/pytorch-cifar
)
def test_small_stem_has_the_published_counts_with_either_norm(layers, expected):
    for name in (f"resnet{layers}", f"resnet{layers}-bn"):
        model = build(name, (3, 32, 32), 10, seed=0)
        assert sum(p.numel() for p in model.parameters()) == expected


@pytest.mark.parametrize("layers", [18, 34, 50])
def test_large_stem_is_torchvisions_network(layers):
    ours = build(f"resnet{layers}-bn", (3, 128, 128), 10, seed=0)
    theirs = torchvision.models.get_model(f"resnet{layers}", weights=None, num_classes=10)
    theirs.load_state_dict(
        {
            key.replace("shortcut", "downsample").replace("classifier", "fc"): value
            for key, value in ours.state_dict().items()
        }
    )
    x = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("side", "maps"),
    [(8, (8, 4, 2, 2)), (9, (9, 5, 3, 2)), (28, (28, 14, 7, 4)), (32, (32, 16, 8, 4)),
     (64, (64, 32, 16, 8)), (128, (32, 16, 8, 4))],
)  # fmt: skip
def test_stages_halve_the_map_down_to_two_pixels(side, maps):
    model = build("resnet18", (1, side, side), 2, seed=0)
    seen: list[int] = []
    for stage in range(1, 5):
        model.get_submodule(f"layer{stage}").register_forward_hook(
            lambda module, inputs, out: seen.append(out.shape[-1])
        )
    with torch.no_grad():
        model(torch.zeros(1, 1, side, side))
    assert tuple(seen) == maps


def test_instance_norm_is_the_default():
    model = build("resnet18", (3, 32, 32), 10, seed=0)
    assert isinstance(model.bn1, torch.nn.GroupNorm)
    assert model.bn1.num_groups == 64
    assert not list(model.buffers())
