from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ddranking.data.catalog import facts
from ddranking.data.folder import MAPPINGS, find_folders, find_imagenet, find_imagenet_subset
from ddranking.errors import BadFile

TINY = replace(facts("tiny-imagenet"), num_classes=3)
WNIDS = ("n01440764", "n02102040", "n03000684")


def picture(path: Path, level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (level, 0, 0)).save(path)
    return path


def names(half) -> list[str]:
    return [one.content.name for one in half.images()]


def test_classes_are_folders_in_sorted_order(tmp_path) -> None:
    for split in ("train", "test"):
        for name in ("zebra", "ant", "cow"):
            for i in (1, 0):
                picture(tmp_path / split / name / f"{name}{i}.png")
    (tmp_path / "train" / "ant" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "empty").mkdir()
    found = find_folders(tmp_path, TINY)
    assert found is not None
    assert found.class_names == ("ant", "cow", "zebra")
    train, test = found.halves()
    assert names(train) == [
        "ant0.png",
        "ant1.png",
        "cow0.png",
        "cow1.png",
        "zebra0.png",
        "zebra1.png",
    ]
    assert train.labels.tolist() == test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(found.files) == 12


@pytest.mark.parametrize("split", ["test", "val", "validation", "valid"])
def test_the_held_out_half_has_several_names(tmp_path, split) -> None:
    for half in ("train", split):
        for name in "ab":
            picture(tmp_path / half / name / "0.JPEG")
    assert find_folders(tmp_path, TINY) is not None


def test_a_class_may_lack_test_images_but_not_training_images(tmp_path) -> None:
    for path in ("train/a/0.png", "train/b/0.png", "test/b/0.png"):
        picture(tmp_path / path)
    found = find_folders(tmp_path, TINY)
    assert found is not None
    assert found.halves()[1].labels.tolist() == [1]
    picture(tmp_path / "test" / "c" / "0.png")
    with pytest.raises(BadFile, match="got the class 'c'"):
        find_folders(tmp_path, TINY)


def test_tiny_imagenet_as_it_unpacks(tmp_path) -> None:
    base = tmp_path / "tiny-imagenet-200"
    for wnid in WNIDS:
        picture(base / "train" / wnid / "images" / f"{wnid}_0.JPEG")
    rows = []
    for i, wnid in enumerate((WNIDS[2], WNIDS[0], WNIDS[1], WNIDS[0])):
        picture(base / "val" / "images" / f"val_{i}.JPEG")
        rows.append(f"val_{i}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (base / "val" / "val_annotations.txt").write_text("".join(rows))
    picture(base / "test" / "images" / "test_0.JPEG")  # the test folder has no labels
    found = find_imagenet(tmp_path, TINY)
    assert found is not None
    train, val = found.halves()
    assert train.labels.tolist() == [0, 1, 2]
    assert names(val) == ["val_1.JPEG", "val_3.JPEG", "val_2.JPEG", "val_0.JPEG"]
    assert val.labels.tolist() == [0, 0, 1, 2]


TEXTS = {
    "val_annotations.txt": "ILSVRC2012_val_00000001.JPEG\tn02102040\n"
    "ILSVRC2012_val_00000002.JPEG\tn01440764\n",
    "LOC_val_solution.csv": "ImageId,PredictionString\n"
    "ILSVRC2012_val_00000002,n01440764 1 2 3 4 n01440764 5 6 7 8\n"
    "ILSVRC2012_val_00000001,n02102040 1 2 3 4\n",
    "imagenet_2012_validation_synset_labels.txt": "n02102040\nn01440764\n",
}


@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("beside", ["root", "val"])
@pytest.mark.parametrize("base", ["", "ILSVRC/Data/CLS-LOC"])
def test_a_flat_validation_folder_with_each_mapping(tmp_path, mapping, beside, base) -> None:
    for wnid in WNIDS:
        picture(tmp_path / base / "train" / wnid / "0.JPEG")
    for i in (1, 2):
        picture(tmp_path / base / "val" / f"ILSVRC2012_val_0000000{i}.JPEG")
    place = tmp_path if beside == "root" else tmp_path / base / "val"
    (place / mapping).write_text(TEXTS[mapping])
    found = find_imagenet(tmp_path, TINY)
    assert found is not None
    _, val = found.halves()
    assert names(val) == ["ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000001.JPEG"]
    assert val.labels.tolist() == [0, 1]


def test_a_flat_folder_without_or_with_a_wrong_mapping_says_what_is_missing(tmp_path) -> None:
    for wnid in WNIDS:
        picture(tmp_path / "train" / wnid / "0.JPEG")
    picture(tmp_path / "val" / "x.JPEG")
    with pytest.raises(BadFile, match=r"LOC_val_solution\.csv"):
        find_imagenet(tmp_path, TINY)
    mapping = tmp_path / "val" / "imagenet_2012_validation_synset_labels.txt"
    mapping.write_text("n1\nn2\n")
    with pytest.raises(BadFile, match="expected 1 lines, got 2"):
        find_imagenet(tmp_path, TINY)
    mapping.write_text("n99999999\n")
    with pytest.raises(
        BadFile, match=r"a class of the training folder for x\.JPEG, got 'n99999999'"
    ):
        find_imagenet(tmp_path, TINY)
    mapping.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadFile, match="a text file"):
        find_imagenet(tmp_path, TINY)


def test_a_wrong_number_of_classes_is_refused(tmp_path) -> None:
    for split in ("train", "val"):
        picture(tmp_path / split / "n1" / "0.JPEG")
    with pytest.raises(BadFile, match="expected 3 class folders, got 1"):
        find_imagenet(tmp_path, TINY)


@pytest.mark.parametrize("whole", [True, False], ids=["all 1,000 classes", "these ten"])
def test_a_subsets_labels_are_positions_in_its_list(tmp_path, whole) -> None:
    woof = facts("imagewoof")
    indices = range(1000) if whole else sorted(woof.class_indices)
    for index in indices:
        for split in ("train", "val"):
            folder = tmp_path / split / f"n{index:08d}"
            folder.mkdir(parents=True)
            (folder / f"{index}.JPEG").write_bytes(b"")
    found = find_imagenet_subset(tmp_path, woof)
    assert found is not None
    train, _ = found.halves()
    assert names(train) == [f"{index}.JPEG" for index in woof.class_indices]
    assert train.labels.tolist() == list(range(10))
    assert len(found.files) == 20


def test_nothing_is_found_in_a_folder_of_something_else(tmp_path) -> None:
    (tmp_path / "train").mkdir()
    picture(tmp_path / "a.png")
    assert find_folders(tmp_path, TINY) is None
    assert find_imagenet(tmp_path, TINY) is None
