"""Configurations of the old tool: what they mean here, and a line for what they do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddranking.errors import BadFile, BadInput, BadProtocol
from ddranking.protocol import upstream
from ddranking.protocol.recipe import parse
from ddranking.protocol.upstreamkeys import ELSEWHERE
from ddranking.protocol.upstreamrules import SEARCHED

#: What every configuration of the old tool has beside what this test is about.
COMMON = {
    "dataset": "CIFAR10", "real_data_path": "./dataset/", "ipc": 10, "im_size": [32, 32],
    "model_name": "ConvNet-3", "data_aug_func": None, "aug_params": None, "use_zca": False,
    "custom_train_trans": None, "custom_val_trans": None, "optimizer": "sgd",
    "lr_scheduler": "step", "weight_decay": 0.0005, "momentum": 0.9, "num_eval": 5,
    "num_epochs": 1000, "syn_batch_size": 256, "real_batch_size": 256, "num_workers": 4,
    "device": "cuda", "save_path": "./results/cifar10/ipc10/dc.csv",
}  # fmt: skip
DSA = {
    "flip": 0.5, "rotate": 15.0, "saturation": 2.0, "brightness": 1.0, "contrast": 0.5,
    "scale": 1.2, "crop": 0.125, "cutout": 0.5,
}  # fmt: skip
SOFT = {"soft_label_mode": "M", "soft_label_criterion": "kl", "temperature": 20.0}
CROP = {"name": "RandomCrop", "args": {"size": 32, "padding": 4}}
FLIP = {"name": "RandomHorizontalFlip", "args": {"p": 0.5}}
NORMALIZE = {"name": "Normalize", "args": {"mean": [0.5] * 3, "std": [0.5] * 3}}
RRC = {"name": "RandomResizedCrop", "args": {"size": 64, "scale": [0.08, 1.0]}}


def translated(**changes: Any) -> upstream.Translation:
    return upstream.translate(COMMON | changes, "it", "DC/IPC10.yaml")


def training(**changes: Any) -> dict[str, Any]:
    return translated(**changes).recipe["training"]


#: What the old tool's files say, and the released recipe that means the same.
METHODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dc": ({}, {"optimizer": {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.0005}}),
    "dsa": ({"data_aug_func": "dsa", "aug_params": DSA}, {"augmentation": [{"kind": "dsa"} | DSA]}),
    "datm": (
        {
            "data_aug_func": "dsa",
            "aug_params": DSA,
            "soft_label_mode": "S",
            "soft_label_criterion": "sce",
            "temperature": 1.0,
            "use_zca": True,
        },
        {
            "labels": {"kind": "stored"},
            "loss": {"kind": "soft_cross_entropy", "temperature": 1.0},
        },
    ),
    "sre2l": (
        {
            **SOFT,
            "temperature": 30.0,
            "model_name": "ResNet-18-BN",
            "stu_use_torchvision": True,
            "tea_use_torchvision": True,
            "data_aug_func": "mixup",
            "aug_params": {"lambda": 0.8},
            "custom_train_trans": [CROP, FLIP, {"name": "ToTensor"}, NORMALIZE],
            "optimizer": "adamw",
            "lr_scheduler": "cosine",
            "weight_decay": 0.01,
            "momentum": None,
            "num_epochs": 400,
        },
        {
            "epochs": 400,
            "optimizer": {"kind": "adamw", "weight_decay": 0.01},
            "schedule": {"kind": "cosine"},
            "augmentation": [
                {"kind": "crop", "padding": 4, "mode": "zero"},
                {"kind": "flip", "p": 0.5},
                {"kind": "mixup", "alpha": 0.8},
            ],
            "loss": {"kind": "kl", "temperature": 30.0, "multiply_t2": False},
            "labels": {
                "kind": "teacher",
                "sees": "batch",
                "networks": [
                    {
                        "model": "resnet18-bn",
                        "weights": {"kind": "trained", "training": "teacher@1"},
                    }
                ],
            },
        },
    ),
    "rded": (
        {
            **SOFT,
            "dataset": "TinyImageNet",
            "model_name": "ConvNet-4-BN",
            "data_aug_func": "cutmix",
            "aug_params": {"beta": 1.0},
            "lr_scheduler": "lambda_cos",
            "optimizer": "adamw",
            "syn_batch_size": 50,
        },
        {
            "batch_size": 50,
            "schedule": {"kind": "half_cosine"},
            "augmentation": [{"kind": "cutmix", "alpha": 1.0}],
        },
    ),
    "edc": (
        {
            "dataset": "ImageNet1K",
            "model_name": "ResNet-18-BN",
            "tea_use_torchvision": True,
            "teacher_model_names": ["ResNet-18-BN", "mobilenet_v2"],
            "soft_label_mode": "M",
            "soft_label_criterion": "mse_gt",
            "loss_fn_kwargs": {"mse_weight": 1.0, "ce_weight": 0.025},
            "custom_train_trans": [{"name": "ShufflePatches", "args": {"factor": 2}}, RRC],
        },
        {
            "loss": {"kind": "mse_gt", "weight": 0.025},
            "augmentation": [
                {"kind": "patch_shuffle", "factor": 2},
                {"kind": "resized_crop", "scale": [0.08, 1.0]},
            ],
            "labels": {
                "kind": "teacher",
                "sees": "batch",
                "networks": [
                    {
                        "model": f"torchvision:{name}",
                        "weights": {"kind": "published", "name": "IMAGENET1K_V1"},
                    }
                    for name in ("resnet18", "mobilenet_v2")
                ],
            },
        },
    ),
    "ars": (
        {
            "label_type": "soft",
            **SOFT,
            "temperature": None,
            "loss_fn_kwargs": {"temperature": 2.0, "scale_loss": True},
            "syn_batch_size": None,
            "batch_size": 1024,
        },
        {"batch_size": 1024, "loss": {"kind": "kl", "temperature": 2.0, "multiply_t2": True}},
    ),
}


@pytest.mark.parametrize("method", METHODS)
def test_methods(method):
    given, wanted = METHODS[method]
    made = translated(**given)
    for key, value in wanted.items():
        assert made.recipe["training"][key] == value
    file = parse(yaml.safe_load(yaml.safe_dump(made.recipe)), "what is written")
    resolved = file.resolve(made.recipe["datasets"][0], 10)
    assert resolved.training.model_dump()["epochs"] == (COMMON | given)["num_epochs"]


def test_every_key_is_translated_or_warned_about():
    made = translated(use_zca=True, dist=True, strange=1, default_lr=0.001)
    warned = {line.split(":")[0] for line in made.warnings}
    assert warned == {
        "real_data_path", "ipc", "im_size", "model_name", "num_eval", "real_batch_size",
        "num_workers", "device", "save_path", "use_zca", "dist", "strange", "default_lr",
    }  # fmt: skip
    assert "--space zca" in " ".join(made.warnings)
    assert any("strange" in line and "no meaning" in line for line in made.warnings)
    assert made.tracks == ["cifar10-ipc10-convnet3"]
    adamw = translated(optimizer="adamw", temperature=3.0)
    assert {"momentum: of sgd alone", "temperature: of soft labels alone"} <= set(adamw.warnings)


def test_rates_and_steps():
    made = translated()
    assert made.recipe["training"]["learning_rate"] == SEARCHED
    assert any("on the test set" in line for line in made.recipe["differs_from_source"])
    assert training(syn_lr=0.02)["learning_rate"] == 0.02
    assert training()["schedule"]["milestones"] == [0.5]
    assert training(step_size=300)["schedule"]["milestones"] == [0.3, 0.6, 0.9]


def test_labels_that_the_source_forgets_to_mix():
    mixed = translated(data_aug_func="cutmix", aug_params={"cutmix_p": 0.5})
    assert mixed.recipe["training"]["augmentation"] == [{"kind": "cutmix", "alpha": 0.5}]
    assert any("the source mixes images" in line for line in mixed.recipe["differs_from_source"])
    taught = translated(data_aug_func="cutmix", aug_params={"beta": 1.0}, **SOFT)
    assert not any("mixes images" in line for line in taught.recipe["differs_from_source"])


def test_names_of_the_first_version():
    old = {"prob_flip": 0.4, "ratio_rotate": 10.0, "ratio_crop_pad": 0.1, "ratio_cutout": 0.3}
    made = training(data_aug_func="dsa", aug_params=old, custom_train_trans="None")
    new = {"flip": 0.4, "rotate": 10.0, "crop": 0.1, "cutout": 0.3}
    assert made["augmentation"] == [{"kind": "dsa"} | new]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "CIFAR11"}, "dataset: expected one of cifar10"),
        ({"optimizer": "lion"}, "sgd, adam or adamw"),
        ({"lr_scheduler": "lambda_step"}, "choose cosine"),
        ({"data_aug_func": "autoaugment"}, "dsa, mixup, cutmix or null"),
        ({"data_aug_func": "dsa", "aug_params": {"solarize": 1}}, "parameters of dsa"),
        ({"custom_train_trans": [{"name": "RandAugment"}]}, "got 'RandAugment'"),
        ({"custom_train_trans": [{"name": "RandomCrop"}]}, "padding"),
        ({"num_epochs": 0}, "epochs"),
        ({"num_epochs": 10**11, "step_size": 1}, "epochs"),
        ({"num_epochs": "many"}, "num_epochs: expected a number, got 'many'"),
        ({"num_epochs": float("nan")}, "a number"),
        ({"ipc": 1.5}, "a whole number"),
        ({"soft_label_mode": "X"}, "S or M"),
        (SOFT | {"temperature": 0}, "temperature"),
        (SOFT | {"soft_label_criterion": "mse"}, "kl, sce or mse_gt"),
        (
            SOFT | {"soft_label_criterion": "mse_gt", "loss_fn_kwargs": {"mse_weight": 2}},
            "Divide both weights",
        ),
        (SOFT | {"teacher_model_names": "ResNet-18"}, "a list of names"),
    ],
)
def test_what_cannot_be_translated(changes, words):
    with pytest.raises(BadProtocol, match=words) as caught:
        translated(**changes)
    assert "\n" not in str(caught.value)


def written(folder: Path, text: str) -> Path:
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder / "config.yaml"


def test_files(tmp_path):
    text = yaml.safe_dump(COMMON) + "custom_val_trans: null\n"
    values, warnings = upstream.read(written(tmp_path, text))
    assert values == COMMON and warnings == ["custom_val_trans: stands twice; the last one counts"]
    for content, words in (
        ("a: 1", "an evaluation configuration of DD-Ranking"),
        ("[1, 2]", "an evaluation configuration of DD-Ranking"),
        ("a: [", "expected YAML"),
        ("name: x\ntraining: {epochs: 1}", "got a recipe"),
        ("a: !!python/object/apply:os.mkdir [made]", "expected YAML"),
        ("x" * (1 << 17), "more than"),
    ):
        with pytest.raises(BadFile, match=words):
            upstream.read(written(tmp_path, content))
    with pytest.raises(BadFile, match="No such file"):
        upstream.read(tmp_path / "none.yaml")
    assert not Path("made").exists()


def test_aliases_that_unfold_to_millions_of_values(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(BadFile, match="10000 values"):
        upstream.read(written(tmp_path, "\n".join(lines)))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = sorted({*COMMON, *SOFT, *ELSEWHERE, "loss_fn_kwargs", "label_type", "syn_lr", "use_zca"})


@settings(max_examples=300, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(KEYS), PLAIN, max_size=4))
def test_any_value_ends_in_a_recipe_or_one_line(changes):
    try:
        made = upstream.translate(COMMON | changes, "it", "x.yaml")
    except BadInput as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
    else:
        parse(yaml.safe_load(yaml.safe_dump(made.recipe)), "what is written")
        assert all(line.isprintable() for line in made.warnings)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damaged_files_end_in_one_line(tmp_path, data):
    raw = bytearray(yaml.safe_dump(COMMON | {"aug_params": DSA, "data_aug_func": "dsa"}).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.yaml").write_bytes(bytes(raw))
    try:
        values, _ = upstream.read(tmp_path / "x.yaml")
        upstream.translate(values, "it", "x.yaml")
    except BadInput as error:
        assert "\n" not in str(error)
