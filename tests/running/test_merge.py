import json
from pathlib import Path

import pytest
from safetensors.numpy import save

from ddranking.errors import BadInput
from ddranking.running.merge import Conflict, examine, merge
from ddranking.running.store import Store


@pytest.fixture(scope="session")
def seen(make_record):
    """Some observations."""
    return make_record().observations[:6]


@pytest.fixture
def stores(tmp_path) -> list[Store]:
    return [Store(tmp_path / name) for name in ("a", "b", "c")]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Inode and content of every file."""
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_ino, p.read_bytes()) for p in found}


def place(store: Store, observation, suffix: str = ".json") -> Path:
    return store.folder / observation.key[:2] / f"{observation.key}{suffix}"


def weights(value: float) -> bytes:
    import numpy as np

    return save({"w": np.full(8, value, np.float32)})


def test_what_the_target_lacks_is_copied_and_sources_stay_as_they_are(stores, seen) -> None:
    a, b, c = stores
    for store, some in ((a, seen[:2]), (b, seen[1:4]), (c, seen[3:])):
        for each in some:
            store.put(each)
    before = [files(store.folder) for store in stores]
    found = merge(a, [b.folder, c.folder])
    assert (found.copied, found.present) == (4, 2)
    assert not found.corrupt and not found.conflicts
    assert [a.get(each.key) for each in seen] == list(seen)
    assert [files(b.folder), files(c.folder)] == before[1:]
    after = files(a.folder)
    assert {name: after[name] for name in before[0]} == before[0], "what was there stays"
    again = merge(a, [b.folder, c.folder])
    assert (again.copied, again.present) == (0, 6)
    assert files(a.folder) == after


def test_weights_come_with_their_trial(stores, seen) -> None:
    a, b, _ = stores
    a.put(seen[0])
    for each in seen[:3]:
        b.put(each)
    for number, each in enumerate(seen[:2]):
        b.put_weights(each.key, weights(number))
    found = merge(a, [b.folder])
    assert (found.copied, found.weights) == (2, 2)
    for each in seen[:2]:
        kept = a.weights(each.key)
        assert kept is not None and kept.read_bytes() == place(b, each, ".safetensors").read_bytes()
    assert a.weights(seen[2].key) is None
    assert merge(a, [b.folder]).weights == 0


def test_damaged_files_are_named_and_not_copied(stores, seen) -> None:
    a, b, _ = stores
    for each in seen:
        b.put(each)
    b.put_weights(seen[5].key, weights(1))
    place(b, seen[0]).write_text("{")
    place(b, seen[1]).write_bytes(place(b, seen[2]).read_bytes())
    path = place(b, seen[5], ".safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    before = files(b.folder)
    found = merge(a, [b.folder])
    assert set(found.corrupt) == {place(b, seen[0]), place(b, seen[1]), path}
    assert found.copied == 4
    assert a.get(seen[0].key) is None and a.get(seen[1].key) is None
    assert a.weights(seen[5].key) is None
    assert files(b.folder) == before, "nothing is set aside in a source"


def test_a_damaged_file_of_the_target_is_replaced(stores, seen) -> None:
    a, b, _ = stores
    for store in (a, b):
        store.put(seen[0])
    place(a, seen[0]).write_text("")
    assert merge(a, [b.folder]).copied == 1
    assert a.get(seen[0].key) == seen[0]


def test_two_accuracies_of_one_trial_are_a_conflict(stores, seen) -> None:
    a, b, _ = stores
    read = seen[0].outcome.validation_accuracy
    assert read is not None
    outcome = seen[0].outcome.model_copy(update={"validation_accuracy": read + 0.01})
    a.put(seen[0])
    b.put(seen[0].model_copy(update={"outcome": outcome}))
    b.put_weights(seen[0].key, weights(1))
    found = merge(a, [b.folder])
    trial = seen[0].trial
    assert found.conflicts == [
        Conflict(place(b, seen[0]), trial.arm, trial.seed, read, pytest.approx(read + 0.01))
    ]
    assert a.get(seen[0].key) == seen[0]
    assert a.weights(seen[0].key) is None, "weights of another outcome"


def test_the_time_and_place_of_a_training_are_no_conflict(stores, seen) -> None:
    a, b, _ = stores
    a.put(seen[0])
    b.put(seen[0].model_copy(update={"seconds": 99.0}))
    assert not merge(a, [b.folder]).conflicts


def test_a_source_that_is_none_is_one_line_and_nothing_is_made(stores, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for source in (tmp_path / "nowhere", tmp_path / "file", stores[0].folder):
        with pytest.raises(BadInput, match=f"store {source}"):
            merge(stores[0], [source])
    assert not (tmp_path / "nowhere").exists()


def test_other_files_are_passed_by(stores, seen) -> None:
    a, b, _ = stores
    b.put(seen[0])
    home = place(b, seen[0]).parent
    (home / "notes.json").write_text("{}")
    (home / f".{seen[1].key}.json.1.partial").write_text("{")
    (b.folder / f"{seen[1].key}.json").write_text("{")
    found = merge(a, [b.folder])
    assert (found.copied, found.corrupt) == (1, [])


def test_what_a_store_holds(stores, seen) -> None:
    store = stores[0]
    for each in seen:
        store.put(each)
    store.put_weights(seen[0].key, weights(1))
    place(store, seen[1]).write_text(json.dumps({"trial": 1}))
    place(store, seen[2]).write_text("")
    assert store.get(seen[2].key) is None  # sets it aside
    left = place(store, seen[3]).parent / f".{seen[3].key}.json.1.partial"
    left.write_text("{")
    before = files(store.folder)
    found = examine(store.folder)
    assert (found.observations, found.weights) == (4, [place(store, seen[0], ".safetensors")])
    assert found.weight_bytes == found.weights[0].stat().st_size
    assert found.corrupt == [place(store, seen[1])]
    assert found.set_aside == [place(store, seen[2], ".json.corrupt")]
    assert found.unfinished == [left]
    assert files(store.folder) == before


def test_a_score_may_finish_while_its_store_is_read(stores, seen, monkeypatch) -> None:
    """It removes weights that were there when the files were listed."""
    a, b, _ = stores
    for each in seen[:2]:
        b.put(each)
        b.put_weights(each.key, weights(1))
    whole = Path.read_bytes

    def vanishing(path: Path) -> bytes:
        if path.suffix == ".safetensors" and path.is_relative_to(b.folder):
            path.unlink(missing_ok=True)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", vanishing)
    found = merge(a, [b.folder])
    assert (found.copied, found.weights, found.corrupt) == (2, 0, [])
    b.put_weights(seen[0].key, weights(1))
    assert (examine(b.folder).weights, examine(b.folder).corrupt) == ([], [])


def test_a_link_to_nothing_is_one_bad_file_among_others(stores, seen) -> None:
    _, b, _ = stores
    for each in seen[1:]:
        b.put(each)
    place(b, seen[0]).parent.mkdir(exist_ok=True)
    place(b, seen[0]).symlink_to("nowhere")
    found = examine(b.folder)
    assert (found.observations, found.corrupt) == (len(seen) - 1, [place(b, seen[0])])
