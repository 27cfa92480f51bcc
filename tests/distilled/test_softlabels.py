"""Soft labels that are of another kind, of other images, or of another class order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ddranking import api
from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.softlabels import labels, renumbered
from ddranking.methods.baselines import make

GOOD = make("kmeans", api.dataset("digits"), 3)
ONE_HOT = np.eye(10)[GOOD.labels]
LOGITS = 6 * ONE_HOT + np.random.default_rng(0).normal(size=ONE_HOT.shape)
PROBABILITIES = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)


def soft(kind: str, values: np.ndarray) -> DistilledSet:
    card = GOOD.card.model_copy(update={"soft_label_kind": kind})
    return replace(GOOD, soft_labels=values.astype(np.float32), card=card)


ORDER = np.roll(np.arange(10), 3)


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_another_class_order_is_named(kind) -> None:
    values = (LOGITS if kind == "logits" else PROBABILITIES)[:, ORDER]
    found = labels(soft(kind, values))
    assert found.severity == "wrong" and "another order" in found.text
    assert found.evidence["likely"] == {int(ORDER[k]): k for k in range(10)}
    views = np.stack([values, values], 1)
    assert labels(soft(kind, views)).evidence["likely"] == found.evidence["likely"]
    # Reordering the columns as it says puts it right.
    likely = found.evidence["likely"]
    assert labels(soft(kind, values[:, [likely[k] for k in range(10)]])).severity == "ok"
    # So does packing with the flag that it prints.
    assert found.fix == f"--soft-classes {','.join(map(str, ORDER))}, or --drop-soft-labels"


def test_one_image_a_class_leaves_open_what_was_mixed_up() -> None:
    one = make("kmeans", api.dataset("digits"), 1)
    card = one.card.model_copy(update={"soft_label_kind": "logits"})
    values = LOGITS[::3][:, ORDER].astype(np.float32)
    found = labels(replace(one, soft_labels=values, card=card))
    assert found.severity == "wrong" and "other images" in found.text
    assert "other images" not in labels(soft("logits", LOGITS[:, ORDER])).text


def test_two_swapped_classes_are_another_order() -> None:
    swap = np.array([1, 0, *range(2, 10)])
    found = labels(soft("logits", LOGITS[:, swap]))
    assert found.severity == "wrong" and found.evidence["likely"][0] == 1


def test_labels_of_other_images_are_wrong() -> None:
    shuffled = LOGITS[np.random.default_rng(1).permutation(len(LOGITS))]
    found = labels(soft("logits", shuffled))
    assert found.severity == "wrong" and "chance" in found.text
    assert "--drop-soft-labels" in found.fix


def test_a_third_of_disagreeing_labels_is_a_note_at_most() -> None:
    values = LOGITS.copy()
    values[::3] = np.roll(values[::3], 1, 1)
    assert labels(soft("logits", values)).severity == "ok"
    values[1::3] = np.roll(values[1::3], 2, 1)
    assert labels(soft("logits", values)).severity == "note"


def test_percentages_are_no_logits() -> None:
    found = labels(soft("logits", 100 * PROBABILITIES))
    assert found.severity == "wrong" and found.fix.startswith("divide them by 100")


def test_logarithms_of_probabilities_are_logits() -> None:
    assert labels(soft("logits", np.log(PROBABILITIES))).severity == "ok"


def test_renumbered_needs_a_clear_answer() -> None:
    hard = np.repeat(np.arange(3), 5)
    assert renumbered(hard, hard, 3) is None
    assert renumbered(hard, np.zeros(15, int), 3) is None
    mixed = (hard + 1) % 3
    mixed[::3] = hard[::3]
    assert renumbered(hard, mixed, 3) is None
    assert renumbered(hard, (hard + 1) % 3, 3) == {0: 1, 1: 2, 2: 0}
