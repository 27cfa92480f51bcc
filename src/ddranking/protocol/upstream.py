"""Translates an evaluation configuration of DD-Ranking 0.1 and 0.2 into a recipe file.

The old tool's YAML files (its ``configs`` folder, and its ``eval`` branch by method) mix what here
is kept apart: how a method trains (the recipe), dataset, network and seeds (the track), the space
and the labels of the images (the set), and where it runs. Only the first can be translated; for
every other key there is one line that says where it belongs. What the old tool leaves open, or does
in another way than this one, stands in the recipe's ``differs_from_source``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ddranking.errors import BadFile
from ddranking.files import read_bounded
from ddranking.protocol import shelf
from ddranking.protocol.recipe import parse
from ddranking.protocol.track import Track, tracks
from ddranking.protocol.upstreamkeys import Keys, shown, wrong
from ddranking.protocol.upstreamrules import network, training

MOST_BYTES = 1 << 16
SOURCE = "github.com/NUS-HPC-AI-Lab/DD-Ranking"

DATASETS = {
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "tinyimagenet": "tiny-imagenet",
    "imagenet1k": "imagenet-1k",
    **{f"image{name}": f"image{name}" for name in ("nette", "woof", "fruit", "meow", "squawk")},
    "imageyellow": "imageyellow",
    "mnist": "mnist",
    "fashionmnist": "fashion-mnist",
    "svhn": "svhn",
}

#: Keys that mark a file as one of these configurations.
MARKS = ("num_epochs", "model_name", "dataset")


@dataclass
class Translation:
    """A recipe as it is written to a file, and one line for each key that is not in it.

    Attributes:
        recipe: the content of the recipe file.
        warnings: what was left out or changed, a line each.
        tracks: shipped tracks for the same dataset, number of images per class and network.
    """

    recipe: dict[str, Any]
    warnings: list[str] = field(default_factory=list)
    tracks: list[str] = field(default_factory=list)


def is_upstream(values: Mapping[str, Any]) -> bool:
    """Whether a mapping looks like a configuration of the old tool."""
    return all(mark in values for mark in MARKS)


def read(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The keys of a configuration file, and warnings about keys that stand twice (the last counts).

    Raises:
        BadFile: missing, too large, not YAML, or not a configuration of DD-Ranking.
    """
    what = f"configuration {path}"
    try:
        text = read_bounded(path, MOST_BYTES).decode("utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        keys = [str(key.value)[:80] for key, _ in pairs]
        # One key at a time: the reader of recipes refuses keys that stand twice, these files not.
        values = {key: _plain(value) for key, (_, value) in zip(keys, pairs, strict=True)}
    except OSError as error:
        raise BadFile(what, expected="a readable file", got=error.strerror or "an error") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadFile(what, expected="YAML", got=" ".join(str(error).split())[:160]) from None
    if "kind" not in values and "training" in values:
        raise BadFile(
            what,
            expected="a configuration of DD-Ranking",
            got="a recipe",
            hint="It can be used as it is: ddranking score SET --recipe FILE.",
        )
    if not is_upstream(values):
        missing = ", ".join(mark for mark in MARKS if mark not in values)
        raise BadFile(
            what,
            expected=f"an evaluation configuration of DD-Ranking ({', '.join(MARKS)}, ...)",
            got=f"no {missing}",
        )
    twice = sorted({key for key in keys if keys.count(key) > 1})
    return values, [f"{key}: stands twice; the last one counts" for key in twice]


def translate(values: Mapping[str, Any], name: str, file: str) -> Translation:
    """The recipe that a configuration means.

    Args:
        values: its keys, as :func:`read` gives them.
        name: name of the recipe, made fit for one.
        file: what its source is called.

    Raises:
        BadProtocol: a value that is not one of the old tool's, or has no counterpart here.
    """
    keys = Keys(values)
    dataset, ipc = _dataset(keys), keys.whole("ipc", 10)
    model = keys.text("model_name", "ConvNet-3")
    differs: list[str] = []
    rules = training(keys, dataset, model, differs)
    differs += [
        "Accuracy is that of the last epoch; the source reports the best epoch on the test set.",
        "Seeds are numbered and kept; the source takes them from a list or from the clock.",
    ]
    student = network(model, keys, dataset, "stu_use_torchvision", "use_torchvision")
    fitting = _tracks(dataset, ipc, student)
    said = f"{keys.given('dataset')} at {ipc} images per class, {model}"
    recipe = {
        "name": recipe_name(name),
        "title": f"{_method(keys, file)} as DD-Ranking evaluates it",
        "source": f"Evaluation configuration {file} of DD-Ranking ({SOURCE}), for {said}",
        "differs_from_source": differs,
        "datasets": [dataset],
        "student": model,
        "training": rules,
    }
    warnings = [*_belongs_elsewhere(keys, ipc, model, fitting), *keys.unused()]
    file_ = parse(recipe, f"translation of {file}")
    file_.resolve(dataset, ipc)
    return Translation(recipe, warnings, [track.name for track in fitting])


def recipe_name(text: str) -> str:
    """``text`` as the name of a recipe.

    >>> recipe_name("My Recipe_2")
    'my-recipe-2'
    """
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:64] or "translated"


def _dataset(keys: Keys) -> str:
    given = keys.text("dataset", "CIFAR10")
    name = DATASETS.get(re.sub(r"[^a-z0-9]", "", given.lower()))
    if name is None:
        raise wrong("dataset", f"one of {', '.join(sorted(DATASETS))}", given)
    return name


def _tracks(dataset: str, ipc: int, student: str) -> list[Track]:
    found = [each for each in tracks().values() if (each.dataset, each.ipc) == (dataset, ipc)]
    same = [each for each in found if each.student == student]
    return same or found


def _belongs_elsewhere(keys: Keys, ipc: int, model: str, fitting: list[Track]) -> list[str]:
    """Lines about what the track and the set say, in place of dataset, network and whitening."""
    track = f"--track {fitting[0].name}" if fitting else "a track of your own"
    lines = [f"ipc: {ipc} images per class are the track's; use {track}"]
    other = f" (its student is {fitting[0].student})" if fitting else ""
    lines.append(f"model_name: {model} is the track's; use {track}{other}")
    if keys.given("default_lr") is not None:
        rate = keys.number("default_lr", 0.01)
        lines.append(
            f"default_lr: {rate:g} is of the whole real set, which is the track's; "
            f"where a method's own is meant: --set learning_rate={rate:g}"
        )
    if keys.flag("use_zca"):
        lines.append("use_zca: whitening is the set's; pack it with --space zca")
    else:
        keys.seen.add("use_zca")
    return lines


def _method(keys: Keys, file: str) -> str:
    saved = keys.values.get("save_path")
    stem = Path(saved).stem if isinstance(saved, str) else Path(file).stem
    return shown(re.sub(r"_.*", "", stem)) or "A method"


def _plain(node: yaml.Node) -> Any:
    """One value, read by the same rules as a recipe's."""
    return shelf.parse_yaml(yaml.serialize(node, Dumper=yaml.SafeDumper))
