"""What a set says of its space by itself, and what it leaves open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddranking.data.catalog import facts
from ddranking.data.space import parse_space
from ddranking.distilled.alone import COLOUR_CUT, colour_share, habit, space_alone
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.doctor import examine
from ddranking.distilled.mistakes import standardize

KNOWN = facts("cifar100")


def photographs(colour: float) -> np.ndarray:
    """Smooth grey pictures [100, 3, 32, 32] in [0, 1] with smooth colour of a given share."""
    chance = np.random.default_rng(0)
    x = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    wave = np.stack([np.cos(x[None] + 0 * x[:, None]), np.cos(x[:, None] + 0 * x[None])])
    grey = np.einsum("nk,khw->nhw", chance.normal(size=(100, 2)), wave)
    tint = np.einsum("nck,khw->nchw", chance.normal(size=(100, 3, 2)), wave)
    tint -= tint.mean(1, keepdims=True)
    images = grey[:, None] + np.sqrt(colour * 1.5) * tint
    return 0.5 + 0.45 * images / np.abs(images).max()


def made(images: np.ndarray, space: str, method: str = "mtt") -> DistilledSet:
    placed = parse_space(space, KNOWN)
    return DistilledSet.from_arrays(
        images if images.dtype == np.uint8 else images.astype(np.float32),
        np.arange(100),
        dataset="cifar100",
        ipc=1,
        space=placed,
        method=method,
    )


def standardized(colour: float, lineage: str = "mtt") -> np.ndarray:
    return standardize(photographs(colour), KNOWN.lineages[lineage])


def test_colour_over_brightness_against_the_slow_transform() -> None:
    images = standardized(0.1)[:3]
    up = down = 0.0
    for image in images:
        grey = image.mean(0)
        for values, which in [(grey, "down"), *((channel - grey, "up") for channel in image)]:
            for u in (-1, 0, 1):
                for v in (-1, 0, 1):
                    if u or v:
                        i, j = np.mgrid[:32, :32]
                        wave = np.exp(-2j * np.pi * (u * i + v * j) / 32)
                        power = abs((values * wave).sum()) ** 2
                        up, down = (
                            up + power * (which == "up") / 3,
                            down + power * (which == "down"),
                        )
    assert colour_share(images) == pytest.approx(up / down)
    assert colour_share(images[:, :1]) is None


@pytest.mark.parametrize(
    ("colour", "declared", "severity", "fix"),
    [
        (0.05, "standardized:mtt", "ok", ""),
        (0.05, "zca", "note", "perhaps --space standardized:mtt"),
        (1.5, "zca", "ok", ""),
        (1.5, "standardized:mtt", "note", "perhaps --space zca"),
        (COLOUR_CUT, "standardized:mtt", "note", "ddranking data prepare cifar100, then again"),
    ],
)
def test_whitening_shows_in_colour(colour, declared, severity, fix) -> None:
    found = space_alone(made(standardized(colour), declared))
    assert (found.severity, found.fix) == (severity, fix)


def test_whole_levels_prove_constants_without_real_images() -> None:
    pixels = np.rint(photographs(0.05) * 255) / 255
    images = standardize(pixels, KNOWN.lineages["mtt"])
    assert space_alone(made(images, "standardized:mtt")).severity == "ok"
    found = space_alone(made(images, "standardized"))
    assert (found.severity, found.fix) == ("wrong", "--space standardized:mtt")


def test_values_without_a_negative_one_are_not_standardised() -> None:
    pixels = photographs(0.05)
    found = space_alone(made(pixels, "standardized"))
    assert (found.severity, found.fix) == ("wrong", "--space pixel")
    found = space_alone(made(pixels * 255, "standardized"))
    assert found.fix == "--space pixel --undo times-255"


def test_pixels() -> None:
    pixels = photographs(0.05)
    assert space_alone(made(pixels, "pixel")).severity == "ok"
    assert space_alone(made((pixels * 255).astype(np.uint8), "pixel")).severity == "ok"
    assert "over-255" in space_alone(made(pixels / 255, "pixel")).fix
    wide = replace(made(pixels, "pixel"), images=(pixels * 9 - 4).astype(np.float32))
    assert space_alone(wide).severity == "wrong"


@pytest.mark.parametrize(
    ("method", "declared", "fix"),
    [
        ("mtt", "standardized:dc", "--space standardized:mtt"),
        ("dm", "standardized:mtt", "--space standardized:dc"),
        ("kip", "standardized", "--space zca-kip, if these are"),
        ("mtt", "standardized:mtt", None),
        ("mtt", "zca", None),
        ("unheard-of", "standardized", None),
    ],
)
def test_habits_of_methods(method, declared, fix) -> None:
    found = habit(made(standardized(0.05), declared, method))
    assert (found.fix if found else None) == fix
    subjects = [each.subject for each in examine(made(standardized(0.05), declared, method), None)]
    assert ("habit" in subjects) == (fix is not None)


@pytest.mark.data
@pytest.mark.parametrize("name", ["mtt_cifar100_ipc1", "dm_cifar100_ipc1"])
def test_published_sets_of_cifar100(real_data, name) -> None:
    from ddranking.distilled.importers import PackOptions, pack

    right = pack([real_data / "distilled" / name], options=PackOptions()).set
    assert space_alone(right).severity == "ok" and habit(right) is None
    for wrong in ("zca", "zca-kip"):
        card = right.card.model_copy(update={"space": parse_space(wrong, KNOWN)})
        found = space_alone(replace(right, card=card))
        assert found.severity == "note" and "standardized:" in found.fix
