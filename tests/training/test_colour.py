"""Colour operations against torchvision and the HSV of the standard library."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms.v2 import functional as tv

from ddranking.protocol.augmentations import ColorJitter, Noise
from ddranking.training.colour import (
    JITTERS,
    apply_color_jitter,
    apply_noise,
    draw_color_jitter,
    draw_noise,
    turn_hue,
)

STRONG = ColorJitter(brightness=0.4, contrast=0.3, saturation=0.9, hue=0.1)
MANY = (2000, 3, 8, 8)
FACTORS = (0.6, 1.0, 1.3)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(channels: int = 3) -> torch.Tensor:
    """In [0.3, 0.6], where torchvision's clipping to [0, 1] does not show."""
    return 0.3 + 0.3 * torch.rand(4, channels, 6, 5, generator=chance(1), dtype=torch.float64)


def per_image(values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None, None, None]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_are_torchvisions(name, channels) -> None:
    given, values = images(channels), [0.6, 1.0, 1.3, 1.1]
    made = JITTERS[name](given, per_image(values))
    theirs = getattr(tv, f"adjust_{name}")
    for image, result, value in zip(given, made, values, strict=True):
        torch.testing.assert_close(result, theirs(image, value), atol=1e-6, rtol=1e-6)


def test_hue_is_torchvisions_and_the_standard_librarys() -> None:
    given = torch.rand(4, 3, 6, 5, generator=chance(2), dtype=torch.float64)
    given[0, :, 0, 0] = 0.5  # grey has no hue
    values = [-0.5, -0.1, 0.2, 0.45]
    made = turn_hue(given, per_image(values))
    for image, result, value in zip(given, made, values, strict=True):
        torch.testing.assert_close(result, tv.adjust_hue(image, value), atol=1e-5, rtol=1e-5)
        for y, x in np.ndindex(6, 5):
            hue, saturation, brightness = colorsys.rgb_to_hsv(*image[:, y, x].tolist())
            wanted = colorsys.hsv_to_rgb((hue + value) % 1, saturation, brightness)
            np.testing.assert_allclose(result[:, y, x], wanted, atol=1e-9)


def test_hue_needs_no_range() -> None:
    given, turns = images(), per_image([0.1, -0.2, 0.3, 0.5])
    moved = turn_hue(given * 7 - 5, turns)
    torch.testing.assert_close(moved, turn_hue(given, turns) * 7 - 5)
    grey = images(1)
    assert turn_hue(grey, turns) is grey


def test_the_drawn_order_is_followed() -> None:
    given, drawn = images(), draw_color_jitter(STRONG, (4, 3, 6, 5), chance(3))
    assert sorted(drawn.order) == sorted(JITTERS)
    step = given
    for name in drawn.order:
        step = JITTERS[name](step, getattr(drawn, name).double()[:, None, None, None])
    torch.testing.assert_close(apply_color_jitter(STRONG, given, drawn), step)
    assert len({draw_color_jitter(STRONG, MANY, chance(s)).order for s in range(200)}) == 24


def test_an_operation_of_no_strength_is_left_out() -> None:
    given = images()
    drawn = draw_color_jitter(ColorJitter(), (4, 3, 6, 5), chance())
    assert apply_color_jitter(ColorJitter(), given, drawn) is given


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("brightness", 0.6, 1.4),
        ("contrast", 0.7, 1.3),
        ("saturation", 0.1, 1.9),
        ("hue", -0.1, 0.1),
    ],
)
def test_strengths_are_uniform(name, low, high) -> None:
    values = getattr(draw_color_jitter(STRONG, MANY, chance(4)), name).numpy()
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 0.001


def test_a_factor_is_never_negative() -> None:
    drawn = draw_color_jitter(ColorJitter(brightness=3), MANY, chance())
    assert drawn.brightness.min() >= 0
    assert drawn.brightness.max() > 3


def test_noise_is_added_to_every_value() -> None:
    given, rules = images(), Noise(std=0.5)
    drawn = draw_noise(rules, given.shape, chance())
    made = apply_noise(rules, given, drawn)
    for place in np.ndindex(*given.shape):
        assert made[place].item() == pytest.approx(given[place].item() + 0.5 * drawn[place].item())
    values = draw_noise(rules, (50, 1, 8, 8), chance(1)).flatten().numpy()
    assert stats.kstest(values, "norm").pvalue > 0.001
