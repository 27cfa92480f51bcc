"""Fixtures that several rooms share."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# Before torch is imported: threads that wait for each other on a shared machine cost a hundredfold.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What this machine's user has prepared or measured must not decide a test.
_OWN = tempfile.TemporaryDirectory(prefix="ddranking-tests-")
for _name in ("CACHE", "STORE", "NATIVE"):
    os.environ[f"DDRANKING_{_name}"] = str(Path(_OWN.name, _name.lower()))

from collections.abc import Callable, Sequence

import pytest

from ddranking.protocol.plan import Entry, RealCopy, make_plan
from ddranking.protocol.recipe import find_recipe
from ddranking.protocol.search import Rule
from ddranking.protocol.track import find_track
from ddranking.protocol.trial import OPTIONAL
from ddranking.scoring.derivation import SCORED, RealHard, derive
from ddranking.scoring.observation import Environment, Observation, Outcome
from ddranking.scoring.record import DatasetCopy, EntryCard, Record


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real CIFAR-10, MNIST and published distilled sets; skips without it."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("DDRANKING_TEST_DATA", beside))
    if not (folder / "README.md").exists():
        pytest.skip("real data not found: set DDRANKING_TEST_DATA to the folder that holds it")
    return folder


RecordFactory = Callable[..., Record]


@pytest.fixture(scope="session")
def make_record() -> RecordFactory:
    """Builds a valid record from made-up accuracies, without training anything."""
    return fabricate


def fabricate(
    method: str = "Invented",
    *,
    track: str = "cifar10-ipc1-convnet3",
    recipe: str = "dc",
    syn_hard: Sequence[float] = (0.28, 0.29, 0.27, 0.28, 0.30),
    syn_any: Sequence[float] = (0.28, 0.29, 0.28, 0.27, 0.29),
    rdm_any: Sequence[float] = (0.15, 0.16, 0.14, 0.15, 0.15),
    real_hard: float = 0.848,
    unified: str | None = None,
    selection: Rule = "full",
    **more: Sequence[float],
) -> Record:
    """A record whose finals have the given test accuracies, one value a seed.

    ``more`` are arms beyond those of the score; those of ``unified`` come with its name. Of a
    search that is not full there is what it asks for.
    """
    rules = find_track(track, [f"selection={selection}"])
    own = find_recipe(recipe).resolve(rules.dataset, rules.ipc)
    space = {"kind": "standardized", "mean": [0.4914, 0.4822, 0.4465], "std": [0.2, 0.2, 0.2]}
    digest = "sha256:" + method.encode().hex().ljust(64, "0")[:64]
    entry = EntryCard(method=method, digest=digest, space=space, learning_rate=0.01)
    copy = DatasetCopy(
        name=rules.dataset, title="Invented copy", digest="sha256:" + "1" * 64, space=space
    )
    same = None if unified is None else find_recipe(unified).resolve(rules.dataset, rules.ipc)
    plan = make_plan(
        rules,
        own,
        Entry(entry.digest, entry.space, entry.learning_rate),
        RealCopy(copy.digest, copy.space),
        arms=(*SCORED, *(arm for arm in OPTIONAL if arm in more)),
        unified=same,
    )
    given = {"syn_hard": syn_hard, "syn_any": syn_any, "rdm_any": rdm_any, **more}
    environment = Environment(
        ddranking="test", torch="none", python="3", device="none", threads=1, platform="invented"
    )
    observations: dict[str, Observation] = {}  # arms under equal rules share their trainings
    for arm in plan.arms:
        best = arm.rates[len(arm.rates) // 2]
        validation = {
            trial.key: given[arm.arm][trial.seed] * (1.0 if trial.rate == best else 0.9)
            for trial in arm.search
        }
        for trial in arm.asked(validation):
            accuracy = validation[trial.key]
            outcome = Outcome(validation_accuracy=accuracy, train_loss=0.1, steps=1)
            observations[trial.key] = Observation(
                trial=trial, outcome=outcome, environment=environment, seconds=1.0
            )
        for trial in arm.finals(best):
            outcome = Outcome(test_accuracy=given[arm.arm][trial.seed], train_loss=0.1, steps=1)
            observations[trial.key] = Observation(
                trial=trial, outcome=outcome, environment=environment, seconds=1.0
            )
    real = RealHard(kind="reported", accuracies=(real_hard,), source="invented for a test")
    used = tuple(observations.values())
    chosen, scores = derive(plan, used, real)
    return Record(
        entry=entry,
        track=rules,
        recipe=own,
        unified=same,
        dataset=copy,
        real_hard=real,
        observations=used,
        selection=chosen,
        scores=scores,
        created="2026-01-01T00:00:00Z",
    )
