"""DSA against slow per-pixel references and its published distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from ddranking.protocol.augmentations import Dsa
from ddranking.training.dsa import DsaDraw, apply_dsa, draw_dsa

RULES = Dsa()
FAMILIES = RULES.families


def draws(family: str, shape=(2000, 3, 32, 32), seed: int = 0, **changes) -> DsaDraw:
    rules = Dsa(families=(family,), **changes)
    return draw_dsa(rules, shape, torch.Generator().manual_seed(seed))


def slow(family: str, image: np.ndarray, a: float, b: float, c: float) -> np.ndarray:
    """One image [C,H,W], pixel by pixel, from the published description."""
    height, width = image.shape[1:]
    out = np.zeros_like(image)
    if family == "color":
        bright = image + a
        grey = bright.mean(0, keepdims=True)
        saturated = (bright - grey) * b + grey
        return (saturated - saturated.mean()) * c + saturated.mean()
    if family == "flip":
        return image[:, :, ::-1] if a else image
    if family == "crop":
        for y in range(height):
            for x in range(width):
                source_y, source_x = y + int(a), x + int(b)
                if 0 <= source_y < height and 0 <= source_x < width:
                    out[:, y, x] = image[:, source_y, source_x]
        return out
    if family == "cutout":
        out = image.copy()
        size_y, size_x = int(height * 0.5 + 0.5), int(width * 0.5 + 0.5)
        for i in range(size_y):
            for j in range(size_x):
                y = min(max(i + int(a) - size_y // 2, 0), height - 1)
                x = min(max(j + int(b) - size_x // 2, 0), width - 1)
                out[:, y, x] = 0
        return out
    matrix = (
        np.array([[a, 0], [0, b]])
        if family == "scale"
        else np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]])
    )
    for y in range(height):
        for x in range(width):
            place = matrix @ np.array([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1])
            u, v = ((place[0] + 1) * width - 1) / 2, ((place[1] + 1) * height - 1) / 2
            for yy in (math.floor(v), math.floor(v) + 1):
                for xx in (math.floor(u), math.floor(u) + 1):
                    weight = (1 - abs(v - yy)) * (1 - abs(u - xx))
                    if 0 <= yy < height and 0 <= xx < width:
                        out[:, y, x] += weight * image[:, yy, xx]
    return out


@pytest.mark.parametrize("shape", [(6, 3, 8, 8), (3, 1, 9, 7)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_equals_its_slow_reference(family: str, shape: tuple[int, ...]) -> None:
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = draws(family, shape, seed=2)
    parameters = [
        (p if p is not None else torch.zeros(shape[0])).tolist()
        for p in (drawn.first, drawn.second, drawn.third)
    ]
    wide = DsaDraw(family, *(p and torch.tensor(p).double() for p in parameters))
    if family in {"crop", "cutout"}:
        wide = drawn
    fast = apply_dsa(RULES, images, wide)
    for image, result, a, b, c in zip(images.numpy(), fast.numpy(), *parameters, strict=True):
        np.testing.assert_allclose(result, slow(family, image, a, b, c), atol=1e-6)


@pytest.mark.parametrize(
    ("family", "field", "low", "high"),
    [
        ("color", "first", -0.5, 0.5),
        ("color", "second", 0.0, 2.0),
        ("color", "third", 0.5, 1.5),
        ("scale", "first", 1 / 1.2, 1.2),
        ("scale", "second", 1 / 1.2, 1.2),
        ("rotate", "first", -math.radians(15), math.radians(15)),
    ],
)
def test_continuous_parameters_are_uniform(family, field, low, high) -> None:
    values = getattr(draws(family), field).numpy()
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.001


@pytest.mark.parametrize(("family", "low", "high"), [("crop", -4, 4), ("cutout", 0, 32)])
def test_whole_pixel_parameters_are_uniform(family: str, low: int, high: int) -> None:
    drawn = draws(family)
    for values in (drawn.first, drawn.second):
        assert values is not None
        counts = np.bincount(values.numpy() - low, minlength=high - low + 1)
        assert len(counts) == high - low + 1
        assert stats.chisquare(counts).pvalue > 0.001


def test_half_of_the_images_are_flipped() -> None:
    flipped = int(draws("flip").first.sum())
    assert stats.binomtest(flipped, 2000, 0.5).pvalue > 0.001


def test_one_family_a_batch_each_as_often() -> None:
    chance = torch.Generator().manual_seed(5)
    seen = [draw_dsa(RULES, (1, 1, 8, 8), chance).family for _ in range(3000)]
    counts = [seen.count(family) for family in FAMILIES]
    assert sum(counts) == 3000
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_differ_from_image_to_image(family: str) -> None:
    assert len(draws(family).first.unique()) > 1


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_is_written_into_the_input_and_gradients_are_those_of_a_function(family) -> None:
    images = torch.randn(2, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    drawn = draws(family, images.shape, seed=3)
    if family not in {"crop", "cutout"}:
        parts = (drawn.first, drawn.second, drawn.third)
        drawn = DsaDraw(family, *(p if p is None else p.double() for p in parts))
    before = images._version
    assert torch.autograd.gradcheck(lambda x: apply_dsa(RULES, x, drawn), (images,))
    assert images._version == before
