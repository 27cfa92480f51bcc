"""Where an accuracy comes from: the steps add up, seed by seed."""

import numpy as np
import pytest

from ddranking.errors import BadInput
from ddranking.scoring.decomposition import decompose

SEEDS = np.random.default_rng(0)
ARMS = ("rdm_hard", "syn_noaug", "rdm_noaug")


def values(mean: float) -> tuple[float, ...]:
    return tuple(float(x) for x in SEEDS.normal(mean, 0.01, 5))


@pytest.fixture(scope="module")
def record(make_record):
    arms = {"rdm_hard": values(0.14), "syn_noaug": values(0.3), "rdm_noaug": values(0.2)}
    return make_record(recipe="dsa", **arms)


def test_the_steps_lead_from_random_images_to_the_own_recipe(record) -> None:
    made, accuracy = decompose(record.accuracy), record.accuracy
    assert [(s.name, s.before, s.after) for s in made.distilled] == [
        ("images", "rdm_hard", "syn_hard"),
        ("labels", "syn_hard", "syn_noaug"),
        ("augmentation", "syn_noaug", "syn_any"),
    ]
    assert [(s.before, s.after) for s in made.random] == [
        ("rdm_hard", "rdm_noaug"),
        ("rdm_noaug", "rdm_any"),
    ]
    for steps, end in ((made.distilled, "syn_any"), (made.random, "rdm_any")):
        total = np.sum([step.effect.values for step in steps], axis=0)
        gap = np.subtract(accuracy[end].values, accuracy["rdm_hard"].values)
        np.testing.assert_allclose(total, gap, atol=1e-12)
    assert made.gap.values == pytest.approx(
        tuple(np.subtract(accuracy["syn_any"].values, accuracy["rdm_hard"].values))
    )
    images = np.subtract(accuracy["syn_hard"].values, accuracy["rdm_hard"].values)
    assert made.distilled[0].effect.mean == pytest.approx(images.mean())
    assert made.distilled[0].effect.std == pytest.approx(images.std(ddof=1))


def test_without_the_arms_that_tell_them_apart_labels_and_augmentation_are_one_step(
    make_record,
) -> None:
    made = decompose(make_record(rdm_hard=values(0.14)).accuracy)
    assert [step.name for step in made.distilled] == ["images", "labels and augmentation"]
    assert [step.name for step in made.random] == ["labels and augmentation"]


def test_it_starts_from_random_images_under_the_common_recipe(make_record) -> None:
    with pytest.raises(BadInput, match=r"rdm_hard.*--rdm-hard"):
        decompose(make_record().accuracy)
