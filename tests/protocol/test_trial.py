import pytest
from pydantic import ValidationError

from ddranking.protocol.canonical import content_hash
from ddranking.protocol.trial import Distilled, RandomImages, Trial, Whole

VALUES = {
    "arm": "syn_any",
    "training_set": {"kind": "distilled", "digest": "sha256:" + "a" * 64},
    "space": {"kind": "standardized", "mean": [0.5], "std": [0.25]},
    "training": {"epochs": 300, "batch_size": 256, "learning_rate": 0.01},
    "student": "convnet3",
    "seed": 0,
    "dataset": "sha256:" + "d" * 64,
    "validation_size": 2000,
    "evaluate": "test",
}
OTHERS = {
    "arm": ["syn_hard", "rdm_any", "real_hard"],
    "training_set": [
        {"kind": "distilled", "digest": "sha256:" + "b" * 64},
        {"kind": "random", "ipc": 1},
        {"kind": "random", "ipc": 10},
        {"kind": "whole"},
    ],
    "space": [{"kind": "pixel"}, {"kind": "standardized", "mean": [0.5], "std": [0.2]}],
    "training": [
        VALUES["training"] | change
        for change in (
            {"epochs": 301},
            {"batch_size": 128},
            {"learning_rate": 0.02},
            {"optimizer": {"kind": "adam"}},
            {"optimizer": {"kind": "sgd", "momentum": 0.8}},
            {"schedule": {"kind": "cosine"}},
            {"augmentation": [{"kind": "dsa"}]},
            {"augmentation": [{"kind": "dsa", "flip": 0.4}]},
            {"augmentation": [{"kind": "flip"}, {"kind": "crop"}]},
            {"augmentation": [{"kind": "crop"}, {"kind": "flip"}]},
            {"augmentation": [{"kind": "torchvision", "name": "RandomRotation"}]},
            {"labels": {"kind": "stored"}, "loss": {"kind": "kl"}},
            {"labels": {"kind": "stored", "view": "random"}, "loss": {"kind": "kl"}},
            {"labels": {"kind": "stored"}, "loss": {"kind": "kl", "temperature": 20}},
            {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}},
        )
    ],
    "student": ["convnet3-w64"],
    "seed": [1, 2],
    "dataset": ["sha256:" + "e" * 64],
    "validation_size": [1000],
    "evaluate": ["validation"],
    "implementation": [2],
}


def key(**changes) -> str:
    return Trial.model_validate(VALUES | changes).key


def test_the_key_of_a_trial_never_changes() -> None:
    """Every store and record rests on it. A new field of the rules must leave this key alone."""
    assert key() == "7819ce9fe1bd01322b566e7adef1fe28873ddcf8c740e89255abf952c6d73865"


def test_every_field_changes_the_key() -> None:
    assert set(OTHERS) == set(Trial.model_fields)
    keys = [key(**{field: value}) for field, values in OTHERS.items() for value in values]
    assert len({key(), *keys}) == len(keys) + 1


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"seed": 7, "evaluate": "validation"},
        {"space": {"kind": "odd", "b": [1, 1.0, True, None, -0.0, 1e-7, 1e22], "a": "\u00e9\n"}},
        {"space": {"kind": "long", "a": ["x" * 100] * 300}},
        {"student": 'a "quoted" \\ name'},
        {"training_set": {"kind": "whole"}, "training": VALUES["training"] | {"epochs": 1}},
    ],
)
def test_the_key_is_the_hash_of_the_canonical_json(change) -> None:
    """However it is put together."""
    trial = Trial.model_validate(VALUES | change)
    assert trial.key == content_hash(trial.model_dump(mode="json")).removeprefix("sha256:")


def test_rules_at_a_rate_are_those_rules(rates=(0.1, 0.02)) -> None:
    training = Trial.model_validate(VALUES).training
    for rate in rates:
        assert training.at(rate) is training.at(rate)
        assert training.at(rate) == training.model_copy(update={"learning_rate": rate})
        assert training.at(rate).canonical != training.canonical


def test_the_order_in_which_fields_are_given_does_not() -> None:
    space = dict(reversed(VALUES["space"].items()))
    training = dict(reversed(VALUES["training"].items()))
    shuffled = dict(reversed((VALUES | {"space": space, "training": training}).items()))
    assert Trial.model_validate(shuffled).key == key()


def test_equal_numbers_are_one_trial_however_they_are_written() -> None:
    assert key(training=VALUES["training"] | {"learning_rate": 1}) == key(
        training=VALUES["training"] | {"learning_rate": 1.0}
    )


def test_a_trial_survives_json() -> None:
    trial = Trial.model_validate(VALUES)
    assert Trial.model_validate_json(trial.model_dump_json()).key == trial.key


def test_a_copy_has_a_key_of_its_own() -> None:
    trial = Trial.model_validate(VALUES)
    first = trial.key
    copy = trial.model_copy(update={"seed": trial.seed + 1})
    assert copy.key != first == trial.key
    assert copy.key == Trial.model_validate(copy.model_dump()).key


def test_the_search_of_a_final_differs_in_what_it_reads_alone() -> None:
    trial = Trial.model_validate(VALUES)
    searched = trial.searched_as()
    assert searched.evaluate == "validation"
    assert searched.model_copy(update={"evaluate": "test"}) == trial


@pytest.mark.parametrize(
    "changes",
    [
        {"arm": "any"},
        {"seed": -1},
        {"dataset": "cifar10"},
        {"evaluate": "train"},
        {"training_set": {"kind": "distilled", "digest": "x"}},
        {"training_set": {"kind": "random", "ipc": 0}},
        {"training_set": {"kind": "stolen"}},
        {"validation_size": 0},
        {"device": "cuda"},
    ],
)
def test_what_is_no_trial_is_refused(changes) -> None:
    with pytest.raises(ValidationError):
        key(**changes)


def test_training_sets_say_what_they_are() -> None:
    sets = (Distilled(digest="sha256:" + "a" * 64), RandomImages(ipc=1), Whole())
    assert [each.kind for each in sets] == ["distilled", "random", "whole"]
