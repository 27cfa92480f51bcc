import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as save_tensors

from ddranking import api
from ddranking.distilled.artifact import save
from ddranking.methods.baselines import make
from ddranking.running.store import Store
from ddranking.scoring.recordfile import load_record

from .conftest import SCORE, tree


@pytest.fixture(scope="session")
def sets(tmp_path_factory) -> Path:
    """A folder of two packed sets."""
    folder = tmp_path_factory.mktemp("folder")
    for name in ("kmeans", "herding"):
        save(make(name, api.dataset("digits"), 1), folder / f"{name}.safetensors")
    return folder


# --- score --all ----------------------------------------------------------------------------------


def test_a_folder_is_scored_as_one_work(run, sets, tmp_path) -> None:
    said = run("score", "--all", sets, *SCORE, "--out", "records", "--json")
    assert said.code == 0, said.err
    assert "12 trainings, 0 known; 4 more are saved" in said.err
    written = json.loads(said.out)
    assert {one["method"] for one in written} == {"k-means centroids", "Herding"}
    for one in written:
        record = load_record(one["record"])
        assert record.hlr.mean == pytest.approx(one["scores"]["hlr"]["mean"])
        if record.entry.method == "Herding":
            words = ("--store", "alone", "--out", "alone.json", "--json")
            alone = run("score", sets / "herding.safetensors", *SCORE, *words)
            assert json.loads(alone.out) == one["scores"]
    assert len(list(Path("records").iterdir())) == 2
    again = run("score", "--all", sets, *SCORE, "--out", "records")
    assert "12 trainings, 12 known" in again.err
    assert len(again.out.splitlines()) == 2
    assert not [line for line in again.err.splitlines() if "/12 " in line], "nothing is trained"


def test_records_go_where_those_of_single_scores_go(run, sets) -> None:
    assert run("score", "--all", sets, *SCORE).code == 0
    before = tree(Path("records"))
    assert len(before) == 2
    for name in ("kmeans", "herding"):
        assert run("score", sets / f"{name}.safetensors", *SCORE).code == 0
    assert tree(Path("records")).keys() == before.keys()


def test_shards_of_a_folder(run, sets) -> None:
    first = run("score", "--all", sets, *SCORE, "--shard", "1/2")
    assert first.code == 0
    assert "of 2 records need trainings of other shards" in first.err
    assert run("score", "--all", sets, *SCORE, "--shard", "2/2").code == 0
    assert len(tree(Path("records"))) == 2


@pytest.fixture
def mixed(sets, tmp_path) -> Path:
    """The two sets, and two files that cannot be scored."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in sets.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "a text.safetensors").write_text("hello")
    save(make("random", api.dataset("digits"), 10), folder / "ten.safetensors")
    return folder


def test_bad_sets_are_listed_before_anything_is_trained(run, mixed, tmp_path) -> None:
    said = run("score", "--all", mixed, *SCORE, "--store", tmp_path / "store")
    assert said.code == 2
    lines = said.err.splitlines()
    named = [line.partition(":")[0] for line in lines]
    assert named == ["a text.safetensors", "ten.safetensors", "ddranking"]
    assert "images per class" in lines[1]
    assert "2 of 4" in lines[2] and "--skip-invalid" in lines[2]
    assert not Path("records").exists()
    assert not list((tmp_path / "store").rglob("*.json"))


def test_bad_sets_can_be_left_out(run, mixed) -> None:
    said = run("score", "--all", mixed, *SCORE, "--skip-invalid")
    assert said.code == 0
    assert said.err.splitlines()[1].startswith("ten.safetensors: ")
    assert len(said.out.splitlines()) == len(tree(Path("records"))) == 2


@pytest.mark.parametrize("case", ["neither", "both", "no folder", "empty", "only bad", "one file"])
def test_what_is_no_folder_of_sets_is_one_line(run, good, tmp_path, case) -> None:
    empty, bad = tmp_path / "empty", tmp_path / "bad"
    empty.mkdir()
    bad.mkdir()
    (bad / "x.safetensors").write_text("x")
    words = {
        "neither": (),
        "both": (good, "--all", empty),
        "no folder": ("--all", tmp_path / "nowhere"),
        "empty": ("--all", empty),
        "only bad": ("--all", bad, "--skip-invalid"),
        "one file": (good, "--skip-invalid"),
    }[case]
    said = run("score", *words, *SCORE)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("ddranking: ")
    assert len(said.err.splitlines()) == (2 if case == "only bad" else 1)
    assert said.out == ""


# --- --engine -------------------------------------------------------------------------------------


def test_an_address_needs_the_ray_engine(run, good) -> None:
    said = run("score", good, *SCORE, "--address", "auto")
    assert said.code == 2
    assert "--address: expected --engine ray" in said.line


def test_without_ray_its_engine_says_how_to_get_it(run, good, monkeypatch) -> None:
    from ddranking.running import cluster

    monkeypatch.setattr(cluster, "installed", lambda: False)
    said = run("score", good, *SCORE, "--engine", "ray")
    assert said.code == 2
    assert "pip install 'ddranking[ray]'" in said.line


# --- store ----------------------------------------------------------------------------------------


@pytest.fixture
def shards(run, good) -> list[Path]:
    """Two stores that hold different shards of one score."""
    for index in (1, 2):
        words = ("--store", f"part{index}", "--shard", f"{index}/2")
        assert run("score", good, *SCORE, *words).code == 0
    return [Path("part1"), Path("part2")]


def test_stores_of_shards_become_one(run, good, shards) -> None:
    parts = [len(list(store.rglob("*.json"))) for store in shards]
    assert sum(parts) == 8
    said = run("store", "merge", *shards, "--into", "whole", "--json")
    assert said.code == 0
    told = json.loads(said.out)
    assert (told["copied"], told["present"], told["corrupt"]) == (8, 0, [])
    scored = run("score", good, *SCORE, "--store", "whole")
    assert "8 trainings, 8 known" in scored.err
    said = run("store", "merge", *shards)
    assert said.code == 0
    assert said.out.startswith(f"{parts[1]} trainings copied into part1")
    checked = run("store", "check", "part1", "--json")
    assert json.loads(checked.out)["observations"] == 8


def test_damage_and_conflicts_end_in_a_no(run, good, shards) -> None:
    first, *_ = sorted(shards[1].rglob("*.json"))
    values = json.loads(first.read_text())
    Store("other").put(Store(shards[1]).get(first.stem))  # type: ignore[arg-type]
    [copy] = Path("other").rglob("*.json")
    values["outcome"]["test_accuracy"] = 0.123
    copy.write_text(json.dumps(values))
    said = run("store", "merge", shards[1], "other")
    assert said.code == 1
    assert "not the same:" in said.out and "12.30%" in said.out
    first.write_text("{")
    said = run("store", "merge", "new", shards[1], "--into", "new")
    assert said.code == 2, "a store that is not there"
    said = run("store", "merge", shards[1], "--into", "new")
    assert said.code == 1
    assert f"damaged, not copied: {first}" in said.out
    said = run("store", "check", shards[1])
    assert said.code == 1
    assert f"damaged, is trained again when it is needed: {first}" in said.out


def test_left_overs_are_counted_and_removed_on_demand(run, shards) -> None:
    home = next(shards[0].rglob("*.json")).parent
    for name, age in (("old", 90_000), ("young", 0)):
        path = home / f".{name}.json.1.partial"
        path.write_text("{")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    assert "2 unfinished files" in run("store", "check", shards[0]).out
    said = run("store", "check", shards[0], "--clean")
    assert said.code == 0
    assert "1 unfinished files removed" in said.out
    assert [path.name for path in home.glob(".*")] == [".young.json.1.partial"]


def test_weights_that_nobody_goes_on_from_are_removed_on_demand(run, make_record) -> None:
    store, observations = Store("kept"), make_record().observations
    searched = [seen for seen in observations if seen.trial.evaluate == "validation"][:2]
    teacher = next(seen for seen in observations if seen.trial.evaluate == "test")
    keys = [seen.key for seen in (*searched, teacher)]
    for seen, days in zip((*searched, teacher), (40, 20, 40), strict=True):
        store.put(seen)
        store.put_weights(seen.key, save_tensors({"w": torch.zeros(1)}))
        kept = store.weights(seen.key)
        assert kept is not None
        os.utime(kept, (kept.stat().st_mtime - days * 86_400,) * 2)
    assert "3 files of weights (0.0 MB)" in run("store", "check", "kept").out
    said = run("store", "check", "kept", "--drop-weights", "30", "--json")
    assert (said.code, json.loads(said.out)["weights"]) == (0, 2)
    assert [store.weights(key) is None for key in keys] == [True, False, False]
    assert all(store.get(key) for key in keys), "their trainings stay"


def test_trainings_halfway_are_counted_and_removed_on_demand(run, make_record) -> None:
    store, [one, other, *_] = Store("kept"), make_record().observations
    for seen, days in ((one, 40), (other, 20)):
        store.put_halfway(seen.key, b"weights and moments")
        path = store.halfway(seen.key)
        os.utime(path, (path.stat().st_mtime - days * 86_400,) * 2)
    assert "2 trainings kept halfway" in run("store", "check", "kept").out
    said = run("store", "check", "kept", "--drop-weights", "30", "--json")
    assert (said.code, json.loads(said.out)["halfway"]) == (0, 1)
    assert not store.halfway(one.key).exists() and store.halfway(other.key).exists()
    assert run("store", "merge", "kept", "--into", "all").code == 0
    assert not list(Path("all").rglob("*.halfway")), "it may go on elsewhere meanwhile"


@pytest.mark.parametrize("days", ["-1", "nan"])
def test_days_are_a_number_from_zero_on(run, shards, days) -> None:
    said = run("store", "check", shards[0], "--drop-weights", days)
    assert said.code == 2
    assert "--drop-weights: expected a number of days" in said.line


@pytest.mark.parametrize("words", [("merge",), ("merge", "part1"), ("check", "nowhere")])
def test_a_store_that_is_none_is_one_line(run, tmp_path, words) -> None:
    before = tree(tmp_path)
    said = run("store", *words)
    assert said.code == 2
    assert said.line.startswith("ddranking: store ")
    assert tree(tmp_path) == before
