"""What file names say, and when they leave a choice."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddranking.data.catalog import DATASETS
from ddranking.distilled.inference import (
    DATASET_SPELLINGS,
    LINEAGES,
    METHOD_WORDS,
    WHITENED_METHODS,
    guess_dataset,
    guess_ipc,
    guess_method,
    mentions,
)


def paths(*names: str) -> list[Path]:
    return [Path("/nowhere") / name for name in names]


@pytest.mark.parametrize(
    ("name", "dataset", "ipc", "method"),
    [
        ("res_DC_CIFAR10_ConvNet_1ipc.pt", "cifar10", "1", "dc"),
        ("res_DSA_CIFAR100_ConvNet_10ipc.pt", "cifar100", "10", "dsa"),
        ("DM/FashionMNIST_IPC50.pt", "fashion-mnist", "50", "dm"),
        ("datm_tiny_ipc_1/images_best.pt", "tiny-imagenet", "1", "datm"),
        ("kip-cifar-10/images.npy", "cifar10", "", "kip"),
        ("G-VBSM_ImageNet-1k_ipc010.npz", "imagenet-1k", "10", "g-vbsm"),
        ("tm_imagenette.pt", "imagenette", "", "mtt"),
        ("TinyImageNet_50ipc.pt", "tiny-imagenet", "50", ""),
        ("dm_cifar-10_ipc_50.pt", "cifar10", "50", "dm"),
        ("imagenet_10_ipc50/images.pt", "", "50", ""),
        ("in1k_rn18_ipc10/data.npz", "imagenet-1k", "10", ""),
        ("imagenet100_1ipc.pt", "", "1", ""),
        ("rded/imagenet-1k_resnet18_f2_mipc300_ipc10_cr5/x/y.npz", "imagenet-1k", "10", ""),
        ("images_best.pt", "", "", ""),
        ("recipes/things.pt", "", "", ""),
        ("ConvNet_MNIST_10_exp0_it1000.png", "mnist", "", ""),
    ],
)
def test_guesses(name, dataset, ipc, method):
    given = paths(name)
    assert guess_dataset(given).value == dataset
    assert guess_ipc(given).value == ipc
    assert guess_method(given).value == method


def test_file_names_come_before_folder_names():
    guess = guess_method(paths("dc_results/res_DM_x.pt"))
    assert (guess.value, guess.where) == ("dm", "the file name 'res_DM_x'")


def test_several_answers_are_a_choice():
    assert guess_dataset(paths("cifar10_to_cifar100.pt")).choices == ("cifar10", "cifar100")
    assert guess_ipc(paths("1ipc.pt", "10ipc.pt")).choices == ("1", "10")
    assert not guess_method(paths("dc_dm.pt")).value


def test_mentions():
    assert mentions(paths("MTT-ZCA_run/images.pt"), "zca")
    assert not mentions(paths("zcalled/images.pt"), "zca")


def test_tables_agree():
    assert set(DATASET_SPELLINGS.values()) <= set(DATASETS)
    assert set(LINEAGES) | set(WHITENED_METHODS) <= set(METHOD_WORDS.values())
