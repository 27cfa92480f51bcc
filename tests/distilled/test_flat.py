"""Pictures side by side: which class each one's name, or a list beside them, tells."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddranking.data.catalog import facts
from ddranking.distilled.flat import labels_of_pictures
from ddranking.distilled.importers import PackOptions, pack
from ddranking.errors import BadDistilledSet, BadFile

CIFAR10 = facts("cifar10")
OPTIONS = PackOptions(method="m")
NAMED = CIFAR10.class_names


def labels(folder: Path, names, known=CIFAR10) -> list[int]:
    return labels_of_pictures([folder / name for name in names], known)[0]


@pytest.mark.parametrize(
    "name",
    [
        "class{k:03d}_id{i:03d}.jpg",
        "CLS-{k}-{i}.png",
        "x_label{k} ({i}).webp",
        "{name}_{i}.png",
        "{i}-{name}.png",
        "{NAME}.{i}.png",
        "{k}_{i}.jpg",
        "img{i}_of_{k}.jpg",
        "{i}_{k}_{k}.jpg",
        "run7_{k1}_{i}.png",
    ],
)
def test_names_that_tell_one_thing(tmp_path, name):
    wanted = [k for i in range(3) for k in range(10)]
    names = [
        name.format(k=k, i=i, k1=k + 1, name=NAMED[k], NAME=NAMED[k].upper())
        for i in range(3)
        for k in range(10)
    ]
    assert labels(tmp_path, names) == wanted


def test_names_of_several_words_and_of_the_subsets(tmp_path):
    known = facts("cifar100")
    names = [f"{name}_{i}.png" for i in range(2) for name in known.class_names]
    assert labels(tmp_path, names, known) == [*range(100), *range(100)]
    digits = facts("digits")
    assert labels(tmp_path, [f"{k}_0.png" for k in range(10)], digits) == list(range(10))
    woof = facts("imagewoof")
    assert woof.class_indices is not None
    numbered = [f"{k}_0.png" for k in woof.class_indices]
    assert labels(tmp_path, numbered, woof) == list(range(10))
    ids = [f"n{1000 + k:08d}" for k in woof.class_indices]
    assert labels(tmp_path, [f"{each}_1.JPEG" for each in ids], woof) == list(range(10))


@pytest.mark.parametrize(
    "names",
    [
        [f"{i}_{k}.png" for i in range(10) for k in range(10)],  # either number
        [f"{i}.png" for i in range(30)],
        [f"{'ab'[i % 2]}{i}_{i // 2}.png" for i in range(20)],  # unlike names
        [f"{name}_0.png" for name in (*NAMED[:9], "wombat")],
        [f"{k}_0.png" for k in range(9)],
    ],
)
def test_names_that_tell_nothing_or_two_things(tmp_path, names):
    with pytest.raises(BadDistilledSet, match=r"Put labels.csv beside them.*one folder for each"):
        labels(tmp_path, names)


def test_one_image_a_class_is_numbered_by_it(tmp_path):
    assert labels(tmp_path, [f"{k}.png" for k in range(10)]) == list(range(10))
    assert labels(tmp_path, [f"{k}_{k}.png" for k in range(10)]) == list(range(10))


def test_without_a_dataset_only_the_word_tells(tmp_path):
    assert labels(tmp_path, ["class0_1.png", "class3_0.png"], None) == [0, 3]
    with pytest.raises(BadDistilledSet, match="Pass --dataset"):
        labels(tmp_path, ["cat_1.png", "dog_0.png"], None)


SAID = {f"p{i}.png": i % 10 for i in range(20)}
LISTS = {
    "labels.csv": "".join(f"{name},{k}\n" for name, k in SAID.items()),
    "labels.csv, columns": "id,label,file\n" + "".join(f"9,{k},{n}\n" for n, k in SAID.items()),
    "metadata.csv": "file_name,label\n" + "".join(f"a/{n},{k}\n" for n, k in SAID.items()),
    "labels.txt": "".join(f"{name} {k}\n" for name, k in SAID.items()),
    "labels.txt, names": "# image class\n".replace("# image", "image")
    + "".join(f"./x/{name}\t{NAMED[k]}\n" for name, k in SAID.items()),
    "labels.json": json.dumps(SAID),
    "labels.json, names": json.dumps({name: NAMED[k] for name, k in SAID.items()}),
    "labels.json, pairs": json.dumps({"labels": [[name, k] for name, k in SAID.items()]}),
    "labels.json, from 1": json.dumps({name: k + 1 for name, k in SAID.items()}),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_beside_the_pictures(tmp_path, name):
    (tmp_path / name.partition(",")[0]).write_text(LISTS[name])
    found, notes = labels_of_pictures([tmp_path / each for each in SAID], CIFAR10)
    assert found == list(SAID.values())
    assert "20 pictures of 10 classes, by " in notes[0]


WRONG = {
    "labels.csv": {
        "empty": "",
        "no columns": "a,b,c\n1,2,3\n",
        "three": "p0.png,1,2\n",
        "one": "p0.png\n",
        "two classes": "p0.png,1\np0.png,2\n",
        "an unclosed quote": '"' + "x" * 9000,
        "a long line": "p0.png," + " " * 20_000,
        "many columns": "p0.png" + ",1" * 200,
        "many lines": "\n" * 1_000_001,
    },
    "labels.json": {
        "number": "3",
        "nested": "[" * 100_000,
        "objects": '{"p0.png": {"a": 1}}',
        "one name twice": '{"p0.png": 1, "p0.png": 2}',
        "labels twice": '{"labels": {"p0.png": 1}, "labels": {"p0.png": 2}}',
        "truth": '{"p0.png": true}',
        "triples": '[["p0.png", 1, 2]]',
        "long number": "[" + "9" * 5000 + "]",
    },
    "labels.txt": {"words": "p0.png is a cat\n", "numbers": "0\n1\n2\n"},
}


@pytest.mark.parametrize(("name", "kind"), [(n, kind) for n in WRONG for kind in WRONG[n]])
def test_a_list_of_another_form(tmp_path, name, kind):
    (tmp_path / name).write_text(WRONG[name][kind])
    with pytest.raises((BadFile, BadDistilledSet), match=name) as caught:
        labels(tmp_path, SAID)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["labels.csv", "labels.json", "labels.json, pairs", "labels.txt"])
def test_a_class_below_zero_is_no_class(tmp_path, name):
    """On digits, whose classes are called by number, -1 once was read as 1."""
    below = LISTS[name].replace("p11.png,1", "p11.png,-1").replace("p11.png 1", "p11.png -1")
    below = below.replace('"p11.png": 1', '"p11.png": -1').replace('"p11.png", 1', '"p11.png", -1')
    (tmp_path / name.partition(",")[0]).write_text(below)
    with pytest.raises(BadFile, match=r"the class -1 of 'p11\.png', below 0"):
        labels_of_pictures([tmp_path / each for each in SAID], facts("digits"))


def test_a_list_that_lacks_pictures_or_has_a_rival(tmp_path):
    (tmp_path / "labels.txt").write_text(LISTS["labels.txt"])
    found, notes = labels_of_pictures([tmp_path / "p3.png", tmp_path / "p4.png"], CIFAR10)
    assert found == [3, 4] and "passed over 18" in notes[1]
    with pytest.raises(BadDistilledSet, match=r"none for 1, the first 'q\.png'"):
        labels(tmp_path, [*SAID, "q.png"])
    (tmp_path / "labels.json").write_text(LISTS["labels.json"])
    with pytest.raises(BadFile, match="one list of classes"):
        labels(tmp_path, SAID)
    (tmp_path / "labels.json").write_bytes(b"\xff\xfe{")
    (tmp_path / "labels.txt").unlink()
    with pytest.raises(BadFile, match=r"labels\.json"):
        labels(tmp_path, SAID)


def save(folder: Path, names, images: np.ndarray) -> Path:
    folder.mkdir(parents=True)
    for name, image in zip(names, images, strict=True):
        Image.fromarray(image).save(folder / name)
    return folder


def test_packed_from_a_flat_folder(tmp_path):
    own = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    k = np.arange(20) // 2
    names = [f"d4m_{NAMED[label]}_{i}.png" for i, label in enumerate(k)]
    folder = save(tmp_path / "d4m_cifar10_ipc2", [n.removeprefix("d4m_") for n in names], own)
    made = pack([folder])
    np.testing.assert_array_equal(made.set.images, own.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(made.set.labels, k)
    assert made.set.card.method == "d4m" and made.set.card.ipc == 2

    # What all names begin with speaks of the set, the numbers after it do not.
    alike = [f"dm_cifar10_class{label}_ipc{i}.png" for i, label in enumerate(k)]
    again = pack([save(tmp_path / "syn", alike, own)])
    assert again.set.digest == made.set.digest and again.set.card.method == "dm"

    listed = save(tmp_path / "listed", [f"p{i}.png" for i in range(20)], own)
    (listed / "labels.csv").write_text("".join(f"p{i}.png,{k[i]}\n" for i in range(20)))
    (listed / "about.json").write_text("{}")
    assert pack([listed], dataset="cifar10", options=OPTIONS).set.digest == made.set.digest
    jpegs = save(tmp_path / "jpegs", [f"{label}_{i}.jpg" for i, label in enumerate(k)], own)
    packed = pack([jpegs], dataset="cifar10", options=replace(OPTIONS, method="rded"))
    np.testing.assert_array_equal(packed.set.labels, k)
    assert any("20 are JPEG" in note for note in packed.notes)
