"""Folders of class folders: which label each one gets, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddranking.data.catalog import DATASETS, facts
from ddranking.distilled.folder import labels_of_folders, natural, read_folder
from ddranking.distilled.guarded import Limits
from ddranking.errors import BadDistilledSet, BadFile

LIMITS = Limits(1 << 24)


def fill(folder: Path, names, per_class: int = 1, suffix: str = ".png", size: int = 32) -> None:
    """Pictures whose value tells the place of their folder in ``names``."""
    for value, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            image = np.full((size, size, 3), 10 * value + index, np.uint8)
            Image.fromarray(image).save(folder / name / f"{index}{suffix}")


@pytest.mark.parametrize("name", [n for n, each in DATASETS.items() if each.class_names])
def test_class_names_of_every_dataset_are_their_labels(name):
    known = facts(name)
    shuffled = sorted(known.class_names, key=len)
    labels = labels_of_folders([each.upper().replace("_", " ") for each in shuffled], known)
    assert sorted(labels.values()) == list(range(known.num_classes))
    assert [labels[each.upper().replace("_", " ")] for each in known.class_names] == list(
        range(known.num_classes)
    )


def test_wordnet_ids_follow_the_subset_list():
    # ImageNet-1K numbers its classes in the order of their ids; in imagewoof's own list the
    # Australian terrier (193) is label 0 and the Border terrier (182) label 1.
    ids = [f"n{1000 + index:08d}" for index in range(1000)]
    known = facts("imagewoof")
    chosen = [ids[index] for index in known.class_indices]
    labels = labels_of_folders(chosen, known)
    assert [labels[each] for each in chosen] == list(range(10))
    assert labels[ids[193]] == 0 and labels[ids[182]] == 1
    assert labels_of_folders(ids, facts("imagenet-1k"))[ids[7]] == 7
    with pytest.raises(BadDistilledSet, match="10 WordNet ids for imagewoof"):
        labels_of_folders(chosen[1:], known)


def test_numbers_and_unknown_names():
    assert labels_of_folders(["00010", "2"], facts("cifar100")) == {"00010": 10, "2": 2}
    assert labels_of_folders(["dog", "cat"], None) == {"cat": 0, "dog": 1}
    with pytest.raises(BadDistilledSet, match=r"1 unknown, the first 'wombat'.*0, 1, 2"):
        labels_of_folders(["cat", "wombat"], facts("cifar10"))


def test_numbers_among_words():
    known = facts("cifar10")
    for names in (
        [f"new{n:03d}" for n in range(10)],
        [f"class_{n}" for n in range(10)],
        [f"{n:02d}-{name}" for n, name in enumerate(known.class_names)],
        [f"{n + 1}" for n in range(10)],
    ):
        assert labels_of_folders(names[::-1], known) == {n: i for i, n in enumerate(names)}
    # Not one number a class, or not in one place: names, then.
    for names in (["new1", "new01"], ["new1", "old2"], ["a1b", "a2"]):
        with pytest.raises(BadDistilledSet, match="unknown"):
            labels_of_folders(names, known)
    subset = facts("imagefruit")
    listed = [f"new{index}" for index in sorted(subset.class_indices)]
    labels = labels_of_folders(listed, subset)
    assert [labels[f"new{index}"] for index in subset.class_indices] == list(range(10))


def test_images_come_in_class_order(tmp_path):
    names = ["10", "2", "0", "1", *map(str, range(3, 10))][1:]
    fill(tmp_path, names, per_class=2)
    images, labels, jpegs = read_folder(tmp_path, facts("cifar10"), LIMITS)
    assert images.shape == (20, 3, 32, 32) and jpegs == 0
    np.testing.assert_array_equal(labels, np.repeat(np.arange(10), 2))
    assert [int(value) for value in images[::2, 0, 0, 0]] == [
        10 * names.index(str(label)) for label in range(10)
    ]


def test_refused(tmp_path):
    fill(tmp_path, "0123456789")
    with pytest.raises(BadFile, match="a grey picture"):
        Image.fromarray(np.arange(3072, dtype=np.uint8).reshape(32, 32, 3)).save(
            tmp_path / "0" / "0.png"
        )
        read_folder(tmp_path, facts("mnist"), LIMITS)
    with pytest.raises(BadFile, match="at most"):
        read_folder(tmp_path, facts("cifar10"), Limits(30_000))
    Image.fromarray(np.zeros((16, 32, 3), np.uint8)).save(tmp_path / "4" / "0.png")
    with pytest.raises(BadFile, match=r"4/0.png.*32x32 pixels.*got 32x16"):
        read_folder(tmp_path, facts("cifar10"), LIMITS)
    (tmp_path / "3" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(BadFile, match=r"3/0.png"):
        read_folder(tmp_path, facts("cifar10"), LIMITS)


def test_natural_order():
    names = ["part10.pt", "part2.pt", "b1", "10a"]
    assert [p.name for p in sorted(map(Path, names), key=natural)] == [
        "10a",
        "b1",
        "part2.pt",
        "part10.pt",
    ]
