import pickle

import numpy as np
import pytest
import torch

from ddranking.data.images import random_subset
from ddranking.methods.baselines import make
from ddranking.running.workbench import Workbench


def trial_of(study, arm: str, seed: int = 0, evaluate: str = "test"):
    return study.plan.arm(arm).trial(0.1, seed, evaluate)


def test_every_arm_trains_on_its_own_images(make_study, digits, candidate) -> None:
    study = make_study()
    bench = study.workbench
    for arm in ("syn_hard", "syn_any"):
        seen = bench.training_images(trial_of(study, arm))
        assert np.array_equal(seen.images.numpy(), candidate.images)
        assert seen.labels.tolist() == list(range(10))
    whole = bench.training_images(trial_of(study, "real_hard"))
    assert len(whole.images) == len(digits.train)
    assert whole.images[:].dtype == torch.float32
    # standardised with the catalogue's constants, which are near those of these images
    assert abs(float(whole.images[:].mean())) < 0.1 and abs(float(whole.images[:].std()) - 1) < 0.1


def test_random_images_are_drawn_anew_each_seed_outside_validation(make_study, digits) -> None:
    study = make_study()
    bench = study.workbench
    split = bench.split(study.plan.track.validation_size)
    drawn = []
    for seed in range(4):
        seen = bench.training_images(trial_of(study, "rdm_any", seed))
        wanted = random_subset(digits.train.labels, 1, seed=seed, among=split.train)
        pixels = digits.train.pixels[wanted].astype(np.float32) / 255
        np.testing.assert_allclose(seen.images.numpy(), pixels, atol=1e-6)
        assert seen.labels.tolist() == list(range(10))
        drawn.append(tuple(wanted.tolist()))
        assert not set(drawn[-1]) & set(split.validation.tolist())
    assert len(set(drawn)) == 4


def test_random_images_do_not_depend_on_the_entry(make_study, digits) -> None:
    studies = [make_study(), make_study(distilled=make("noise", digits, 1))]
    seen = [s.workbench.training_images(trial_of(s, "rdm_any", 1)).images for s in studies]
    assert torch.equal(*seen)


def test_validation_is_held_out_of_training_and_test_is_the_test_set(make_study, digits) -> None:
    study = make_study()
    bench, size = study.workbench, study.plan.track.validation_size
    test = bench.evaluation_images(trial_of(study, "syn_hard"))
    validation = bench.evaluation_images(trial_of(study, "syn_hard", evaluate="validation"))
    assert test.labels.tolist() == digits.test.labels.tolist()
    assert len(validation.labels) == size
    split = bench.split(size)
    assert sorted([*split.train.tolist(), *split.validation.tolist()]) == list(
        range(len(digits.train))
    )
    again = bench.evaluation_images(trial_of(study, "syn_any", seed=1))
    assert again is test, "made once a process"


def test_test_images_are_put_into_the_space_of_the_distilled_images(make_study, digits) -> None:
    """FACTS, section 9, mistake 9."""
    study = make_study()
    images = study.workbench.evaluation_images(trial_of(study, "syn_any")).images[:].numpy()
    np.testing.assert_allclose(images, digits.test.pixels.astype(np.float32) / 255, atol=1e-6)
    own = study.workbench.evaluation_images(trial_of(study, "real_hard")).images[:].numpy()
    space = study.plan.arm("real_hard").space
    mean, std = np.float32(space["mean"][0]), np.float32(space["std"][0])
    np.testing.assert_allclose(own, (images - mean) / std, atol=1e-5)


def test_a_trial_of_other_data_is_a_fault_of_ours(make_study) -> None:
    study = make_study()
    other = trial_of(study, "syn_any").model_copy(update={"dataset": "sha256:" + "0" * 64})
    with pytest.raises(ValueError, match="workbench of"):
        study.workbench.job(other)


def test_a_workbench_travels_without_the_tensors_it_made(make_study) -> None:
    study = make_study()
    bare = len(pickle.dumps(study.workbench))
    study.workbench.evaluation_images(trial_of(study, "syn_any"))
    packed = pickle.dumps(study.workbench)
    assert len(packed) == bare
    again: Workbench = pickle.loads(packed)
    seen = [b.evaluation_images(trial_of(study, "syn_any")) for b in (study.workbench, again)]
    assert torch.equal(seen[0].images[:], seen[1].images[:])


def test_what_no_seed_changes_is_made_once(make_study) -> None:
    study = make_study()
    for arm, shared in (("syn_hard", True), ("real_hard", True), ("rdm_any", False)):
        first, second = study.plan.arm(arm).finals(0.1)[:2]
        made = [study.workbench.training_images(trial).images for trial in (first, second)]
        assert (made[0] is made[1]) is shared, arm


def test_effort_is_counted_in_image_visits(make_study, digits) -> None:
    study = make_study()
    visits = {arm.arm: study.workbench.visits(arm.finals(0.1)[0]) for arm in study.plan.arms}
    assert visits == {
        "real_hard": len(digits.train),
        "syn_hard": 10 * 4,
        "syn_any": 10 * 2,
        "rdm_any": 10 * 2,
    }
