"""Sets with stored soft labels: what a worker trains on, and what is refused before training."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ddranking.distilled.artifact import DistilledSet
from ddranking.errors import BadProtocol
from ddranking.running.local import Pool
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Task, perform
from ddranking.scoring.recordfile import parse_record

pytestmark = pytest.mark.usefixtures("one_thread")
SOFT = ("labels={kind: stored}", "loss={kind: soft_cross_entropy}")


@pytest.fixture(scope="module")
def labelled(candidate) -> DistilledSet:
    """The candidate with three views of logits that prefer its classes."""
    noise = np.random.default_rng(0).normal(size=(10, 3, 10))
    soft = (10 * np.eye(10)[:, None] + noise).astype(np.float32)
    card = candidate.card.model_copy(update={"soft_label_kind": "logits"})
    return replace(candidate, soft_labels=soft, card=card)


def test_the_worker_is_given_the_soft_labels_and_trains_on_them(
    make_study, labelled, digits
) -> None:
    study = make_study(distilled=labelled)
    trial = study.plan.arm("syn_any").finals(0.1)[0]
    soft = trial.training.model_validate(
        {
            **trial.training.model_dump(mode="json"),
            "labels": {"kind": "stored"},
            "loss": {"kind": "kl", "temperature": 2},
            "epochs": 40,
        }
    )
    bench = Workbench(digits, {labelled.digest: labelled})
    seen = bench.training_images(trial)
    assert seen.soft_kind == "logits"
    assert np.array_equal(seen.soft.numpy(), labelled.soft_labels)
    assert not np.shares_memory(seen.soft.numpy(), labelled.soft_labels)
    task = Task(trial.model_copy(update={"training": soft}))
    [(_, done)] = perform((task,), bench, torch.device("cpu"))
    assert done.steps == 40
    assert done.accuracy > 0.4


def test_random_and_real_images_have_no_soft_labels(make_study, labelled) -> None:
    study = make_study(distilled=labelled)
    for arm in ("rdm_any", "real_hard"):
        seen = study.workbench.training_images(study.plan.arm(arm).finals(0.1)[0])
        assert (seen.soft, seen.soft_kind) == (None, None)


def test_soft_labels_are_left_alone_by_rules_with_hard_ones(
    make_study, labelled, candidate
) -> None:
    with_soft, without = (make_study(distilled=each) for each in (labelled, candidate))
    results = []
    for study in (with_soft, without):
        [trial, *_] = study.plan.arm("syn_any").finals(0.1)
        [(_, done)] = perform((Task(trial),), study.workbench, torch.device("cpu"))
        results.append(done)
    assert results[0].accuracy == results[1].accuracy
    assert results[0].train_loss == results[1].train_loss


def test_a_set_without_soft_labels_is_refused_before_any_training(make_study) -> None:
    with pytest.raises(BadProtocol, match="carries soft labels, got a set without") as caught:
        make_study(changes=SOFT)
    assert len(str(caught.value).splitlines()) == 1


def test_random_images_are_labelled_by_the_tracks_network_and_the_record_says_so(
    make_study, labelled, recorder
) -> None:
    study = make_study(distilled=labelled, changes=SOFT)
    with Pool(study.workbench, [torch.device("cpu")]) as pool:
        known = study.run(pool, recorder)
    record = study.record(known)
    [teacher] = record.plan.teachers
    assert teacher.arm == "real_hard"
    labelled_by_it = study.plan.arm("rdm_any").finals(0.1)[0].key
    assert recorder.keys.index(teacher.key) < recorder.keys.index(labelled_by_it)
    assert any("whole-set network labelled each once (seed 0" in note for note in record.notes)
    assert parse_record(record.to_values()) == record


def test_the_common_rules_have_hard_labels(make_study) -> None:
    for arm in ("whole", "hard"):
        soft = (f"track.{arm}.labels={{kind: stored}}", f"track.{arm}.loss={{kind: kl}}")
        with pytest.raises(BadProtocol, match=f"{arm}.*trained with hard labels"):
            make_study(changes=soft)


def test_an_augmentation_that_cannot_be_made_stops_a_score(make_study) -> None:
    wrong = "[{kind: torchvision, name: RandomRotation, parameters: {angle: 3}}]"
    for change in (f"augmentation={wrong}", f"track.hard.augmentation={wrong}"):
        with pytest.raises(BadProtocol, match=r"torchvision RandomRotation.*angle"):
            make_study(changes=(change,))
