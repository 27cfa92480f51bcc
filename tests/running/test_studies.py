import json
from collections import Counter

import pytest
import torch

from ddranking import api
from ddranking.distilled.artifact import save
from ddranking.errors import BadInput, MissingReference
from ddranking.methods.baselines import make
from ddranking.running.local import Pool
from ddranking.running.studies import EVERYTHING, Studies, together
from ddranking.running.work import Shard

from .conftest import CHANGES, RECIPE, SEEDS, TRACK, TRAININGS

pytestmark = pytest.mark.usefixtures("one_thread")
OWN, SHARED = 2 * 2 + 2 + 2, 2 + 2
"""Trainings of one set alone (search and finals of syn_hard, syn_any), and those of all sets."""
assert OWN + SHARED == TRAININGS


@pytest.fixture(scope="session")
def sets(digits, tmp_path_factory):
    """Three packed sets of ten digits, and a file that is none."""
    folder = tmp_path_factory.mktemp("sets")
    for name in ("kmeans", "herding", "random"):
        save(make(name, digits, 1), folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def prepared(digits, sets, tmp_path, monkeypatch):
    monkeypatch.setenv("DDRANKING_REFERENCES", str(tmp_path / "references"))

    def prepared_(store="store", *, files=None, changes=()):
        rules = api.Rules(TRACK, RECIPE, seeds=SEEDS, changes=(*CHANGES, *changes))
        found = sorted(sets.glob("*.safetensors")) if files is None else files
        runtime = api.Runtime(store=tmp_path / store)
        return api.studies(found, rules, data=digits, runtime=runtime)

    return prepared_


def timeless(record) -> dict:
    values = json.loads(record.to_json())
    del values["created"]
    for observation in values["observations"]:
        del observation["seconds"]
    return values


class Written:
    """Keeps each record, in the order in which they became whole."""

    def __init__(self) -> None:
        self.records: dict[str, dict] = {}

    def __call__(self, study, known) -> None:
        assert study.entry.method not in self.records, "each once"
        self.records[study.entry.method] = timeless(study.record(known))


def run(many: Studies, watcher, whole, shard=EVERYTHING):
    with Pool(many.work.workbench, [torch.device("cpu")]) as pool:
        return many.run(pool, watcher, whole, shard)


def alone(prepared, changes=()) -> dict[str, dict]:
    """The records of the same sets, each scored by itself on a store of its own."""
    found = {}
    for study in prepared("alone", changes=changes).studies:
        with Pool(study.workbench, [torch.device("cpu")]) as pool:
            record = study.record(study.run(pool, api.Silent()))
        found[study.entry.method] = timeless(record)
    return found


def test_records_are_those_of_single_scores_and_shared_arms_are_trained_once(
    prepared, recorder
) -> None:
    made = prepared()
    many, written = together(made.studies), Written()
    assert not made.refused and len(made.files) == 3
    assert many.work.plan.total == 3 * OWN + SHARED
    assert many.shared == 2 * SHARED
    assert run(many, recorder, written) == []
    assert len(recorder.keys) == len(set(recorder.keys)) == 3 * OWN + SHARED
    assert written.records == alone(prepared)


def test_each_set_has_a_halving_of_its_own(prepared, recorder) -> None:
    changes = ("track.selection=halving", "track.hard.learning_rate=[0.02, 0.05, 0.1]")
    many, written = together(prepared(changes=changes).studies), Written()
    searched = 3 + 2  # of three rates a seed, of two the other one
    assert run(many, recorder, written) == []
    assert len(recorder.keys) == many.work.plan.total == 3 * (searched + 2 + 2) + SHARED
    assert written.records == alone(prepared, changes)


def test_a_search_of_all_sets_comes_before_any_final(prepared) -> None:
    order = []

    class Ordered(api.Silent):
        def finished(self, trial) -> None:
            order.append((trial.arm, trial.evaluate))

    run(together(prepared().studies), Ordered(), Written())
    hard = [evaluate for arm, evaluate in order if arm == "syn_hard"]
    assert hard == ["validation"] * 12 + ["test"] * 6


def test_a_record_is_whole_as_soon_as_its_last_training_is(prepared, recorder) -> None:
    """The first record does not wait for the finals of the other sets."""
    left = []

    def whole(study, known) -> None:
        left.append(3 * OWN + SHARED - len(recorder.keys))

    run(together(prepared().studies), recorder, whole)
    assert len(left) == 3
    assert left[0] > 0 and left[-1] == 0


class Stopped(Exception):
    """A stand-in for a kill."""


@pytest.mark.parametrize("after", [1, 14, 3 * OWN + SHARED - 1])
def test_a_stopped_run_resumes_as_a_whole(prepared, recorder, after) -> None:
    class Stopping(type(recorder)):
        def finished(self, trial) -> None:
            super().finished(trial)
            if len(self.keys) == after:
                raise Stopped

    first, written = Stopping(), Written()
    with pytest.raises(Stopped):
        run(together(prepared().studies), first, Written())
    assert run(together(prepared().studies), recorder, written) == []
    assert not set(first.keys) & set(recorder.keys)
    assert len(recorder.keys) + after == 3 * OWN + SHARED
    assert written.records == alone(prepared)
    recorder.keys.clear()
    again = Written()
    assert run(together(prepared().studies), recorder, again) == []
    assert recorder.keys == [] and again.records == written.records


def test_shards_share_the_work(prepared, recorder) -> None:
    left, rounds = [None], 0
    written = Written()
    while left:
        assert (rounds := rounds + 1) < 5
        for index in (1, 2):
            found = Written()
            left = run(together(prepared().studies), recorder, found, Shard(index, 2))
            written.records |= found.records
    assert Counter(recorder.keys).most_common(1)[0][1] == 1, "nothing twice"
    assert len(recorder.keys) == 3 * OWN + SHARED
    assert written.records == alone(prepared)


def test_sets_of_different_spaces_share_what_they_can(prepared, digits, tmp_path) -> None:
    """Random images of another space are other trainings; the whole real set is the same."""
    from dataclasses import replace

    from ddranking.data.space import parse_space

    other = make("kmeans", digits, 1)
    space = parse_space("standardized", digits)
    card = other.card.model_copy(update={"space": space, "method": "Another space"})
    save(replace(other, card=card), tmp_path / "other.safetensors")
    save(make("kmeans", digits, 1), tmp_path / "one.safetensors")
    made = prepared(files=sorted(tmp_path.glob("*.safetensors")))
    many = together(made.studies)
    assert many.shared == SEEDS, "real_hard alone"


def test_what_is_wrong_with_a_set_is_said_of_it(prepared, sets, digits, tmp_path) -> None:
    (tmp_path / "text.safetensors").write_text("hello")
    save(make("kmeans", digits, 10), tmp_path / "ten.safetensors")
    (tmp_path / "twice.safetensors").write_bytes((sets / "kmeans.safetensors").read_bytes())
    files = [*sorted(sets.glob("*.safetensors")), *sorted(tmp_path.glob("*.safetensors"))]
    made = prepared(files=[*files, tmp_path / "nothing.safetensors"])
    assert len(made.studies) == 3
    told = {
        one.file.rpartition("/")[2].removesuffix(".safetensors"): one.reason for one in made.refused
    }
    assert told.keys() == {"text", "ten", "twice", "nothing"}
    assert "images per class" in told["ten"]
    assert "kmeans.safetensors" in told["twice"]
    assert all(len(reason.splitlines()) == 1 for reason in told.values())


def test_what_is_wrong_with_every_set_is_said_once(prepared) -> None:
    with pytest.raises(MissingReference):
        prepared(changes=("track.real_hard=reference",))
    with pytest.raises(BadInput, match="at least one"):
        together(prepared(files=[]).studies)
