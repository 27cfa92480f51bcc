"""A tiny score that really trains: ten k-means digits, an MLP, two seeds, a few epochs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ddranking import api
from ddranking.data.images import Dataset
from ddranking.distilled.artifact import DistilledSet
from ddranking.methods.baselines import make
from ddranking.running.store import Store
from ddranking.running.study import Study

CHANGES = (
    "epochs=2",
    "learning_rate=0.1",
    "augmentation=[{kind: dsa, families: [color, crop]}]",
    "track.hard.epochs=4",
    "track.hard.learning_rate=[0.05, 0.1]",
    "track.whole.epochs=1",
    "track.student=mlp",
)
TRACK, RECIPE, SEEDS = "digits-ipc1-convnet2", "unified-digits", 2
TRAININGS = 2 * 2 + 2 + 2 + 2 + 2
"""The search of ``syn_hard``, its finals, ``real_hard``, ``syn_any`` and ``rdm_any``."""

MakeStudy = Callable[..., Study]


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return api.dataset("digits")


@pytest.fixture(scope="session")
def candidate(digits) -> DistilledSet:
    return make("kmeans", digits, 1)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_study(digits, candidate, tmp_path, monkeypatch) -> MakeStudy:
    """A checked tiny study on a store; every call on the same store unless one is named."""
    monkeypatch.setenv("DDRANKING_REFERENCES", str(tmp_path / "references"))

    def make_(store: str = "store", *, changes=(), real=None, distilled=candidate, **more) -> Study:
        """``more`` are fields of ``api.Rules``."""
        rules = api.Rules(TRACK, RECIPE, seeds=SEEDS, changes=(*CHANGES, *changes), **more)
        return api.study(
            distilled,
            rules,
            real=real,
            data=digits,
            runtime=api.Runtime(store=Store(tmp_path / store).folder),
        )

    return make_


class Recorder:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.shares: list[float] = []
        self.keys: list[str] = []

    def running(self, trial, share) -> None:
        self.shares.append(share)

    def finished(self, trial) -> None:
        self.keys.append(trial.key)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()
