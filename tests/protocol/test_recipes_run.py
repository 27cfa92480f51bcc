"""Every shipped recipe is resolved for every dataset and ipc it lists, and every form of it is run.

What is replaced, so that a whole score takes a moment: the dataset (four invented classes of 16x16
images), the number of epochs (one, also of teachers), the student and the teachers' networks (small
ConvNets), and the weights that a library publishes (an untrained network in their place). All else
is the recipe's own: labels, loss, augmentation, optimiser, schedule, batch size and rates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models import get_model_weights

from ddranking import api
from ddranking.data.catalog import DATASETS
from ddranking.data.images import Dataset
from ddranking.distilled.artifact import DistilledSet
from ddranking.methods.baselines import make
from ddranking.models import table
from ddranking.protocol.recipe import Recipe, RecipeFile, is_released, recipe_files
from ddranking.protocol.rules import Training
from ddranking.protocol.track import Track
from ddranking.scoring.record import Record

IPCS = (1, 10, 50)
TINY = "convnet1-w8-bn"
FILES = list(recipe_files().values())
each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.id)
RESOLVED = Path(__file__).with_name("resolved.json")
HARD = {"epochs": 1, "batch_size": 64, "learning_rate": 0.05}


def listed(file: RecipeFile) -> list[Recipe]:
    """The recipe for every dataset that it lists (any: CIFAR-10) and every ipc of the tracks."""
    datasets = file.datasets or ("cifar10",)
    return [file.resolve(dataset, ipc) for dataset in datasets for ipc in IPCS]


def networks(training: Training) -> tuple[Any, ...]:
    return training.labels.networks if training.labels.kind == "teacher" else ()


# --- Resolved -------------------------------------------------------------------------------------


@each_file
def test_it_resolves_for_all_that_it_lists_the_same_way_each_time(file) -> None:
    again = RecipeFile.model_validate(file.model_dump(mode="json"))
    for dataset in file.datasets or ("cifar10",):
        assert dataset in DATASETS
        for ipc in IPCS:
            recipe = file.resolve(dataset, ipc)
            assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
            assert again.resolve(dataset, ipc).hash == recipe.hash
            assert is_released(recipe, dataset, ipc)


@each_file
def test_its_teachers_can_see_the_images_of_the_datasets_that_it_lists(file) -> None:
    """Each network by name, at the image size of the dataset; what is trained has one hard rule."""
    for dataset in file.datasets or ("cifar10",):
        facts = DATASETS[dataset]
        shape = (facts.channels, facts.image_size, facts.image_size)
        for network in networks(file.resolve(dataset, 10).training):
            assert table.check(network.model, shape) == network.model
            if network.weights.kind == "trained":
                assert network.weights.training.labels.kind == "hard"
            else:  # a library's weights have a thousand outputs, in the order of the classes
                assert (network.weights.kind, facts.num_classes) == ("published", 1000)
                library, _, name = network.model.partition(":")
                assert library == "torchvision"
                assert network.weights.name in get_model_weights(name).__members__


def test_what_a_recipe_resolves_to_never_changes() -> None:
    """Records name a recipe by this hash; the lock is of the files, this of what they come to.

    ``python tests/protocol/test_recipes_run.py`` adds new recipes, and changes none.
    """
    assert json.loads(RESOLVED.read_text(encoding="utf-8")) == resolved_hashes()


def resolved_hashes() -> dict[str, str]:
    return {
        f"{file.id} {dataset} {ipc}": file.resolve(dataset, ipc).hash
        for file in FILES
        for dataset in file.datasets or ("cifar10", "tiny-imagenet")
        for ipc in IPCS
    }


def test_a_variant_is_for_a_dataset_that_its_recipe_lists() -> None:
    for file in FILES:
        for variant in file.variants:
            assert set(variant.datasets or ()) <= set(file.datasets or DATASETS), file.id
            assert set(variant.ipc or ()) <= set(IPCS), file.id


# --- Run ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def invented() -> Dataset:
    """Four classes that differ in colour, under noise."""
    chance = np.random.default_rng(0)
    tints = chance.integers(60, 190, (4, 3, 1, 1))

    def half(each: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(4), each)
        noise = chance.integers(-50, 50, (len(labels), 3, 16, 16))
        return (tints[labels] + noise).clip(0, 255).astype(np.uint8), labels

    return Dataset.from_arrays("invented", *half(30), *half(5))


@pytest.fixture(scope="module")
def entry(invented) -> DistilledSet:
    """A set that carries all that a recipe may ask for: soft labels and its learning rate."""
    soft = np.random.default_rng(1).normal(size=(4, 4)) + 4 * np.eye(4)
    made = make("random", invented, 1)
    card = made.card.model_copy(update={"soft_label_kind": "logits"})
    return replace(made, soft_labels=soft.astype(np.float32), learning_rate=0.02, card=card)


@pytest.fixture(scope="module")
def track() -> Track:
    rules = Training.model_validate(HARD)
    return Track(
        name="invented",
        dataset="invented",
        ipc=1,
        student=TINY,
        seeds=2,
        validation_size=20,
        hard=rules,
        whole=rules,
        real_hard="train",
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One for all: the arms that do not depend on the recipe are trained once."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scaled_down(recipe: Recipe) -> Recipe:
    """The recipe with one epoch, also of its teachers, and small networks that are trained."""
    changes: dict[str, Any] = {"epochs": 1}
    small = []
    for network in networks(recipe.training):
        if network.weights.kind == "trained":
            rules = network.weights.training.model_copy(update={"epochs": 1})
            weights = network.weights.model_copy(update={"training": rules})
            network = network.model_copy(update={"model": TINY, "weights": weights})
        small.append(network)
    if small:
        labels = recipe.training.labels.model_copy(update={"networks": tuple(small)})
        changes["labels"] = labels
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=changes)})


def untrained(model: str, weights: str, shape: tuple[int, int, int]) -> torch.nn.Module:
    """Stands in for a network that a library publishes: its name decides the weights."""
    assert (model.partition(":")[0], weights) == ("torchvision", "IMAGENET1K_V1")
    return table.build(TINY, shape, 4, seed=len(model))


@each_file
def test_every_form_of_it_runs_from_a_set_to_a_record(
    file, invented, entry, track, store, monkeypatch
) -> None:
    monkeypatch.setattr("ddranking.running.teachers.published", untrained)
    forms = {recipe.hash: recipe for recipe in map(scaled_down, listed(file))}
    for recipe in forms.values():
        record = api.score(
            entry, track=track, recipe=recipe, data=invented, store=store, workers=1, device="cpu"
        )
        assert_complete(record, recipe)


def assert_complete(record: Record, recipe: Recipe) -> None:
    """Every arm has its search and its finals, with the recipe's own rules, and a score."""
    assert Record.model_validate_json(record.model_dump_json(by_alias=True)) == record
    assert record.recipe.hash == recipe.hash
    rates = recipe.training.rates(0.02)
    for arm in ("syn_any", "rdm_any"):
        seen = [each for each in record.observations if each.trial.arm == arm]
        finals = [each for each in seen if each.trial.evaluate == "test"]
        assert {each.trial.seed for each in finals} == {0, 1}
        assert len(seen) == 2 + (2 * len(rates) if len(rates) > 1 else 0)
        assert {each.trial.rate for each in seen} <= set(rates)
        for each in finals:
            assert each.outcome.test_accuracy is not None
            assert each.outcome.train_loss is not None
            assert_own_rules(each.trial.training, recipe.training, arm)
    for arm in ("syn_hard", "real_hard"):
        assert sum(each.trial.arm == arm for each in record.observations) == 2
    trained = {n.weights.kind for n in networks(recipe.training)} == {"trained"}
    assert any(each.trial.arm == "teacher" for each in record.observations) == trained
    assert 0 < record.ddrs(0.5).mean < 1


def assert_own_rules(used: Training, own: Training, arm: str) -> None:
    same = {"learning_rate", "labels"}
    assert used.model_dump(exclude=same) == own.model_dump(exclude=same)
    if own.labels.kind != "stored" or arm == "syn_any":
        assert used.labels.kind == own.labels.kind
    else:  # random images carry no labels: a teacher makes them
        assert used.labels.kind == "teacher"
    assert len(networks(used)) == len(networks(own)) or own.labels.kind == "stored"


if __name__ == "__main__":
    known = json.loads(RESOLVED.read_text(encoding="utf-8")) if RESOLVED.exists() else {}
    rows = {**resolved_hashes(), **known}
    RESOLVED.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n", encoding="utf-8")
