"""What every augmentation of the table promises, and their composition."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from ddranking.errors import BadProtocol
from ddranking.protocol.augmentations import (
    Augmentation,
    ColorJitter,
    Crop,
    Cutmix,
    Dsa,
    Flip,
    Mixup,
    Noise,
    Torchvision,
)
from ddranking.training.augment import AUGMENTATIONS, augment, check

UNION = get_args(get_args(Augmentation)[0])
OTHERS = {
    "color_jitter": ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    "torchvision": Torchvision(name="RandomRotation", parameters={"degrees": 30}),
}
"""Kinds whose defaults do nothing, or that have none."""
EACH = [OTHERS.get(m.model_fields["kind"].default) or m() for m in UNION]
each_kind = pytest.mark.parametrize("rules", EACH, ids=lambda rules: rules.kind)


def images(count: int = 6, channels: int = 3, dtype=torch.float32) -> torch.Tensor:
    """Images of different height and width, in no particular range."""
    chance = torch.Generator().manual_seed(1)
    return torch.randn(count, channels, 12, 16, generator=chance, dtype=dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_table_holds_every_kind_that_a_recipe_may_name() -> None:
    assert set(AUGMENTATIONS) == {rules.kind for rules in EACH}


@each_kind
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shape_and_type_stay_and_the_input_is_left_alone(rules, channels, dtype) -> None:
    given = images(channels=channels, dtype=dtype)
    before, version = given.clone(), given._version
    made = augment(given, [rules] * 3, generator()).images
    assert (made.shape, made.dtype) == (given.shape, given.dtype)
    assert torch.isfinite(made).all()
    assert given._version == version
    assert torch.equal(given, before)


@each_kind
def test_a_seed_decides_and_nothing_global(rules) -> None:
    given, before = images(), torch.get_rng_state()
    first, again, other = (augment(given, [rules] * 4, generator(seed)) for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(int(before[0]) + 1)
    moved = augment(given, [rules] * 4, generator(7))
    torch.set_rng_state(before)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.images, moved.images)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize(
    "rules",
    [rules for rules in EACH if rules.kind not in {"mixup", "cutmix"}],
    ids=lambda rules: rules.kind,
)
def test_parameters_are_drawn_for_each_image(rules) -> None:
    """A batch of one image over and over does not come out as one image over and over."""
    if isinstance(rules, Dsa):
        rules = Dsa(families=("rotate",))
    made = augment(images(1).expand(32, -1, -1, -1), [rules], generator()).images
    assert any(not torch.allclose(made[0], other) for other in made[1:])


def test_no_augmentation_is_the_identity() -> None:
    given = images()
    made = augment(given, (), generator())
    assert made.images is given
    assert made.mixes == ()


def test_augmentations_follow_each_other_in_order() -> None:
    given, together, apart = images(), generator(3), generator(3)
    listed = [Flip(), Mixup(), Crop(), Cutmix(), Noise()]
    whole = augment(given, listed, together)
    step, mixes = given, ()
    for rules in listed:
        step, new = augment(step, [rules], apart)
        mixes += new
    assert torch.equal(whole.images, step)
    assert len(whole.mixes) == len(mixes) == 2
    backwards = augment(given, listed[::-1], generator(3))
    assert not torch.equal(backwards.images, whole.images)


@pytest.mark.parametrize("rules", [Mixup(), Cutmix()], ids=lambda rules: rules.kind)
def test_labels_follow_through_several_mixes(rules) -> None:
    """Images of one pixel value each are their own labels: both must come out the same."""
    values = torch.eye(5)
    flat = values[:, :, None, None].expand(5, 5, 20, 20).contiguous()
    made = augment(flat, [rules, rules], generator(2))
    labels = values
    for mix in made.mixes:
        labels = mix.labels(labels)
    if rules.kind == "mixup":
        torch.testing.assert_close(made.images[:, :, 0, 0], labels)
    else:
        # Boxes may overlap, so shares of pixels after two boxes are those of one only.
        one = augment(flat, [rules], generator(2))
        torch.testing.assert_close(one.images.mean(dim=(2, 3)), one.mixes[0].labels(values))
    torch.testing.assert_close(labels.sum(1), torch.ones(5))


def test_what_torchvision_refuses_is_refused_before_any_training() -> None:
    check(EACH, (3, 12, 16))
    with pytest.raises(BadProtocol, match="parameters that torchvision takes") as caught:
        check([Torchvision(name="RandomRotation", parameters={"angle": 3})], (3, 8, 8))
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(BadProtocol, match=r"same size back, got 3x4x4.*Set size"):
        check([Torchvision(name="RandomCrop", parameters={"size": 4})], (3, 8, 8))
