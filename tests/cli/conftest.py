"""A folder of its own for every command: files, store, caches, and what each command said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors import safe_open

from ddranking import api
from ddranking.cli import main
from ddranking.distilled.artifact import save
from ddranking.methods.baselines import make

TINY = (
    "epochs=1",
    "learning_rate=0.1",
    "augmentation=[]",
    "track.hard.epochs=1",
    "track.hard.learning_rate=0.1",
    "track.whole.epochs=1",
    "track.student=mlp",
)
RULES = ("--track", "digits-ipc1-convnet2", "--recipe", "unified-digits", "--seeds", "2")
SCORE = (*RULES, *(f"--set={rule}" for rule in TINY), "--workers", "1", "--device", "cpu")
"""Options of a score that trains eight MLPs for an epoch."""


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The error, which is one line and the only one."""
        [line] = self.err.splitlines()
        return line


Run = Callable[..., Said]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in process, in an empty folder, away from the user's own store and caches."""
    for name in ("DDRANKING_STORE", "DDRANKING_CACHE", "DDRANKING_REFERENCES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("COLUMNS", "200")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    before = torch.get_num_threads()

    def run_(*arguments: object) -> Said:
        capsys.readouterr()
        code = main([str(each) for each in arguments])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    yield run_
    torch.set_num_threads(before)


def tree(folder: Path) -> dict[str, int]:
    """Every file below a folder with its size."""
    return {str(p.relative_to(folder)): p.stat().st_size for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="session")
def good(tmp_path_factory) -> Path:
    """A packed set of ten digits."""
    path = tmp_path_factory.mktemp("sets") / "good.safetensors"
    save(make("kmeans", api.dataset("digits"), 1), path)
    return path


@pytest.fixture
def altered(good, tmp_path) -> Callable[..., Path]:
    """The good set with other tensors or card fields, written past every check."""

    def altered_(card=(), **tensors: np.ndarray) -> Path:
        arrays = safetensors.numpy.load_file(good) | tensors
        with safe_open(good, "numpy") as file:
            fields = json.loads(file.metadata()["card"]) | dict(card)
        path = tmp_path / "altered.safetensors"
        text = json.dumps(fields)
        safetensors.numpy.save_file(arrays, path, metadata={"card": text})
        return path

    return altered_
