"""The Ray engine: its rules with a stand-in for Ray, and the real one on clusters of this machine.

The real ones are slow, and skipped where Ray is not installed.
"""

import importlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ddranking import api
from ddranking.data.images import Dataset
from ddranking.errors import BadInput, DDRankingError, MissingExtra
from ddranking.running import actor, cluster, session, worker
from ddranking.running.cluster import RayPool
from ddranking.running.local import Pool
from ddranking.running.parcel import files, parcel, renamed
from ddranking.running.seats import Seats, seats
from ddranking.running.worker import Done, Group, Task, perform

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
TRAININGS = 12  # see conftest.py


def timeless(record) -> dict:
    """A record without what may differ between two runs of the same seeds on one machine."""
    import json

    values = json.loads(record.to_json())
    del values["created"]
    for observation in values["observations"]:
        del observation["seconds"]
    return values


# --- How many workers, and where ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "device", "workers", "wanted"),
    [
        ({"CPU": 4}, None, None, Seats(4, 0)),
        ({"CPU": 4}, None, 2, Seats(2, 0)),
        ({"CPU": 4}, None, 9, Seats(4, 0)),
        ({}, None, None, Seats(1, 0)),
        ({"CPU": 16, "GPU": 2}, None, None, Seats(2, 1)),
        ({"CPU": 16, "GPU": 2}, "cpu", None, Seats(16, 0)),
        ({"CPU": 16, "GPU": 2}, "cuda", 1, Seats(1, 1)),
        ({"CPU": 16, "GPU": 2}, None, 8, Seats(8, 0.25)),
        ({"CPU": 16, "GPU": 2}, None, 5, Seats(5, 1 / 3)),
    ],
)
def test_workers_are_one_a_gpu_or_core_and_more_share_a_gpu(there, device, workers, wanted) -> None:
    assert seats(there, device, workers) == wanted


@pytest.mark.parametrize(
    ("there", "device", "workers"),
    [({"CPU": 2}, "cuda", None), ({"GPU": 2}, "cuda:1", None), ({}, "tpu", None), ({}, None, 0)],
)
def test_a_device_that_the_cluster_cannot_give_is_one_line(there, device, workers) -> None:
    with pytest.raises(BadInput, match=r"--device|--workers") as caught:
        seats(there, device, workers)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(("gpus", "workers"), [(g, w) for g in (1, 2, 3, 8) for w in range(1, 20)])
def test_shared_gpus_hold_all_workers(gpus, workers) -> None:
    found = seats({"GPU": gpus}, None, workers)
    assert found.count == workers
    assert gpus * int(1 / found.gpu + 1e-9) >= workers


def test_without_ray_it_is_one_line(make_study, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "installed", lambda: False)
    with pytest.raises(MissingExtra, match=r"pip install 'ddranking\[ray\]'"):
        RayPool(make_study().workbench)


def test_options_are_refused_before_a_cluster_starts(make_study, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "installed", lambda: True)
    for choice in ({"device": "cuda:1"}, {"workers": 0}):
        with pytest.raises(BadInput):
            RayPool(make_study().workbench, **choice)


def test_folders_of_killed_processes_are_removed_a_day_later(tmp_path) -> None:
    here = Path("/proc", str(os.getpid()))
    if not here.exists():
        pytest.skip("processes are found in /proc")
    gone, young, alive, other = "ddr-99999999-a", "ddr-99999999-b", f"ddr-{os.getpid()}-c", "ddr"
    for name in (gone, young, alive, other):
        (tmp_path / name / "ray").mkdir(parents=True)
        if name != young:
            os.utime(tmp_path / name, (0, 0))
    session._sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {young, alive, other}


# --- What travels ---------------------------------------------------------------------------------


@pytest.fixture
def prepared(tmp_path, monkeypatch) -> Dataset:
    """A small dataset in a prepared copy of this test's own."""
    from PIL import Image

    chance = np.random.default_rng(0)
    for half, count in (("train", 6), ("test", 2)):
        for name in ("a", "b"):
            folder = tmp_path / "images" / half / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = chance.integers(0, 255, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    from ddranking.data.sources import load, prepare

    name = f"folder:{tmp_path / 'images'}"
    prepare(name, cache=tmp_path / "cache", image_size=8)
    return load(name, cache=tmp_path / "cache")


def test_a_prepared_copy_is_opened_by_name_and_its_content_stays(prepared, make_study) -> None:
    bench = replace(make_study().workbench, dataset=prepared, distilled={})
    sent = parcel(bench)
    assert sent.folder is not None and sent.folder.is_dir()
    assert len(sent.workbench.dataset.train) == len(sent.workbench.dataset.test) == 1
    opened = sent.opened()
    assert opened is not None and opened.dataset == prepared
    assert isinstance(opened.dataset.train.pixels, np.memmap)


def test_a_copy_counts_by_its_digest_and_its_place_may_differ(
    prepared, make_study, tmp_path, monkeypatch
) -> None:
    sent = parcel(replace(make_study().workbench, dataset=prepared, distilled={}))
    assert sent.folder is not None
    card = sent.folder / "dataset.json"
    card.write_text(card.read_text().replace(prepared.digest[:20], "sha256:0000000000000"))
    assert sent.opened() is None, "another dataset in the same place"
    card.write_text(card.read_text().replace("sha256:0000000000000", prepared.digest[:20]))
    (tmp_path / "cache").rename(tmp_path / "moved")
    assert sent.opened() is None
    monkeypatch.setenv("DDRANKING_CACHE", str(tmp_path / "moved"))
    opened = sent.opened()
    assert opened is not None and opened.dataset == prepared, "this node's own cache"
    given = sent.opened((prepared.train, prepared.test))
    assert given is not None and given.dataset == prepared


def test_arrays_and_foreign_memory_maps_have_no_copy(make_study, digits, tmp_path) -> None:
    bench = make_study().workbench
    assert parcel(bench).folder is None
    assert parcel(bench).opened() is None
    np.save(tmp_path / "train_pixels.npy", digits.train.pixels)
    mapped = np.load(tmp_path / "train_pixels.npy", mmap_mode="r")
    train = type(digits.train)(mapped, digits.train.labels)
    assert parcel(replace(bench, dataset=replace(digits, train=train))).folder is None


def test_every_file_that_a_task_names_is_found_and_renamed(make_study, tmp_path) -> None:
    trial = make_study().pending({})[0]
    one, other, place = tmp_path / "one", tmp_path / "other", tmp_path / "copy"
    task = Task(trial, one)
    assert files(Task(trial)) == set()
    assert files(task) == {one}
    assert renamed(task, {one: place}) == Task(trial, place)
    assert renamed(task, {other: place}) == task
    bench = make_study().workbench
    assert files(replace(bench, cache=one)) == set(), "a folder of this machine stays here"
    with_teacher = replace(task, teachers={"key": other})
    assert files(with_teacher) == {one, other}
    assert renamed(with_teacher, {other: place}) == replace(with_teacher, teachers={"key": place})


# --- The driver, with a stand-in for Ray ----------------------------------------------------------


class Lost(Exception):
    """Stands for RayError."""


class InTask(Exception):
    """Stands for RayTaskError."""


class Reference:
    """Stands for ObjectRef; as an argument of a call it is resolved."""

    def __init__(self, value) -> None:
        self.value = value


class FakeRay:
    """Runs every call of an actor at once, in this process, and kills actors as it is told."""

    exceptions = SimpleNamespace(RayError=Lost, RayTaskError=InTask, AuthenticationError=InTask)

    def __init__(self, cpus: int = 2) -> None:
        self.cpus, self.actors = cpus, []
        self.deadly: Counter[str] = Counter()
        self.given: Counter[str] = Counter()
        self.calls: list[tuple[str, tuple]] = []

    def cluster_resources(self):
        return {"CPU": self.cpus}

    def get_runtime_context(self):
        return SimpleNamespace(get_node_id=lambda: "here")

    def put(self, value):
        return Reference(value)

    def get(self, reference):
        if isinstance(reference.value, Lost):
            raise reference.value
        return reference.value

    def wait(self, references, num_returns=1, timeout=None):
        return list(references)[:num_returns], list(references)[num_returns:]

    def kill(self, actor, no_restart):
        if actor in self.actors:
            self.actors.remove(actor)

    def remote(self, kind):
        def made(*arguments):
            actor = FakeActor(self, kind(*arguments))
            self.actors.append(actor)
            return actor

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=made))


class FakeActor:
    def __init__(self, ray: FakeRay, inner) -> None:
        self.ray, self.inner = ray, inner

    def __getattr__(self, name):
        def remote(*arguments):
            self.ray.calls.append((name, arguments))
            if self.ray.deadly[name]:
                return self.ray.put(Lost("The actor died unexpectedly."))
            resolved = [each.value if isinstance(each, Reference) else each for each in arguments]
            if name == "perform":
                keys = [task.trial.key for task in arguments[0]]
                self.ray.given.update(keys)
                if any(self.ray.deadly[key] for key in keys):
                    self.ray.deadly.subtract(keys)
                    return self.ray.put(Lost("The actor died unexpectedly.\nAdvice."))
            return self.ray.put(getattr(self.inner, name)(*resolved))

        return SimpleNamespace(remote=remote)


@pytest.fixture
def ray(monkeypatch) -> FakeRay:
    fake = FakeRay()
    monkeypatch.setattr(cluster, "installed", lambda: True)
    monkeypatch.setattr(actor, "ray_module", lambda: fake)
    monkeypatch.setattr(session.Session, "open", lambda self: fake)
    monkeypatch.setattr(session.Session, "close", lambda self: None)
    return fake


@pytest.fixture
def locally(make_study, recorder):
    """The record of the tiny study by the local engine."""
    study = make_study("locally")
    with Pool(study.workbench, [CPU]) as pool:
        return timeless(study.record(study.run(pool, api.Silent())))


def test_the_record_is_that_of_the_local_engine(ray, make_study, recorder, locally) -> None:
    study = make_study()
    with RayPool(study.workbench) as pool:
        record = study.record(study.run(pool, recorder))
        assert len(ray.actors) == 2
    assert timeless(record) == locally
    assert len(recorder.keys) == len(set(recorder.keys)) == TRAININGS == ray.given.total()
    assert not ray.actors


def test_the_longest_trials_are_given_first(ray, make_study, recorder) -> None:
    ray.cpus, study = 1, make_study()
    tasks = [Task(trial) for trial in study.pending({})]
    with RayPool(study.workbench) as pool:
        effort = [study.workbench.visits(task.trial) for task, _ in pool.run(tasks, recorder)]
    assert effort == sorted(effort, reverse=True)


def test_the_dataset_is_put_once_and_every_worker_opens_it_once(ray, make_study, recorder) -> None:
    study = make_study()
    with RayPool(study.workbench) as pool:
        study.run(pool, recorder)
    opened = [arguments[2] for name, arguments in ray.calls if name == "open"]
    assert [each is None for each in opened].count(True) == 2
    assert len({id(each) for each in opened if each is not None}) == 1


def test_what_a_dead_worker_trained_is_given_again(ray, make_study, recorder, locally) -> None:
    study = make_study()
    dying = [trial.key for trial in study.pending({})[:3]]
    ray.deadly.update(dying)
    with RayPool(study.workbench) as pool:
        record = study.record(study.run(pool, recorder))
    assert timeless(record) == locally
    assert {key for key, count in ray.given.items() if count == 2} == set(dying)
    assert ray.given.total() == TRAININGS + 3


def test_a_training_that_ends_every_worker_ends_the_run(ray, make_study, recorder, tmp_path):
    study = make_study()
    first = study.pending({})[0]
    ray.deadly[first.key] = 99
    with (
        pytest.raises(DDRankingError, match=r"ended 3 workers.*fewer --workers.*died") as caught,
        RayPool(study.workbench) as pool,
    ):
        study.run(pool, recorder)
    assert not isinstance(caught.value, BadInput), "exit code 1, not 2"
    assert "Advice" not in str(caught.value)
    assert ray.given[first.key] == cluster.ATTEMPTS
    assert {path.stem for path in (tmp_path / "store").rglob("*.json")} == set(recorder.keys)


def test_workers_that_die_before_they_train_end_the_run(ray, make_study, recorder) -> None:
    ray.deadly["open"] = 99
    study = make_study()
    with (
        pytest.raises(DDRankingError, match=r"5 workers died one after the other"),
        RayPool(study.workbench) as pool,
    ):
        study.run(pool, recorder)
    assert not recorder.keys and not ray.actors


def test_an_error_of_a_training_is_raised_as_it_is(ray, make_study, recorder, monkeypatch) -> None:
    def bad(*_):
        raise BadInput("images", expected="others")

    monkeypatch.setattr(actor, "perform", bad)
    study = make_study()
    with (
        pytest.raises(BadInput, match="images: expected others") as caught,
        RayPool(study.workbench) as pool,
    ):
        study.run(pool, recorder)
    assert "while training" in caught.value.__notes__[0]


def test_a_node_with_another_version_is_refused(ray, make_study, recorder, monkeypatch) -> None:
    monkeypatch.setattr(actor.Remote, "open", lambda *_: actor.Ready("0.1", 0), raising=True)
    with pytest.raises(DDRankingError, match=r"has ddranking 0\.1.*every node"):
        study = make_study()
        with RayPool(study.workbench) as pool:
            study.run(pool, recorder)


def test_without_any_worker_it_ends_after_a_while(ray, make_study, recorder, monkeypatch) -> None:
    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(ray, "wait", lambda *_, **__: ([], []))
    with pytest.raises(DDRankingError, match="not one worker"):
        study = make_study()
        with RayPool(study.workbench) as pool:
            study.run(pool, recorder)


@pytest.fixture
def grouped(monkeypatch) -> None:
    """The hook for trials that train together: here all those of one arm and rate."""

    def by_rule(tasks, images, **_):
        found: dict[tuple, list[Task]] = {}
        for task in tasks:
            trial = task.trial
            found.setdefault((trial.arm, trial.rate, trial.evaluate), []).append(task)
        return [tuple(each) for each in found.values()]

    monkeypatch.setattr(cluster, "groups", by_rule)


@pytest.fixture
def dies(ray, monkeypatch):
    """One worker at a time, of a kind that dies: it answers with what is in ``lost``.

    That is seen only when ``told()``: until then it trains, and can be asked for news.
    """
    put, wait = ray.put, ray.wait

    def dies_(kind: type, lost: list[Reference], told) -> None:
        def waited(references, num_returns=1, timeout=None):
            if num_returns == 1 and not told():
                references = [each for each in references if each not in lost]
            return wait(references, num_returns, timeout)

        ray.cpus = 1
        monkeypatch.setattr(cluster, "Remote", kind)
        monkeypatch.setattr(ray, "put", lambda value: value if value in lost else put(value))
        monkeypatch.setattr(ray, "wait", waited)

    return dies_


def test_what_a_worker_finished_before_it_died_is_not_trained_again(
    ray, make_study, recorder, locally, grouped, dies
) -> None:
    """The first worker dies in the second training of its group, the first of which was told."""
    lost: list[Reference] = []
    asked: list[str] = []

    class Dying(actor.Remote):
        def perform(self, group, sent):
            answers = super().perform(group, sent)
            if not lost:
                del self.done[1]
                asked.append(group[0].trial.key)
                lost.append(Reference(Lost("The actor died unexpectedly.")))
                return lost[0]
            return answers

    def told() -> bool:
        return bool(recorder.keys)

    dies(Dying, lost, told)
    study = make_study()
    with RayPool(study.workbench) as pool:
        record = study.record(study.run(pool, recorder))
    assert timeless(record) == locally
    assert recorder.keys[0] == asked[0]
    assert len(recorder.keys) == len(set(recorder.keys)) == TRAININGS
    assert sorted(ray.given.values()) == [1] * (TRAININGS - 1) + [2]
    assert ray.given[asked[0]] == 1


def test_what_a_worker_kept_before_it_died_is_gone_on_with(
    ray, make_study, recorder, locally, dies, monkeypatch, tmp_path
) -> None:
    """On another worker, which gets the newest of it, as a copy of its own."""
    lost: list[Reference] = []
    begun: list[bytes | None] = []

    class Dying(actor.Remote):
        def perform(self, group, sent):
            if group[0].trial.training.epochs == 1:
                return super().perform(group, sent)
            if lost:
                begun.extend(sent[one.begun].value if one.begun in sent else None for one in group)
            answers = super().perform(group, sent)
            if lost:
                return answers
            self.done.clear()
            lost.append(Reference(Lost("The actor died unexpectedly.")))
            return lost[0]

    def told() -> bool:
        return bool(kept())

    def kept() -> list[bytes]:
        return [path.read_bytes() for path in (tmp_path / "store").rglob("*.halfway")]

    def gave_up(hand) -> None:
        newest.extend(kept())
        dismiss(pool, hand)

    newest: list[bytes] = []
    monkeypatch.setattr(worker, "SAVE_SECONDS", 0.0)
    dies(Dying, lost, told)
    study = make_study()
    with RayPool(study.workbench) as pool:
        dismiss = RayPool._dismiss
        monkeypatch.setattr(pool, "_dismiss", gave_up)
        record = study.record(study.run(pool, recorder))
    assert timeless(record) == locally
    assert len(newest) >= 1
    assert newest[0] == begun[0]
    assert not any(begun[1:]), "of one that was trained before there is nothing"
    assert sorted(ray.given.values()) == [1] * (TRAININGS - 1) + [2]
    assert not kept()


def test_the_newest_of_a_training_travels_each_time(
    ray, make_study, recorder, locally, dies, tmp_path
) -> None:
    """Its workers die one after the other, more often than a training may end them."""
    place, given, lost = {}, [], []

    class Dying(actor.Remote):
        def perform(self, group, sent):
            [task] = group
            if task.trial.arm != "syn_any" or task.trial.seed or task.trial.training.epochs == 1:
                return super().perform(group, sent)
            given.append(sent[task.begun].value if task.begun in sent else None)
            if len(given) > cluster.ATTEMPTS + 2:
                return super().perform(group, sent)
            place[task.trial.key] = content = f"half {len(given)}".encode()
            self.progress, self.done, self.halfway = [0.0], {}, {0: worker.Halfway(content)}
            lost.append(Reference(Lost("The actor died unexpectedly.")))
            return lost[-1]

    def told() -> bool:
        kept = [path.read_bytes() for path in (tmp_path / "store").rglob("*.halfway")]
        return set(place.values()) <= set(kept)

    dies(Dying, lost, told)
    study = make_study()
    with RayPool(study.workbench) as pool:
        record = study.record(study.run(pool, recorder))
    assert timeless(record) == locally
    assert given == [None, *(f"half {n}".encode() for n in range(1, cluster.ATTEMPTS + 3))]


def test_groups_stay_together(ray, make_study, recorder, locally, grouped) -> None:
    study = make_study()
    with RayPool(study.workbench) as pool:
        record = study.record(study.run(pool, recorder))
    assert timeless(record) == locally
    together = [len(arguments[0]) for name, arguments in ray.calls if name == "perform"]
    assert together == [2] * (TRAININGS // 2)


def test_weights_travel_by_content(ray, make_study, recorder, monkeypatch, tmp_path) -> None:
    """No worker reads the store: what it is given to start from are copies of its own."""
    seen: list[Path] = []

    def watched(group: Group, *rest) -> Iterator[tuple[int, Done]]:
        for task in group:
            if task.weights is not None:
                seen.append(task.weights)
                assert task.weights.is_file()
        return perform(group, *rest)

    monkeypatch.setattr(actor, "perform", watched)
    study = make_study()
    with RayPool(study.workbench) as pool:
        study.run(pool, recorder)
    assert len(seen) == 2
    assert not any(path.is_relative_to(tmp_path / "store") for path in seen)
    assert not any(path.exists() for path in seen), "removed when the pool ends"


# --- Real clusters on this machine ----------------------------------------------------------------

REAL = [
    pytest.mark.slow,
    pytest.mark.skipif(not session.installed(), reason="Ray is not installed"),
]


def real(test):
    for mark in REAL:
        test = mark(test)
    return test


def listeners() -> list[tuple[str, int]]:
    """Address and inode of every TCP socket that listens on this machine; see proc(5)."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A":
                found.append((cells[1].rpartition(":")[0], int(cells[9])))
    return found


def of_ray(inode: int) -> bool:
    """Whether a socket belongs to a process of Ray or to this one."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()) == f"socket:[{inode}]":
                command = (link.parents[1] / "cmdline").read_bytes()
                return b"ray" in command or link.parents[1].name == str(os.getpid())
        except OSError:
            continue
    return False


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


@real
def test_a_cluster_of_ones_own(make_study, recorder, locally) -> None:
    """Same record; every socket on loopback; a stranger without the token is turned away."""
    study = make_study()
    with RayPool(study.workbench, workers=2) as pool:
        record = study.record(study.run(pool, recorder))
        assert len(pool.hands) == 2
        ours = [address for address, inode in listeners() if of_ray(inode)]
        assert len(ours) >= 4
        assert set(ours) <= LOOPBACK
        folder = Path(pool.session.folder.name)  # type: ignore[union-attr]
        assert folder.stat().st_mode & 0o077 == 0
        gcs = pool.ray.get_runtime_context().gcs_address
        told = {token: stranger(gcs, token) for token in (os.environ["RAY_AUTH_TOKEN"], "0" * 64)}
        assert told == {os.environ["RAY_AUTH_TOKEN"]: True, "0" * 64: False}
    assert timeless(record) == locally
    assert len(recorder.keys) == TRAININGS
    assert not folder.exists()
    assert max(recorder.shares, default=0) <= 1


STRANGER = """
import sys, ray
from ray._raylet import GcsClient
print(len(GcsClient(address=sys.argv[1]).get_all_node_info()))
"""


def stranger(address: str, token: str) -> bool:
    """Whether another process with this token is let in."""
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, address],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode == 0


@pytest.fixture
def nodes() -> Iterator:
    """Two nodes of one core each, beside a head without any."""
    session._guard(own=True)
    session.ray_module()
    made = importlib.import_module("ray.cluster_utils").Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": 100 << 20,
            "include_dashboard": False,
        },
    )
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=100 << 20)
        yield made
    finally:
        session.ray_module().shutdown()
        made.shutdown()


def given(monkeypatch) -> list[tuple[str, str]]:
    """Every trial that is given out from now on, with the node it is given to."""
    seen: list[tuple[str, str]] = []
    give = RayPool._give

    def watched(self, hand, group) -> None:
        seen.extend((task.trial.key, hand.node) for task in group)
        give(self, hand, group)

    monkeypatch.setattr(RayPool, "_give", watched)
    return seen


LONGER = ("track.hard.epochs=1500",)
"""Makes the four trainings of the search last long enough to be killed in the middle."""


@real
def test_a_node_is_killed_in_the_middle(nodes, make_study, recorder, monkeypatch) -> None:
    """Same record, nothing lost, and nothing trained twice but what the node was training."""
    study = make_study("before", changes=LONGER)
    with Pool(study.workbench, [CPU]) as pool:
        wanted = timeless(study.record(study.run(pool, api.Silent())))
    seen, lost = given(monkeypatch), []

    class Killing(type(recorder)):
        """Kills the node of a training that is under way, once two others are done."""

        def running(self, trial, share) -> None:
            if not lost and len(self.keys) >= 2 and 0 < share < 0.9:
                [hand] = [h for h in pool.hands if trial.key in {t.trial.key for t in h.group}]
                [node] = [n for n in nodes.worker_nodes if n.node_id == hand.node]
                lost.append((trial.key, hand.node))
                nodes.remove_node(node, allow_graceful=False)

    watcher, study = Killing(), make_study("after", changes=LONGER)
    with RayPool(study.workbench, address=nodes.address) as pool:
        record = study.record(study.run(pool, watcher))
    assert len({node for _, node in seen}) == 2, "both nodes have trained"
    assert len(lost) == 1
    assert timeless(record) == wanted
    assert sorted(watcher.keys) == sorted({key for key, _ in seen})
    assert len(watcher.keys) == TRAININGS
    again = Counter(key for key, _ in seen)
    assert {key: count for key, count in again.items() if count > 1} == {lost[0][0]: 2}
    last = [node for key, node in seen if key == lost[0][0]][-1]
    assert last != lost[0][1]


@real
def test_a_worker_is_killed_in_the_middle(make_study, recorder, monkeypatch) -> None:
    """kill -9 of the process: another one takes its place on the same node."""
    study = make_study("before", changes=LONGER)
    with Pool(study.workbench, [CPU]) as pool:
        wanted = timeless(study.record(study.run(pool, api.Silent())))
    seen, killed = given(monkeypatch), []

    class Killing(type(recorder)):
        def running(self, trial, share) -> None:
            if not killed and len(self.keys) >= 2 and 0 < share < 0.9:
                [hand] = [h for h in pool.hands if trial.key in {t.trial.key for t in h.group}]
                killed.append(trial.key)
                os.kill(pool.ray.get(hand.actor.process.remote()), signal.SIGKILL)

    watcher, study = Killing(), make_study("after", changes=LONGER)
    with RayPool(study.workbench, workers=2) as pool:
        record = study.record(study.run(pool, watcher))
    assert timeless(record) == wanted
    again = Counter(key for key, _ in seen)
    assert {key for key, count in again.items() if count > 1} == set(killed)
    assert len(watcher.keys) == TRAININGS


@real
@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "nowhere.invalid:6379", "x"])
def test_an_address_where_nobody_is(make_study, address) -> None:
    with (
        pytest.raises(BadInput, match=rf"--address {address}.*ray start") as caught,
        RayPool(make_study().workbench, address=address),
    ):
        pass
    assert len(str(caught.value).splitlines()) == 1


JOIN = """
import sys
from ddranking import api
from ddranking.errors import BadInput
from ddranking.running.cluster import RayPool
from ddranking.running.workbench import Workbench
try:
    with RayPool(Workbench(api.dataset("digits"), {}), address=sys.argv[1]):
        print("in")
except BadInput as error:
    print(error)
"""


@real
def test_joining_a_cluster_needs_its_token(nodes, tmp_path) -> None:
    def joins(**changes: str | None) -> str:
        given = {"HOME": str(tmp_path), "RAY_AUTH_MODE": None, **changes}
        environment = {k: v for k, v in (os.environ | given).items() if v is not None}
        done = subprocess.run(
            [sys.executable, "-c", JOIN, nodes.address],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        [line] = done.stdout.splitlines()
        return line

    assert joins() == "in"
    assert joins(RAY_AUTH_TOKEN=None).startswith(f"--address {nodes.address}: expected this")
    line = joins(RAY_AUTH_TOKEN="0" * 64)
    assert line.startswith(f"--address {nodes.address}: ") and "RAY_AUTH_TOKEN" in line
