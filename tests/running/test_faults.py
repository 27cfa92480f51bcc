"""Faults that happen: killed, full, read-only, damaged, at the same time, at the wrong time.

Each test does the thing itself, then asks what was lost. A record that was reached through faults
has the same bytes as one that was not, apart from the fields that hold times.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ddranking.distilled.artifact import save
from ddranking.errors import DDRankingError, StoreUnusable
from ddranking.models import table
from ddranking.running import local, worker
from ddranking.running import study as study_module
from ddranking.running.local import Pool
from ddranking.running.store import Store, read_observation
from ddranking.running.study import RealChoice
from ddranking.running.worker import perform
from ddranking.scoring.record import Record
from ddranking.scoring.recordfile import load_record

from .conftest import TRAININGS
from .processes import Nursery, alive, children, wait_until

CPU = torch.device("cpu")


def timeless(record: Record) -> bytes:
    """A record's bytes without its times, and without the commit of a tree that is worked on."""
    values = record.to_values()
    values.pop("created")
    for seen in values["observations"]:
        seen.pop("seconds")
        seen["environment"].pop("commit")
    return json.dumps(values, sort_keys=True).encode()


def finish(study, recorder) -> Record:
    with Pool(study.workbench, [CPU]) as pool:
        return study.record(study.run(pool, recorder))


class Stopping:
    """A watcher that interrupts after so many trainings."""

    def __init__(self, after: int) -> None:
        self.left = after

    def running(self, trial, share) -> None:
        pass

    def finished(self, trial) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def stop_after(study, count: int) -> None:
    """Trains ``count`` trials and is interrupted."""
    with pytest.raises(KeyboardInterrupt), Pool(study.workbench, [CPU]) as pool:
        study.run(pool, Stopping(count))


@pytest.fixture
def undisturbed(make_study, recorder, one_thread) -> bytes:
    """The record of a run to which nothing happens."""
    return timeless(finish(make_study("undisturbed"), recorder))


def observations(store: Path) -> list[Path]:
    return sorted(store.glob("??/*.json"))


# --- Interrupted and damaged ----------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 5, TRAININGS - 1])
def test_two_runs_on_one_store_share_the_work(
    make_study, recorder, undisturbed, monkeypatch, after
) -> None:
    """The second begins and ends while the first one is at it, weights of its search included."""
    trained: list[str] = []

    def counted(group, *rest):
        trained.extend(task.trial.key for task in group)
        return perform(group, *rest)

    class Meanwhile(type(recorder)):
        def finished(self, trial) -> None:
            super().finished(trial)
            if len(self.keys) == after:
                records.append(timeless(finish(make_study(), recorder)))

    monkeypatch.setattr(local, "perform", counted)
    records: list[bytes] = []
    first = Meanwhile()
    records.append(timeless(finish(make_study(), first)))
    assert records == [undisturbed] * 2
    assert len(trained) == len(set(trained)) == TRAININGS
    assert len(first.keys) == len(set(first.keys)) > after, "those of the other are progress too"


@pytest.mark.parametrize("every", [1, 5])
def test_interrupted_again_and_again(make_study, recorder, undisturbed, every) -> None:
    for _ in range((TRAININGS - 1) // every):
        stop_after(make_study(), every)
    assert timeless(finish(make_study(), recorder)) == undisturbed
    assert len(recorder.keys) == TRAININGS + (TRAININGS - 1) % every + 1, "nothing trained twice"


def test_damaged_trials_are_set_aside_and_trained_again(
    make_study, recorder, undisturbed, tmp_path
) -> None:
    """Half-written, emptied, swapped, filled with noise: at any moment of a run."""
    chance, store = random.Random(0), tmp_path / "store"
    damaged = 0
    for count in (4, 3, 3):
        stop_after(make_study(), count)
        files = observations(store)
        first, second, third, other = chance.sample(files, 4)
        first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
        second.write_bytes(b"")
        third.write_bytes(other.read_bytes())
        damaged += 3
    assert timeless(finish(make_study(), recorder)) == undisturbed
    assert len(list(store.glob("??/*.corrupt"))) <= damaged
    assert all(read_observation(path) is not None for path in observations(store))
    assert len(observations(store)) == TRAININGS


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _one_bit(path: Path) -> None:
    """In the most significant byte of a weight: the network still loads, and is another."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 0x40
    path.write_bytes(content)


def _another_network(path: Path) -> None:
    save_file({"x": np.zeros(3, np.float32)}, path)


def _other_values(path: Path) -> None:
    save_file({name: value * 0 for name, value in load_file(path).items()}, path)


WEIGHTS = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": _truncate,
    "one bit": _one_bit,
    "another network": _another_network,
    "other values": _other_values,
}


@pytest.mark.parametrize("kind", WEIGHTS)
def test_weights_damaged_between_search_and_finals(
    make_study, recorder, undisturbed, tmp_path, kind
) -> None:
    study = make_study()
    searched = sum(len(arm.search) for arm in study.plan.arms)
    assert searched
    stop_after(study, len(study.pending({})))  # the search, and what needs none
    files = sorted((tmp_path / "store").glob("??/*.safetensors"))
    assert len(files) == searched
    for path in files:
        WEIGHTS[kind](path)
    assert timeless(finish(make_study(), recorder)) == undisturbed


# --- Long trainings -------------------------------------------------------------------------------


class Impatient:
    """A watcher that interrupts after so many epochs, of whichever trainings."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs
        self.first: dict[str, float] = {}

    def running(self, trial, share) -> None:
        self.first.setdefault(trial.key, share)
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def finished(self, trial) -> None:
        pass


def halves(store: Path) -> list[Path]:
    return sorted(store.glob("??/*.halfway"))


@pytest.fixture
def often(monkeypatch) -> None:
    """Every training is kept halfway after each of its epochs."""
    monkeypatch.setattr(worker, "SAVE_SECONDS", 0.0)


@pytest.mark.parametrize("labels", ["hard", "a teacher's"])
def test_no_run_lives_as_long_as_one_training(
    make_study, recorder, often, tmp_path, labels
) -> None:
    """Interrupted after two epochs each time, of trainings of four, they all come to their end."""
    weights = "{kind: trained, training: {epochs: 4, batch_size: 128, learning_rate: 0.05}}"
    taught = f"labels={{kind: teacher, networks: [{{model: mlp, weights: {weights}}}]}}"
    more = () if labels == "hard" else (taught, "loss={kind: kl, temperature: 4}")
    plain = timeless(finish(make_study("plain", changes=more), recorder))
    resumed = 0
    for run in range(100):
        study, watcher = make_study(changes=more), Impatient(2)
        try:
            with Pool(study.workbench, [CPU]) as pool:
                record = study.record(study.run(pool, watcher))
            assert timeless(record) == plain
            assert run > TRAININGS // 2 and resumed > 4
            break
        except KeyboardInterrupt:
            resumed += sum(share > 0.3 for share in watcher.first.values())
    assert not halves(tmp_path / "store")


def _of_another_training(path: Path) -> None:
    whole = halves(path.parents[2] / "other")
    path.write_bytes(next(one for one in whole if one.stem != path.stem).read_bytes())


HALFWAY = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "truncated": _truncate,
    "one bit": _one_bit,
    "another network": _another_network,
    "another training": _of_another_training,
    "endless": lambda path: os.truncate(path, 1 << 42),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
}


@pytest.fixture
def kept(make_study, recorder, often, monkeypatch, tmp_path) -> list[Path]:
    """A store with every training before its last epoch, as a run leaves those it was at."""
    with monkeypatch.context() as during:
        during.setattr(Store, "drop_halfway", lambda *_: None)
        finish(make_study("other"), recorder)
    for path in halves(tmp_path / "other"):
        copy = tmp_path / "store" / path.relative_to(tmp_path / "other")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return halves(tmp_path / "store")


def test_trainings_go_on_where_they_were(make_study, undisturbed, kept) -> None:
    study, watcher = make_study(), Impatient(10**6)
    told = study.halfway({})
    assert told.keys() == {trial.key for trial in study.pending({})} & {one.stem for one in kept}
    assert set(told.values()) == {0.5, 0.75}, "of two and of four epochs"
    assert timeless(finish(study, watcher)) == undisturbed
    assert len(kept) >= 8
    assert all(watcher.first[path.stem] == 1.0 for path in kept)
    assert not any(path.exists() for path in kept)


@pytest.mark.parametrize("kind", HALFWAY)
def test_what_is_damaged_halfway_begins_anew(make_study, undisturbed, kept, kind) -> None:
    for path in kept:
        HALFWAY[kind](path)
    assert all(0 < share <= 1 for share in make_study().halfway({}).values()), "or none is told"
    watcher = Impatient(10**6)
    assert timeless(finish(make_study(), watcher)) == undisturbed
    assert all(watcher.first[path.stem] <= 0.5 for path in kept)
    assert not any(path.exists() for path in kept)


@pytest.mark.parametrize("elsewhere", [True, False])
def test_trainings_go_on_in_their_own_environment_alone(
    make_study, undisturbed, kept, monkeypatch, elsewhere
) -> None:
    """Of two versions a result would be of neither."""
    if elsewhere:
        monkeypatch.setattr(worker, "fingerprint", lambda device: "another")
    watcher = Impatient(10**6)
    assert timeless(finish(make_study(), watcher)) == undisturbed
    assert {watcher.first[path.stem] < 1 for path in kept} == {elsewhere}


def test_what_another_run_left_of_a_known_training_is_removed(
    make_study, recorder, undisturbed, kept, tmp_path
) -> None:
    """It was at it when this one finished."""
    late = {path: path.read_bytes() for path in kept}

    class Late(type(recorder)):
        def finished(self, trial) -> None:
            super().finished(trial)
            for path in (path for path in late if path.stem in self.keys):
                path.write_bytes(late[path])

    assert timeless(finish(make_study(), Late())) == undisturbed
    assert not halves(tmp_path / "store")


def test_worker_processes_go_on_where_others_were(
    make_study, undisturbed, tmp_path, monkeypatch
) -> None:
    """Two of them are stopped in the middle of trainings, and two more finish those."""
    often = "from ddranking.running import worker; worker.SAVE_SECONDS = 0.0; "
    monkeypatch.setattr(local, "WORKER", often + local.WORKER)
    long = ("epochs=400", "track.hard.epochs=400", "track.hard.learning_rate=[0.1]")
    plain = timeless(finish(make_study("plain", changes=long), Impatient(10**6)))

    def run(watcher) -> Record:
        study = make_study(changes=long)
        with Pool(study.workbench, [CPU, CPU]) as pool:
            return study.record(study.run(pool, watcher))

    class Sudden(Impatient):
        def running(self, trial, share) -> None:
            if len(halves(tmp_path / "store")) > 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Sudden(0))
    begun = halves(tmp_path / "store")
    assert len(begun) > 1
    watcher = Impatient(10**6)
    assert timeless(run(watcher)) == plain
    assert all(watcher.first[path.stem] > 1.5 / 400 for path in begun)
    assert not halves(tmp_path / "store")


def test_a_full_disk_costs_what_was_halfway_and_no_training(
    make_study, recorder, undisturbed, often, monkeypatch
) -> None:
    def full(*_):
        raise StoreUnusable("store", expected="room", got="none")

    monkeypatch.setattr(Store, "put_halfway", full)
    assert timeless(finish(make_study(), recorder)) == undisturbed


# --- Memory of the device -------------------------------------------------------------------------


class Full(torch.nn.Module):
    """A network on a device that has room for ``most`` images at a time."""

    def __init__(self, inner: torch.nn.Module, most: int) -> None:
        super().__init__()
        self.inner, self.most = inner, most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.inner(images)

    def state_dict(self, *args, **more):
        return self.inner.state_dict(*args, **more)

    def load_state_dict(self, *args, **more):
        return self.inner.load_state_dict(*args, **more)


@pytest.mark.parametrize("most", [10, 49])
def test_a_device_with_little_memory(make_study, recorder, one_thread, monkeypatch, most) -> None:
    """Evaluations of 50 images do not fit, and the record is the same."""
    real = RealChoice(0.9, "invented")  # the whole set is trained in larger batches
    plain = timeless(finish(make_study("plain", real=real), recorder))
    study, build = make_study(real=real), table.build
    monkeypatch.setattr(table, "build", lambda *a, **k: Full(build(*a, **k), most))
    assert timeless(finish(study, recorder)) == plain


def test_a_training_that_does_not_fit_says_what_to_do(make_study, recorder, monkeypatch) -> None:
    study, build = make_study(), table.build
    monkeypatch.setattr(table, "build", lambda *a, **k: Full(build(*a, **k), 9))
    with pytest.raises(DDRankingError, match=r"one training needs more memory.*fewer --workers"):
        finish(study, recorder)


# --- Disks ----------------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, kibibytes: int) -> Iterator[Path]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_with_room_for_the_result_or_its_first_half(
    make_study, recorder, undisturbed, often, tmp_path
) -> None:
    with small_disk(tmp_path / "disk", 600) as disk:
        assert timeless(finish(make_study("disk/store"), recorder)) == undisturbed
        assert not halves(disk / "store")


def test_a_disk_that_fills_up(make_study, recorder, undisturbed, tmp_path) -> None:
    """Wherever it happens, what was stored stays whole, and with space the run goes on."""
    with small_disk(tmp_path / "disk", 512) as disk:
        filler, refused = disk / "filler", 0
        for _ in range(4 * TRAININGS):
            free = os.statvfs(disk)
            filler.write_bytes(b"0" * max(0, free.f_bavail * free.f_bsize - (16 << 10) * refused))
            try:
                record = finish(make_study("disk/store"), recorder)
                break
            except StoreUnusable as error:
                assert "No space left on device" in str(error)
                refused += 1
            finally:
                filler.unlink()
            files = observations(disk / "store")
            assert all(read_observation(path) is not None for path in files)
            assert not list((disk / "store").glob("??/.*.partial"))
        assert refused > 1
        assert timeless(record) == undisturbed
        assert len(recorder.keys) == 2 * TRAININGS, "stored trainings were trained again"


def test_a_store_that_became_read_only(make_study, recorder, undisturbed, tmp_path) -> None:
    """Between two runs, and in the middle of one."""
    with small_disk(tmp_path / "disk", 4096) as disk:
        stop_after(make_study("disk/store"), 3)
        remount = ["mount", "-o", "remount,{}", str(disk)]
        subprocess.run([each.format("ro") for each in remount], check=True)
        before = {path: path.read_bytes() for path in observations(disk / "store")}
        with pytest.raises(StoreUnusable, match=r"Read-only file system.*--store"):
            make_study("disk/store")
        subprocess.run([each.format("rw") for each in remount], check=True)
        study = make_study("disk/store")
        subprocess.run([each.format("ro") for each in remount], check=True)
        with pytest.raises(StoreUnusable, match="Read-only file system"):
            finish(study, recorder)
        assert {path: path.read_bytes() for path in observations(disk / "store")} == before
        subprocess.run([each.format("rw") for each in remount], check=True)
        assert timeless(finish(make_study("disk/store"), recorder)) == undisturbed


# --- Clocks ---------------------------------------------------------------------------------------


def test_a_wall_clock_that_jumps(make_study, recorder, undisturbed, monkeypatch) -> None:
    """By ten years back and forth with every look at it."""
    looks = 0

    def jumping() -> float:
        nonlocal looks
        looks += 1
        return 1e9 + (3e8 if looks % 2 else -3e8)

    class Jumping(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(jumping(), tz or UTC)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(study_module, "datetime", Jumping)
    stop_after(make_study(), 3)
    record = finish(make_study(), recorder)
    assert timeless(record) == undisturbed
    assert all(0 <= seen.seconds < 3600 for seen in record.observations)


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.mark.slow
@pytest.mark.skipif(FAKETIME is None, reason="libfaketime is not installed")
def test_a_machine_in_another_year(score, tmp_path) -> None:
    """Killed in 2040, gone on with in 2001: whatever the files' times say, they are kept."""
    wall = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    code = subprocess.run(score("plain", "plain.json"), capture_output=True).returncode
    assert code == 0
    for year in (2040, 2001, 2033):
        process = subprocess.Popen(
            score("store", "out.json"),
            env=os.environ | wall | {"FAKETIME": f"@{year}-01-01 00:00:00"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if year != 2033:
            before = len(observations(tmp_path / "store"))
            assert wait_until(lambda n=before: len(observations(tmp_path / "store")) > n)
            process.kill()
        assert process.communicate()[1] or year == 2033
    assert process.returncode == 0
    record = load_record(tmp_path / "out.json")
    assert record.created.startswith("2033-01-01")
    assert timeless(record) == timeless(load_record(tmp_path / "plain.json"))


# --- Real commands --------------------------------------------------------------------------------


@pytest.fixture
def rules(candidate, tmp_path, monkeypatch):
    """Arguments of a score, as it is called at a terminal; many short trainings."""
    monkeypatch.setenv("DDRANKING_REFERENCES", str(tmp_path / "references"))
    save(candidate, tmp_path / "candidate.safetensors")

    def rules_(store: str, out: str, *, workers: int = 1, epochs: int = 3) -> list[str]:
        rates = "[0.02, 0.03, 0.05, 0.1]"
        changes = (
            *(f"epochs={epochs}", f"learning_rate={rates}", "augmentation=[]"),
            *(f"track.hard.epochs={epochs}", f"track.hard.learning_rate={rates}"),
            *("track.whole.epochs=1", "track.student=mlp"),
        )
        return [
            *("score", str(tmp_path / "candidate.safetensors"), "--device", "cpu"),
            *("--track", "digits-ipc1-convnet2", "--recipe", "unified-digits", "--seeds", "3"),
            *(f"--set={change}" for change in changes),
            *("--store", str(tmp_path / store), "--out", str(tmp_path / out)),
            *("--workers", str(workers)),
        ]

    return rules_


@pytest.fixture
def score(rules):
    """The same as a command line of its own."""
    return lambda *args, **more: [sys.executable, "-m", "ddranking", *rules(*args, **more)]


ALL = 3 * (3 * 4 + 3) + 3
"""Trainings of these rules: three arms with a search each, and the whole set."""


@pytest.mark.slow
def test_two_processes_score_the_same_thing_at_once(score, tmp_path) -> None:
    plain = subprocess.run(score("plain", "plain.json"), capture_output=True)
    assert plain.returncode == 0
    both = [
        subprocess.Popen(
            score("store", "out.json", workers=workers), stdout=-1, stderr=-1, text=True
        )
        for workers in (1, 2)
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    record = load_record(tmp_path / "out.json")
    assert timeless(record) == timeless(load_record(tmp_path / "plain.json"))
    stored = {path.stem: read_observation(path) for path in observations(tmp_path / "store")}
    assert {seen.key: seen for seen in record.observations} == stored
    assert not [
        path for path in (tmp_path / "store").rglob("*") if path.suffix not in ("", ".json")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["starting", "importing", "training"])
def test_ctrl_c_stops_everything_and_says_how_to_go_on(score, tmp_path, moment) -> None:
    """The signal of a terminal goes to every process of its group, not to the parent alone."""
    process = subprocess.Popen(
        score("store", "out.json", workers=2, epochs=3000),
        start_new_session=True,
        # A shell's background jobs ignore this signal, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    store = tmp_path / "store"
    ready = {
        "starting": lambda: children(process.pid),
        "importing": lambda: store.exists(),
        "training": lambda: len(observations(store)) > 1,
    }
    assert wait_until(ready[moment])
    workers = children(process.pid)
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)
    print(f"Ctrl-C while {moment}: ended after {time.monotonic() - start:.2f} s")
    assert process.returncode == 130, said
    assert said[1].splitlines()[-1].endswith("run the same command again to go on.")
    assert "Traceback" not in said[1] and "KeyboardInterrupt" not in said[1]
    assert not [pid for pid in workers if alive(pid)], "an orphan"
    assert all(read_observation(path) is not None for path in observations(store))
    assert not (tmp_path / "out.json").exists()


@pytest.mark.slow
def test_workers_end_with_a_killed_parent_in_the_middle_of_an_epoch(score, tmp_path) -> None:
    """A worker says something once an epoch; one epoch can take an hour."""
    stopped = subprocess.Popen(
        score("store", "out.json", workers=2, epochs=10**6),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert wait_until(lambda: len(children(stopped.pid)) == 2)
    workers = children(stopped.pid)
    assert wait_until(lambda: list(tmp_path.glob("store")))
    stopped.kill()
    stopped.wait()
    assert wait_until(lambda: not any(map(alive, workers)), 30)


# --- A hundred kills ------------------------------------------------------------------------------

KILLS = int(os.environ.get("DDRANKING_TEST_KILLS", "20"))


def contents(store: Path) -> dict[str, tuple[int, int, str]]:
    """Inode, time of change and hash of every stored observation."""
    found = {}
    for path in observations(store):
        status = path.stat()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found[path.stem] = (status.st_ino, status.st_mtime_ns, digest)
    return found


@pytest.mark.slow
def test_killed_at_any_moment(rules, tmp_path, capsys) -> None:
    """kill -9 of the parent, of a worker, or of all, again and again; counts what was lost."""
    chance = random.Random(0)
    counts = dict.fromkeys(
        ("parent", "worker", "all", "records", "trained", "said", "partial"), 0
    ) | {"weights": 0, "halfway": 0}
    lost = dict.fromkeys(("rewritten", "damaged", "said but not stored", "orphans"), 0)
    kills = round_ = 0
    with Nursery() as nursery:
        assert nursery.start(rules("plain", "plain.json"), tmp_path / "plain.log").wait() == 0
        plain = timeless(load_record(tmp_path / "plain.json"))
        while True:
            store, out = tmp_path / f"store{round_}", tmp_path / f"out{round_}.json"
            before, told = contents(store), tmp_path / "told"
            told.write_text("")
            workers = chance.choice([1, 2])
            target = chance.choice(["parent", "worker", "all"]) if workers > 1 else "parent"
            arguments = rules(store.name, out.name, workers=workers)
            command = nursery.start(arguments, told)
            if kills < KILLS:
                _wait_for_a_moment(command.pid, chance, store, len(before))
                crew = children(command.pid)
                victims = {"parent": [command.pid], "worker": crew[:1], "all": [command.pid, *crew]}
                for pid in victims[target]:
                    os.kill(pid, signal.SIGKILL)
                kills += bool(victims[target])
                counts[target] += bool(victims[target])
            else:
                crew = []
            code = command.wait()
            lost["orphans"] += not wait_until(lambda c=crew: not any(map(alive, c)), 30)
            after = contents(store)
            said = told.read_text()
            assert "Traceback" not in said, said
            lines = [line for line in said.splitlines() if f"/{ALL} " in line]
            counts["said"] += len(lines)
            counts["trained"] += len(after) - len(before)
            lost["rewritten"] += sum(after.get(key) != value for key, value in before.items())
            lost["damaged"] += sum(read_observation(path) is None for path in observations(store))
            lost["damaged"] += len(list(store.glob("??/*.corrupt")))
            lost["said but not stored"] += max(0, len(lines) - (len(after) - len(before)))
            counts["partial"] = len(list(tmp_path.glob("store*/??/.*.partial")))
            if code == 0:
                assert timeless(load_record(out)) == plain
                assert len(after) == ALL
                counts["weights"] += len(list(store.glob("??/*.safetensors")))
                counts["halfway"] += len(halves(store))
                counts["records"] += 1
                round_ += 1
                if kills >= KILLS:
                    break
            else:
                assert code in (-signal.SIGKILL, 1), said
                assert not out.exists() or load_record(out)
    with capsys.disabled():
        print(f"\n{kills} kills: {counts}; lost: {lost}")
    assert kills == KILLS
    assert not any(lost.values()), lost
    assert counts["weights"] == counts["halfway"] == 0, "what nobody needs any more"


def _wait_for_a_moment(pid: int, chance: random.Random, store: Path, known: int) -> None:
    """Of starting, of training, or of writing."""
    if chance.random() < 0.8:
        wait_until(lambda: len(observations(store)) > known or not alive(pid), 60)
    time.sleep(chance.random() * chance.choice([0.01, 0.1, 1.0]))


def test_left_over_partial_files_do_not_disturb(make_study, recorder, undisturbed, tmp_path):
    stop_after(make_study(), 2)
    for path in observations(tmp_path / "store"):
        path.with_name(f".{path.name}.0123.partial").write_bytes(path.read_bytes()[:100])
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    assert timeless(finish(make_study("copy"), recorder)) == undisturbed
    assert Store(tmp_path / "copy").folder.is_dir()
