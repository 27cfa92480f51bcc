"""Which trainings a teacher takes, and how a student's trial names them."""

from __future__ import annotations

import pytest

from ddranking.errors import BadProtocol
from ddranking.protocol.plan import Entry, RealCopy, make_plan
from ddranking.protocol.recipe import Recipe, find_recipe, parse
from ddranking.protocol.rules import KnownWeights, Network, Teacher, TrainedWeights, Training
from ddranking.protocol.track import find_track

USUAL = {"kind": "standardized", "mean": [0.5], "std": [0.25]}
ZCA = {"kind": "zca", "variant": "kornia", "eps": 0.1}
REAL = RealCopy("sha256:" + "d" * 64, USUAL)
TRACK = find_track("digits-ipc10-convnet2")
WHOLE = TRACK.whole


def recipe(*networks: Network, sees: str = "batch") -> Recipe:
    rules = Training(
        epochs=3,
        batch_size=10,
        learning_rate=0.1,
        labels=Teacher.model_validate({"networks": networks, "sees": sees}),
        loss={"kind": "kl", "temperature": 4},  # type: ignore[arg-type]
    )
    return Recipe(name="mine", training=rules)


def plan(rules: Recipe, space=None, arms=("syn_any", "rdm_any"), **entry):
    made = Entry("sha256:" + "a" * 64, space or {"kind": "pixel"}, **entry)
    return make_plan(TRACK, rules, made, REAL, arms=arms)


def trained(model: str = "mlp", seed: int = 0) -> Network:
    return Network(model=model, weights=TrainedWeights(training=WHOLE, seed=seed))


def test_the_tracks_network_is_the_training_of_real_hard_with_seed_0() -> None:
    made = plan(recipe(Network()), arms=("real_hard", "syn_any", "rdm_any"))
    [teacher] = made.teachers
    assert teacher == made.arm("real_hard").finals(WHOLE.learning_rate)[0]
    assert made.total == sum(arm.total for arm in made.arms)  # it is counted once
    assert plan(recipe(Network())).total == 2 * TRACK.seeds + 1


def test_a_students_trial_names_each_network_by_the_training_that_it_ended() -> None:
    made = plan(recipe(trained(), trained(seed=1), Network()))
    trial = made.arm("syn_any").finals(0.1)[0]
    keys = [teacher.key for teacher in made.teachers]
    assert [seen.weights for seen in trial.training.labels.networks] == [
        KnownWeights(key=key) for key in keys
    ]
    assert [teacher.student for teacher in made.teachers] == ["mlp", "mlp", TRACK.student]
    assert {teacher.training_set.kind for teacher in made.teachers} == {"whole"}
    assert len(set(keys)) == 3


def test_a_teacher_serves_every_entry_but_whitened_ones_have_their_own() -> None:
    spaces = ({"kind": "pixel"}, USUAL, ZCA)
    keys = [plan(recipe(Network()), space).teachers[0].key for space in spaces]
    assert keys[0] == keys[1] != keys[2]
    whitened = plan(recipe(Network()), ZCA).teachers[0]
    assert (whitened.arm, whitened.space) == ("teacher", ZCA)


def test_teachers_come_first_and_once() -> None:
    made = plan(recipe(trained()))
    assert made.pending({}, {})[0] == made.teachers[0]
    keys = [trial.key for trial in made.pending({}, {})]
    assert len(keys) == len(set(keys)) == made.total


def test_random_images_of_a_stored_recipe_are_labelled_once_by_the_tracks_network() -> None:
    values = recipe(Network()).training.model_dump() | {"labels": {"kind": "stored"}}
    stored = Recipe(name="mine", training=Training.model_validate(values))
    made = plan(stored, soft_label_kind="logits")
    [teacher] = made.teachers
    labels = made.arm("rdm_any").training.labels
    assert (labels.kind, labels.sees) == ("teacher", "images")
    assert labels.networks[0].weights == KnownWeights(key=teacher.key)
    assert made.arm("syn_any").training.labels.kind == "stored"
    assert not made.arm("syn_any").teachers


def test_weights_from_elsewhere_are_refused_for_whitened_images() -> None:
    given = Network.model_validate(
        {"model": "mlp", "weights": {"kind": "given", "digest": "sha256:" + "b" * 64}}
    )
    assert plan(recipe(given)).arms[0].training.labels.networks[0].space == USUAL
    assert not plan(recipe(given)).teachers
    with pytest.raises(BadProtocol, match=r"teacher mlp: .*got whitened images"):
        plan(recipe(given), ZCA)
    published = Network.model_validate({"model": "torchvision:resnet18", "weights": PUBLISHED})
    assert plan(recipe(published)).arms[0].training.labels.networks[0].space["std"][0] == 0.229


PUBLISHED = {"kind": "published", "name": "IMAGENET1K_V1"}


def test_a_recipe_file_may_name_the_rules_of_its_teacher() -> None:
    network = {"model": "mlp", "weights": {"kind": "trained", "training": "whole@1"}}
    file = parse(
        {
            "name": "mine",
            "source": "me",
            "training": {
                "epochs": 1,
                "batch_size": 2,
                "learning_rate": 0.1,
                "labels": {"kind": "teacher", "networks": [network]},
                "loss": {"kind": "kl"},
            },
        },
        "recipe mine",
    )
    weights = file.resolve("cifar10", 1).training.labels.networks[0].weights
    assert weights.training == find_recipe("whole@1").resolve("cifar10", 1).training
    soft = "labels.networks=[{model: mlp, weights: {kind: trained, training: datm}}]"
    with pytest.raises(BadProtocol, match=r"training of mlp.*got stored labels"):
        file.resolve("cifar10", 1, [soft])


@pytest.mark.parametrize(
    "network",
    [
        {"weights": PUBLISHED},
        {"model": "mlp"},
        {"model": "mlp", "weights": {"kind": "track"}},
    ],
)
def test_a_model_stands_beside_its_weights(network) -> None:
    with pytest.raises(ValueError, match="model: a name, or none with weights of kind track"):
        Network.model_validate(network)
