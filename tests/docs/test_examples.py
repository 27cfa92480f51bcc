"""The examples run, at the size of a test."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
from snippets import ROOT
from walkthrough import settled


def test_score_in_python(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "here"
    shutil.copytree(state, folder)
    with settled(folder):
        example = runpy.run_path(str(ROOT / "examples" / "score_in_python.py"))
        example["main"](Path("out"))
    printed = capsys.readouterr().out
    assert "k-means centroids: HLR" in printed
    assert len(list(folder.glob("out/records/*.json"))) == 2
    assert (folder / "out" / "site" / "index.html").is_file()
