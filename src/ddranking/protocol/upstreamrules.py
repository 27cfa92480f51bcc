"""How a method trains, by the old tool's keys and in this one's vocabulary.

Every function looks its keys up, and adds to ``differs`` what the source does in another way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import islice
from typing import Any

from ddranking.protocol.upstreamkeys import Keys, as_list, number, shown, wrong

#: The rates that the old tool tries on the test set where it is given none.
SEARCHED = [0.001, 0.005, 0.01, 0.05, 0.1]

MIXING = ("mixup", "cutmix")

#: Names of DSA's parameters here, by those of the old tool's two versions.
DSA = {
    "flip": "flip", "prob_flip": "flip", "rotate": "rotate", "ratio_rotate": "rotate",
    "saturation": "saturation", "brightness": "brightness", "contrast": "contrast",
    "scale": "scale", "ratio_scale": "scale", "crop": "crop", "ratio_crop_pad": "crop",
    "cutout": "cutout", "ratio_cutout": "cutout",
}  # fmt: skip


def training(keys: Keys, dataset: str, model: str, differs: list[str]) -> dict[str, Any]:
    """The training rules of a recipe.

    Args:
        keys: of the configuration.
        dataset: its name here.
        model: the network's name there.
        differs: gets a sentence for each difference from the source.

    Raises:
        BadProtocol: a value that is not one of the old tool's, or has no counterpart here.
    """
    made = {
        "epochs": keys.whole("num_epochs", 300),
        "batch_size": keys.whole("syn_batch_size", 0) or keys.whole("batch_size", 256),
        "learning_rate": _rate(keys, differs),
        "optimizer": _optimizer(keys),
        "schedule": _schedule(keys, differs),
        "augmentation": _augmentation(keys, differs),
        **_labels_and_loss(keys, dataset, model, differs),
    }
    mixed = [each["kind"] for each in made["augmentation"] if each["kind"] in MIXING]
    if mixed and made["labels"]["kind"] != "teacher":
        differs.append(f"{mixed[0]}: labels are mixed as the images are; the source mixes images.")
    return made


def _rate(keys: Keys, differs: list[str]) -> float | list[float]:
    if keys.given("syn_lr") is not None:
        return keys.number("syn_lr", 0.01)
    differs.append(
        "The rate is searched on a validation split, with the same list for distilled and random "
        "images; the source searches it on the test set unless it is given one with the data. Use "
        "--set learning_rate=stored for a set that carries its own."
    )
    return list(SEARCHED)


def _optimizer(keys: Keys) -> dict[str, Any]:
    kind = keys.text("optimizer", "sgd").lower()
    decay = keys.number("weight_decay", 0.0005)
    if kind == "sgd":
        momentum = keys.number("momentum", 0.9)
        return {"kind": "sgd", "momentum": momentum, "weight_decay": decay}
    if kind in ("adam", "adamw"):
        return {"kind": kind, "weight_decay": decay}  # momentum is none of theirs: warned about
    raise wrong("optimizer", "sgd, adam or adamw", kind)


def _schedule(keys: Keys, differs: list[str]) -> dict[str, Any]:
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
    raise wrong("lr_scheduler", "step, cosine or lambda_cos", kind, hint)


def _augmentation(keys: Keys, differs: list[str]) -> list[dict[str, Any]]:
    """Transforms of each image in their order, then the one of the batch."""
    made: list[dict[str, Any]] = []
    listed = keys.given("custom_train_trans") or []
    if not isinstance(listed, list):
        raise wrong("custom_train_trans", "a list of names with args", listed)
    for each in listed:
        if not isinstance(each, dict) or not isinstance(each.get("name"), str):
            raise wrong("custom_train_trans", "entries with a name and args", each)
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
            raise wrong("aug_params", f"parameters of dsa: {', '.join(DSA)}", unknown[0])
        made.append({"kind": "dsa"} | {DSA[k]: number(v, k) for k, v in given.items()})
    elif kind in MIXING:
        usual = {"mixup": ("lambda", "mixup_p", 0.8), "cutmix": ("beta", "cutmix_p", 1.0)}[kind]
        alpha = next((given[key] for key in usual[:2] if key in given), usual[2])
        made.append({"kind": kind, "alpha": number(alpha, "aug_params")})
    elif kind == "zca":
        differs.append("Whitening is no augmentation: it is the space that the set's card names.")
    elif kind:
        raise wrong("data_aug_func", "dsa, mixup, cutmix or null", kind)
    return made


def _transform(name: str, given: Any, differs: list[str]) -> list[dict[str, Any]]:
    """One torchvision transform by name, as augmentations here."""
    if not isinstance(given, dict):
        raise wrong(f"custom_train_trans {shown(name)}", "args with values", given)
    if name in ("ToTensor", "Normalize", "ToImage", "ToDtype"):
        return []  # what a set's space says
    if name in ("Resize", "CenterCrop"):
        differs.append(f"{name} is left out: images have the dataset's size.")
        return []
    make = TRANSFORMS.get(name)
    if make is None:
        known = ", ".join((*TRANSFORMS, "ToTensor", "Normalize", "Resize", "CenterCrop"))
        raise wrong("custom_train_trans", f"one of {known}", name)
    return [make(given)]


def _crop(given: dict[str, Any]) -> dict[str, Any]:
    mode = {"constant": "zero", "reflect": "reflect"}.get(
        str(given.get("padding_mode", "constant"))
    )
    if mode is None:
        raise wrong("padding_mode", "constant or reflect", given["padding_mode"])
    padding = given.get("padding")
    padding = (
        padding[0] if isinstance(padding, list) and len(set(map(str, padding))) == 1 else padding
    )
    return {"kind": "crop", "padding": int(number(padding, "padding")), "mode": mode}


def _resized_crop(given: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"kind": "resized_crop"}
    for key in ("scale", "ratio"):
        if key in given:
            made[key] = [number(each, key) for each in as_list(given[key], key)]
    return made


def _jitter(given: dict[str, Any]) -> dict[str, Any]:
    names = ("brightness", "contrast", "saturation", "hue")
    return {"kind": "color_jitter"} | {k: number(given[k], k) for k in names if k in given}


#: torchvision's transforms that have a counterpart, by their names.
TRANSFORMS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "RandomCrop": _crop,
    "RandomResizedCrop": _resized_crop,
    "RandomHorizontalFlip": lambda given: {
        "kind": "flip",
        "p": number(given.get("p", 0.5), "p"),
    },
    "ColorJitter": _jitter,
    "ShufflePatches": lambda given: {
        "kind": "patch_shuffle",
        "factor": int(number(given.get("factor", 2), "factor")),
    },
    "RandomRotation": lambda given: {
        "kind": "torchvision",
        "name": "RandomRotation",
        "parameters": {"degrees": number(given.get("degrees"), "degrees")},
    },
    "RandomErasing": lambda given: {
        "kind": "torchvision",
        "name": "RandomErasing",
        "parameters": {"p": number(given.get("p", 0.5), "p")},
    },
}


def _labels_and_loss(
    keys: Keys, dataset: str, model: str, differs: list[str]
) -> dict[str, dict[str, Any]]:
    mode = keys.given("soft_label_mode")
    kind = keys.text("label_type", "hard" if mode is None else "soft").lower()
    if kind not in ("hard", "soft") or mode not in (None, "S", "M"):
        raise wrong("soft_label_mode", "S or M, beside label_type soft", mode)
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


def _loss(keys: Keys, differs: list[str]) -> dict[str, Any]:
    more = keys.mapping("loss_fn_kwargs")
    inner = Keys(more)
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
            raise wrong("loss_fn_kwargs.mse_weight", "1", mse, hint)
        differs.append(
            "The squared distance is that of the teacher's logits, as in EDC; the source's code "
            "takes it of the class numbers."
        )
        return {"kind": "mse_gt", "weight": ce}
    raise wrong("soft_label_criterion", "kl, sce or mse_gt", kind)


def _teachers(keys: Keys, dataset: str, model: str) -> list[dict[str, Any]]:
    listed = keys.given("teacher_model_names") or [model]
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise wrong("teacher_model_names", "a list of names", listed)
    made = []
    for each in listed:
        name = network(each, keys, dataset, "tea_use_torchvision")
        published = name.startswith("torchvision:")
        weights = (
            {"kind": "published", "name": "IMAGENET1K_V1"}
            if published
            else {"kind": "trained", "training": "teacher@1"}
        )
        made.append({"model": name, "weights": weights})
    return made


def network(name: str, keys: Keys, dataset: str, *flags: str) -> str:
    """The name here of a network there: torchvision's own only where nothing of it was changed."""
    flat = re.sub(r"^([a-z]+)-(\d+)", r"\1\2", name.lower())
    # At 32 and 64 pixels the old tool puts another stem into torchvision's networks.
    if dataset == "imagenet-1k" and any(keys.flag(flag) for flag in flags):
        return f"torchvision:{flat.removesuffix('-bn')}"
    if any(keys.flag(flag) for flag in flags) and flat.startswith("resnet"):
        return flat if flat.endswith("-bn") else f"{flat}-bn"
    return flat
