"""A training that is stopped between two epochs and goes on ends with the same bits."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import save
from tests.training.tape import tape
from tests.training.test_together import CPU, families, jobs, same

from ddranking.training import fit as room
from ddranking.training.fit import Job, Result, Saving, fit
from ddranking.training.snapshot import NOTES, Snapshot, epochs_in


def halves(job: Job) -> tuple[Result, list[bytes]]:
    """What a training ends with, and a snapshot after each of its epochs but the last."""
    taken: list[bytes] = []
    [whole] = fit([job], CPU, saving=Saving(lambda _, one: taken.append(one.to_bytes()), 0.0))
    return whole, taken


def resumed(job: Job, snapshot: bytes, **how) -> tuple[Result, list[float]]:
    """What it ends with after the snapshot, and the shares that it tells on its way."""
    shares: list[float] = []
    begun = replace(job, begun=lambda: Snapshot.from_bytes(snapshot))
    [result] = fit([begun], CPU, lambda _, share: shares.append(share), **how)
    return result, shares


@pytest.mark.parametrize("name", jobs(0))
def test_every_form_of_rules_from_every_epoch(name: str) -> None:
    job = jobs(0)[name]
    epochs = job.trial.training.epochs
    whole, taken = halves(job)
    assert len(taken) == epochs - 1 > 0
    for done, snapshot in enumerate(taken, start=1):
        result, shares = resumed(job, snapshot)
        assert same(result, whole)
        assert shares == [(epoch + 1) / epochs for epoch in range(done, epochs)]


@pytest.mark.parametrize("name", families(0))
def test_every_family_of_networks(name: str) -> None:
    job = families(0)[name]
    whole, [snapshot] = halves(job)
    assert same(resumed(job, snapshot)[0], whole)


@pytest.mark.parametrize("name", ["plain", "adam", "batch norm", "stored at random", "dsa"])
def test_steps_that_are_recorded(monkeypatch, name: str) -> None:
    """As on a GPU: what was drawn is sent ahead for many steps, and the state stays in place."""
    lesson = room._lesson

    def recorded(*arguments):
        made = lesson(*arguments)
        made.record = tape
        return made

    monkeypatch.setattr(room, "_lesson", recorded)
    job = jobs(0)[name]
    whole, taken = halves(job)
    for snapshot in taken:
        assert same(resumed(job, snapshot)[0], whole)


def test_a_group_goes_on_together() -> None:
    """Each from where it was; one of them is new."""
    some = list(jobs(0).values())[:4]
    ends = [halves(job) for job in some]
    begun = [
        replace(job, begun=partial(Snapshot.from_bytes, taken[min(place, len(taken) - 1)]))
        for place, (job, (_, taken)) in enumerate(zip(some, ends, strict=True))
    ]
    begun[-1] = some[-1]
    for result, (whole, _) in zip(fit(begun, CPU, together=True), ends, strict=True):
        assert same(result, whole)


def test_its_seconds_are_those_of_all_runs() -> None:
    job = jobs(0)["adam"]
    _, taken = halves(job)
    snapshot = replace(Snapshot.from_bytes(taken[0]), seconds=1000.0)
    result, _ = resumed(job, snapshot.to_bytes())
    assert 1000 < result.seconds < 1100


@pytest.mark.parametrize(
    "change",
    [
        {"kernels": "others", "seconds": 1000.0},
        {"network": {"classifier.weight": torch.zeros(1)}, "seconds": 1000.0},
        {"epochs": 0, "seconds": 1000.0},
        {"epochs": 100, "seconds": 1000.0},
        {"epochs": -1, "seconds": 1000.0},
    ],
)
def test_one_that_would_end_otherwise_starts_anew(change) -> None:
    job = jobs(0)["adam"]
    whole, taken = halves(job)
    result, shares = resumed(job, replace(Snapshot.from_bytes(taken[0]), **change).to_bytes())
    assert same(result, whole)
    assert len(shares) == job.trial.training.epochs
    assert result.seconds < 1000


def test_one_snapshot_serves_any_number_of_runs() -> None:
    """A group that does not fit in memory is begun again."""
    job = jobs(0)["adam"]
    whole, taken = halves(job)
    snapshot = Snapshot.from_bytes(taken[0])
    for _ in range(2):
        [result] = fit([replace(job, begun=lambda: snapshot)], CPU)
        assert same(result, whole)


class Warming(torch.nn.Linear):
    """A network that counts what it has seen where no ``state_dict`` shows it."""

    seen = 0

    def forward(self, images):
        self.seen += self.training
        return super().forward(images.flatten(1)) / (1 + self.seen)


def test_a_user_s_own_network_is_never_half_trained(monkeypatch) -> None:
    """Nobody knows what it remembers."""
    job = jobs(0)["plain"]
    foreign = replace(job, trial=job.trial.model_copy(update={"student": "mine:warming"}))
    _, taken = halves(job)
    size = job.training.images[0].numel()
    monkeypatch.setattr(room.table, "build", lambda *_, **__: Warming(size, job.num_classes))
    torch.manual_seed(0)
    whole, none = halves(foreign)
    assert none == []
    torch.manual_seed(0)
    result, shares = resumed(foreign, taken[0])
    assert same(result, whole)
    assert len(shares) == job.trial.training.epochs


@pytest.mark.parametrize("error", [MemoryError, KeyError, RuntimeError("can't allocate memory")])
def test_a_snapshot_that_cannot_be_taken_costs_no_training(monkeypatch, error) -> None:
    def fails(*_):
        raise error

    job = jobs(0)["adam"]
    whole, _ = halves(job)
    monkeypatch.setattr(Snapshot, "to_bytes", fails)
    result, taken = halves(job)
    assert same(result, whole)
    assert taken == []


def test_snapshots_are_as_far_apart_as_asked_for(monkeypatch) -> None:
    """Counted from a training's own beginning, whatever it waited for."""
    now, taken = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def progress(index: int, share: float) -> None:
        now[0] += 1.0

    some = [jobs(seed)["dsa"] for seed in range(3)]
    epochs = some[0].trial.training.epochs
    assert epochs == 16
    numbered = dict(enumerate(some))
    saving = Saving(lambda index, one: taken.append((index, one.epochs)), 5.0)
    listener = partial(room._listener, progress, saving)
    kind = room._kind(numbered, CPU, False)
    monkeypatch.setattr(room, "_FOUND", {kind: 1})
    dict(room._in_turns(numbered, CPU, listener, False, lambda: now[0]))
    assert taken == [(index, epoch) for index in range(3) for epoch in (5, 10, 15)]


def test_no_snapshot_before_its_time_nor_at_the_end() -> None:
    taken: list[int] = []
    job = jobs(0)["adam"]
    fit([job], CPU, saving=Saving(lambda index, _: taken.append(index), 1000.0))
    assert taken == []
    fit([job], CPU, saving=Saving(lambda index, _: taken.append(index), 0.0))
    assert taken == [0] * (job.trial.training.epochs - 1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 100,
        save({"x": torch.zeros(1)}),
        save({NOTES: torch.zeros(3, dtype=torch.uint8)}),
        save({NOTES: torch.frombuffer(bytearray(b"[1, 2]"), dtype=torch.uint8)}),
        save({NOTES: torch.frombuffer(bytearray(b'{"epochs": 1}'), dtype=torch.uint8)}),
        save({NOTES: torch.frombuffer(bytearray(b'{"epochs": Infinity}'), dtype=torch.uint8)}),
        save({NOTES: torch.frombuffer(bytearray(b"[" * 10**5), dtype=torch.uint8)}),
    ],
)
def test_what_is_no_snapshot_says_so(content: bytes, tmp_path) -> None:
    with pytest.raises(ValueError, match="not a snapshot"):
        Snapshot.from_bytes(content)
    (tmp_path / "halfway").write_bytes(content)
    assert epochs_in(tmp_path / "halfway") in (0, 1)


def test_how_far_a_file_is_without_reading_its_tensors(tmp_path) -> None:
    _, taken = halves(jobs(0)["adam"])
    file, pipe = tmp_path / "halfway", tmp_path / "pipe"
    for done, content in enumerate(taken, start=1):
        file.write_bytes(content)
        assert epochs_in(file) == done
    os.mkfifo(pipe)
    assert epochs_in(pipe) == epochs_in(tmp_path) == epochs_in(tmp_path / "none") == 0


def test_moments_that_are_not_whole_are_refused() -> None:
    _, taken = halves(jobs(0)["adam"])
    snapshot = Snapshot.from_bytes(taken[0])
    content = torch.frombuffer(
        bytearray(b'{"epochs": 1, "seconds": 1, "kernels": ""}'), dtype=torch.uint8
    )
    broken = {NOTES: content, "moments/0/1": snapshot.moments[0][1]}
    with pytest.raises(ValueError, match="not a snapshot"):
        Snapshot.from_bytes(save(broken))
