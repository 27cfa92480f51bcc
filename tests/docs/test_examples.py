"""The examples run, at the size of a test."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from snippets import ROOT
from walkthrough import settled


def test_score_in_python(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with settled(tmp_path):
        example = runpy.run_path(str(ROOT / "examples" / "score_in_python.py"))
        example["main"](Path("out"))
    printed = capsys.readouterr().out
    assert "k-means centroids: HLR" in printed
    assert len(list(tmp_path.glob("out/records/*.json"))) == 2
    assert (tmp_path / "out" / "site" / "index.html").is_file()
