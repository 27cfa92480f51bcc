"""Every check of a set in memory: what it refuses, and the words that help."""

from __future__ import annotations

import numpy as np
import pytest

from ddranking.distilled.faults import CHECKS
from ddranking.errors import BadDistilledSet

IMAGES = np.zeros((20, 1, 8, 8), np.float32)
LABELS = np.repeat(np.arange(10), 2)
EVEN = np.full((20, 10), 0.1, np.float32)


def with_pixel(value: float, dtype: str = "float32") -> np.ndarray:
    images = np.zeros((20, 1, 8, 8), dtype)
    images[7, 0, 3, 5] = value
    return images


def with_row(row: int, values) -> np.ndarray:
    soft = EVEN.copy()
    soft[row] = values
    return soft


def with_label(value: int) -> np.ndarray:
    labels = LABELS.copy()
    labels[-1] = value
    return labels


PROBABLE = {"soft_label_kind": "probabilities"}
#: name of the check: (changes to a valid set, words of the message), ...
REFUSED = {
    "images_fit": [
        ({"images": IMAGES.astype(np.int32)}, "float16 or uint8, got int32"),
        ({"images": IMAGES[0]}, r"\[N, C, H, W\]"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "N > 0"),
        ({"images": np.zeros((20, 3, 8, 8))}, r"1 channel\(s\) for digits, got 3"),
        ({"images": np.zeros((20, 8, 8, 1))}, "channels seem to come last"),
        ({"images": np.zeros((20, 1, 8, 9))}, "8x8 pixels for digits, got 8x9"),
    ],
    "pixels_are_finite": [
        ({"images": with_pixel(np.nan)}, "1 NaN .* image 7, channel 0, row 3, column 5"),
        ({"images": with_pixel(np.inf, "float16")}, "1 NaN or infinite"),
    ],
    "pixels_fit_space": [
        ({"images": IMAGES.astype(np.uint8)}, "8-bit images are pixels"),
        ({"images": with_pixel(200), "space": "pixel"}, r"look like 0\.\.255"),
        ({"images": with_pixel(-0.5), "space": "pixel"}, "standardized:0/1"),
        ({"images": with_pixel(1.002), "space": "pixel"}, r"values in \[0, 1\]"),
    ],
    "constants_fit": [
        ({"space": {"kind": "standardized", "mean": [0, 0], "std": [1, 1]}}, r"1 mean\(s\)"),
    ],
    "labels_fit": [
        ({"labels": LABELS.astype(np.float32)}, "int64, got float32"),
        ({"labels": LABELS[:-1]}, "one for each of 20 images"),
        ({"labels": with_label(10)}, "0 to 9 for digits, got 0 to 10"),
        ({"labels": with_label(-1)}, "got -1 to 9"),
        ({"labels": LABELS + 1}, "lowered by one"),
    ],
    "counts_fit": [
        ({"labels": with_label(8)}, "first class 8 with 3"),
        ({"labels": with_label(8), "ipc": 1, "balanced": False}, "at most 10 for ipc 1"),
    ],
    "order_fits": [
        ({"labels": LABELS[::-1]}, "class 8 after a higher one at image 2"),
        ({"class_order": ["a", "b"]}, "10 names for digits, got 2"),
    ],
    "soft_labels_fit": [
        ({"soft_label_kind": "logits"}, "no soft labels"),
        ({"soft_labels": EVEN}, "--soft-label-kind logits or"),
        ({"soft_labels": EVEN[:, :9], **PROBABLE}, r"\[20, 10\] or \[20, V, 10\]"),
        ({"soft_labels": EVEN[:19], **PROBABLE}, r"got \[19, 10\]"),
        ({"soft_labels": with_row(4, np.nan), **PROBABLE}, "10 NaN .* first for image 4"),
        ({"soft_labels": with_row(6, 0.2), **PROBABLE}, "image 6 with sum 2"),
        ({"soft_labels": EVEN * 100, **PROBABLE}, "looks like a percentage"),
        (
            {"soft_labels": with_row(3, [-1, 2] + [0] * 8), **PROBABLE},
            "image 3 with sum 1 and values -1 to 2",
        ),
        (
            {"soft_labels": np.stack([EVEN, with_row(5, 0.3)], axis=1), **PROBABLE},
            "image 5, view 1 with sum 3",
        ),
    ],
    "rate_fits": [
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": -1.0}, "above 0"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"learning_rate": 15.0}, "looks like a percentage"),
    ],
}


def test_every_check_is_tested():
    assert set(REFUSED) == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize(
    ("changes", "words"), [case for cases in REFUSED.values() for case in cases]
)
def test_refused(make_set, changes, words):
    with pytest.raises(BadDistilledSet, match=words) as caught:
        make_set(**{"images": IMAGES, **changes})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"images": with_pixel(-60.5)},
        {"images": with_pixel(1.0005), "space": "pixel"},
        {"images": IMAGES.astype(np.uint8), "space": "pixel"},
        {"labels": with_label(8), "balanced": False, "sorted": False},
        {"labels": LABELS[::-1], "sorted": False},
        {"soft_labels": with_row(2, [0.1004] * 9 + [0.0965]), **PROBABLE},
        {"soft_labels": EVEN * 77 - 9, "soft_label_kind": "logits"},
        {"soft_labels": np.stack([EVEN] * 3, axis=1), **PROBABLE},
        {"learning_rate": 0.03},
    ],
)
def test_legal(make_set, changes):
    assert len(make_set(**{"images": IMAGES, **changes})) == 20
