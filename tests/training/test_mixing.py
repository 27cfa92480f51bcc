"""Mixup and CutMix: pixels, shares and distributions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from ddranking.protocol.augmentations import Cutmix, Mixup
from ddranking.training.mixing import (
    Mix,
    apply_cutmix,
    apply_mixup,
    beta,
    draw_cutmix,
    draw_mixup,
)

SHAPE = (6, 3, 10, 14)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images() -> torch.Tensor:
    return torch.randn(SHAPE, generator=chance(1), dtype=torch.float64)


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 5.0])
def test_lam_is_from_a_beta_distribution(alpha) -> None:
    source = chance(3)
    values = [beta(alpha, source) for _ in range(1500)]
    assert 0 <= min(values) <= max(values) <= 1
    assert stats.kstest(values, stats.beta(alpha, alpha).cdf).pvalue > 0.001


def test_mixup_pixel_by_pixel() -> None:
    given, drawn = images(), draw_mixup(Mixup(), SHAPE, chance(4))
    made = apply_mixup(Mixup(), given, drawn)
    assert sorted(drawn.partner.tolist()) == list(range(6))
    assert len(drawn.lam.unique()) == 1, "one lam a batch"
    for n, c, y, x in np.ndindex(*SHAPE):
        lam, partner = drawn.lam[n].item(), int(drawn.partner[n])
        wanted = lam * given[n, c, y, x] + (1 - lam) * given[partner, c, y, x]
        assert made[n, c, y, x].item() == pytest.approx(wanted.item(), abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_cutmix_pixel_by_pixel_and_its_share_is_that_of_the_pixels(seed) -> None:
    given, drawn = images(), draw_cutmix(Cutmix(), SHAPE, chance(seed))
    made = apply_cutmix(Cutmix(), given, drawn)
    own = 0
    for n, y, x in np.ndindex(6, 10, 14):
        inside = drawn.top <= y < drawn.bottom and drawn.left <= x < drawn.right
        source = int(drawn.partner[n]) if inside else n
        assert torch.equal(made[n, :, y, x], given[source, :, y, x])
        own += not inside
    assert drawn.lam.tolist() == pytest.approx([own / (6 * 10 * 14)] * 6)


def test_a_box_is_clipped_at_the_border_and_lam_follows() -> None:
    """lam of the pixels is never below the drawn one, and above it where boxes are clipped."""
    shape, clipped = (2, 1, 32, 32), 0
    for seed in range(300):
        drawn, asked = draw_cutmix(Cutmix(), shape, chance(seed)), beta(1.0, chance(seed))
        assert 0 <= drawn.top <= drawn.bottom <= 32
        assert 0 <= drawn.left <= drawn.right <= 32
        assert drawn.lam[0] >= asked - 1e-6
        touches = min(drawn.top, drawn.left) == 0 or max(drawn.bottom, drawn.right) == 32
        clipped += bool(touches and drawn.lam[0] > asked + 0.1)
    assert clipped > 30


def test_every_pixel_is_as_likely_the_centre() -> None:
    """Boxes of one shape around each pixel, clipped: those of the published ``rand_bbox``."""
    rules, shape = Cutmix(alpha=1000), (1, 1, 16, 16)  # lam about 1/2: sides of int(16 * 0.7) = 11
    theirs = np.random.default_rng(0)
    for low, high in (("top", "bottom"), ("left", "right")):
        ours = [draw_cutmix(rules, shape, chance(seed)) for seed in range(400)]
        middles = [int(getattr(d, low)) + int(getattr(d, high)) for d in ours]
        centres = theirs.integers(16, size=400)
        wanted = np.clip(centres - 5, 0, 16) + np.clip(centres + 5, 0, 16)
        assert stats.ks_2samp(middles, wanted).pvalue > 0.001


def test_labels_are_mixed_by_image() -> None:
    mix = Mix(torch.tensor([2, 0, 1]), torch.tensor([1.0, 0.25, 0.0]))
    one_hot = torch.eye(3, dtype=torch.float64)
    assert mix.labels(one_hot).tolist() == [[1, 0, 0], [0.75, 0.25, 0], [0, 1, 0]]
