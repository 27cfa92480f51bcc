"""The child processes of readers: however one ends, the parent says one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddranking.distilled.guarded import Limits, run_child, tree_of
from ddranking.errors import BadFile


def test_a_reader_that_ends_without_an_answer(tmp_path):
    with pytest.raises(BadFile, match=r"its reader ended with 1: ValueError") as caught:
        run_child("unparquet.py", [Path("x.parquet")], tmp_path, Limits(), "no number")
    assert "\n" not in str(caught.value)


def test_an_outline_names_no_file_elsewhere(tmp_path):
    np.save(tmp_path / "0.npy", np.arange(3))
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "0.npy", np.arange(2))
    node = {"dict": [["a", {"array": "../0.npy"}], ["b", {"list": [{"number": "1.5"}, {}]}]]}
    tree = tree_of(node, tmp_path / "in", 1 << 20)
    assert tree["a"].tolist() == [0, 1] and tree["b"] == [1.5, None]
