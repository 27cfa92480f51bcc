import pytest

from ddranking.errors import BadProtocol, UnknownName
from ddranking.protocol.recipe import (
    Recipe,
    RecipeFile,
    find_recipe,
    is_released,
    newest,
    parse,
    recipe_files,
)

SHIPPED = list(recipe_files().values())
each_recipe = pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.id)


@each_recipe
def test_a_shipped_recipe_says_where_it_comes_from(file) -> None:
    assert len(file.source) > 20
    assert file.title
    assert all(len(each) > 10 for each in file.differs_from_source)


@each_recipe
def test_a_shipped_recipe_resolves_and_round_trips(file) -> None:
    assert RecipeFile.model_validate(file.model_dump(mode="json")) == file
    for dataset, ipc in (("cifar10", 1), ("cifar100", 50), ("digits", 10)):
        if file.datasets is not None and dataset not in file.datasets:
            with pytest.raises(BadProtocol, match="one of its datasets"):
                file.resolve(dataset, ipc)
            continue
        recipe = file.resolve(dataset, ipc)
        assert (recipe.id, recipe.source) == (file.id, file.source)
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
        assert is_released(recipe, dataset, ipc)
        changed = file.resolve(dataset, ipc, ["epochs=7"])
        assert changed.hash != recipe.hash
        assert not is_released(changed, dataset, ipc)


def test_the_recipes_of_the_first_release_are_there() -> None:
    named = {"dc", "dsa", "dm", "mtt", "unified", "hard", "whole"}
    assert named <= {file.name for file in SHIPPED}


def test_file_names_are_recipe_names() -> None:
    from ddranking.protocol import shelf

    assert {file.name for file in SHIPPED} == {
        name.partition("@")[0] for name in shelf.shipped("recipes")
    }


@pytest.mark.parametrize(
    ("name", "epochs", "rate", "augmented"),
    [
        ("dc", 300, 0.01, 0),
        ("dsa", 1000, 0.01, 1),
        ("dm", 1000, 0.01, 1),
        ("mtt", 1000, "stored", 1),
    ],
)
def test_published_values(name, epochs, rate, augmented) -> None:
    """FACTS, section 8: SGD with momentum 0.9, weight decay 5e-4, rate x 0.1 at half."""
    rules = find_recipe(name).resolve("cifar10", 10).training
    assert (rules.epochs, rules.learning_rate, rules.batch_size) == (epochs, rate, 256)
    assert rules.optimizer.model_dump() == {
        "kind": "sgd",
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "nesterov": False,
    }
    assert rules.schedule.model_dump() == {"kind": "step", "milestones": (0.5,), "factor": 0.1}
    assert len(rules.augmentation) == augmented


def test_datm_trains_on_its_stored_logits() -> None:
    rules = find_recipe("datm").resolve("cifar100", 10).training
    assert (rules.labels.kind, rules.loss.kind, rules.loss.temperature) == (
        "stored",
        "soft_cross_entropy",
        1,
    )
    mtt = find_recipe("mtt").resolve("cifar100", 10).training
    same = {"labels": mtt.labels, "loss": mtt.loss, "batch_size": mtt.batch_size}
    assert rules.model_copy(update=same) == mtt


def test_dsa_has_its_published_strengths() -> None:
    [dsa] = find_recipe("dsa").resolve("cifar10", 10).training.augmentation
    assert (dsa.flip, dsa.rotate, dsa.saturation, dsa.brightness) == (0.5, 15, 2, 1)
    assert (dsa.contrast, dsa.scale, dsa.crop, dsa.cutout) == (0.5, 1.2, 0.125, 0.5)
    assert set(dsa.families) == {"color", "crop", "cutout", "flip", "scale", "rotate"}


VARIED = {
    "name": "varied",
    "source": "invented",
    "training": {
        "epochs": 10,
        "batch_size": 10,
        "learning_rate": 0.1,
        "optimizer": {"kind": "sgd", "momentum": 0.5, "weight_decay": 0.1},
    },
    "variants": [
        {"ipc": [50], "training": {"batch_size": 50}},
        {"datasets": ["cifar100"], "training": {"optimizer": {"kind": "sgd", "momentum": 0.9}}},
        {"datasets": ["digits"], "training": {"optimizer": {"kind": "adam"}}},
    ],
}


@pytest.mark.parametrize(
    ("dataset", "ipc", "batch", "optimizer"),
    [
        ("cifar10", 1, 10, {"kind": "sgd", "momentum": 0.5, "weight_decay": 0.1}),
        ("cifar10", 50, 50, {"kind": "sgd", "momentum": 0.5, "weight_decay": 0.1}),
        ("cifar100", 50, 50, {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.1}),
        ("digits", 1, 10, {"kind": "adam", "weight_decay": 0.0}),
    ],
)
def test_variants_apply_by_dataset_and_ipc(dataset, ipc, batch, optimizer) -> None:
    """A change within one kind is merged; another kind starts from its own defaults."""
    training = parse(VARIED, "varied").resolve(dataset, ipc).training
    assert training.batch_size == batch
    assert optimizer.items() <= training.optimizer.model_dump().items()


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("epochs=7", lambda t: t.epochs == 7),
        ("learning_rate=0.5", lambda t: t.learning_rate == 0.5),
        ("learning_rate=1e-3", lambda t: t.learning_rate == 0.001),  # a text to YAML 1.1
        ("learning_rate=[0.1, 0.2]", lambda t: t.learning_rate == (0.1, 0.2)),
        ("learning_rate=stored", lambda t: t.learning_rate == "stored"),
        ("optimizer.momentum=0", lambda t: t.optimizer.momentum == 0),
        ("optimizer={kind: adamw}", lambda t: t.optimizer.kind == "adamw"),
        ("augmentation=[]", lambda t: t.augmentation == ()),
        ("augmentation=[{kind: dsa, flip: 0}]", lambda t: t.augmentation[0].flip == 0),
        ("loss.label_smoothing=0.1", lambda t: t.loss.label_smoothing == 0.1),
    ],
)
def test_an_override_changes_one_rule(change, seen) -> None:
    file = find_recipe("dsa")
    assert seen(file.resolve("cifar10", 1, [change]).training)
    assert not seen(file.resolve("cifar10", 1).training)


@pytest.mark.parametrize(
    "change",
    [
        "epochs=0",
        "epochs=many",
        "epochs=-1",
        "epoch=3",
        "learning_rate=[]",
        "learning_rate=0",
        "learning_rate=.nan",
        "learning_rate=.inf",
        "learning_rate=best",
        "optimizer.kind=lion",
        "optimizer.speed=3",
        "schedule={kind: step, factor: 3}",
        "augmentation=[{kind: dsaa}]",
        "augmentation=dsa",
        "precision=fp8",
        "nonsense",
        "epochs.inner=3",
    ],
)
def test_a_bad_override_is_one_line(change) -> None:
    with pytest.raises(BadProtocol) as caught:
        find_recipe("dc").resolve("cifar10", 1, [change])
    assert len(str(caught.value).splitlines()) == 1
    assert "expected" in str(caught.value)


def test_names_find_the_newest_version_or_the_one_asked_for() -> None:
    table = {"a@1": 1, "a@2": 2, "a@10": 10, "ab@11": 11}
    assert newest(table, "a", "recipe") == 10
    assert newest(table, "a@2", "recipe") == 2
    for wrong in ("a@3", "b", "", "@1", "a@"):
        with pytest.raises(UnknownName, match="ddranking list recipes"):
            newest(table, wrong, "recipe")


def test_an_unknown_recipe_offers_the_closest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'unified'"):
        find_recipe("unifed")


def test_the_hash_is_of_the_rules_alone() -> None:
    recipe = find_recipe("dc").resolve("cifar10", 1)
    renamed = recipe.model_copy(update={"name": "other", "title": "x", "source": "y"})
    assert renamed.hash == recipe.hash
    file = find_recipe("dc")
    assert file.model_copy(update={"title": "x", "source": "y"}).lock_hash == file.lock_hash


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("bach_size=3", "bach_size: expected no such field. Did you mean 'batch_size'"),
        ("optimizer.kind=sgdd", "expected one of sgd, adam, adamw, got sgdd. Did you mean 'sgd'"),
        ("learning_rate=[0.1, 0.1]", "each learning rate of a search once"),
        ("learning_rate=-1", "learning_rate: expected greater than 0, got -1"),
    ],
)
def test_a_mistake_is_told_in_the_users_words(change: str, words: str) -> None:
    with pytest.raises(BadProtocol) as told:
        find_recipe("dc").resolve("cifar10", 1, [change])
    assert words in str(told.value)
