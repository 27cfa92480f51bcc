"""The losses of ten steps, pinned: what was measured once must be what is measured now.

A difference far below these tolerances is another processor; a difference above them is another
training, and needs another ``IMPLEMENTATION`` in :mod:`ddranking.protocol.trial`.
"""

from __future__ import annotations

import pytest
import torch

from ddranking.protocol.trial import Trial
from ddranking.training import lesson as loop
from ddranking.training.fit import Job, LabelledImages, fit

DSA = {"augmentation": [{"kind": "dsa"}]}
LOSSES = {
    "no augmentation": (
        {},
        [
            1.2715121508,
            1.0602194071,
            0.9062318802,
            0.9922469854,
            0.5412487984,
            0.5626138449,
            0.3053261638,
            0.3287009895,
            0.1242710352,
            0.1173343509,
        ],
    ),
    "dsa": (
        DSA,
        [
            1.2594264746,
            1.0454646349,
            0.9680296779,
            0.9724224210,
            0.5795047879,
            0.6365549564,
            0.4288188815,
            0.8356509209,
            0.9721525908,
            0.1865923852,
        ],
    ),
    "dsa, smoothed labels, whole batches": (
        DSA | {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}, "batch_size": 16},
        [1.2104120255, 1.1035439968, 1.0005084276, 0.8972795010, 0.8002068996],
    ),
}
"""Of the first release, on an x86-64 CPU with one thread."""


def stripes() -> LabelledImages:
    """Twelve noisy images whose class shows as a brighter stripe, in three unlike channels."""
    labels = torch.arange(12) % 3
    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for index, label in enumerate(labels):
        images[index, :, int(label)] += 2.0
    return LabelledImages(torch.cat([images, images * 0.5, images + 0.1], dim=1), labels)


@pytest.mark.parametrize("name", LOSSES)
def test_ten_losses_are_those_of_the_first_release(name: str, monkeypatch) -> None:
    changes, wanted = LOSSES[name]
    seen: list[float] = []
    measured = loop.loss

    def watched(*arguments):
        value = measured(*arguments)
        seen.append(float(value.detach()))
        return value

    monkeypatch.setattr(loop, "loss", watched)
    trial = Trial.model_validate(
        {
            "arm": "syn_any",
            "training_set": {"kind": "distilled", "digest": "sha256:" + "0" * 64},
            "space": {"kind": "pixel"},
            "training": {"epochs": 5, "batch_size": 8, "learning_rate": 0.05} | changes,
            "student": "convnet1-w8",
            "seed": 0,
            "dataset": "sha256:" + "1" * 64,
            "validation_size": 1,
            "evaluate": "test",
        }
    )
    fit([Job(trial, stripes(), stripes(), num_classes=3)], torch.device("cpu"))
    assert seen == pytest.approx(wanted, abs=2e-5)
