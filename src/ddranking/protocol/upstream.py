"""Translates an evaluation configuration of DD-Ranking 0.1 and 0.2 into a recipe file.

The old tool's YAML files (its ``configs`` folder, and its ``eval`` branch by method) mix what here
is kept apart: how a method trains (the recipe), dataset, network and seeds (the track), the space
and the labels of the images (the set), and where it runs. Only the first can be translated; for
every other key there is one line that says where it belongs. What the old tool leaves open, or does
in another way than this one, stands in the recipe's ``differs_from_source``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from ddranking.errors import BadFile, BadProtocol
from ddranking.files import read_bounded
from ddranking.protocol import shelf
from ddranking.protocol.recipe import parse
from ddranking.protocol.track import Track, tracks

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

#: The rates that the old tool tries on the test set where it is given none.
SEARCHED = [0.001, 0.005, 0.01, 0.05, 0.1]

#: Keys that mark a file as one of these configurations.
MARKS = ("num_epochs", "model_name", "dataset")

#: Keys that say something about other things than how a method trains, and where that is said here.
ELSEWHERE = {
    "real_data_path": "where the real data lies is said with --data-root, or by data prepare",
    "real_batch_size": "batches of the whole real set are the track's",
    "custom_val_trans": "test images are put into the set's space, at the dataset's size",
    "use_aug_for_hard": "augmentation with hard labels is the track's",
    "num_eval": "the number of seeds is the track's, or --seeds",
    "num_workers": "images lie in memory as a whole",
    "device": "said with --device",
    "dist": "several devices are used when they are there; machines share work with --shard",
    "save_path": "said with --out",
    "random_data_path": "random images are drawn anew for every seed and kept by that seed",
    "random_data_format": "random images are never written as pictures",
    "eval_full_data": "the accuracy on the whole set is a reference, or --train-real",
    "im_size": "the size is the dataset's",
    "nclass": "the number of classes is the dataset's",
    "teacher_dir": "teachers are trained here, published, or given with --teacher FILE",
    "stu_use_torchvision": "networks are named by the track",
    "use_torchvision": "networks are named by the track",
    "tea_use_torchvision": "teachers are networks by name",
    "momentum": "of sgd alone",
    "step_size": "of lr_scheduler step alone",
    **dict.fromkeys(
        ("soft_label_criterion", "temperature", "scale_loss", "loss_fn_kwargs"),
        "of soft labels alone",
    ),
    "teacher_model_names": "of soft_label_mode M alone",
    "log_interval": "every training is logged",
    "test_interval": "accuracy is that of the last epoch",
}


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
    keys = _Keys(values)
    dataset, ipc = _dataset(keys), keys.whole("ipc", 10)
    model = keys.text("model_name", "ConvNet-3")
    differs: list[str] = []
    training = {
        "epochs": keys.whole("num_epochs", 300),
        "batch_size": keys.whole("syn_batch_size", 0) or keys.whole("batch_size", 256),
        "learning_rate": _rate(keys, differs),
        "optimizer": _optimizer(keys),
        "schedule": _schedule(keys, differs),
        "augmentation": _augmentation(keys, differs),
        **_labels_and_loss(keys, dataset, model, differs),
    }
    mixed = [each["kind"] for each in training["augmentation"] if each["kind"] in MIXING]
    if mixed and training["labels"]["kind"] != "teacher":
        differs.append(f"{mixed[0]}: labels are mixed as the images are; the source mixes images.")
    differs += [
        "Accuracy is that of the last epoch; the source reports the best epoch on the test set.",
        "Seeds are numbered and kept; the source takes them from a list or from the clock.",
    ]
    student = _network(model, keys, dataset, "stu_use_torchvision", "use_torchvision")
    fitting = _tracks(dataset, ipc, student)
    said = f"{keys.given('dataset')} at {ipc} images per class, {model}"
    recipe = {
        "name": recipe_name(name),
        "title": f"{_method(keys, file)} as DD-Ranking evaluates it",
        "source": f"Evaluation configuration {file} of DD-Ranking ({SOURCE}), for {said}",
        "differs_from_source": differs,
        "datasets": [dataset],
        "student": model,
        "training": training,
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


MIXING = ("mixup", "cutmix")

#: Names of DSA's parameters here, by those of the old tool's two versions.
DSA = {
    "flip": "flip", "prob_flip": "flip", "rotate": "rotate", "ratio_rotate": "rotate",
    "saturation": "saturation", "brightness": "brightness", "contrast": "contrast",
    "scale": "scale", "ratio_scale": "scale", "crop": "crop", "ratio_crop_pad": "crop",
    "cutout": "cutout", "ratio_cutout": "cutout",
}  # fmt: skip


class _Keys:
    """Values by key, with the keys that were looked at; the others are warned about."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {
            key: None if value in ("None", "none", "null", "") else value
            for key, value in ((str(key), value) for key, value in values.items())
        }
        self.seen: set[str] = set()

    def given(self, key: str) -> Any:
        self.seen.add(key)
        return self.values.get(key)

    def text(self, key: str, default: str) -> str:
        value = self.given(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
            raise _wrong(key, "a name", value)
        return value

    def number(self, key: str, default: float) -> float:
        return _number(self.given(key), key, default)

    def whole(self, key: str, default: int) -> int:
        value = self.number(key, default)
        if value != int(value):
            raise _wrong(key, "a whole number", value)
        return int(value)

    def flag(self, key: str) -> bool:
        value = self.given(key)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            value = value.lower() == "true"
        if value not in (None, True, False):
            raise _wrong(key, "true or false", value)
        return bool(value)

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.given(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise _wrong(key, "names with values", value)
        return value

    def unused(self) -> list[str]:
        """A line for every key that nobody asked for."""
        lines = []
        for key, value in self.values.items():
            if key in self.seen or value is None:
                continue
            why = ELSEWHERE.get(key, "not a key that DD-Ranking documents; it has no meaning here")
            lines.append(f"{_shown(key)}: {why}")
        return lines


def _dataset(keys: _Keys) -> str:
    given = keys.text("dataset", "CIFAR10")
    name = DATASETS.get(re.sub(r"[^a-z0-9]", "", given.lower()))
    if name is None:
        raise _wrong("dataset", f"one of {', '.join(sorted(DATASETS))}", given)
    return name


def _rate(keys: _Keys, differs: list[str]) -> float | list[float]:
    if keys.given("syn_lr") is not None:
        return keys.number("syn_lr", 0.01)
    differs.append(
        "The rate is searched on a validation split, with the same list for distilled and random "
        "images; the source searches it on the test set unless it is given one with the data. Use "
        "--set learning_rate=stored for a set that carries its own."
    )
    return list(SEARCHED)


def _optimizer(keys: _Keys) -> dict[str, Any]:
    kind = keys.text("optimizer", "sgd").lower()
    decay = keys.number("weight_decay", 0.0005)
    if kind == "sgd":
        momentum = keys.number("momentum", 0.9)
        return {"kind": "sgd", "momentum": momentum, "weight_decay": decay}
    if kind in ("adam", "adamw"):
        return {"kind": kind, "weight_decay": decay}  # momentum is none of theirs: warned about
    raise _wrong("optimizer", "sgd, adam or adamw", kind)


def _schedule(keys: _Keys, differs: list[str]) -> dict[str, Any]:
    kind = keys.text("lr_scheduler", "step").lower()
    epochs = keys.whole("num_epochs", 300)
    if kind in ("step", "steplr"):
        size = keys.whole("step_size", 0)
        if size < 1:
            differs.append(
                "The rate drops after half of the epochs; the source leaves the step open "
                "(its first version drops one epoch later)."
            )
            size = max(1, epochs // 2)
        milestones = [step / epochs for step in islice(range(size, epochs, size), 100)]
        return {"kind": "step", "milestones": milestones, "factor": 0.1}
    if kind in ("cosine", "cosineannealing", "cosineannealinglr"):
        return {"kind": "cosine"}
    if kind == "lambda_cos":
        return {"kind": "half_cosine"}
    hint = "A straight line to zero is not known here; choose cosine." if "step" in kind else ""
    raise _wrong("lr_scheduler", "step, cosine or lambda_cos", kind, hint)


def _augmentation(keys: _Keys, differs: list[str]) -> list[dict[str, Any]]:
    """Transforms of each image in their order, then the one of the batch."""
    made: list[dict[str, Any]] = []
    listed = keys.given("custom_train_trans") or []
    if not isinstance(listed, list):
        raise _wrong("custom_train_trans", "a list of names with args", listed)
    for each in listed:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise _wrong("custom_train_trans", "entries with a name and args", each)
        made += _transform(each["name"], each.get("args") or {}, differs)
    if listed:
        differs.append(
            "Transforms of images are used for every set; the source uses them only for images "
            "that it reads from a folder."
        )
    kind, given = keys.text("data_aug_func", "").lower(), keys.mapping("aug_params")
    if kind == "dsa":
        unknown = [key for key in given if key not in DSA]
        if unknown:
            raise _wrong("aug_params", f"parameters of dsa: {', '.join(DSA)}", unknown[0])
        made.append({"kind": "dsa"} | {DSA[k]: _number(v, k) for k, v in given.items()})
    elif kind in MIXING:
        usual = {"mixup": ("lambda", "mixup_p", 0.8), "cutmix": ("beta", "cutmix_p", 1.0)}[kind]
        alpha = next((given[key] for key in usual[:2] if key in given), usual[2])
        made.append({"kind": kind, "alpha": _number(alpha, "aug_params")})
    elif kind == "zca":
        differs.append("Whitening is no augmentation: it is the space that the set's card names.")
    elif kind:
        raise _wrong("data_aug_func", "dsa, mixup, cutmix or null", kind)
    return made


def _transform(name: str, given: Any, differs: list[str]) -> list[dict[str, Any]]:
    """One torchvision transform by name, as augmentations here."""
    if not isinstance(given, dict):
        raise _wrong(f"custom_train_trans {_shown(name)}", "args with values", given)
    if name in ("ToTensor", "Normalize", "ToImage", "ToDtype"):
        return []  # what a set's space says
    if name in ("Resize", "CenterCrop"):
        differs.append(f"{name} is left out: images have the dataset's size.")
        return []
    make = TRANSFORMS.get(name)
    if make is None:
        known = ", ".join((*TRANSFORMS, "ToTensor", "Normalize", "Resize", "CenterCrop"))
        raise _wrong("custom_train_trans", f"one of {known}", name)
    return [make(given)]


def _crop(given: dict[str, Any]) -> dict[str, Any]:
    mode = {"constant": "zero", "reflect": "reflect"}.get(
        str(given.get("padding_mode", "constant"))
    )
    if mode is None:
        raise _wrong("padding_mode", "constant or reflect", given["padding_mode"])
    padding = given.get("padding")
    padding = (
        padding[0] if isinstance(padding, list) and len(set(map(str, padding))) == 1 else padding
    )
    return {"kind": "crop", "padding": int(_number(padding, "padding")), "mode": mode}


def _resized_crop(given: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": "resized_crop"}
    for key in ("scale", "ratio"):
        if key in given:
            made[key] = [_number(each, key) for each in _list(given[key], key)]
    return made


def _jitter(given: dict[str, Any]) -> dict[str, Any]:
    names = ("brightness", "contrast", "saturation", "hue")
    return {"kind": "color_jitter"} | {k: _number(given[k], k) for k in names if k in given}


#: torchvision's transforms that have a counterpart, by their names.
TRANSFORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "RandomCrop": _crop,
    "RandomResizedCrop": _resized_crop,
    "RandomHorizontalFlip": lambda given: {
        "kind": "flip",
        "p": _number(given.get("p", 0.5), "p"),
    },
    "ColorJitter": _jitter,
    "ShufflePatches": lambda given: {
        "kind": "patch_shuffle",
        "factor": int(_number(given.get("factor", 2), "factor")),
    },
    "RandomRotation": lambda given: {
        "kind": "torchvision",
        "name": "RandomRotation",
        "parameters": {"degrees": _number(given.get("degrees"), "degrees")},
    },
    "RandomErasing": lambda given: {
        "kind": "torchvision",
        "name": "RandomErasing",
        "parameters": {"p": _number(given.get("p", 0.5), "p")},
    },
}


def _labels_and_loss(
    keys: _Keys, dataset: str, model: str, differs: list[str]
) -> dict[str, dict[str, Any]]:
    mode = keys.given("soft_label_mode")
    kind = keys.text("label_type", "hard" if mode is None else "soft").lower()
    if kind not in ("hard", "soft") or mode not in (None, "S", "M"):
        raise _wrong("soft_label_mode", "S or M, beside label_type soft", mode)
    if kind == "hard":
        return {"labels": {"kind": "hard"}, "loss": {"kind": "cross_entropy"}}
    if (mode or "S") == "S":
        labels: dict[str, Any] = {"kind": "stored"}
    else:
        labels = {"kind": "teacher", "sees": "batch", "networks": _teachers(keys, dataset, model)}
        differs.append(
            "The teacher is published, or trained here by the rules teacher@1; the source reads a "
            "checkpoint of its own from teacher_dir (pass it to score with --teacher FILE)."
        )
    return {"labels": labels, "loss": _loss(keys, differs)}


def _loss(keys: _Keys, differs: list[str]) -> dict[str, Any]:
    more = keys.mapping("loss_fn_kwargs")
    inner = _Keys(more)
    temperature = inner.number("temperature", keys.number("temperature", 1.0))
    scaled = inner.flag("scale_loss") or keys.flag("scale_loss")
    kind = keys.text("soft_label_criterion", "kl").lower()
    if kind == "kl":
        return {"kind": "kl", "temperature": temperature, "multiply_t2": scaled}
    if kind == "sce":
        if scaled and temperature != 1:
            differs.append("The loss is not multiplied by T^2, as the source does with scale_loss.")
        return {"kind": "soft_cross_entropy", "temperature": temperature}
    if kind in ("mse_gt", "msegt"):
        mse, ce = inner.number("mse_weight", 1.0), inner.number("ce_weight", 0.0)
        if mse != 1:
            hint = "Divide both weights by mse_weight and multiply the rate by it."
            raise _wrong("loss_fn_kwargs.mse_weight", "1", mse, hint)
        differs.append(
            "The squared distance is that of the teacher's logits, as in EDC; the source's code "
            "takes it of the class numbers."
        )
        return {"kind": "mse_gt", "weight": ce}
    raise _wrong("soft_label_criterion", "kl, sce or mse_gt", kind)


def _teachers(keys: _Keys, dataset: str, model: str) -> list[dict[str, Any]]:
    listed = keys.given("teacher_model_names") or [model]
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _wrong("teacher_model_names", "a list of names", listed)
    made = []
    for each in listed:
        name = _network(each, keys, dataset, "tea_use_torchvision")
        published = name.startswith("torchvision:")
        weights = (
            {"kind": "published", "name": "IMAGENET1K_V1"}
            if published
            else {"kind": "trained", "training": "teacher@1"}
        )
        made.append({"model": name, "weights": weights})
    return made


def _network(name: str, keys: _Keys, dataset: str, *flags: str) -> str:
    """The name here of a network there: torchvision's own only where nothing of it was changed."""
    flat = re.sub(r"^([a-z]+)-(\d+)", r"\1\2", name.lower())
    # At 32 and 64 pixels the old tool puts another stem into torchvision's networks.
    if dataset == "imagenet-1k" and any(keys.flag(flag) for flag in flags):
        return f"torchvision:{flat.removesuffix('-bn')}"
    if any(keys.flag(flag) for flag in flags) and flat.startswith("resnet"):
        return flat if flat.endswith("-bn") else f"{flat}-bn"
    return flat


def _tracks(dataset: str, ipc: int, student: str) -> list[Track]:
    found = [each for each in tracks().values() if (each.dataset, each.ipc) == (dataset, ipc)]
    same = [each for each in found if each.student == student]
    return same or found


def _belongs_elsewhere(keys: _Keys, ipc: int, model: str, fitting: list[Track]) -> list[str]:
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


def _method(keys: _Keys, file: str) -> str:
    saved = keys.values.get("save_path")
    stem = Path(saved).stem if isinstance(saved, str) else Path(file).stem
    return _shown(re.sub(r"_.*", "", stem)) or "A method"


def _plain(node: yaml.Node) -> Any:
    """One value, read by the same rules as a recipe's."""
    return shelf.parse_yaml(yaml.serialize(node, Dumper=yaml.SafeDumper))


def _number(value: Any, key: str, default: float | None = None) -> float:
    if value is None and default is not None:
        return default
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise _wrong(key, "a number", value) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise _wrong(key, "a number", value)
    return value


def _list(value: Any, key: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise _wrong(key, "a list", value)


def _shown(text: object) -> str:
    return "".join(each if each.isprintable() else "?" for each in str(text)[:60])


def _wrong(key: str, expected: str, got: Any, hint: str = "") -> BadProtocol:
    return BadProtocol(
        f"configuration, {key}", expected=expected[:300], got=_shown(repr(got)), hint=hint
    )
