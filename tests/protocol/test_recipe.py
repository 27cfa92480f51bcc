import pytest
import torch
import yaml

from ddranking.errors import BadProtocol, UnknownName
from ddranking.protocol import shelf
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
    named = {"dc", "dsa", "dm", "mtt", "datm", "unified", "hard", "whole"}
    taught = {"sre2l", "rded", "d4m", "cda", "dwa", "g-vbsm", "edc"}
    assert named | taught <= {file.name for file in SHIPPED}


def test_file_names_are_recipe_names() -> None:
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


SEARCHED = (0.001, 0.005, 0.01, 0.05, 0.1)
CROPPED = ["resized_crop", "flip", "cutmix"]
SHUFFLED = ["patch_shuffle", *CROPPED]
FOUR = ["resnet18", "mobilenet_v2", "shufflenet_v2_x0_5", "efficientnet_b0"]
# method, dataset, batch sizes at ipc 1, 10, 50, epochs, rate, temperature, schedule,
# augmentations, teachers (with a colon: published weights)
PUBLISHED = [
    ("sre2l", "cifar10", 256, 400, 0.001, 30, "cosine", "crop flip mixup", "resnet18-bn"),
    ("sre2l", "cifar100", 256, 400, 0.001, 30, "cosine", "crop flip mixup", "resnet18-bn"),
    ("sre2l", "tiny-imagenet", 1024, 400, 0.001, 20, "cosine", CROPPED, "resnet18-bn"),
    ("sre2l", "imagenet-1k", 1024, 300, 0.001, 20, "cosine", CROPPED, ":resnet18"),
    ("d4m", "cifar10", 100, 500, SEARCHED, 20, "cosine", CROPPED, "convnet3"),
    ("d4m", "cifar100", 100, 500, SEARCHED, 20, "cosine", CROPPED, "convnet3"),
    ("d4m", "tiny-imagenet", 1024, 300, SEARCHED, 20, "cosine", CROPPED, "resnet18-bn"),
    ("d4m", "imagenet-1k", 1024, 300, SEARCHED, 20, "cosine", CROPPED, ":resnet18"),
    ("rded", "cifar10", (10, 50, 100), 300, 0.001, 20, "half_cosine", SHUFFLED, "convnet3-bn"),
    ("rded", "cifar100", (20, 50, 200), 300, 0.001, 20, "half_cosine", SHUFFLED, "convnet3-bn"),
    (
        *("rded", "tiny-imagenet", (100, 100, 200), 300, 0.001, 20, "half_cosine"),
        *(SHUFFLED, "convnet4-bn"),
    ),
    ("rded", "imagenet-1k", (20, 100, 200), 300, 0.001, 20, "half_cosine", CROPPED, ":resnet18"),
    ("cda", "imagenet-1k", 128, 300, 0.001, 20, "cosine", CROPPED, ":resnet18"),
    ("dwa", "imagenet-1k", 128, 300, 0.001, 20, "cosine", CROPPED, ":resnet18"),
    ("g-vbsm", "imagenet-1k", 512, 300, SEARCHED, 20, "cosine", CROPPED, FOUR),
    ("edc", "imagenet-1k", 100, 300, 0.001, None, "cosine", SHUFFLED, [*FOUR, "alexnet"]),
]


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row[0]}-{row[1]}")
def test_published_values_of_methods_with_a_teacher(row) -> None:
    """DD-Ranking 0.2's evaluation of each; differences of a source are in its recipe file."""
    name, dataset, batches, epochs, rate, temperature, schedule, augmentation, teachers = row
    kinds = augmentation.split() if isinstance(augmentation, str) else augmentation
    if isinstance(teachers, str):
        models = [teachers.replace(":", "torchvision:")]
    else:
        models = [f"torchvision:{each}" for each in teachers]
    for ipc, batch in zip(
        (1, 10, 50), batches if isinstance(batches, tuple) else 3 * (batches,), strict=True
    ):
        rules = find_recipe(name).resolve(dataset, ipc).training
        assert (rules.batch_size, rules.epochs, rules.learning_rate) == (batch, epochs, rate)
        assert rules.optimizer.model_dump() == {
            "kind": "adamw",
            "betas": (0.9, 0.999),
            "weight_decay": 0.01,
        }
        assert rules.schedule.kind == schedule
        assert [each.kind for each in rules.augmentation] == kinds
        assert (rules.labels.kind, rules.labels.sees) == ("teacher", "batch")
        assert sorted(network.model for network in rules.labels.networks) == sorted(models)
        if temperature is None:
            assert rules.loss.model_dump() == {"kind": "mse_gt", "weight": 0.025}
        else:
            assert rules.loss.model_dump() == {
                "kind": "kl",
                "temperature": temperature,
                "multiply_t2": False,
            }


def test_those_are_all_datasets_of_the_methods_with_a_teacher() -> None:
    found = {
        (file.name, dataset)
        for file in SHIPPED
        if file.training.labels.kind == "teacher"
        for dataset in file.datasets or ()
    }
    assert found == {row[:2] for row in PUBLISHED}


def test_strengths_of_their_augmentations() -> None:
    def strengths(name: str, dataset: str, kind: str) -> dict:
        rules = find_recipe(name).resolve(dataset, 10).training
        [found] = [each for each in rules.augmentation if each.kind == kind]
        return found.model_dump()

    for name, dataset, *_ in PUBLISHED:
        kinds = {a.kind for a in find_recipe(name).resolve(dataset, 10).training.augmentation}
        if "cutmix" in kinds:
            assert strengths(name, dataset, "cutmix")["alpha"] == 1
            low = {"edc": 0.5, "rded": 1.0 if dataset != "imagenet-1k" else 0.08}.get(name, 0.08)
            crop = strengths(name, dataset, "resized_crop")
            assert (crop["scale"], crop["ratio"]) == ((low, 1.0), (3 / 4, 4 / 3))
        assert strengths(name, dataset, "flip")["p"] == 0.5
    assert strengths("sre2l", "cifar10", "mixup")["alpha"] == 0.8
    padded = {"kind": "crop", "padding": 4, "mode": "zero"}
    assert strengths("sre2l", "cifar10", "crop") == padded
    assert strengths("edc", "imagenet-1k", "patch_shuffle")["factor"] == 2


@pytest.mark.parametrize(("dataset", "side"), [("cifar10", 32), ("tiny-imagenet", 64)])
def test_below_imagenet_rded_neither_shuffles_nor_crops(dataset, side) -> None:
    """Factor 1 in its scripts: patches and crops are the whole image."""
    from ddranking.training.augment import augment

    rules = find_recipe("rded").resolve(dataset, 10).training.augmentation[:2]
    images = torch.rand(50, 3, side, side, generator=torch.Generator().manual_seed(0))
    made = augment(images, rules, torch.Generator().manual_seed(1))
    torch.testing.assert_close(made.images, images, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "dataset", "values"),
    [
        ("teacher", "cifar10", (200, 128, 0.1, 5e-4, ["crop", "flip"])),
        ("teacher", "cifar100", (200, 128, 0.1, 5e-4, ["crop", "flip"])),
        ("teacher", "tiny-imagenet", (50, 256, 0.2, 1e-4, ["resized_crop", "flip"])),
        ("teacher-convnet", "cifar10", (200, 128, 0.01, 5e-4, ["crop", "flip"])),
        ("teacher-convnet", "tiny-imagenet", (50, 256, 0.02, 1e-4, ["resized_crop", "flip"])),
    ],
)
def test_teachers_are_trained_as_sre2ls(name, dataset, values) -> None:
    """squeeze_cifar.py of VILA-Lab/SRe2L, and train_rn18.sh of zeyuanyin/tiny-imagenet."""
    rules = find_recipe(name).resolve(dataset, 1).training
    kinds = [each.kind for each in rules.augmentation]
    found = (rules.epochs, rules.batch_size, rules.learning_rate, rules.optimizer.weight_decay)
    assert (*found, kinds) == values
    assert (rules.optimizer.momentum, rules.schedule.kind) == (0.9, "cosine")


def test_convnets_have_a_teacher_rate_of_their_own() -> None:
    """Rate 0.1 is a ResNet's; the field trains ConvNets at 0.01."""
    for file in SHIPPED:
        for dataset in file.datasets or ():
            for network in getattr(file.resolve(dataset, 10).training.labels, "networks", ()):
                if network.weights.kind == "trained":
                    convnet = network.model.startswith("convnet")
                    wanted = find_recipe("teacher-convnet" if convnet else "teacher")
                    assert network.weights.training == wanted.resolve(dataset, 10).training
                    assert network.weights.seed == 0


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


# --- A user's own ---------------------------------------------------------------------------------


def test_a_copied_file_with_a_change_is_a_custom_recipe_with_a_new_hash(tmp_path) -> None:
    """Under the released name too: what counts is the content, also that of a teacher's rules."""
    released = find_recipe("sre2l").resolve("cifar10", 10)
    path = tmp_path / "sre2l.yaml"

    def copied(**changes) -> Recipe:
        values = shelf.shipped("recipes")["sre2l"]
        path.write_text(yaml.safe_dump({**values, "training": {**values["training"], **changes}}))
        return find_recipe(str(path)).resolve("cifar10", 10)

    assert copied().hash == released.hash
    assert is_released(copied(), "cifar10", 10)
    made = [copied(epochs=401), copied(loss={"kind": "kl", "temperature": 20})]
    teacher = {"model": "resnet18-bn", "weights": {"kind": "trained", "training": "whole@1"}}
    made.append(copied(labels={"kind": "teacher", "networks": [teacher]}))
    assert len({released.hash, *(recipe.hash for recipe in made)}) == 4
    assert not any(is_released(recipe, "cifar10", 10) for recipe in made)


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("loss.temperature=4", lambda t: t.loss.temperature == 4),
        ("loss={kind: mse_gt}", lambda t: t.loss.kind == "mse_gt"),
        ("labels.sees=images", lambda t: t.labels.sees == "images"),
        ("labels={kind: teacher}", lambda t: t.labels.networks[0].weights.kind == "track"),
        (
            "labels={kind: teacher, networks: [{model: mlp, weights: {kind: trained, "
            "training: whole@1}}]}",
            lambda t: t.labels.networks[0].model == "mlp",
        ),
        ("schedule.kind=half_cosine", lambda t: t.schedule.kind == "half_cosine"),
    ],
)
def test_an_override_changes_one_rule_of_a_teacher(change, seen) -> None:
    file = find_recipe("sre2l")
    changed = file.resolve("cifar10", 1, [change])
    assert seen(changed.training)
    assert not seen(file.resolve("cifar10", 1).training)
    assert not is_released(changed, "cifar10", 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("labels.kind=hard", "networks"),
        ("labels={kind: teacher, networks: []}", "networks"),
        ("labels={kind: teacher, networks: [{model: mlp}]}", "model: a name, or none"),
        (
            "labels={kind: teacher, networks: [{model: mlp, weights: {kind: trained, "
            "training: sre2l@1}}]}",
            "expected hard labels and one learning rate",
        ),
        (
            "labels={kind: teacher, networks: [{model: mlp, weights: {kind: trained, "
            "training: hard@1}}]}",
            "expected hard labels and one learning rate",
        ),
        ("loss={kind: cross_entropy}", "loss: expected one for soft labels"),
        ("labels.sees=nothing", "sees"),
    ],
)
def test_a_bad_override_of_a_teacher_is_one_line(change, words) -> None:
    with pytest.raises(BadProtocol) as caught:
        find_recipe("sre2l").resolve("cifar10", 1, [change])
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
