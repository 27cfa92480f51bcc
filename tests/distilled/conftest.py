"""Small sets that the tests of this room share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ddranking.distilled.artifact import DistilledSet

Maker = Callable[..., DistilledSet]


@pytest.fixture
def make_set() -> Maker:
    """Builds a valid ten-class set of 8x8 digits; anything can be overridden."""

    def make(ipc: int = 2, **changes) -> DistilledSet:
        source = np.random.default_rng(0)
        fields = {
            "images": source.normal(size=(10 * ipc, 1, 8, 8)).astype(np.float32),
            "labels": np.repeat(np.arange(10), ipc),
            "dataset": "digits",
            "ipc": ipc,
            "space": "standardized",
            "method": "invented",
        } | changes
        return DistilledSet.from_arrays(fields.pop("images"), fields.pop("labels"), **fields)

    return make
