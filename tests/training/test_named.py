"""torchvision transforms by name: the allowed ones, their draws and their parameters."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from pydantic import ValidationError
from torchvision.transforms.v2 import functional as tv

from ddranking.protocol.augmentations import Torchvision
from ddranking.training.named import apply_torchvision, check_torchvision, draw_torchvision

NAMES = get_args(Torchvision.model_fields["name"].annotation)
NEEDED = {
    "ElasticTransform": {"alpha": 20, "sigma": 1},
    "GaussianBlur": {"kernel_size": 3},
    "RandomAffine": {"degrees": 10, "translate": [0.1, 0.1]},
    "RandomCrop": {"size": 16, "padding": 2},
    "RandomGrayscale": {"p": 0.5},
    "RandomResizedCrop": {"size": [16, 16], "interpolation": "bilinear"},
    "RandomRotation": {"degrees": [-20, 20], "expand": False},
}
SHAPE = (16, 3, 16, 16)
each_name = pytest.mark.parametrize("name", NAMES)


def images() -> torch.Tensor:
    """Standardised: far outside [0, 1]."""
    return 3 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))


@each_name
def test_an_allowed_transform_runs_on_each_image_and_on_the_batch(name) -> None:
    seen = []
    for each in ("image", "batch"):
        rules = Torchvision(name=name, parameters=NEEDED.get(name, {}), each=each)
        check_torchvision(rules, SHAPE[1:])
        drawn = draw_torchvision(rules, SHAPE, torch.Generator().manual_seed(2))
        made = apply_torchvision(rules, images(), drawn)
        assert made.shape == SHAPE
        assert torch.equal(made, apply_torchvision(rules, images(), drawn))
        seen.append(made)
    assert seen[0].shape == seen[1].shape


@each_name
def test_an_allowed_transform_means_the_same_in_every_range(name) -> None:
    """It commutes with a positive scale of all values, so nothing is clipped at 0 or 1."""
    rules = Torchvision(name=name, parameters=NEEDED.get(name, {}))
    drawn = torch.tensor(5)
    made = apply_torchvision(rules, images(), drawn)
    scaled = apply_torchvision(rules, images() * 0.01, drawn)
    torch.testing.assert_close(scaled, made * 0.01, atol=1e-5, rtol=1e-4)


def test_each_image_has_its_own_draw_and_a_batch_one() -> None:
    half = [Torchvision(name="RandomHorizontalFlip", each=each) for each in ("image", "batch")]
    given = images()
    for seed in range(6):
        flipped = [
            [
                torch.equal(out, tv.horizontal_flip(image))
                for out, image in zip(made, given, strict=True)
            ]
            for made in (apply_torchvision(r, given, torch.tensor(seed)) for r in half)
        ]
        assert 0 < sum(flipped[0]) < 16
        assert sum(flipped[1]) in (0, 16)


def test_whole_numbers_stay_whole_and_a_number_is_one_key() -> None:
    one, other = (Torchvision(name="RandomCrop", parameters={"size": s}) for s in (8, 8.0))
    assert one.model_dump_json() == other.model_dump_json()
    check_torchvision(one, (3, 8, 8))


@pytest.mark.parametrize("name", ["ColorJitter", "RandAugment", "GaussianNoise", "Lambda", "flip"])
def test_what_is_not_on_the_list_is_refused(name) -> None:
    with pytest.raises(ValidationError):
        Torchvision(name=name)
