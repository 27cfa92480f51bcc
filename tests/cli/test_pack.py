"""``pack`` at the command line: its own flags, repositories, and configurations of the old tool."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from ddranking.distilled.artifact import load
from ddranking.protocol.recipe import find_recipe

CONFIG = {
    "dataset": "CIFAR10", "ipc": 10, "model_name": "ConvNet-3", "num_epochs": 1000,
    "syn_batch_size": 256, "optimizer": "sgd", "lr_scheduler": "step", "device": "cuda",
    "save_path": "./results/cifar10/ipc10/dc.csv",
}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "old" / "IPC10.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def test_a_configuration_becomes_a_recipe_that_scores(run, tmp_path, config):
    said = run("pack", config, "--out", tmp_path / "dc-old.yaml")
    assert said.code == 0, said
    assert "- device: said with --device" in said.out
    assert "Tracks that it fits: cifar10-ipc10-convnet3" in said.out
    recipe = find_recipe(str(tmp_path / "dc-old.yaml")).resolve("cifar10", 10)
    assert recipe.id == "dc-old@1" and recipe.training.epochs == 1000
    assert "old/IPC10.yaml" in recipe.source and str(tmp_path) not in recipe.source


def test_a_configuration_is_no_set(run, tmp_path, config):
    said = run("pack", config, "--out", tmp_path / "dc.safetensors")
    assert said.code == 2 and "a .yaml file" in said.line
    again = run("pack", find_recipe.__code__.co_filename, "--out", tmp_path / "x.yaml")
    assert again.code == 2 and "files that end in .pt" in again.line
    run("pack", config, "--out", tmp_path / "dc-old.yaml")
    twice = run("pack", tmp_path / "dc-old.yaml", "--out", tmp_path / "x.yaml")
    assert twice.code == 2 and "got a recipe" in twice.line
    assert not (tmp_path / "x.yaml").exists()


def test_partition_and_limits(run, tmp_path):
    images = np.random.default_rng(0).uniform(size=(10, 3, 32, 32)).astype(np.float32)
    source = tmp_path / "idc_cifar10_factor2_ipc1.npz"
    np.savez(source, images=images, labels=np.arange(10))
    out = tmp_path / "idc.safetensors"
    asked = run("pack", source, "--space", "pixel", "--out", out)
    assert asked.code == 2 and "--partition 2" in asked.line
    said = run("pack", source, "--space", "pixel", "--partition", "2", "--out", out)
    assert said.code == 0, said
    assert load(out).images.shape == (40, 3, 32, 32)
    small = run("pack", source, "--space", "pixel", "--max-gb", "0.00001", "--out", out)
    assert small.code == 2 and "at most 10737 bytes" in small.line
    none = run("pack", source, "--max-gb", "0", "--out", out)
    assert none.code == 2 and "above 0" in none.line


def test_a_repository_that_is_none(run, tmp_path):
    said = run("pack", "hub:nobody", "--out", tmp_path / "x.safetensors")
    assert said.code == 2 and "hub:owner/name" in said.line


def test_classes_and_constants_at_the_command_line(run, tmp_path):
    images = np.random.default_rng(0).normal(size=(10, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=images, y=np.arange(10))
    said = ("--dataset", "digits", "--method", "m", "--space", "standardized:0.5/0.25")
    out = tmp_path / "x.safetensors"
    packed = run(
        "pack", tmp_path / "x.npz", *said, "--classes", "1,0,2,3,4,5,6,7,8,9", "--out", out
    )
    assert packed.code == 0, packed
    assert load(out).labels.tolist() == [1, 0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert load(out).card.space.std == (0.25,)
    wrong = run("pack", tmp_path / "x.npz", *said, "--classes", "1,b", "--out", out)
    assert wrong.code == 2 and "whole numbers" in wrong.line
    soft = np.roll(9 * np.eye(10, dtype=np.float32), 1, axis=1)
    np.savez(tmp_path / "y.npz", x=images, y=np.arange(10), soft_labels=soft)
    said = (*said, "--soft-label-kind", "logits", "--out", out)
    assert run("pack", tmp_path / "y.npz", *said, "--soft-classes", "9,0,1,2,3,4,5,6,7,8").code == 0
    assert load(out).soft_labels.argmax(1).tolist() == list(range(10))
    wrong = run("pack", tmp_path / "y.npz", *said, "--soft-classes", "x")
    assert wrong.code == 2 and "--soft-classes: expected whole" in wrong.line
