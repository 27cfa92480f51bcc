"""A root that holds another dataset is refused before anything is cached."""

from __future__ import annotations

import pytest

from ddranking.data import sources
from ddranking.errors import BadFile


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "root", "got"),
    [
        ("mnist", "cifar10-jpeg", "airplane"),
        ("svhn", "cifar10-jpeg", "airplane"),
        ("fashion-mnist", "MNIST/raw", "MNIST"),
    ],
)
def test_another_dataset_is_refused(real_data, tmp_path, name: str, root: str, got: str) -> None:
    with pytest.raises(BadFile, match=got):
        sources.prepare(name, root=real_data / root, cache=tmp_path)
    assert not list(tmp_path.rglob("dataset.json"))
    assert not list(tmp_path.rglob("current.json"))
