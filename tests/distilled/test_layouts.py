"""Folders and files as public repositories release them: packed in one line, or refused in one.

Names, nesting and contents are those that the repositories' own code writes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from ddranking.data.catalog import facts
from ddranking.data.space import Standardized, standardize
from ddranking.distilled import kinds, softlabels
from ddranking.distilled.importers import PackOptions, pack
from ddranking.errors import BadDistilledSet, BadFile, BadInput

CIFAR10 = facts("cifar10")


def pixels(many: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(many).integers(0, 256, (many, size, size, 3)).astype(np.uint8)


def floats(many: int, scale: float = 2.0) -> np.ndarray:
    source = np.random.default_rng(many)
    return (source.normal(size=(many, 3, 32, 32)) * scale).astype(np.float32)


def classes(ipc: int) -> np.ndarray:
    return np.repeat(np.arange(10), ipc)


def fill(folder: Path, names: list[str], images: np.ndarray, file: str = "{:03d}.png") -> None:
    """Class folders with as many pictures each, in the order of ``names``."""
    each = len(images) // len(names)
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(each):
            place = folder / name / file.format(index)
            Image.fromarray(images[number * each + index]).save(place)


@pytest.fixture
def trees(monkeypatch):
    """Stands for the child process: file names to trees (the real one is in test_torchfile)."""
    known: dict[str, object] = {}
    monkeypatch.setattr(kinds, "read_torch", lambda some, _: [known[f.name] for f in some])
    return known


def save(folder: Path, trees, **content) -> Path:
    """Torch files by name in ``folder``, beside what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tree in content.items():
        file = f"{name}.pt"
        trees[file] = tree
        (folder / file).touch()
    return folder


# Image folders.

FOLDERS = {
    # SRe2L, CDA, DWA, G-VBSM, EDC: syn_data/EXP/new000/class000_id000.jpg
    "sre2l_cifar10_ipc2/syn_data/exp": [f"new{n:03d}" for n in range(10)],
    # RDED: exp/SUBSET_ARCH_f2_mipc300_ipc10_cr5/syn_data/00000/class00000_id00000.jpg
    "rded/cifar10_conv3_f1_mipc300_ipc2_cr5/syn_data": [f"{n:05d}" for n in range(10)],
    # D4M: distilled_data/cifar10_ipc2_2_s0.7_g8.0_kmexpand1/CLASS/...
    "d4m/cifar10_ipc2_2_s0.7_g8.0_kmexpand1": list(CIFAR10.class_names),
    "edc_cifar10": [f"{n}_{name}" for n, name in enumerate(CIFAR10.class_names)],
    "cda_cifar10": [f"{n + 1}" for n in range(10)],
    "dwa_cifar10/train": [f"class_{n}" for n in range(10)],
}


@pytest.mark.parametrize("place", FOLDERS)
def test_image_folders(tmp_path, place):
    images = pixels(20)
    fill(tmp_path / place, FOLDERS[place], images)
    packed = pack([tmp_path / place.split("/")[0]], dataset="cifar10")
    np.testing.assert_array_equal(packed.set.images, images.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(packed.set.labels, classes(2))
    assert packed.set.card.method == place.split("/")[0].split("_")[0]
    assert any("start at 1" in note for note in packed.notes) == place.startswith("cda")


def test_jpegs_of_rded_in_the_space_it_trains_in(tmp_path):
    images = pixels(10)
    fill(tmp_path / "rded_cifar10_ipc1", [f"{n:05d}" for n in range(10)], images, "x{}.jpg")
    options = PackOptions(space="standardized:imagenet")
    packed = pack([tmp_path / "rded_cifar10_ipc1"], options=options)
    space = packed.set.card.space
    assert isinstance(space, Standardized) and space.mean == (0.485, 0.456, 0.406)
    plain = pack([tmp_path / "rded_cifar10_ipc1"]).set
    assert plain.card.space.kind == "pixel" and plain.images.dtype == np.uint8
    np.testing.assert_array_equal(packed.set.images, standardize(plain.images, space))
    said = " / ".join(packed.notes)
    assert "10 are JPEG" in said and "were standardised (mean 0.485 0.456 0.406" in said
    with pytest.raises(BadDistilledSet, match="8-bit images are pixels"):
        pack([tmp_path / "rded_cifar10_ipc1"], options=PackOptions(space="zca"))


def test_subsets_of_imagenet_by_wordnet_id_or_class_number(tmp_path):
    known = facts("imagewoof")
    images = pixels(10, 128)
    ids = [f"n0{2000000 + 10 * index}" for index in known.class_indices]
    fill(tmp_path / "sre2l_imagewoof", ids, images)
    by_id = pack([tmp_path / "sre2l_imagewoof"]).set
    fill(tmp_path / "cda_imagewoof", [f"new{index:03d}" for index in known.class_indices], images)
    by_number = pack([tmp_path / "cda_imagewoof"]).set
    for made in (by_id, by_number):
        np.testing.assert_array_equal(made.labels, np.arange(10))
        np.testing.assert_array_equal(made.images, images.transpose(0, 3, 1, 2))


def test_wordnet_ids_with_names(tmp_path):
    ids = [f"n0{2000000 + 10 * index}_x" for index in facts("imagenette").class_indices]
    fill(tmp_path / "d4m_imagenette", ids, pixels(10, 128))
    np.testing.assert_array_equal(pack([tmp_path / "d4m_imagenette"]).set.labels, np.arange(10))


def test_folders_that_hold_no_set_or_several(tmp_path):
    for name in ("ipc1", "ipc10"):
        fill(tmp_path / "rded_cifar10" / name, [f"{n:05d}" for n in range(10)], pixels(10))
    with pytest.raises(BadFile, match=r"2 folders of class folders: ipc1, ipc10.*Name the one"):
        pack([tmp_path / "rded_cifar10"])
    assert pack([tmp_path / "rded_cifar10" / "ipc1"]).set.card.ipc == 1


def test_pictures_larger_than_the_dataset(tmp_path):
    """Generated sets are often kept at the size they were generated at."""
    fill(tmp_path / "d4m_cifar10", list(CIFAR10.class_names), pixels(10, 64))
    with pytest.raises(BadDistilledSet, match=r"32x32 pixels .* got 64x64.*resize them as"):
        pack([tmp_path / "d4m_cifar10"])


def test_soft_labels_of_fkd_are_no_images(tmp_path):
    folder = tmp_path / "FKD_cutmix_fp16"
    for epoch in range(2):
        (folder / f"epoch_{epoch}").mkdir(parents=True)
        (folder / f"epoch_{epoch}" / "batch_0.tar").touch()
    for source in (folder, folder / "epoch_0"):
        with pytest.raises(BadFile, match=r"they hold no images|They hold no images"):
            pack([source])
    with pytest.raises(BadFile, match=r"got \.tar.*teacher labels"):
        pack([folder / "epoch_0" / "batch_0.tar"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.zip", "Unpack it first"),
        ("x.tar.gz", "Unpack it first"),
        ("x.pkl", "not unpickled"),
        ("x.mat", "numpy.savez"),
        ("x.h5", "numpy.savez"),
        ("grid.jpg", "has to be a PNG"),
    ],
)
def test_other_files_say_what_to_do(tmp_path, name, words):
    (tmp_path / name).touch()
    for source in (tmp_path / name, tmp_path):
        with pytest.raises(BadFile, match=words):
            pack([source])


# Torch files.


def test_a_folder_of_mtt_with_all_its_snapshots(tmp_path, trees):
    best, other = floats(10), floats(20)[:10]
    folder = save(
        tmp_path / "logged_files" / "CIFAR10" / "mtt",
        trees,
        images_0=other,
        images_5000=other,
        images_best=best,
        images_zca_best=np.clip(best, 0, 1),
        images_zca_5000=other,
        labels_0=classes(1),
        labels_5000=classes(1),
        labels_best=classes(1),
    )
    with pytest.raises(BadDistilledSet, match="--space zca "):
        pack([folder], ipc=1)
    packed = pack([folder], ipc=1, options=PackOptions(space="zca"))
    np.testing.assert_array_equal(packed.set.images, best)
    said = " / ".join(packed.notes)
    assert "brought back from ZCA space" in said and "files called best" in said
    assert "images_0.pt" in said


def test_datm(tmp_path, trees):
    logits = floats(20)[:, 0, 0, :10] + 9 * np.eye(10, dtype=np.float32)[classes(2)]
    folder = save(
        tmp_path / "datm_cifar10_ipc2",
        trees,
        images_best=floats(20),
        labels_best=logits,
        lr_best=np.float32(0.01).reshape(()),
    )
    options = PackOptions(space="zca", soft_label_kind="logits")
    made = pack([folder], options=options).set
    np.testing.assert_array_equal(made.soft_labels, logits)
    assert made.learning_rate == pytest.approx(0.01) and made.card.space.kind == "zca"


def test_a_folder_of_several_images_per_class(tmp_path, trees):
    """DataDAM: CIFAR10_IPC1_images.pt beside CIFAR10_IPC2_images.pt."""
    content = {}
    for ipc in (1, 2):
        content[f"CIFAR10_IPC{ipc}_images"] = floats(10 * ipc)
        content[f"CIFAR10_IPC{ipc}_labels"] = classes(ipc)
    folder = save(tmp_path / "datadam", trees, **content)
    with pytest.raises(BadDistilledSet, match="--ipc"):
        pack([folder])
    packed = pack([folder], ipc=2)
    np.testing.assert_array_equal(packed.set.images, floats(20))
    assert packed.set.card.method == "datadam"
    assert any("passed over CIFAR10_IPC1_images.pt" in note for note in packed.notes)


def test_a_folder_of_several_datasets(tmp_path, trees):
    content = {
        f"res_DM_{name}_ConvNet_1ipc": {"data": [[floats(10), classes(1)]]}
        for name in ("SVHN", "CIFAR10")
    }
    folder = save(tmp_path / "result", trees, **content)
    with pytest.raises(BadDistilledSet, match=r"cifar10 and svhn.*--dataset"):
        pack([folder])
    assert pack([folder], dataset="svhn").set.card.dataset == "svhn"


def test_results_of_the_dc_family_beside_their_pictures(tmp_path, trees):
    content = {}
    for ipc in (1, 10):
        data = {"data": [[floats(10 * ipc), classes(ipc)]], "accs_all_exps": {}}
        content[f"res_CAFE_CIFAR10_ConvNet_{ipc}ipc"] = data
    folder = save(tmp_path / "result", trees, **content)
    Image.fromarray(pixels(1)[0]).save(folder / "vis_CAFE_CIFAR10_ConvNet_1ipc_exp0_iter5.png")
    with pytest.raises(BadDistilledSet, match="--ipc"):
        pack([folder])
    packed = pack([folder], ipc=10)
    np.testing.assert_array_equal(packed.set.images, floats(100))
    assert packed.set.card.method == "cafe"


IDC = "results/cifar10/conv3in_grad_mse_nd2000_cut_niter2000_factor2_lr0.005_mix_ipc1"


def test_idc_is_cut_into_its_parts(tmp_path, trees):
    """data.pt is [images, labels], pixels that were never clipped, four images in each."""
    images = (np.random.default_rng(0).uniform(size=(10, 3, 32, 32)) * 1.1 - 0.05).astype(
        np.float32
    )
    folder = save(tmp_path / IDC, trees, data=[images, classes(1)])
    with pytest.raises(BadDistilledSet, match=r"factor 2.*Pass --partition 2"):
        pack([folder])
    with pytest.raises(BadDistilledSet, match="--space pixel"):
        pack([folder], options=PackOptions(method="idc", partition=2))
    options = PackOptions(method="idc", partition=2, space="pixel")
    packed = pack([folder], options=options)
    made = packed.set
    assert made.images.shape == (40, 3, 32, 32) and made.card.ipc == 4
    np.testing.assert_array_equal(made.labels, classes(4))
    assert made.card.space == Standardized(mean=(0.0,) * 3, std=(1.0,) * 3)
    said = " / ".join(packed.notes)
    assert "10 stored images became 40" in said and "kept as they are" in said
    whole = pack([folder], options=replace(options, partition=1)).set
    np.testing.assert_array_equal(whole.images, images)
    assert whole.card.ipc == 1


def test_standardised_images_are_not_taken_for_pixels(tmp_path):
    np.savez(tmp_path / "dm_cifar10.npz", images=floats(10), labels=classes(1))
    with pytest.raises(BadDistilledSet, match=r"values in \[0, 1\] in pixel space"):
        pack([tmp_path / "dm_cifar10.npz"], options=PackOptions(space="pixel"))


# NumPy files.


def test_frepo(tmp_path):
    """np/step500000.npz with image (channels last, whitened) and learned, centred labels."""
    centred = np.eye(10, dtype=np.float32)[classes(1)] - 0.1
    folder = tmp_path / "frepo_cifar10" / "np"
    folder.mkdir(parents=True)
    np.savez(folder / "step500000.npz", image=floats(10).transpose(0, 2, 3, 1), label=centred)
    with pytest.raises(BadDistilledSet, match="--space zca-kip"):
        pack([folder / "step500000.npz"])
    options = PackOptions(space="zca-kip", soft_label_kind="logits")
    made = pack([folder / "step500000.npz"], options=options).set
    np.testing.assert_array_equal(made.images, floats(10))
    np.testing.assert_array_equal(made.soft_labels, centred)


def test_kip_as_a_pair_and_as_one_list(tmp_path, trees):
    learned = floats(10)[:, 0, 0, :10]
    folder = tmp_path / "kip_cifar10_ipc1"
    folder.mkdir()
    np.save(folder / "images.npy", floats(10).transpose(0, 2, 3, 1))
    np.save(folder / "labels.npy", learned)
    options = PackOptions(space="zca-kip", soft_label_kind="logits", balanced=False)
    pair = pack([folder], options=options).set
    listed = save(
        tmp_path / "kip" / "cifar10", trees, kip_ipc1=[floats(10).transpose(0, 2, 3, 1), learned]
    )
    assert pack([listed], options=options).set.digest == pair.digest


def test_sets_that_a_network_makes_are_refused(tmp_path, trees):
    """RTP and HaBa store factors; images exist only after their code has run."""
    factors = {"memory": floats(10), "downs": [np.zeros((2, 2))], "mlp": None}
    save(tmp_path / "rtp_cifar10", trees, checkpoint=factors)
    with pytest.raises(BadInput, match="an entry called images, x or data"):
        pack([tmp_path / "rtp_cifar10"])


# Layouts of one's own.

OWN = PackOptions(method="m", space="standardized")


def test_images_from_minus_one_to_one_name_their_space(tmp_path):
    images = np.tanh(floats(10))
    np.savez(tmp_path / "x.npz", x=images, y=classes(1))
    with pytest.raises(BadDistilledSet, match="--space standardized:half"):
        pack([tmp_path / "x.npz"], dataset="cifar10", options=PackOptions(method="m"))
    with pytest.raises(BadDistilledSet, match="--space standardized:half"):
        pack([tmp_path / "x.npz"], dataset="cifar10", options=replace(OWN, space="pixel"))
    options = replace(OWN, space="standardized:half")
    made = pack([tmp_path / "x.npz"], dataset="cifar10", options=options).set
    assert made.card.space == Standardized(mean=(0.5,) * 3, std=(0.5,) * 3)


def test_everything_missing_is_one_message(tmp_path):
    soft = np.random.default_rng(0).normal(size=(10, 10))
    np.savez(tmp_path / "x.npz", x=np.abs(np.tanh(floats(10))), y=soft)
    with pytest.raises(BadDistilledSet) as caught:
        pack([tmp_path / "x.npz"], dataset="cifar10", ipc=1)
    for flag in ("--method", "--space pixel", "--soft-label-kind logits"):
        assert flag in str(caught.value)


def test_tensors_without_a_card(tmp_path):
    file = tmp_path / "x.safetensors"
    tensors = {"syn_images": floats(20), "syn_labels": classes(2)}
    safetensors.numpy.save_file(tensors, file)
    made = pack([file], dataset="cifar10", options=OWN).set
    np.testing.assert_array_equal(made.images, floats(20))
    np.testing.assert_array_equal(made.labels, classes(2))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(BadFile, match="whole"):
        pack([file], dataset="cifar10", options=OWN)


SHUFFLED = np.random.default_rng(3).permutation(10)
SWAPPED = [1, 0, *range(2, 10)]


def test_classes_are_renumbered_with_their_soft_labels(tmp_path):
    soft = floats(10)[:, 0, 0, :10] + 20 * np.eye(10, dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=floats(10), y=np.arange(10), soft=soft)
    options = replace(OWN, classes=[int(k) for k in SHUFFLED], soft_label_kind="logits")
    made = pack([tmp_path / "x.npz"], dataset="cifar10", options=options).set
    np.testing.assert_array_equal(made.labels, SHUFFLED)
    assert made.soft_labels is not None
    for old, new in enumerate(SHUFFLED):
        np.testing.assert_array_equal(made.soft_labels[:, new], soft[:, old])
    for wrong in ([0, 1], [0] * 10):
        with pytest.raises(BadInput, match="each of 0 to 9 once"):
            pack([tmp_path / "x.npz"], dataset="cifar10", options=replace(options, classes=wrong))


def test_columns_of_soft_labels_are_put_into_the_order_of_classes(tmp_path):
    """What --soft-classes undoes: column j of the file is class SHUFFLED[j]."""
    right = floats(10)[:, 0, 0, :10] + 20 * np.eye(10, dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=floats(10), y=np.arange(10), soft=right[:, SHUFFLED])
    options = replace(OWN, soft_label_kind="logits", soft_classes=[int(k) for k in SHUFFLED])
    made = pack([tmp_path / "x.npz"], dataset="cifar10", options=options)
    np.testing.assert_array_equal(made.set.soft_labels, right)
    np.testing.assert_array_equal(made.set.labels, np.arange(10))
    assert any("order of classes, as asked" in note for note in made.notes)
    # Beside it, --classes moves the hard labels alone.
    both = pack([tmp_path / "x.npz"], dataset="cifar10", options=replace(options, classes=SWAPPED))
    np.testing.assert_array_equal(both.set.soft_labels, right)
    np.testing.assert_array_equal(both.set.labels, SWAPPED)
    # The doctor prints the flag.
    wrong = pack([tmp_path / "x.npz"], dataset="cifar10", options=replace(options, soft_classes=()))
    assert softlabels.labels(wrong.set).fix.split(",")[0] == f"--soft-classes {SHUFFLED[0]}"

    with pytest.raises(BadInput, match=r"--soft-classes: expected each of 0 to 9 once"):
        again = replace(options, soft_classes=[0] * 10)
        pack([tmp_path / "x.npz"], dataset="cifar10", options=again)
    np.savez(tmp_path / "y.npz", x=floats(10), soft=right)
    with pytest.raises(BadInput, match=r"got no hard labels. Pass --classes"):
        pack([tmp_path / "y.npz"], dataset="cifar10", options=options)
    np.savez(tmp_path / "z.npz", x=floats(10), y=np.arange(10))
    with pytest.raises(BadInput, match="got no soft labels"):
        pack([tmp_path / "z.npz"], dataset="cifar10", options=options)


IMAGES = floats(20)
TREES = {
    "by class": {str(k): IMAGES[2 * k : 2 * k + 2] for k in range(10)},
    "nested": {"epoch": 5.0, "best": {"images": IMAGES, "labels": classes(2)}},
    "a pair as data": {"data": [IMAGES, classes(2)], "accs": {}},
    "classes first": {"images": IMAGES.reshape(10, 2, 3, 32, 32)},
    "classes first, labels too": {
        "images": IMAGES.reshape(10, 2, 3, 32, 32), "labels": classes(2).reshape(10, 2),
    },
    "a tensor, classes first": IMAGES.reshape(10, 2, 3, 32, 32),
    "flat": {"images": IMAGES.reshape(20, -1), "labels": classes(2)},
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_layouts_of_tensors(tmp_path, trees, name):
    save(tmp_path, trees, x=TREES[name])
    made = pack([tmp_path / "x.pt"], dataset="cifar10", options=OWN).set
    np.testing.assert_array_equal(made.images, IMAGES)
    np.testing.assert_array_equal(made.labels, classes(2))


@pytest.mark.parametrize("pattern", ["{}", "class_{}", "{}_of_ten"])
def test_a_file_for_each_class(tmp_path, pattern):
    for k in range(10):
        np.save(tmp_path / f"{pattern.format(k)}.npy", IMAGES[2 * k : 2 * k + 2])
    made = pack([tmp_path], dataset="cifar10", options=OWN).set
    np.testing.assert_array_equal(made.images, IMAGES)
    np.testing.assert_array_equal(made.labels, classes(2))


def test_pictures_in_one_folder(tmp_path):
    own = pixels(20)
    for index, image in enumerate(own):
        Image.fromarray(image).save(tmp_path / f"class{index // 2}_img{index}.png")
    made = pack([tmp_path], dataset="cifar10", options=PackOptions(method="m")).set
    np.testing.assert_array_equal(made.images, own.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(made.labels, classes(2))
    Image.fromarray(own[0]).save(tmp_path / "other.png")
    with pytest.raises(BadDistilledSet, match="one folder for each class"):
        pack([tmp_path], dataset="cifar10", options=PackOptions(method="m"))


def test_a_grid_with_classes_in_columns(tmp_path):
    own = pixels(20).reshape(2, 10, 32, 32, 3)
    Image.fromarray(own.transpose(0, 2, 1, 3, 4).reshape(64, 320, 3)).save(tmp_path / "grid.png")
    options = PackOptions(method="m", undo=["interleaved"])
    made = pack([tmp_path / "grid.png"], dataset="cifar10", options=options).set
    right = own.swapaxes(0, 1).reshape(20, 32, 32, 3).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(made.images, right)
    np.savez(tmp_path / "x.npz", x=IMAGES, y=classes(2)[::-1].copy())
    with pytest.raises(BadInput, match="labels of another order"):
        pack([tmp_path / "x.npz"], dataset="cifar10", options=replace(OWN, undo=["interleaved"]))
