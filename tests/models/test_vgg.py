"""VGG against torchvision's convolutional part, and published parameter counts."""

from __future__ import annotations

import pytest
import torch
import torchvision

from ddranking.models import build


@pytest.mark.parametrize(
    ("layers", "expected"),
    # published with kuangliu/pytorch-cifar; vgg11 by hand
    [(11, 9_231_114), (13, 9_416_010), (16, 14_728_266), (19, 20_040_522)],
)
def test_features_are_torchvisions_and_counts_are_published(layers, expected):
    ours = build(f"vgg{layers}-bn", (3, 32, 32), 10, seed=0)
    assert sum(p.numel() for p in ours.parameters()) == expected
    theirs = getattr(torchvision.models.vgg, f"vgg{layers}_bn")(num_classes=2, init_weights=False)
    theirs.features.load_state_dict(ours.get_submodule("features").state_dict())
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = ours.get_submodule("classifier")(theirs.features(x).flatten(1))
    torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("side", "poolings"), [(8, 3), (16, 4), (28, 5), (31, 4), (32, 5), (64, 5)]
)
def test_poolings_are_skipped_only_where_one_pixel_would_be_normalised(side, poolings):
    model = build("vgg11", (1, side, side), 10, seed=0)
    layers = list(model.get_submodule("features").children())
    assert sum(isinstance(layer, torch.nn.MaxPool2d) for layer in layers) == poolings
    convolutions = [i for i, layer in enumerate(layers) if isinstance(layer, torch.nn.Conv2d)]
    assert convolutions == [0, 4, 8, 11, 15, 18, 22, 25], "the field's tensor names moved"


def test_instance_norm_is_the_default_and_counts_as_batch_norm_does():
    ours = build("vgg11", (3, 32, 32), 10, seed=0)
    assert isinstance(ours.get_submodule("features.1"), torch.nn.GroupNorm)
    assert sum(p.numel() for p in ours.parameters()) == 9_231_114
