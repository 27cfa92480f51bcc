"""Values of the wrong scale are told with the flag that puts them right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddranking import api
from ddranking.distilled import doctor
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.candidates import candidates
from ddranking.distilled.mistakes import BYTES, TWICE, make
from ddranking.distilled.scale import clipped
from ddranking.methods.baselines import make as baseline

DIGITS = api.dataset("digits")
GOOD = baseline("kmeans", DIGITS, 3)
CHOICES = candidates(GOOD, DIGITS)
CONSTANTS = (DIGITS.mean, DIGITS.std)


def placed(number: int, noise: float = 0.1) -> DistilledSet:
    choice = CHOICES[number]
    images = choice.fitted.apply(np.rint(GOOD.images * 255).astype(np.uint8))
    images = images + noise * images.std() * np.random.default_rng(0).normal(size=images.shape)
    card = GOOD.card.model_copy(update={"space": choice.space})
    return replace(GOOD, images=images.astype(np.float32), card=card)


def said(made: DistilledSet) -> dict[str, doctor.Finding]:
    found = doctor.examine_values(made, CHOICES, DIGITS).findings
    return {each.subject: each for each in found}


def spoilt(name: str, made: DistilledSet) -> DistilledSet:
    return replace(made, images=make(name, made.images, CONSTANTS))


@pytest.mark.parametrize("number", range(4))
def test_nothing_is_wrong_with_the_right_scale(number) -> None:
    found = said(placed(number))
    assert "wrong" not in {each.severity for each in found.values()}
    assert "standardized twice" not in found


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("name", ["times-255", "over-255"])
def test_a_factor_of_255_names_its_flag(number, name) -> None:
    found = said(spoilt(name, placed(number)))["contrast"]
    assert (found.severity, found.fix) == ("wrong", f"--undo {name}")


def test_bytes_under_another_card_name_both_flags() -> None:
    bytes_ = replace(GOOD, images=(GOOD.images * 255).astype(np.float32))
    card = GOOD.card.model_copy(update={"space": CHOICES[1].space})
    found = said(replace(bytes_, card=card))
    assert found["space"].fix == "--space pixel"
    assert found["contrast"].fix == "--undo times-255 beside --space pixel"


def test_standardised_bytes_are_told_from_bytes() -> None:
    found = said(spoilt(BYTES, placed(1)))["contrast"]
    assert (found.severity, found.fix) == ("wrong", f"--undo {BYTES} beside --space standardized")


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_standardising_twice_is_told(noise) -> None:
    found = said(spoilt(TWICE, placed(1, noise)))
    assert found["standardized twice"].fix == f"--undo {TWICE}"
    assert ("whole 8-bit" in found["standardized twice"].text) == (noise == 0.0)


def test_values_that_were_cut_off_are_noted() -> None:
    # Real digits have no value that is clipped, but many black ones: grey images have none.
    grey = np.asarray(DIGITS.train.pixels) // 2 + 60
    dataset = replace(DIGITS, train=replace(DIGITS.train, pixels=grey.astype(np.uint8)))
    fitted = candidates(GOOD, dataset)[0].fitted
    wide = np.random.default_rng(0).normal(0.5, 0.5, GOOD.images.shape).astype(np.float32)
    assert clipped(replace(GOOD, images=wide), fitted, dataset) is None
    cut = clipped(replace(GOOD, images=wide.clip(0, 1)), fitted, dataset)
    assert cut is not None and cut.severity == "note" and cut.evidence["share"] > 0.2
    assert clipped(replace(GOOD, images=np.full_like(wide, 0.4)), fitted, dataset) is None


def test_real_images_are_not_clipped() -> None:
    assert clipped(baseline("random", DIGITS, 5), CHOICES[0].fitted, DIGITS) is None


def test_flags_put_it_right(tmp_path) -> None:
    from ddranking.distilled.artifact import load, save
    from ddranking.distilled.importers import PackOptions, pack

    for name in ("times-255", "over-255", TWICE, BYTES, "transposed"):
        made = placed(1)
        save(spoilt(name, made), tmp_path / "wrong.safetensors")
        again = pack([tmp_path / "wrong.safetensors"], options=PackOptions(undo=[name])).set
        np.testing.assert_allclose(again.images, made.images, rtol=1e-3, atol=1e-4)
        save(again, tmp_path / "right.safetensors")
        assert load(tmp_path / "right.safetensors").card.space == made.card.space
