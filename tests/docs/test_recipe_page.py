"""The page of recipes says what the recipe files hold: every value, source and difference."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator

import pytest
from snippets import ROOT, snippets

from ddranking.api import Rules
from ddranking.protocol.recipe import RecipeFile, is_released, recipe_files
from ddranking.protocol.rules import Training

NAME = "docs/recipes.md"
PAGE = (ROOT / NAME).read_text(encoding="utf-8")
FILES = list(recipe_files().values())
IPCS = (1, 10, 50)

LOSSES = {
    "cross_entropy": lambda loss: "CE",
    "soft_cross_entropy": lambda loss: f"soft CE, T {loss.temperature:g}",
    "kl": lambda loss: f"KL, T {loss.temperature:g}",
    "mse_gt": lambda loss: f"MSE + {loss.weight:g} CE",
}
AUGMENTATIONS = {
    "dsa": lambda rules: "DSA" if len(rules.families) == 6 else f"DSA, {len(rules.families)} of 6",
    "flip": lambda rules: "flip",
    "crop": lambda rules: f"crop {rules.padding}",
    "resized_crop": lambda rules: f"resized crop {rules.scale[0]:g}–{rules.scale[1]:g}",
    "mixup": lambda rules: f"mixup {rules.alpha:g}",
    "cutmix": lambda rules: f"cutmix {rules.alpha:g}",
    "patch_shuffle": lambda rules: f"patch shuffle {rules.factor}",
}
OPTIMIZERS = {
    "sgd": lambda rules: f"SGD {rules.momentum:g}, wd {rules.weight_decay:g}",
    "adamw": lambda rules: f"AdamW, wd {rules.weight_decay:g}",
}
SCHEDULES = {
    "step": lambda rules: (
        f"× {rules.factor:g} at " + ", ".join(f"{m:.2g}" for m in rules.milestones)
    ),
    "cosine": lambda rules: "cosine",
    "half_cosine": lambda rules: "half cosine",
}


def teachers(training: Training) -> str:
    if training.labels.kind != "teacher":
        return "—"
    names = []
    for network in training.labels.networks:
        library = "" if network.weights.kind == "trained" else "published "
        names.append(library + str(network.model).removeprefix("torchvision:"))
    return ", ".join(names)


SEARCHED = (0.001, 0.005, 0.01, 0.05, 0.1)
"""What the page calls searched; another list is written out."""


def rate(training: Training) -> str:
    found = training.learning_rate
    if isinstance(found, tuple):
        return "searched" if found == SEARCHED else " or ".join(f"{each:g}" for each in found)
    return str(found)


def cells(file: RecipeFile, dataset: str) -> tuple[str, ...]:
    """Everything but the dataset's name."""
    each = [file.resolve(dataset, ipc).training for ipc in IPCS]
    rules = each[1]
    batches = [str(one.batch_size) for one in each]
    return (
        f"{rules.labels.kind}, {LOSSES[rules.loss.kind](rules.loss)}",
        teachers(rules),
        ", ".join(AUGMENTATIONS[a.kind](a) for a in rules.augmentation) or "none",
        f"{OPTIMIZERS[rules.optimizer.kind](rules.optimizer)}, "
        f"{SCHEDULES[rules.schedule.kind](rules.schedule)}",
        rate(rules),
        str(rules.epochs),
        batches[0] if len(set(batches)) == 1 else " / ".join(batches),
    )


def rows(file: RecipeFile) -> Iterator[str]:
    """The page's rows of a recipe: datasets with the same values share one."""
    if file.datasets is None:
        special = {d for variant in file.variants for d in variant.datasets or ()}
        named = [("any" if not special else "any other", "cifar10"), *((d, d) for d in special)]
    else:
        named = [(dataset, dataset) for dataset in file.datasets]
    for values, group in itertools.groupby(named, lambda pair: cells(file, pair[1])):
        datasets = ", ".join(name for name, _ in group)
        yield f"| `{file.name}` | {datasets} | " + " | ".join(values) + " |"


each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.id)


@each_file
def test_the_values_of_a_recipe_are_on_the_page(file) -> None:
    shown = re.findall(rf"^\| `{re.escape(file.name)}` \|.*\|$", PAGE, re.MULTILINE)
    assert list(rows(file)) == shown[: len(shown) - 1]
    assert shown[-1].endswith(f"| {file.title} | {file.student or '—'} | {file.source} |")


@each_file
def test_the_differences_of_a_recipe_are_on_the_page(file) -> None:
    found = re.search(rf"^### `{re.escape(file.name)}`\n\n((?:- .*\n)*)", PAGE, re.MULTILINE)
    assert (found is not None) == bool(file.differs_from_source)
    if found:
        assert found[1] == "".join(f"- {each}\n" for each in file.differs_from_source)


def test_every_recipe_of_the_page_is_shipped() -> None:
    shown = set(re.findall(r"^(?:\| |### )`([a-z0-9-]+)`", PAGE, re.MULTILINE))
    assert shown == {file.name for file in FILES}


def repository_values() -> list[list[str]]:
    lines = [
        line for block in snippets(NAME) for line in block.text.replace("\\\n", "").splitlines()
    ]
    return [shlex.split(line[2:]) for line in lines if "--set" in line]


@pytest.mark.parametrize("words", repository_values(), ids=lambda words: " ".join(words[5:9]))
def test_the_values_of_a_repository_make_a_custom_recipe(words) -> None:
    given = dict(itertools.pairwise(words))
    changes = [word for flag, word in itertools.pairwise(words) if flag == "--set"]
    track, recipe = Rules(given["--track"], given["--recipe"], changes=changes).resolve()
    _, own = Rules(given["--track"], given["--recipe"]).resolve()
    assert not track.custom
    assert not is_released(recipe, track.dataset, track.ipc)
    for change in changes:  # every one of them changes something
        fewer = [each for each in changes if each != change]
        less = Rules(given["--track"], given["--recipe"], changes=fewer).resolve()[1]
        assert less.hash not in (recipe.hash, own.hash) or len(changes) == 1
