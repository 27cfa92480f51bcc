import json
import re
from collections import Counter

import pytest

from ddranking import api
from ddranking.errors import (
    BadDistilledSet,
    BadInput,
    BadProtocol,
    MissingReference,
    UnknownName,
    ValueOutOfRange,
)
from ddranking.methods.baselines import make
from ddranking.running.local import Pool, devices
from ddranking.running.study import RealChoice
from ddranking.running.work import Shard
from ddranking.scoring.record import Record
from ddranking.scoring.recordfile import load_record

pytestmark = pytest.mark.usefixtures("one_thread")
TRAININGS = 12  # see conftest.py
REFERENCE = ("track.real_hard=reference",)


def here(study, workers: int = 1) -> Pool:
    return Pool(study.workbench, devices("cpu") * workers)


def timeless(record: Record) -> dict:
    """A record without what may differ between two runs of the same seeds on one machine."""
    values = json.loads(record.to_json())
    del values["created"]
    for observation in values["observations"]:
        del observation["seconds"]
    return values


@pytest.fixture
def run(make_study, recorder):
    """Runs a tiny study to its end and gives its record."""

    def run_(store="store", *, workers=1, watcher=recorder, **choices) -> Record:
        study = make_study(store, **choices)
        with here(study, workers) as pool:
            return study.record(study.run(pool, watcher))

    return run_


def stored(folder) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every stored trial."""
    return {p.stem: (p.stat().st_ino, p.stat().st_mtime_ns) for p in folder.rglob("*.json")}


# --- From end to end ------------------------------------------------------------------------------


def test_a_score_from_end_to_end(run, recorder, tmp_path) -> None:
    record = run()
    assert Counter(seen.trial.arm for seen in record.observations) == {
        "real_hard": 2,
        "syn_hard": 6,
        "syn_any": 2,
        "rdm_any": 2,
    }
    assert sorted(recorder.keys) == sorted(stored(tmp_path / "store"))
    assert len(recorder.keys) == TRAININGS
    assert set(recorder.shares) <= {0.25, 0.5, 0.75, 1.0}
    assert record.real_hard.kind == "measured"
    assert record.selection["syn_hard"].rates == (0.05, 0.1)
    assert record.selection["syn_any"].mean_validation is None
    assert record.hlr.mean == pytest.approx(
        record.accuracy["real_hard"].mean - record.accuracy["syn_hard"].mean
    )
    assert record.track.custom
    assert load_record(record.save(tmp_path / "record.json")) == record
    assert not list(tmp_path.rglob("*.safetensors")), "weights of the search are dropped"


def test_the_same_seeds_give_the_same_record(run) -> None:
    first, second = run("one"), run("two")
    assert timeless(first) == timeless(second)


def test_a_finished_study_trains_nothing(run, recorder, tmp_path) -> None:
    first = run()
    before = stored(tmp_path / "store")
    recorder.keys.clear()
    again = run()
    assert recorder.keys == []
    assert stored(tmp_path / "store") == before
    assert [seen.seconds for seen in again.observations] == [
        seen.seconds for seen in first.observations
    ]


@pytest.mark.slow
def test_the_record_does_not_depend_on_the_number_of_workers(run) -> None:
    """Two real worker processes beside one in this process."""
    assert timeless(run("one", workers=1)) == timeless(run("two", workers=2))


# --- Resuming -------------------------------------------------------------------------------------


class Stopped(Exception):
    """Raised by a watcher, as a stand-in for a kill that may come at any time."""


@pytest.mark.parametrize("after", [1, 5, TRAININGS - 1])
def test_a_stopped_run_goes_on_where_it_was(run, recorder, tmp_path, after) -> None:
    class Stopping(type(recorder)):
        def finished(self, trial) -> None:
            super().finished(trial)
            if len(self.keys) == after:
                raise Stopped

    first = Stopping()
    with pytest.raises(Stopped):
        run(watcher=first)
    before = stored(tmp_path / "store")
    assert sorted(before) == sorted(first.keys)
    record = run()
    assert not set(recorder.keys) & set(first.keys)
    assert len(recorder.keys) + after == TRAININGS
    after_ = stored(tmp_path / "store")
    assert {key: after_[key] for key in before} == before
    assert timeless(record) == timeless(run("uninterrupted"))


def test_a_damaged_trial_alone_is_trained_again(run, recorder, tmp_path) -> None:
    wanted = timeless(run())
    for key in list(recorder.keys):  # of the search too, whose finals are stored already
        [path] = (tmp_path / "store").rglob(f"{key}.json")
        path.write_text(path.read_text()[:100])
        recorder.keys.clear()
        assert timeless(run()) == wanted
        assert recorder.keys == [key]


def test_finals_from_the_weights_of_the_search_are_those_of_a_training(run, make_study) -> None:
    wanted = run("kept")
    study, taken = make_study("lost"), []
    study.store.put_weights = lambda key, weights: taken.append(key)
    with here(study) as pool:
        record = study.record(study.run(pool, api.Silent()))
    assert len(taken) == 4
    assert timeless(record) == timeless(wanted)


def test_another_plan_may_start_from_the_weights_of_an_abandoned_search(
    make_study, run, tmp_path
) -> None:
    """The rate of this recipe was one of several of another score, which was stopped."""
    study = make_study(changes=("learning_rate=[0.05, 0.1]",))
    with here(study) as pool:
        tasks = [study._task(trial) for trial in study.plan.arm("syn_any").search]
        for task, done in pool.run(tasks, api.Silent()):
            study._keep(study._observe(task, done), done)
    assert list(tmp_path.rglob("*.safetensors"))
    assert timeless(run()) == timeless(run("clean"))


def test_damaged_weights_are_trained_again(make_study, run, recorder, tmp_path) -> None:
    class Damaging(type(recorder)):
        def finished(self, trial) -> None:
            for path in tmp_path.rglob("*.safetensors"):
                path.write_bytes(b"damaged")

    assert timeless(run("damaged", watcher=Damaging())) == timeless(run("whole"))


def test_shards_share_the_work_of_one_store(make_study, recorder, tmp_path, run) -> None:
    parts = [Shard(1, 2), Shard(2, 2)]
    for part in parts:
        study = make_study()
        with here(study) as pool:
            study.run(pool, recorder, part)
    between = stored(tmp_path / "store")
    assert len(recorder.keys) == len(set(recorder.keys)) == len(between)
    record = run()
    assert len(recorder.keys) == len(set(recorder.keys)) == TRAININGS
    after = stored(tmp_path / "store")
    assert {key: after[key] for key in between} == between
    assert timeless(record) == timeless(run("unsharded"))


def test_every_trial_belongs_to_one_shard(make_study) -> None:
    study = make_study()
    for trial in study.pending({}):
        for count in (1, 2, 3, 7):
            assert [Shard(i + 1, count).holds(trial) for i in range(count)].count(True) == 1


@pytest.mark.parametrize(("index", "count"), [(0, 2), (3, 2), (1, 0), (-1, 2)])
def test_a_shard_that_is_none(index, count) -> None:
    with pytest.raises(BadInput, match="I/N"):
        Shard(index, count)


def test_an_unfinished_study_has_no_record(make_study, recorder) -> None:
    study = make_study()
    with here(study) as pool:
        known = study.run(pool, recorder, Shard(1, 2))
    with pytest.raises(BadProtocol, match="fewer"):
        study.record(known)


def test_entries_share_the_arms_that_do_not_depend_on_them(run, recorder, digits) -> None:
    run()
    recorder.keys.clear()
    other = run(distilled=make("noise", digits, 1))
    assert len(recorder.keys) == TRAININGS - 4  # neither real_hard nor rdm_any again
    assert other.entry.method == "Uniform noise"


# --- What is still to do --------------------------------------------------------------------------


def test_the_outlook_counts_everything_that_is_left(make_study, run) -> None:
    study = make_study()
    assert len(study.outlook({})) == study.plan.total == TRAININGS
    known = {}
    with here(study) as pool:
        known = study.run(pool, api.Silent())
    assert study.outlook(known) == {}
    halves = dict(list(known.items())[:5])
    assert len(study.outlook(halves)) == TRAININGS - 5
    dataset, outlook = study.workbench.dataset, study.outlook({})
    reading = len(dataset.test) / 3
    assert max(outlook.values()) == len(dataset.train) + reading  # real_hard: one epoch
    assert min(outlook.values()) == reading  # a final that starts from the weights of its search


# --- Successive halving ---------------------------------------------------------------------------

HALVING = ("track.selection=halving", "track.hard.learning_rate=[0.02, 0.05, 0.1, 0.2]")
HALVED = 4 + 2 + (TRAININGS - 4)
"""Four rates with a seed, two with the other; finals and the other arms as ever."""


def test_halving_trains_what_its_rungs_ask_for_and_reads_the_test_set_once(run, recorder) -> None:
    record = run(changes=HALVING)
    assert len(recorder.keys) == HALVED == len(record.observations)
    chosen = record.selection["syn_hard"]
    assert sorted(chosen.seeds or ()) == [1, 1, 2, 2]
    assert chosen.seeds is not None and chosen.seeds[chosen.rates.index(chosen.selected)] == 2
    assert record.track.selection == "halving"
    tested = [seen for seen in record.observations if seen.trial.evaluate == "test"]
    assert {s.trial.rate for s in tested if s.trial.arm == "syn_hard"} == {chosen.selected}


@pytest.mark.parametrize("after", [2, 5, HALVED - 1])
def test_a_stopped_halving_goes_on_where_it_was(run, recorder, after) -> None:
    class Stopping(type(recorder)):
        def finished(self, trial) -> None:
            super().finished(trial)
            if len(self.keys) == after:
                raise Stopped

    with pytest.raises(Stopped):
        run(watcher=Stopping(), changes=HALVING)
    record = run(changes=HALVING)
    assert len(recorder.keys) + after == HALVED
    assert timeless(record) == timeless(run("uninterrupted", changes=HALVING))


def test_halving_finds_its_trainings_in_the_store_of_a_full_search(run, recorder) -> None:
    run(changes=HALVING[1:])
    recorder.keys.clear()
    halved = run(changes=HALVING)
    assert recorder.keys == []
    assert len(halved.observations) == HALVED
    assert timeless(halved) == timeless(run("own", changes=HALVING))


def test_shards_of_a_halving_end_with_the_record_of_one_run(make_study, run) -> None:
    study = make_study("shards", changes=HALVING)
    turns = 0
    while study.pending(study.known()):
        with here(study) as pool:
            study.run(pool, api.Silent(), Shard(1 + turns % 3, 3))
        turns += 1
        assert turns < 20
    assert timeless(study.record(study.known())) == timeless(run("alone", changes=HALVING))


def test_the_outlook_of_a_halving_counts_the_rungs_to_come(make_study, recorder) -> None:
    study = make_study(changes=HALVING)
    before = study.outlook({})
    assert len(before) == study.plan.total == HALVED
    effort = sum(before.values())

    class Counting(type(recorder)):
        def finished(self, trial) -> None:
            super().finished(trial)
            left = study.outlook(study.known())
            assert len(left) == HALVED - len(self.keys)
            assert sum(left.values()) < effort

    with here(study) as pool:
        known = study.run(pool, Counting())
    assert study.outlook(known) == {}


# --- Checked before any training ------------------------------------------------------------------


def test_a_set_for_another_track_is_refused(make_study, digits) -> None:
    with pytest.raises(BadDistilledSet, match=r"images per class .* expected 1 .* got 10"):
        make_study(distilled=make("random", digits, 10))
    with pytest.raises(BadProtocol, match="expected one of its datasets, digits, got mnist"):
        make_study(changes=["track.dataset=mnist"])


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ("track.student=convnt3", UnknownName, "convnet3"),
        ("track.student=resnet", UnknownName, "resnet18"),
        ("track.student=convnet4", BadInput, "at most 3 poolings"),
        ("track.validation_size=1297", BadInput, "valid"),
        ("track.validation_size=100000", BadInput, "valid"),
        ("learning_rate=stored", BadProtocol, "learning rate"),
    ],
)
def test_rules_that_do_not_fit_are_refused(make_study, change, kind, word) -> None:
    with pytest.raises(kind, match=word) as caught:
        make_study(changes=[change])
    assert len(str(caught.value).splitlines()) == 1


# --- The whole-set accuracy -----------------------------------------------------------------------


def test_a_missing_reference_names_the_ways_out(make_study) -> None:
    with pytest.raises(MissingReference) as caught:
        make_study(changes=REFERENCE)
    line = str(caught.value)
    for way in ("--train-real", "--real-accuracy", "--real-source", "$DDRANKING_REFERENCES"):
        assert way in line
    assert re.search(r"2 trainings, 2,594 image visits", line)


def test_a_published_number_is_marked_as_reported(run) -> None:
    record = run(changes=REFERENCE, real=RealChoice(0.95, "a paper, table 1"))
    assert (record.real_hard.kind, record.real_hard.accuracies) == ("reported", (0.95,))
    assert record.real_hard.source == "a paper, table 1"
    assert "real_hard" not in record.accuracy
    assert record.hlr.values == pytest.approx(
        [0.95 - each for each in record.accuracy["syn_hard"].values]
    )


def test_the_whole_set_is_trained_where_asked_for(run) -> None:
    record = run(changes=REFERENCE, real=RealChoice(train=True))
    assert record.real_hard.kind == "measured"


@pytest.mark.parametrize(
    ("choice", "kind", "word"),
    [
        (RealChoice(84.8, "a paper"), ValueOutOfRange, "looks like a percentage"),
        (RealChoice(float("nan"), "a paper"), ValueOutOfRange, "fraction"),
        (RealChoice(0.848), BadInput, "--real-source"),
        (RealChoice(0.848, ""), BadInput, "--real-source"),
        (RealChoice(None, "a paper"), BadInput, "--real-accuracy"),
        (RealChoice(0.848, "a paper", train=True), BadInput, "--train-real"),
        (RealChoice(None, "a paper", train=True), BadInput, "--real-accuracy"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused(make_study, choice, kind, word) -> None:
    with pytest.raises(kind, match=word):
        make_study(real=choice)


def reference(folder, **fields) -> None:
    folder.mkdir(exist_ok=True)
    values = {"schema": "ddranking.reference/1", "dataset": "digits", "student": "mlp", **fields}
    (folder / "digits.json").write_text(json.dumps(values))


def test_a_reported_reference_is_used_and_named(make_study, tmp_path) -> None:
    reference(tmp_path / "references", reported={"accuracy": 0.97, "source": "a paper"})
    study = make_study(changes=REFERENCE)
    assert study.real_hard is not None
    assert (study.real_hard.kind, study.real_hard.source) == ("reported", "a paper")
    assert study.plan.arm("real_hard") is None


def test_a_measured_reference_counts_like_a_training(run, make_study, recorder, tmp_path) -> None:
    measured = run("elsewhere")
    shared = [
        json.loads(seen.model_dump_json())
        for seen in measured.observations
        if seen.trial.arm in ("real_hard", "rdm_any")
    ]
    reference(
        tmp_path / "references",
        observations=shared,
        reported={"accuracy": 0.5, "source": "a worse number"},
    )
    recorder.keys.clear()
    record = run("here", changes=REFERENCE)
    assert len(recorder.keys) == TRAININGS - 4
    assert record.real_hard.kind == "measured"
    assert record.scores == measured.scores
    assert not {seen["trial"]["seed"] for seen in shared} - {0, 1}


def test_a_reference_of_other_rules_does_not_count(run, make_study, tmp_path) -> None:
    measured = run("elsewhere")
    shared = [json.loads(seen.model_dump_json()) for seen in measured.observations]
    reference(tmp_path / "references", observations=shared)
    with pytest.raises(MissingReference):
        make_study("here", changes=(*REFERENCE, "track.whole.epochs=3"))


def test_a_reference_with_a_fault_is_one_line(make_study, tmp_path) -> None:
    reference(tmp_path / "references", reported={"accuracy": 97, "source": "a paper"})
    with pytest.raises(BadProtocol, match=r"digits\.json, field reported\.accuracy"):
        make_study(changes=REFERENCE)
