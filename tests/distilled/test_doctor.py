"""Each finding is made where it is due, and only there; published sets get the right diagnosis."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddranking import api
from ddranking.data import sources
from ddranking.distilled import doctor
from ddranking.distilled.artifact import DistilledSet, load, save
from ddranking.distilled.candidates import candidates, rank
from ddranking.distilled.importers import PackOptions, pack
from ddranking.methods.baselines import make

DIGITS = api.dataset("digits")
GOOD = make("kmeans", DIGITS, 3)
CHOICES = candidates(GOOD, DIGITS)


def carded(made: DistilledSet, **changes) -> DistilledSet:
    tensors = {
        key: changes.pop(key) for key in ("images", "labels", "soft_labels") if key in changes
    }
    return replace(made, **tensors, card=made.card.model_copy(update=changes))


def said(made: DistilledSet) -> dict[str, doctor.Finding]:
    return {each.subject: each for each in doctor.examine(made, DIGITS, choices=CHOICES)}


def test_a_good_set_has_nothing_wrong() -> None:
    found = said(GOOD)
    assert {each.severity for each in found.values()} <= {"ok", "note"}
    for subject in (
        "space",
        "labels",
        "balance",
        "contrast",
        "range",
        "class order",
        "real images",
    ):
        assert found[subject].severity == "ok", found[subject]
    assert next(iter(found)) == "space"


@pytest.mark.parametrize("declared", [1, 2, 3])
def test_a_wrong_space_names_the_flag_that_fixes_it(declared) -> None:
    found = said(carded(GOOD, space=CHOICES[declared].space))
    assert (found["space"].severity, found["space"].fix) == ("wrong", "--space pixel")
    rows = found["space"].evidence["spaces"]
    assert rows[0]["space"] == "pixel" and rows[0]["cosine"] > 0.9
    # Everything else is asked in the likely space; what is beyond black and white is left out.
    assert "range" not in found
    assert found["contrast"].severity == found["class order"].severity == "ok"


def test_a_permutation_is_wrong_and_says_which() -> None:
    order = np.roll(np.arange(10), 3)
    found = said(carded(GOOD, labels=order[GOOD.labels], sorted=False))["class order"]
    assert found.severity == "wrong"
    assert found.evidence["likely"] == {int(order[k]): k for k in range(10)}
    assert found.fix == "--classes " + ",".join(str((k + 3) % 10) for k in range(10))


def test_classes_in_turns_are_told_from_a_permutation(tmp_path) -> None:
    """Image i is of class i mod 10, and packing took class order."""
    turned = GOOD.images.reshape(10, 3, *GOOD.images.shape[1:]).swapaxes(0, 1)
    spoilt = carded(GOOD, images=np.ascontiguousarray(turned).reshape(GOOD.images.shape))
    found = said(spoilt)["class order"]
    assert (found.severity, found.fix) == ("wrong", "--undo interleaved")
    save(spoilt, tmp_path / "turned.safetensors")
    right = pack([tmp_path / "turned.safetensors"], options=PackOptions(undo=["interleaved"])).set
    np.testing.assert_array_equal(right.images, GOOD.images)
    assert said(right)["class order"].severity == "ok"


@pytest.mark.parametrize("seed", range(10))
def test_permuted_blocks_do_not_take_turns(seed) -> None:
    order = np.random.default_rng(seed).permutation(10)
    blocks = GOOD.images.reshape(10, 3, *GOOD.images.shape[1:])[order]
    found = said(carded(GOOD, images=blocks.reshape(GOOD.images.shape)))["class order"]
    assert "interleaved" not in found.fix


def test_real_images_from_minus_one_to_one(tmp_path) -> None:
    """As diffusion and GAN code stores them: the space is proven, the training images found."""
    real = make("random", DIGITS, 2)
    half = carded(real, images=real.images * 2 - 1, space=CHOICES[1].space)
    found = said(half)
    assert (found["space"].severity, found["space"].fix) == ("wrong", "--space standardized:half")
    assert found["real images"].evidence["same"] == 20
    alone = doctor.examine(half, None)[0]
    assert (alone.severity, alone.fix) == ("wrong", "--space standardized:half")
    save(half, tmp_path / "half.safetensors")
    fixed = pack([tmp_path / "half.safetensors"], options=PackOptions(space="standardized:half"))
    assert said(fixed.set)["space"].severity == "ok"


def soft(kind: str, values: np.ndarray) -> DistilledSet:
    values = values.astype(np.float32)
    return carded(GOOD, soft_labels=values, soft_label_kind=kind)


ONE_HOT = np.eye(10)[GOOD.labels]
LOGITS = 3 * ONE_HOT + np.random.default_rng(0).normal(size=ONE_HOT.shape)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("kind", "values", "severity", "words", "fix"),
    [
        ("logits", LOGITS, "ok", "logits, as declared", ""),
        ("probabilities", PROBABILITIES, "ok", "probabilities, as declared", ""),
        ("logits", PROBABILITIES, "wrong", "sums to one", "--soft-label-kind probabilities"),
        ("logits", ONE_HOT - 0.1, "note", "regression targets", "--drop-soft-labels"),
        ("logits", 50 * LOGITS, "note", "are hard", "none needed"),
        ("logits", np.roll(LOGITS, 5, 0), "wrong", "the class of only", "labels that belong"),
        ("logits", np.stack([LOGITS, LOGITS], 1), "ok", "logits, as declared", ""),
    ],
)
def test_kinds_of_labels(kind, values, severity, words, fix) -> None:
    found = doctor.labels(soft(kind, values))
    assert found.severity == severity and words in found.text
    assert (fix in found.fix) and bool(fix) == bool(found.fix)


def test_values_divided_twice_have_lost_their_contrast() -> None:
    found = said(replace(GOOD, images=GOOD.images / 255))
    assert found["contrast"].severity == "wrong"


def test_range_counts_what_is_beyond_black_and_white() -> None:
    fitted = CHOICES[1].fitted
    made = carded(GOOD, images=fitted.apply(np.full(GOOD.images.shape, 9, np.uint8)))
    made = carded(made, space=CHOICES[1].space)
    assert doctor.black_to_white(made, fitted).evidence["outside"] == 0
    wide = replace(made, images=made.images - np.float32(1))
    assert doctor.black_to_white(wide, fitted).severity == "note"


def test_selected_real_images_are_counted() -> None:
    found = said(make("random", DIGITS, 2))["real images"]
    assert (found.severity, found.evidence["same"]) == ("note", 20)


def test_repeated_and_constant_images() -> None:
    images = GOOD.images.copy()
    images[1], images[2] = images[0], 0.5
    found = {each.subject: each for each in doctor.repeats(replace(GOOD, images=images))}
    assert found["repeated images"].evidence["repeats"] == 1
    assert found["constant images"].evidence["images"] == [2]
    assert {each.severity for each in found.values()} == {"note"}
    flat = doctor.repeats(replace(GOOD, images=np.zeros_like(images)))
    assert {each.severity for each in flat} == {"wrong"}


def test_balance_and_rate() -> None:
    assert doctor.rate(GOOD).fix.startswith("--learning-rate")
    assert doctor.rate(replace(GOOD, learning_rate=0.02)).severity == "ok"
    uneven = carded(GOOD, balanced=False)
    uneven = replace(uneven, images=GOOD.images[1:], labels=GOOD.labels[1:])
    assert doctor.balance(uneven).evidence == {"fewest": 2, "most": 3}


def test_without_real_images_only_the_set_is_looked_at() -> None:
    subjects = [each.subject for each in doctor.examine(GOOD, None)]
    assert subjects == ["space", "labels", "balance", "learning rate"]
    with pytest.raises(ValueError, match="beside"):
        doctor.examine(GOOD, replace(DIGITS, name="other"))


def test_a_set_that_lacks_classes_is_examined_by_those_it_has() -> None:
    few = GOOD.labels < 6
    made = carded(GOOD, balanced=False)
    made = replace(made, images=GOOD.images[few], labels=GOOD.labels[few])
    found = said(made)
    assert found["space"].severity == "ok" and found["class order"].evidence["classes"] == 6


@pytest.mark.data
def test_published_sets_of_mnist(real_data, tmp_path) -> None:
    """CIFAR-10, whose whitening takes a minute, is measured by diagnosis.py."""
    dataset = sources.prepare("mnist", root=real_data, cache=tmp_path)
    # A tenth of the images says the same, and is whitened in a tenth of the time.
    dataset = replace(dataset, train=dataset.train.take(np.arange(0, 60_000, 10)))
    ready = []
    for name in ("dc-b_mnist_ipc1", "dc-png_mnist_ipc10"):
        made = pack([real_data / "distilled" / name], options=PackOptions()).set
        ready = ready or candidates(made, dataset)
        found = {each.subject: each for each in doctor.examine(made, dataset, choices=ready)}
        assert "wrong" not in {each.severity for each in found.values()}
        assert found["space"].severity == found["class order"].severity == "ok"
        standings = rank(made, ready)
        for choice in ready:
            wrong = carded(made, space=choice.space)
            verdict = doctor.space(wrong, standings)
            assert verdict.severity == ("ok" if choice.space == made.card.space else "wrong")
        permuted = carded(made, labels=(made.labels + 1) % 10, sorted=False)
        fitted = doctor.declared_standing(made, standings).candidate.fitted
        assert doctor.order(permuted, fitted, dataset).severity == "wrong"


def test_findings_survive_a_file(tmp_path) -> None:
    save(GOOD, tmp_path / "set.safetensors")
    again = doctor.examine(load(tmp_path / "set.safetensors"), DIGITS, choices=CHOICES)
    assert again == doctor.examine(GOOD, DIGITS, choices=CHOICES)
