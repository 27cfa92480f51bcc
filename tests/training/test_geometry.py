"""Moving and erasing pixels, against slow references and torchvision, and their distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from ddranking.protocol.augmentations import Crop, Cutout, Flip, PatchShuffle, ResizedCrop
from ddranking.training.geometry import (
    apply_crop,
    apply_cutout,
    apply_flip,
    apply_patch_shuffle,
    apply_resized_crop,
    draw_crop,
    draw_cutout,
    draw_flip,
    draw_patch_shuffle,
    draw_resized_crop,
)

SHAPES = [(8, 3, 9, 9), (6, 1, 7, 12)]
MANY = (2000, 3, 32, 32)
each_shape = pytest.mark.parametrize("shape", SHAPES)


def images(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flip() -> None:
    given, drawn = images(SHAPES[0]), torch.tensor([True, False] * 4)
    made = apply_flip(Flip(), given, drawn)
    for image, result, flipped in zip(given.numpy(), made.numpy(), drawn, strict=True):
        assert np.array_equal(result, image[:, :, ::-1] if flipped else image)
    flips = int(draw_flip(Flip(p=0.3), MANY, chance()).sum())
    assert stats.binomtest(flips, 2000, 0.3).pvalue > 0.001
    assert not draw_flip(Flip(p=0), MANY, chance()).any()
    assert draw_flip(Flip(p=1), MANY, chance()).all()


@each_shape
@pytest.mark.parametrize(("mode", "numpy_mode"), [("zero", "constant"), ("reflect", "reflect")])
@pytest.mark.parametrize("padding", [1, 4])
def test_a_crop_is_a_pad_and_a_cut(shape, mode, numpy_mode, padding) -> None:
    given, rules = images(shape), Crop(padding=padding, mode=mode)
    drawn = draw_crop(rules, shape, chance())
    made = apply_crop(rules, given, drawn)
    height, width = shape[2:]
    for image, result, down, right in zip(given.numpy(), made.numpy(), *drawn, strict=True):
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)), numpy_mode)
        y, x = int(down) + padding, int(right) + padding
        assert np.array_equal(result, padded[:, y : y + height, x : x + width])


@pytest.mark.parametrize("axis", [0, 1])
def test_every_place_of_a_crop_is_as_likely(axis) -> None:
    counts = np.bincount(draw_crop(Crop(), MANY, chance())[axis].numpy() + 4, minlength=9)
    assert len(counts) == 9
    assert stats.chisquare(counts).pvalue > 0.001


@each_shape
@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 1.0), (1.0, 1.0), (0.01, 0.02)])
def test_a_resized_crop_equals_torchvisions(shape, scale) -> None:
    """With antialiasing, as the sources call it: nothing is made smaller, so it is the same."""
    given, rules = images(shape), ResizedCrop(scale=scale)
    boxes = draw_resized_crop(rules, shape, chance())
    made = apply_resized_crop(rules, given, boxes)
    for index, image in enumerate(given):
        box = [int(part[index]) for part in (boxes.top, boxes.left, boxes.height, boxes.width)]
        wanted = tv.resized_crop(image, *box, size=list(shape[2:]), antialias=True)
        torch.testing.assert_close(made[index], wanted, atol=1e-6, rtol=1e-6)


def test_a_box_that_is_the_whole_image_changes_nothing() -> None:
    given, rules = images(SHAPES[0]), ResizedCrop(scale=(1, 1), ratio=(1, 1))
    made = apply_resized_crop(rules, given, draw_resized_crop(rules, given.shape, chance()))
    torch.testing.assert_close(made, given)


@pytest.mark.parametrize(
    ("scale", "ratio", "shape"),
    [
        ((0.08, 1.0), (3 / 4, 4 / 3), (2000, 1, 32, 32)),
        ((0.5, 1.0), (3 / 4, 4 / 3), (2000, 1, 64, 48)),
        ((0.9, 1.0), (2.0, 3.0), (2000, 1, 32, 32)),  # never fits: the largest box in the middle
        ((0.9, 1.0), (0.3, 0.5), (2000, 1, 32, 32)),
    ],
)
def test_boxes_are_distributed_as_torchvisions(scale, ratio, shape) -> None:
    rules = ResizedCrop(scale=scale, ratio=ratio)
    boxes = draw_resized_crop(rules, shape, chance(5))
    source = v2.RandomResizedCrop(shape[2:], scale=scale, ratio=ratio)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        theirs = [source.make_params([torch.zeros(shape[1:])]) for _ in range(shape[0])]
    for name in ("top", "left", "height", "width"):
        ours = getattr(boxes, name).numpy()
        wanted = np.array([each[name] for each in theirs])
        assert stats.ks_2samp(ours, wanted).pvalue > 0.001, name
    assert (boxes.top + boxes.height <= shape[2]).all()
    assert (boxes.left + boxes.width <= shape[3]).all()


@each_shape
@pytest.mark.parametrize("side", [0.25, 0.5, 1.0])
def test_cutout_erases_a_square_around_any_pixel(shape, side) -> None:
    given, rules = images(shape), Cutout(side=side)
    drawn = draw_cutout(rules, shape, chance(2))
    made = apply_cutout(rules, given, drawn)
    for image, result, row, column in zip(given.numpy(), made.numpy(), *drawn, strict=True):
        wanted = image.copy()
        for y in range(shape[2]):
            for x in range(shape[3]):
                tall, wide = int(shape[2] * side + 0.5), int(shape[3] * side + 0.5)
                inside_y = -(tall // 2) <= y - int(row) < tall - tall // 2
                inside_x = -(wide // 2) <= x - int(column) < wide - wide // 2
                if inside_y and inside_x:
                    wanted[:, y, x] = 0
        assert np.array_equal(result, wanted)


def test_every_pixel_is_as_likely_the_centre_of_a_cutout() -> None:
    for places in draw_cutout(Cutout(), MANY, chance()):
        assert stats.chisquare(np.bincount(places.numpy(), minlength=32)).pvalue > 0.001


@each_shape
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_patch_shuffle_moves_rows_and_columns_of_patches(shape, factor) -> None:
    """By lists of strips, as the source: columns first, then rows; the two do commute."""
    given, rules = images(shape), PatchShuffle(factor=factor)
    drawn = draw_patch_shuffle(rules, shape, chance(4))
    made = apply_patch_shuffle(rules, given, drawn)

    def shuffled(image: np.ndarray, axis: int, order: list[int]) -> np.ndarray:
        length = image.shape[axis] // factor
        cut = [image.take(range(i * length, (i + 1) * length), axis) for i in range(factor)]
        rest = image.take(range(factor * length, image.shape[axis]), axis)
        return np.concatenate([*(cut[i] for i in order), rest], axis)

    for image, result, rows, columns in zip(given.numpy(), made.numpy(), *drawn, strict=True):
        wanted = shuffled(shuffled(image, 2, columns.tolist()), 1, rows.tolist())
        assert np.array_equal(result, wanted)


def test_every_order_of_strips_is_as_likely() -> None:
    for orders in draw_patch_shuffle(PatchShuffle(factor=3), MANY, chance()):
        _, counts = np.unique(orders.numpy(), axis=0, return_counts=True)
        assert len(counts) == 6
        assert stats.chisquare(counts).pvalue > 0.001
