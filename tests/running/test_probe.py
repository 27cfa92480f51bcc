"""The probe sees best through the true space, reads no test image, and ends in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ddranking import api
from ddranking.data.images import Images
from ddranking.data.space import fit, parse_space
from ddranking.distilled.artifact import DistilledSet
from ddranking.methods.baselines import make
from ddranking.running.probe import Probed, finding, probe
from ddranking.scoring.statistics import estimate

DIGITS = api.dataset("digits")
NAMES = ("pixel", "standardized", "zca", "zca-kip")
SPACES = {name: fit(parse_space(name, DIGITS), DIGITS.train) for name in NAMES}


def placed(name: str) -> DistilledSet:
    plain = make("kmeans", DIGITS, 2)
    images = SPACES[name].apply(np.rint(plain.images * 255).astype(np.uint8))
    card = plain.card.model_copy(update={"space": SPACES[name].space})
    return replace(plain, images=images, card=card)


@pytest.mark.parametrize("name", ["standardized", "zca"])
def test_the_true_space_sees_best(name, one_thread) -> None:
    found = probe(placed(name), DIGITS, SPACES, repeats=2)
    assert found[0].name == name
    assert found[0].accuracy.mean > 0.7 and found[0].accuracy.n == 2
    assert [each.accuracy.mean for each in found] == sorted(
        (each.accuracy.mean for each in found), reverse=True
    )


def test_it_is_repeatable_and_never_reads_a_test_image(one_thread) -> None:
    black = Images(np.zeros_like(DIGITS.test.pixels), np.asarray(DIGITS.test.labels))
    one = {"pixel": SPACES["pixel"]}
    state = torch.get_rng_state()
    first = probe(placed("pixel"), DIGITS, one, repeats=2)
    assert first == probe(placed("pixel"), replace(DIGITS, test=black), one, repeats=2)
    assert torch.equal(state, torch.get_rng_state())


def test_time_that_is_up_ends_it_after_two_seeds(one_thread) -> None:
    [one] = probe(placed("pixel"), DIGITS, {"pixel": SPACES["pixel"]}, repeats=5, seconds=0)
    assert one.accuracy.n == 2


def seen(name: str, *values: float) -> Probed:
    return Probed(name, estimate(values))


BEST, CLOSE, FAR = seen("zca", 0.5, 0.52), seen("pixel", 0.49, 0.52), seen("zca-kip", 0.2, 0.221)


@pytest.mark.parametrize(
    ("declared", "ruled_out", "severity", "fix"),
    [
        ("zca", (), "ok", ""),
        ("zca-kip", (), "wrong", "--space zca"),
        ("pixel", (), "note", "perhaps --space zca"),
        ("pixel", ("zca",), "ok", ""),
        ("zca-kip", ("zca", "pixel"), "ok", ""),
    ],
)
def test_findings(declared, ruled_out, severity, fix) -> None:
    found = finding([BEST, CLOSE, FAR], declared, ruled_out)
    assert (found.severity, found.fix) == (severity, fix)
    assert "zca 51.0 %" in found.text and set(found.evidence) == {"zca", "pixel", "zca-kip"}


def test_constants_of_one_kind_are_no_reason() -> None:
    probed = [seen("standardized:true", 0.5, 0.51), seen("standardized", 0.4, 0.41)]
    assert finding(probed, "standardized").severity == "ok"
