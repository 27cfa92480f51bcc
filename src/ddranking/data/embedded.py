"""The dataset that ships with scikit-learn: 1,797 real 8x8 digits, no download."""

from __future__ import annotations

import numpy as np

from ddranking.data.catalog import DATASETS
from ddranking.data.digest import digest_of_pixels
from ddranking.data.draws import stratified_split
from ddranking.data.images import Dataset, Images

SPLIT_SEED = 0
"""Names the draw of the 500 test images; it is part of what the dataset "digits" is."""


def digits() -> Dataset:
    """Levels 0 to 16 scaled to 0 to 255; 1,297 images to train and a stratified 500 to test."""
    from sklearn.datasets import load_digits  # a second of import, for this dataset alone

    facts = DATASETS["digits"]
    levels, labels = load_digits(return_X_y=True)
    pixels = np.rint(levels.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)[:, None]
    labels = np.asarray(labels, np.int64)
    split = stratified_split(labels, facts.test_size, seed=SPLIT_SEED)
    train, test = (Images(pixels[part], labels[part]) for part in split)
    return Dataset(
        name=facts.name,
        title=facts.title,
        num_classes=facts.num_classes,
        mean=facts.mean,
        std=facts.std,
        class_names=facts.class_names,
        train=train,
        test=test,
        digest=digest_of_pixels((train.pixels, train.labels), (test.pixels, test.labels)),
        lineages=facts.lineages,
    )
