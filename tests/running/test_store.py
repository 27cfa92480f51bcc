import errno
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save

from ddranking.errors import BadInput, StoreUnusable
from ddranking.running.store import DAY, Store, default_folder, sweep


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="session")
def seen(make_record):
    """Some observations."""
    return make_record().observations[:6]


def files(store: Store) -> list[str]:
    return sorted(str(p.relative_to(store.folder)) for p in store.folder.rglob("*") if p.is_file())


def test_what_is_put_is_found_in_its_place(store, seen) -> None:
    assert store.get(seen[0].key) is None
    for each in seen:
        store.put(each)
    assert [store.get(each.key) for each in seen] == list(seen)
    assert files(store) == sorted(f"{each.key[:2]}/{each.key}.json" for each in seen)
    assert Store(store.folder).get(seen[0].key) == seen[0]


def test_what_is_halfway_stays_until_the_training_is_done(store, seen) -> None:
    store.put_halfway(seen[0].key, b"one")
    store.put_halfway(seen[0].key, b"two")
    store.put_halfway(seen[1].key, b"other")
    assert store.halfway(seen[0].key).read_bytes() == b"two"
    assert store.get(seen[0].key) is None
    store.put(seen[0])
    store.put(seen[0])
    assert not store.halfway(seen[0].key).exists()
    assert store.halfway(seen[1].key).read_bytes() == b"other"
    assert len(files(store)) == 2


def test_a_stored_observation_never_changes(store, seen) -> None:
    store.put(seen[0])
    path = store.folder / files(store)[0]
    before = path.stat().st_ino, path.read_bytes()
    store.put(seen[0].model_copy(update={"seconds": 99.0}))
    assert (path.stat().st_ino, path.read_bytes()) == before


def test_the_first_of_two_writers_stays(store, seen, monkeypatch) -> None:
    """Both saw that the trial was unknown; one comes second, and finds what is stored now."""
    other = seen[0].model_copy(update={"seconds": 99.0})
    monkeypatch.setattr(Path, "exists", lambda *_, **__: False)
    store.put(seen[0])
    store.put(other)
    monkeypatch.undo()
    assert store.get(seen[0].key) == seen[0]
    assert len(files(store)) == 1


def test_a_file_system_without_links(store, seen, monkeypatch) -> None:
    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    store.put(seen[0])
    store.put(seen[0].model_copy(update={"seconds": 99.0}))
    assert store.get(seen[0].key) == seen[0]
    assert len(files(store)) == 1


def test_many_writers_of_the_same_trials(store, seen) -> None:
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(Store(store.folder).put, list(seen) * 8))
    assert [store.get(each.key) for each in seen] == list(seen)
    assert len(files(store)) == len(seen)


WRITER = """
import sys
from ddranking.running.store import Store
from ddranking.scoring.recordfile import load_record
store = Store(sys.argv[2])
for _ in range(20):
    for each in load_record(sys.argv[1]).observations[:6]:
        store._path(each.key).unlink(missing_ok=True)
        store.put(each)
        seen = store.get(each.key)
        assert seen is None or seen == each
"""


def test_processes_that_write_and_read_at_once_see_whole_files(store, make_record, tmp_path):
    """Two processes rewrite the same files; a reader never finds a part of one."""
    record = make_record().save(tmp_path / "record.json")
    command = [sys.executable, "-c", WRITER, str(record), str(store.folder)]
    writers = [subprocess.Popen(command) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert not [name for name in files(store) if not name.endswith(".json")]


DAMAGE = {
    "empty": b"",
    "half": None,
    "not text": b"\xff\xfe\x00",
    "not JSON": b"hello",
    "another document": b"{}",
    "nested deeply": b"[" * 100_000,
    "very large": b" " * ((1 << 20) + 1),
    "an odd space": "surrogate",
    "foreign": "foreign",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_set_aside_and_its_trial_unknown(store, seen, kind) -> None:
    for each in seen[:2]:
        store.put(each)
    path = store.folder / seen[0].key[:2] / f"{seen[0].key}.json"
    whole = path.read_bytes()
    content = DAMAGE[kind]
    if kind == "half":
        content = whole[: len(whole) // 2]
    elif kind == "foreign":
        content = (store.folder / seen[1].key[:2] / f"{seen[1].key}.json").read_bytes()
    elif kind == "an odd space":
        values = json.loads(whole)
        values["trial"]["space"] = {"kind": "\ud800"}
        content = json.dumps(values).encode()
    path.write_bytes(content)
    assert store.get(seen[0].key) is None
    assert not path.exists()
    assert path.with_name(path.name + ".corrupt").read_bytes() == content
    assert store.get(seen[1].key) == seen[1]
    store.put(seen[0])
    assert store.get(seen[0].key) == seen[0]


@given(st.binary(max_size=60))
def test_any_bytes_are_unknown(tmp_path_factory, seen, content) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "fuzzed")
    path = store.folder / seen[0].key[:2] / f"{seen[0].key}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert store.get(seen[0].key) is None


def test_left_overs_of_a_killed_writer_are_no_observations(store, seen) -> None:
    store.put(seen[0])
    path = store.folder / seen[1].key[:2]
    path.mkdir(exist_ok=True)
    (path / f".{seen[1].key}.json.123.partial").write_text("{")
    assert store.get(seen[1].key) is None
    store.put(seen[1])
    assert store.get(seen[1].key) == seen[1]


# --- Full disks and places that cannot be written -------------------------------------------------


def weights_of(store: Store, key: str) -> list[float] | None:
    """The one tensor of the weights kept for a trial."""
    path = store.weights(key)
    return None if path is None else load_file(path)["x"].tolist()


def weights(*values: float) -> bytes:
    return save({"x": np.array(values, np.float32)})


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_keeps_what_is_stored(store, seen, monkeypatch, step) -> None:
    store.put(seen[0])
    store.put_weights(seen[0].key, weights(1, 2))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
        monkeypatch.setattr(Path, "hardlink_to", full)
    for write in (
        lambda: store.put(seen[1]),
        lambda: store.put_weights(seen[0].key, weights(3)),
    ):
        with pytest.raises(StoreUnusable, match=r"No space left on device.*--store"):
            write()
    monkeypatch.undo()
    assert store.get(seen[0].key) == seen[0]
    assert store.get(seen[1].key) is None
    assert weights_of(store, seen[0].key) == [1, 2]
    assert not [name for name in files(store) if "partial" in name]
    store.put(seen[1])
    assert store.get(seen[1].key) == seen[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_really_full_disk(seen, tmp_path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        store = Store(place / "store")
        store.put(seen[0])
        with pytest.raises(StoreUnusable, match="No space left on device"):
            store.put_weights(seen[0].key, weights(*[0.0] * 25_000))
        assert store.get(seen[0].key) == seen[0]
        assert store.weights(seen[0].key) is None
        free = os.statvfs(place)
        (place / "filler").write_bytes(b"0" * (free.f_bavail - 1) * free.f_bsize)
        with pytest.raises(StoreUnusable, match="No space left on device"):
            for each in seen[1:]:
                store.put(each)
        assert store.get(seen[0].key) == seen[0]
        (place / "filler").unlink()
        assert not [name for name in files(store) if "partial" in name]
        for each in seen:
            store.put(each)
            assert store.get(each.key) == each
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_place_that_is_no_folder_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "store", "/proc/store"):
        with pytest.raises(StoreUnusable, match="a folder that can be read and written") as caught:
            Store(place)
        assert str(place) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path) -> None:
    (tmp_path / "store").mkdir(mode=0o555)
    with pytest.raises(StoreUnusable, match="Permission denied"):
        Store(tmp_path / "store")


# --- Weights, defaults ----------------------------------------------------------------------------


def test_weights_are_kept_beside_their_trial_until_dropped(store, seen) -> None:
    assert store.weights(seen[0].key) is None
    store.put_weights(seen[0].key, weights(1, 2))
    assert weights_of(store, seen[0].key) == [1, 2]
    store.put(seen[0])
    store.drop_weights(seen[0].key)
    store.drop_weights(seen[0].key)
    assert store.weights(seen[0].key) is None
    assert store.get(seen[0].key) == seen[0]


@pytest.mark.parametrize("kind", ["half", "empty", "one bit", "header", "unsealed", "none"])
def test_damaged_weights_are_removed(store, seen, kind) -> None:
    key = seen[0].key
    store.put_weights(key, weights(*range(100)))
    path = store.weights(key)
    assert path is not None
    content = bytearray(path.read_bytes())
    if kind == "one bit":
        content[-200] ^= 1
    elif kind == "header":
        content = content.replace(b"F32", b"I32", 1)
    changed = {
        "half": content[: len(content) // 2],
        "empty": b"",
        "unsealed": weights(*range(100)),
        "none": b"\xff" * 99,
    }
    path.write_bytes(changed.get(kind, content))
    os.utime(path, ns=(0, 0))
    assert Store(store.folder).weights(key) is None
    assert not path.exists()
    store.put_weights(key, weights(4))
    assert weights_of(store, key) == [4]


def test_weights_of_another_trial_are_no_weights(store, seen) -> None:
    """Whole, under their own checksum, but of another network."""
    one, other = seen[0].key, seen[1].key
    for number, key in enumerate((one, other)):
        store.put_weights(key, weights(number))
    theirs = store.weights(other)
    store._path(one, ".safetensors").write_bytes(theirs.read_bytes())
    assert Store(store.folder).weights(one) is None
    assert weights_of(store, other) == [1]


# --- What a killed writer leaves ------------------------------------------------------------------


def test_unfinished_files_go_after_a_day_and_nothing_else_does(store, seen) -> None:
    """By the clock of the files: a clock that jumps must not make a writer's own file look old."""
    store.put(seen[0])
    folder = store.folder / seen[0].key[:2]
    ages = {".old.partial": 2 * DAY, ".young.partial": DAY / 2, ".future.partial": -2 * DAY}
    for name, age in ages.items():
        (folder / name).write_text("{")
        written = (folder / name).stat().st_mtime - age
        os.utime(folder / name, (written, written))
    old = folder / f"{seen[0].key}.json"
    os.utime(old, (0, 0))
    assert Store(store.folder).get(seen[0].key) == seen[0]
    left = {path.name for path in folder.iterdir()}
    assert left == {old.name, ".young.partial", ".future.partial"}


def test_only_old_unfinished_files_are_removed(tmp_path) -> None:
    young, old, gone = (tmp_path / name for name in ("young", "old", "gone"))
    young.write_text("")
    old.write_text("")
    os.utime(old, (time.time() - DAY - 60,) * 2)
    assert sweep([young, old, gone], time.time()) == [old]
    assert young.exists() and not old.exists()


def test_an_empty_name_is_not_this_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match=r"--store.*an empty one"):
        Store("")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"DDRANKING_STORE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/ddranking/store"),
        ({"HOME": "/c"}, "/c/.cache/ddranking/store"),
    ],
)
def test_the_default_is_the_users_cache(monkeypatch, environment, folder) -> None:
    for name in ("DDRANKING_STORE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(folder)
