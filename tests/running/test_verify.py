"""Finals of a record trained again: what is trained, what is refused, and what is marked."""

import pytest

from ddranking import api
from ddranking.errors import BadDistilledSet, BadInput, MissingData
from ddranking.methods.baselines import make
from ddranking.running.local import Pool, devices
from ddranking.running.store import Store
from ddranking.running.verify import ARMS, draw_seeds, prepare_repeat
from ddranking.scoring.record import Invalidation, Record
from ddranking.scoring.recordfile import load_record, parse_record

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def scored(make_study):
    """A study that has been run, and its record."""
    study = make_study()
    with Pool(study.workbench, devices("cpu")) as pool:
        return study, study.record(study.run(pool, api.Silent()))


@pytest.fixture
def prepare(scored, candidate, tmp_path):
    """Prepares a repeat of the record in a store of its own."""
    study, made = scored

    def prepare_(record: Record = made, store="again", distilled=candidate, **choices):
        folder = Store(tmp_path / store)
        return prepare_repeat(record, distilled, study.workbench, folder, **choices)

    return prepare_


def train(work, watcher=None):
    with Pool(work.workbench, devices("cpu")) as pool:
        return work.run(pool, watcher or api.Silent())


def test_finals_are_trained_from_scratch_and_agree(scored, prepare, recorder, tmp_path) -> None:
    _, record = scored
    work = prepare()
    assert len(work.outlook({})) == 4
    assert min(work.outlook({}).values()) > len(work.workbench.dataset.test) / 3
    known = train(work, recorder)
    assert sorted(recorder.keys) == sorted(known)
    finals = {
        seen.key: seen.outcome
        for seen in record.observations
        if seen.trial.arm in ARMS and seen.trial.evaluate == "test"
    }
    assert {key: seen.outcome.test_accuracy for key, seen in known.items()} == {
        key: outcome.test_accuracy for key, outcome in finals.items()
    }
    assert all(seen.outcome.steps > 0 for seen in known.values())
    assert {test.verdict for test in work.verdicts(known, 0.02).values()} == {"agrees"}
    marked = work.verified(known, 0.02, by="A maintainer", date="2026-02-03")
    assert (marked.trust, marked.verification.by) == ("verified", "A maintainer")
    assert marked.verification.environments == tuple({seen.environment for seen in known.values()})
    assert marked.verification.arms["syn_any"].seeds == (0, 1)
    assert load_record(marked.save(tmp_path / "verified.json")) == marked
    unmarked = {"trust": "self-measured", "verification": None}
    assert marked.model_copy(update=unmarked) == record


def test_arms_and_seeds_are_chosen(prepare, recorder) -> None:
    work = prepare(arms=("rdm_any", "rdm_any"), trials=2)
    known = train(work, recorder)
    assert {seen.trial.arm for seen in known.values()} == {"rdm_any"}
    assert len(known) == 2
    assert work.verdicts(known, 0.02).keys() == {"rdm_any"}


def test_a_record_of_halving_is_verified_as_any_other(make_study, prepare, tmp_path) -> None:
    halving = ("track.selection=halving", "track.hard.learning_rate=[0.02, 0.05, 0.1]")
    study = make_study("halved", changes=halving)
    with Pool(study.workbench, devices("cpu")) as pool:
        record = study.record(study.run(pool, api.Silent()))
    assert record.selection["syn_hard"].seeds is not None
    work = prepare(record, "again of halving")
    known = train(work)
    assert len(known) == 4
    marked = work.verified(known, 0.02, by="A maintainer", date="2026-02-03")
    assert load_record(marked.save(tmp_path / "verified.json")) == marked


def test_other_results_do_not_agree(scored, prepare) -> None:
    """An author who adds twenty points to every final: the record is whole, and not repeatable."""
    from ddranking.scoring.derivation import derive

    _, record = scored
    better = tuple(
        seen.model_copy(
            update={
                "outcome": seen.outcome.model_copy(
                    update={"test_accuracy": seen.outcome.test_accuracy + 0.2}
                )
            }
        )
        if seen.trial.arm == "syn_any"
        else seen
        for seen in record.observations
    )
    selection, scores = derive(record.plan, better, record.real_hard)
    forged = record.model_copy(
        update={"observations": better, "selection": selection, "scores": scores}
    )
    assert parse_record(forged.to_values()) == forged
    work = prepare(forged)
    known = train(work)
    verdicts = {arm: test.verdict for arm, test in work.verdicts(known, 0.02).items()}
    assert verdicts == {"syn_any": "differs", "syn_hard": "agrees"}
    with pytest.raises(ValueError, match="syn_any: differs"):
        work.verified(known, 0.02, by="A maintainer", date="2026-02-03")


def test_the_records_own_trainings_are_no_repetition(prepare) -> None:
    with pytest.raises(BadInput, match="the record's own"):
        prepare(store="store")  # the author's


def test_an_interrupted_verification_goes_on(prepare, recorder) -> None:
    class Stopping(type(recorder)):
        def finished(self, trial) -> None:
            super().finished(trial)
            raise KeyboardInterrupt

    first = Stopping()
    with pytest.raises(KeyboardInterrupt):
        train(prepare(), first)
    work = prepare()
    assert len(work.outlook(work.known())) == 3
    assert first.keys[0] in train(work, recorder)
    assert first.keys[0] not in recorder.keys and len(recorder.keys) == 3


def test_what_cannot_be_repeated_is_refused_before_training(scored, prepare, digits) -> None:
    _, record = scored
    with pytest.raises(BadDistilledSet, match="digest"):
        prepare(distilled=make("noise", digits, 1))
    entry = record.entry.model_copy(update={"learning_rate": 0.5})
    with pytest.raises(BadDistilledSet, match="learning_rate"):
        prepare(record.model_copy(update={"entry": entry}))
    copy = record.dataset.model_copy(update={"digest": "sha256:" + "0" * 64})
    with pytest.raises(MissingData, match="copy"):
        prepare(record.model_copy(update={"dataset": copy}))
    with pytest.raises(BadInput, match="implementation"):
        prepare(record.model_copy(update={"implementation": 999}))
    mark = Invalidation(reason="wrong", date="2026-01-02", by="a maintainer")
    with pytest.raises(BadInput, match="invalidated"):
        prepare(record.model_copy(update={"invalidated": mark}))
    with pytest.raises(BadInput, match="--arm"):
        prepare(arms=("rdm_hard",))
    for trials in (-1, 1, 3):
        with pytest.raises(BadInput, match="--trials"):
            prepare(trials=trials)


def test_seeds_are_drawn_by_content(make_record) -> None:
    records = [make_record(f"Method {k}") for k in range(30)]
    drawn = [draw_seeds(record, 2) for record in records]
    assert drawn == [draw_seeds(record, 2) for record in records]
    assert {seed for pair in drawn for seed in pair} == set(range(5))
    assert all(a < b for a, b in drawn)
    assert draw_seeds(records[0], None) == (0, 1, 2, 3, 4)
