"""pack(): every form of release, what is said about it, and every question it leaves open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddranking.data.catalog import DatasetFacts, facts
from ddranking.distilled import kinds
from ddranking.distilled.artifact import load, save
from ddranking.distilled.importers import PackOptions, pack
from ddranking.errors import BadDistilledSet, BadFile, BadInput, UnknownName

MTT = {"dataset": "cifar10", "options": PackOptions(method="mtt")}


def images_of(many: int, scale: float = 2.0) -> np.ndarray:
    source = np.random.default_rng(many)
    return (source.normal(size=(many, 3, 32, 32)) * scale).astype(np.float32)


def classes(ipc: int) -> np.ndarray:
    return np.repeat(np.arange(10), ipc)


def write(folder: Path, **arrays) -> list[Path]:
    """One .npy a keyword, in the order a shell would list them."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    return sorted(folder.glob("*.npy"))


@pytest.fixture
def trees(monkeypatch):
    """Stands for the child process: file names to trees (the real one is in test_published)."""
    known: dict[str, object] = {}

    def read(files, limits):
        return [known[file.name] for file in files]

    monkeypatch.setattr(kinds, "read_torch", read)
    return known


def as_files(folder: Path, trees) -> list[Path]:
    for name in trees:
        (folder / name).touch()
    return sorted(folder / name for name in trees)


def test_dc_family_takes_the_last_experiment_or_the_one_asked_for(tmp_path, trees):
    runs = [images_of(10) + run for run in range(3)]
    labels = classes(1)
    accuracies = {"ConvNet": [0.1, 0.2]}
    data = {"data": [[x, labels] for x in runs], "accs_all_exps": accuracies}
    trees["res_DSA_CIFAR10_ConvNet_1ipc.pt"] = data
    files = as_files(tmp_path, trees)
    last = pack(files)
    np.testing.assert_array_equal(last.set.images, runs[2])
    assert (last.set.card.method, last.set.card.dataset, last.set.card.ipc) == ("dsa", "cifar10", 1)
    assert last.set.card.note == "experiment 2 of 3 (counted from 0)"
    assert any("took experiment 2 of 3" in note for note in last.notes)
    first = pack(files, options=PackOptions(experiment=0))
    np.testing.assert_array_equal(first.set.images, runs[0])
    with pytest.raises(BadDistilledSet, match="0 to 2, or -1 for the last, got 3"):
        pack(files, options=PackOptions(experiment=3))


def test_mtt_files_with_their_rate(tmp_path, trees):
    trees |= {
        "images_best.pt": images_of(20),
        "labels_best.pt": classes(2),
        "lr_best.pt": np.float32(0.0123).reshape(()),
    }
    packed = pack(as_files(tmp_path, trees), **MTT)
    assert packed.set.learning_rate == pytest.approx(0.0123)
    assert packed.set.card.ipc == 2
    assert any("ipc 2: 20 images of 10 classes" in note for note in packed.notes)
    override = PackOptions(method="mtt", learning_rate=0.5)
    assert (
        pack(as_files(tmp_path, trees), options=override, dataset="cifar10").set.learning_rate
        == 0.5
    )


def test_parts_are_joined_in_numeric_order(tmp_path):
    whole = images_of(30)
    write(tmp_path, images_1=whole[:10], images_2=whole[10:20], images_10=whole[20:])
    write(tmp_path, labels_1=classes(3)[:10], labels_2=classes(3)[10:20], labels_10=classes(3)[20:])
    packed = pack([tmp_path], ipc=3, **MTT)
    np.testing.assert_array_equal(packed.set.images, whole)
    assert any(
        "joined 3 files" in note and "images_2.npy, images_10.npy" in note for note in packed.notes
    )
    with pytest.raises(BadDistilledSet, match="each a whole set"):
        pack([tmp_path], ipc=1, **MTT)
    with pytest.raises(BadDistilledSet, match="--ipc"):
        pack([tmp_path], **MTT)
    (tmp_path / "labels_10.npy").unlink()
    with pytest.raises(BadDistilledSet, match="1 or 3 files, as of images, got 2"):
        pack([tmp_path], ipc=3, **MTT)


def test_npz_with_channels_last_and_soft_labels(tmp_path):
    soft = np.random.default_rng(0).normal(size=(20, 10)) + 9 * np.eye(10)[classes(2)]
    path = tmp_path / "datm_cifar10.npz"
    np.savez(path, x=images_of(20).transpose(0, 2, 3, 1), y=soft, lr=0.01, epoch=3)
    with pytest.raises(BadDistilledSet, match=r"Pass --space zca "):
        pack([path])
    with pytest.raises(BadDistilledSet, match="--soft-label-kind"):
        pack([path], options=PackOptions(space="zca"))
    packed = pack([path], options=PackOptions(space="zca", soft_label_kind="logits"))
    np.testing.assert_array_equal(packed.set.images, images_of(20))
    np.testing.assert_array_equal(packed.set.soft_labels, soft.astype(np.float32))
    np.testing.assert_array_equal(packed.set.labels, classes(2))
    said = " / ".join(packed.notes)
    assert (
        "channels last" in said and "largest of its soft label" in said and "ignored epoch" in said
    )
    hard = pack([path], options=PackOptions(space="zca", drop_soft_labels=True)).set
    assert hard.soft_labels is None and hard.card.soft_label_kind is None


def test_labels_in_other_clothes(tmp_path):
    images = images_of(20)
    for labels in (classes(2).astype(np.float32), classes(2)[:, None], np.eye(10)[classes(2)]):
        packed = pack(write(tmp_path, images=images, labels=labels), **MTT).set
        np.testing.assert_array_equal(packed.labels, classes(2))
        assert packed.labels.dtype == np.int64 and packed.soft_labels is None
    for labels, words in (
        (classes(2) + 0.5, "whole numbers"),
        (classes(2)[:-1], "one for each of 20 images, got 19"),
        (np.zeros((20, 7)), r"\[20, 10\]"),
        (np.full(20, np.nan), "whole numbers"),
    ):
        with pytest.raises(BadDistilledSet, match=words):
            pack(write(tmp_path, images=images, labels=labels), **MTT)


def test_missing_labels_are_class_order_and_said(tmp_path):
    packed = pack(write(tmp_path, images=images_of(20)), ipc=2, **MTT)
    np.testing.assert_array_equal(packed.set.labels, classes(2))
    assert any("class order" in note for note in packed.notes)
    with pytest.raises(BadDistilledSet, match=r"3 of each of 10 classes .* got 20 images"):
        pack(write(tmp_path, images=images_of(20)), ipc=3, **MTT)


def test_unsorted_is_noted_and_unbalanced_must_be_declared(tmp_path):
    packed = pack(write(tmp_path, images=images_of(20), labels=classes(2)[::-1]), **MTT)
    assert not packed.set.card.sorted and any("class order" in note for note in packed.notes)
    files = write(tmp_path, images=images_of(20), labels=np.arange(20) % 7)
    with pytest.raises(BadDistilledSet, match="unbalanced"):
        pack(files, **MTT)
    declared = PackOptions(method="mtt", balanced=False)
    assert not pack(files, dataset="cifar10", options=declared).set.card.balanced


@pytest.mark.parametrize(
    ("scale", "method", "space", "kind"),
    [
        (2.0, "dc", None, "standardized"),
        (2.0, "mtt", "zca", "zca"),
        (2.0, "mtt", {"kind": "standardized", "mean": [0, 0, 0], "std": [1, 1, 1]}, "standardized"),
    ],
)
def test_space(tmp_path, scale, method, space, kind):
    files = write(tmp_path, images=images_of(10, scale))
    packed = pack(files, dataset="cifar10", options=PackOptions(method=method, space=space))
    assert packed.set.card.space.kind == kind
    assumed = [note for note in packed.notes if "assumed" in note and "--space zca" in note]
    assert len(assumed) == (space is None)


def test_constants_follow_the_lineage(tmp_path):
    files = write(tmp_path, images=images_of(100))
    for method, lineage in (("mtt", "cifar10"), ("dm", "cifar100"), ("unheard-of", "cifar100")):
        packed = pack(files, dataset="cifar100", options=PackOptions(method=method))
        assert packed.set.card.space.model_dump()["std"] == facts(lineage).std


def test_pixels_are_not_guessed(tmp_path):
    unit = np.random.default_rng(0).uniform(size=(10, 3, 32, 32)).astype(np.float32)
    counts = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32))
    for images in (unit, counts.astype(np.float32)):
        with pytest.raises(BadDistilledSet, match="--space pixel"):
            pack(write(tmp_path, images=images), **MTT)
    pixel = PackOptions(method="x", space="pixel")
    floats = pack(write(tmp_path, images=unit), dataset="cifar10", options=pixel).set
    np.testing.assert_array_equal(floats.images, unit)
    bytes_ = pack(
        write(tmp_path, images=counts.astype(np.float32)), dataset="cifar10", options=pixel
    )
    np.testing.assert_array_equal(bytes_.set.images, counts.astype(np.uint8))
    plain = pack(write(tmp_path, images=counts), **MTT).set
    assert plain.images.dtype == np.uint8 and plain.card.space.kind == "pixel"


def test_optimised_values_are_kept_to_the_bit(tmp_path):
    images = images_of(10, 40)
    packed = pack(write(tmp_path, images=images.astype(np.float64)), **MTT)
    np.testing.assert_array_equal(packed.set.images, images)
    assert any("float64 became float32" in note for note in packed.notes)


def test_grid_folder_and_repacking(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 32, 32)).astype(np.uint8)
    grid = np.zeros((342, 70, 3), np.uint8)
    for index, image in enumerate(images):
        y, x = (2 + 34 * place for place in divmod(index, 2))
        grid[y : y + 32, x : x + 32] = image.transpose(1, 2, 0)
    Image.fromarray(grid).save(tmp_path / "vis_DM_CIFAR10.png")
    packed = pack([tmp_path / "vis_DM_CIFAR10.png"])
    np.testing.assert_array_equal(packed.set.images, images)
    np.testing.assert_array_equal(packed.set.labels, classes(2))
    assert any("10 rows x 2 columns" in note for note in packed.notes)
    with pytest.raises(BadDistilledSet, match=r"5 of each of 10 classes .* got 20"):
        pack([tmp_path / "vis_DM_CIFAR10.png"], ipc=5)

    names = facts("cifar10").class_names
    for index, image in enumerate(images):
        folder = tmp_path / "herding_cifar10" / names[index // 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{index}.png")
    named = pack([tmp_path / "herding_cifar10"])
    np.testing.assert_array_equal(named.set.images, images)
    assert named.set.card.class_order == names and named.set.card.method == "herding"
    assert named.set.digest == packed.set.digest

    save(packed.set, tmp_path / "dm.safetensors")
    card = {"authors": "A. Author", "paper": "https://example.org/paper"}
    again = pack([tmp_path / "dm.safetensors"], options=PackOptions(method="dm2", card=card)).set
    assert (again.card.authors, again.card.method, again.card.ipc) == ("A. Author", "dm2", 2)
    assert again.digest == packed.set.digest
    save(again, tmp_path / "dm2.safetensors")
    kept = pack([tmp_path / "dm2.safetensors"]).set
    assert kept.card == load(tmp_path / "dm2.safetensors").card


def test_dataset_from_shapes(tmp_path):
    digits = np.random.default_rng(0).normal(size=(10, 8, 8))
    packed = pack(write(tmp_path, images=digits), options=PackOptions(method="x"))
    assert packed.set.card.dataset == "digits" and packed.set.images.shape == (10, 1, 8, 8)
    assert any("dataset digits" in note for note in packed.notes)
    with pytest.raises(BadDistilledSet, match="--dataset svhn or cifar10"):
        pack(write(tmp_path, images=images_of(10), labels=classes(1)))
    with pytest.raises(BadDistilledSet, match=r"--dataset NAME\.$"):
        pack(write(tmp_path, images=np.zeros((10, 3, 33, 33)), labels=classes(1)))
    with pytest.raises(UnknownName, match="cifar10"):
        pack([tmp_path], dataset="CIFAR-10")


def test_dataset_outside_the_catalogue(tmp_path):
    digits = facts("digits")
    own = DatasetFacts(**{**digits.__dict__, "name": "my-digits", "reader": "folder"})
    files = write(tmp_path, images=np.random.default_rng(0).normal(size=(10, 1, 8, 8)))
    packed = pack(files, dataset=own, options=PackOptions(method="x")).set
    assert (packed.card.dataset, packed.card.num_classes) == ("my-digits", 10)
    save(packed, tmp_path / "own.safetensors")
    assert load(tmp_path / "own.safetensors").digest == packed.digest


def test_sources_that_do_not_fit(tmp_path):
    with pytest.raises(BadFile, match="at least one"):
        pack([])
    with pytest.raises(BadFile, match="No file matches this pattern"):
        pack([tmp_path / "*.pt"])
    with pytest.raises(BadFile, match="a folder for each class"):
        pack([tmp_path], **MTT)
    (tmp_path / "about.json").write_text("{}")
    (tmp_path / "code.exe").write_text("")
    with pytest.raises(BadFile, match=r"got \.exe"):
        pack([tmp_path / "about.json", tmp_path / "code.exe"], **MTT)
    files = write(tmp_path, images=images_of(10), strange=classes(1))
    with pytest.raises(BadDistilledSet, match=r"strange\.npy: expected a name with images"):
        pack(files, **MTT)
    with pytest.raises(BadDistilledSet, match="--method"):
        pack(files[:1], dataset="cifar10")
    np.savez(tmp_path / "x.npz", images=images_of(10))
    with pytest.raises(BadFile, match="files of one kind, got npy and npz"):
        pack([tmp_path], **MTT)


@pytest.mark.parametrize(
    "tree",
    [
        {},
        [],
        {"images": "words"},
        {"images": None},
        {"data": [[1.0]]},
        "text",
        3.0,
        None,
        {"x": np.zeros((10, 3, 32, 32)), "images": np.zeros(3)},
        [np.zeros(3), "a"],
        np.zeros(0),
        np.zeros(()),
        np.zeros((0, 3, 32, 32)),
        np.zeros((10, 3, 32, 32), bool),
        np.full((10, 3, 32, 32), np.nan, np.float32),
        np.full((10, 3, 32, 32), 1e300),
        {"x": np.zeros((10, 3, 32, 32)), "y": np.zeros((10, 2, 5))},
    ],
)
def test_odd_trees(tmp_path, trees, tree):
    trees["res_DC_CIFAR10_1ipc.pt"] = tree
    for space in ("pixel", None):
        with pytest.raises(BadInput) as caught:
            pack(as_files(tmp_path, trees), options=PackOptions(space=space))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("low", "kind"), [(-1.2e-7, "pixel"), (-0.2, "standardized")])
def test_rounding_is_no_pixel_without_bounds(tmp_path, low, kind):
    images = np.random.default_rng(0).random((10, 3, 32, 32), np.float32)
    images[0, 0, 0, 0] = low
    np.savez(tmp_path / "mine_cifar10_1ipc.npz", images=images, labels=np.arange(10))
    made = pack([tmp_path / "mine_cifar10_1ipc.npz"], options=PackOptions("me", space="pixel"))
    assert made.set.card.space.kind == kind
