"""Scores whose labels a teacher makes: the whole way, resumed, and refused before any training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ddranking.errors import BadFile, BadInput, BadProtocol, UnknownName
from ddranking.models import build
from ddranking.running.local import Pool
from ddranking.running.store import Store
from ddranking.running.study import prepare, usual_space
from ddranking.running.teachers import Look, between, teacher
from ddranking.running.verify import prepare_repeat
from ddranking.scoring.recordfile import parse_record

pytestmark = pytest.mark.usefixtures("one_thread")

WEIGHTS = "{kind: trained, training: {epochs: 2, batch_size: 128, learning_rate: 0.05}}"
TAUGHT = (
    f"labels={{kind: teacher, networks: [{{model: mlp, weights: {WEIGHTS}}}]}}",
    "loss={kind: kl, temperature: 4}",
    "augmentation=[{kind: mixup}]",
)


def run(study, watcher):
    with Pool(study.workbench, [torch.device("cpu")]) as pool:
        return study.run(pool, watcher)


@pytest.mark.parametrize("sees", ["batch", "images"])
def test_a_taught_score_runs_and_its_record_holds_the_teacher(make_study, recorder, sees) -> None:
    study = make_study(changes=(*TAUGHT, f"labels.sees={sees}"))
    record = study.record(run(study, recorder))
    [made] = record.plan.teachers
    taught = study.plan.arm("syn_any").finals(0.1)[0].key
    assert recorder.keys.index(made.key) < recorder.keys.index(taught)
    assert len(recorder.keys) == study.plan.total == len(record.observations)
    assert parse_record(record.to_values()) == record
    assert {"syn_any", "rdm_any"} <= record.accuracy.keys()
    without = [seen for seen in record.observations if seen.key != made.key]
    with pytest.raises(BadProtocol, match="those of the teacher"):
        parse_record(record.to_values() | {"observations": [_plain(seen) for seen in without]})


def _plain(seen):
    return seen.model_dump(mode="json")


def test_teachers_labels_are_those_of_a_slow_reference(make_study, recorder) -> None:
    """The worker's teacher against the network of the store, fed by hand in its own space."""
    study = make_study(changes=TAUGHT)
    run(study, recorder)
    trial = study.plan.arm("syn_any").finals(0.1)[0]
    [made] = study.plan.teachers
    path = study.store.weights(made.key)
    labeller = teacher(trial.training.labels, trial.space, study.workbench, {made.key: path})
    pixels = study.workbench.dataset.test.pixels[:50]
    own, usual = (
        study.workbench.fitted(space).apply(pixels) for space in (trial.space, made.space)
    )
    network = build("mlp", study.workbench.dataset.train.shape, 10, seed=0).eval()
    network.load_state_dict(load_file(path))
    with torch.no_grad():
        slow = network(torch.from_numpy(usual))
    torch.testing.assert_close(labeller(torch.from_numpy(own)), slow, atol=1e-4, rtol=1e-4)
    assert (slow.argmax(1).numpy() == study.workbench.dataset.test.labels[:50]).mean() > 0.5


def test_a_teacher_whose_weights_are_gone_is_trained_again_where_it_is_needed(
    make_study, recorder
) -> None:
    study = make_study(changes=TAUGHT)
    first = run(study, recorder)
    [made] = study.plan.teachers
    again = make_study(changes=(*TAUGHT, "epochs=3"))
    assert [trial.key for trial in again.plan.teachers] == [made.key]
    again.store.drop_weights(made.key)
    assert again.pending(again.known())[0] == made
    known = run(again, recorder)
    assert recorder.keys.count(made.key) == 2
    assert known[made.key] == first[made.key]  # what is stored stays
    done = make_study(changes=TAUGHT)
    done.store.drop_weights(made.key)
    assert not done.pending(done.known())  # nothing is left that needs it


def test_weights_of_a_file_take_the_place_of_the_teachers_own(
    make_study, candidate, digits, tmp_path, recorder
) -> None:
    file = tmp_path / "mine.safetensors"
    save_file(build("mlp", digits.train.shape, 10, seed=5).state_dict(), file)
    study = make_study(changes=TAUGHT, teacher=file, any_teacher=True)
    assert not study.plan.teachers
    record = study.record(run(study, recorder))
    weights = record.recipe.training.labels.networks[0].weights
    assert weights.kind == "given"
    assert record.recipe.hash != make_study(changes=TAUGHT).plan.recipe.hash
    assert parse_record(record.to_values()) == record
    with pytest.raises(BadProtocol, match=r"--teacher: expected a recipe whose teacher is one"):
        make_study(teacher=file)
    with pytest.raises(BadFile, match=r"teacher .*none\.pt: expected a readable file of weights"):
        make_study(changes=TAUGHT, teacher=tmp_path / "none.pt")
    other = tmp_path / "other.safetensors"
    save_file(build("lenet", digits.train.shape, 10, seed=5).state_dict(), other)
    with pytest.raises(BadFile, match="tensors of this model"):
        make_study(changes=TAUGHT, teacher=other)
    assert Path(file).is_file()


@pytest.fixture
def sure(make_study, recorder, tmp_path) -> dict:
    """The weights of a network that was trained on the real digits."""
    study = make_study("elsewhere", changes=TAUGHT)
    run(study, recorder)
    return load_file(study.store.weights(study.plan.teachers[0].key))


def test_a_given_teacher_is_shown_real_images_first(make_study, digits, tmp_path, sure) -> None:
    file = tmp_path / "sure.safetensors"
    save_file(sure, file)
    study = make_study(changes=TAUGHT, teacher=file)
    [line] = study.told
    found = re.fullmatch(rf"teacher {file} \(mlp\): names (.*)% of (\d+) real .* rightly", line)
    assert found is not None
    # The same, by hand: the network's own space is the dataset's usual one.
    places = study.workbench.split(study.plan.track.validation_size).validation
    shown = digits.train.take(places)
    network = build("mlp", digits.train.shape, 10, seed=0).eval()
    network.load_state_dict(sure)
    usual = study.workbench.fitted(usual_space(digits))
    with torch.no_grad():
        named = network(torch.from_numpy(usual.apply(shown.pixels))).argmax(1).numpy()
    assert int(found[2]) == min(500, len(places))
    slow = 100 * float((named == shown.labels).mean())
    assert abs(float(found[1]) - slow) < (0.06 if len(places) <= 500 else 5) and slow > 60
    assert not make_study(changes=TAUGHT).told


def test_a_given_teacher_is_shown_them_once_for_all_sets(
    make_study, candidate, tmp_path, sure, monkeypatch
) -> None:
    file = tmp_path / "sure.safetensors"
    save_file(sure, file)
    study = make_study(changes=TAUGHT, teacher=file)
    monkeypatch.setattr("ddranking.running.teachers._look", None)
    choices = (study.plan.track, study.plan.recipe, replace(study.workbench), study.store)
    assert prepare(candidate, *choices).told == study.told


def test_a_teacher_that_knows_nothing_is_refused_with_what_it_may_be(
    make_study, digits, tmp_path, sure
) -> None:
    last = max(name for name in sure if name.endswith("bias"))[: -len("bias")]
    order = np.roll(np.arange(10), 3).tolist()
    turned = sure | {f"{last}{part}": sure[f"{last}{part}"][order] for part in ("weight", "bias")}
    save_file(turned, tmp_path / "turned.safetensors")
    with pytest.raises(BadInput, match=r"at least 20\.0%.*outputs in another order.*--any-teacher"):
        make_study(changes=TAUGHT, teacher=tmp_path / "turned.safetensors")
    save_file(
        build("mlp", digits.train.shape, 10, seed=5).state_dict(), tmp_path / "new.safetensors"
    )
    with pytest.raises(BadInput, match=r"names at least 20\.0% rightly") as caught:
        make_study(changes=TAUGHT, teacher=tmp_path / "new.safetensors")
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "store").rglob("*.json"))
    study = make_study(changes=TAUGHT, teacher=tmp_path / "new.safetensors", any_teacher=True)
    assert len(study.told) == 1


@pytest.mark.parametrize(
    ("classes", "least"), [(2, 0.75), (3, 2 / 3), (10, 0.2), (100, 0.026), (1000, 0.008)]
)
def test_what_a_teacher_has_to_reach(classes, least) -> None:
    assert Look(500, classes, 0.1, None).least == pytest.approx(least)


@pytest.mark.parametrize(
    ("network", "error", "told"),
    [
        ("{model: mpl, weights: " + WEIGHTS + "}", UnknownName, "mpl"),
        ("{model: 'nobody:net', weights: " + WEIGHTS + "}", BadInput, "your word that its code"),
        ("{model: mlp, weights: {kind: published}}", BadInput, "torchvision:NAME or timm:NAME"),
        (
            "{model: 'torchvision:resnet18', weights: {kind: published, name: V9}}",
            UnknownName,
            "V9",
        ),
        (
            "{model: mlp, weights: {kind: given, digest: '" + "sha256:" + "b" * 64 + "'}}",
            BadInput,
            "--teacher FILE",
        ),
    ],
)
def test_a_teacher_that_cannot_be_is_refused_before_any_training(
    make_study, tmp_path, network, error, told
) -> None:
    labels = f"labels={{kind: teacher, networks: [{network}]}}"
    with pytest.raises(error, match=told) as caught:
        make_study(changes=(*TAUGHT, labels))
    assert len(str(caught.value).splitlines()) == 1
    assert not list((tmp_path / "store").rglob("*.json"))


def test_between_spaces_is_what_the_spaces_do_to_pixels() -> None:
    one = {"kind": "standardized", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25]}
    other = {"kind": "standardized", "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.1]}
    pixel = {"kind": "pixel"}
    pixels = np.random.default_rng(0).uniform(size=(7, 3))

    def seen(space):
        mean, std = np.array(space.get("mean", [0] * 3)), np.array(space.get("std", [1] * 3))
        return (pixels - mean) / std

    for source in (one, other, pixel):
        for target in (one, other, pixel):
            scale, shift = between(source, target)
            np.testing.assert_allclose(seen(source) * scale + shift, seen(target), atol=1e-12)
    assert between(one, one) == ((1.0,), (0.0,))


def test_the_robust_score_and_the_unified_recipe_join_a_record(make_study, recorder) -> None:
    tiny = make_study().plan.recipe.model_copy(update={"name": "tiny"})
    study = make_study(changes=("epochs=3",), ars=True, unified=tiny, rdm_hard=True)
    record = study.record(run(study, recorder))
    accuracy = record.accuracy
    assert list(accuracy) == [
        "real_hard", "syn_hard", "syn_any", "rdm_any", "rdm_hard",
        "syn_noaug", "rdm_noaug", "syn_unified", "rdm_unified",
    ]  # fmt: skip
    assert parse_record(record.to_values()) == record
    beta = [
        0.5 * (sa - ra) + 0.5 * (sn - rn)
        for sa, ra, sn, rn in zip(
            *(accuracy[arm].values for arm in ("syn_any", "rdm_any", "syn_noaug", "rdm_noaug")),
            strict=True,
        )
    ]
    expected = (np.exp(np.mean(beta)) - np.exp(-1)) / (np.e - np.exp(-1))
    assert record.scores.ars.mean == pytest.approx(expected, abs=1e-12)
    assert record.ars(0.5) == record.scores.ars
    gain = np.subtract(accuracy["syn_unified"].values, accuracy["rdm_unified"].values)
    assert record.scores.ior_unified.values == pytest.approx(tuple(gain))
    assert make_study().knows("syn_any")  # shared with a plain score under that recipe


def test_no_augmentation_has_nothing_to_be_robust_against(make_study) -> None:
    with pytest.raises(BadProtocol, match="expected an augmentation to leave out"):
        make_study(changes=("augmentation=[]",), ars=True)


def test_shared_arms_of_a_taught_recipe_are_measured_once(make_study, recorder) -> None:
    from ddranking.running.shared import prepare_shared, reference

    study = make_study(changes=TAUGHT)
    track, recipe = study.plan.track, study.plan.recipe
    space = study.entry.space
    work = prepare_shared(
        track, recipe, study.workbench, study.store, arms=("rdm_any",), space=space
    )
    known = run(work, recorder)
    made = reference(work, known)
    assert {seen.trial.arm for seen in made.observations} == {"rdm_any", "teacher"}
    assert study.knows("rdm_any")


def test_a_taught_record_is_verified_with_seeds_that_are_not_the_teachers(
    make_study, candidate, tmp_path, recorder
) -> None:
    study = make_study(changes=TAUGHT)
    record = study.record(run(study, recorder))
    work = prepare_repeat(record, candidate, study.workbench, Store(tmp_path / "again"))
    work = replace(work, seeds=(1,))  # the teacher's own is 0
    [made] = record.plan.teachers
    assert made.key in work.outlook({})
    known = run(work, recorder)
    assert made.key in known
    seen = work.reruns(known)["syn_any"][0].outcome.test_accuracy
    assert seen == record.accuracy["syn_any"].values[1]


def test_a_trial_of_the_unified_recipe_is_named_by_its_arm(make_study) -> None:
    tiny = make_study().plan.recipe
    plan = make_study(changes=("epochs=3",), unified=tiny).plan
    unified = plan.arm("syn_unified").finals(0.1)[0]
    assert (unified.arm, plan.roles[unified.key]) == ("syn_any", "syn_unified")
    assert {plan.roles[trial.key] for arm in plan.arms for trial in arm.finals(arm.rates[0])} == {
        arm.arm for arm in plan.arms
    }
