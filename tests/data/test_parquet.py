import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ddranking.data.parquet import find_splits
from ddranking.errors import BadFile


def png(level: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (level, 0, 0)).save(file, "PNG")
    return file.getvalue()


def table(labels, image="img", label="label", start=0, **more) -> pa.Table:
    images = [{"bytes": png(start + i), "path": f"{i}.png"} for i in range(len(labels))]
    return pa.table({image: images, label: labels, **more})


def write(path, content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path)


@pytest.mark.parametrize("image", ["img", "image"])
@pytest.mark.parametrize("label", ["label", "labels", "fine_label", "digit"])
def test_columns_are_found_by_what_they_hold(tmp_path, image, label) -> None:
    for name in ("train", "test"):
        write(tmp_path / f"{name}.parquet", table([0, 1, 2], image, label))
    train, _ = find_splits(tmp_path) or pytest.fail("not found")
    assert (train.image_column, train.label_column) == (image, label)
    assert train.labels().tolist() == [0, 1, 2]
    assert [one.content for one in train.images()] == [png(i) for i in range(3)]


def test_cifar100_has_its_fine_labels(tmp_path) -> None:
    both = table([70, 3], "img", "fine_label", coarse_label=[1, 0])
    write(tmp_path / "train.parquet", both)
    write(tmp_path / "test.parquet", both)
    train, _ = find_splits(tmp_path) or pytest.fail("not found")
    assert train.labels().tolist() == [70, 3]


@pytest.mark.parametrize("where", ["", "data", "plain_text/inner"])
@pytest.mark.parametrize("test", ["test", "validation", "valid"])
def test_shards_are_read_in_order_wherever_they_lie(tmp_path, where, test) -> None:
    folder = tmp_path / where
    write(folder / "train-00001-of-00002.parquet", table([2, 3], start=2))
    write(folder / "train-00000-of-00002.parquet", table([0, 1]))
    write(folder / f"{test}-00000-of-00001.parquet", table([4]))
    train, held_out = find_splits(tmp_path) or pytest.fail("not found")
    assert train.labels().tolist() == [0, 1, 2, 3]
    assert [one.content for one in train.images()] == [png(i) for i in range(4)]
    assert held_out.labels().tolist() == [4]


def test_a_test_split_without_labels_is_passed_over(tmp_path) -> None:
    """ImageNet-1K on the Hub: the labels of its test split are all -1."""
    write(tmp_path / "train.parquet", table([0, 1]))
    write(tmp_path / "test.parquet", table([-1, -1]))
    write(tmp_path / "validation.parquet", table([1]))
    _, held_out = find_splits(tmp_path) or pytest.fail("not found")
    assert held_out.labels().tolist() == [1]


def test_names_of_classes_come_from_the_hubs_metadata(tmp_path) -> None:
    info = b'{"info": {"features": {"label": {"names": ["cat", "dog"]}}}}'
    for metadata, names in ((info, ("cat", "dog")), (b"{", ()), (b'{"info": 3}', ())):
        named = table([0, 1]).replace_schema_metadata({b"huggingface": metadata})
        write(tmp_path / "train.parquet", named)
        write(tmp_path / "test.parquet", named)
        train, _ = find_splits(tmp_path) or pytest.fail("not found")
        assert train.label_names == names


def test_half_a_dataset_is_none(tmp_path) -> None:
    assert find_splits(tmp_path) is None
    write(tmp_path / "train.parquet", table([0, 1]))
    write(tmp_path / "training_notes.parquet", table([0, 1]))
    assert find_splits(tmp_path) is None


def test_two_configurations_are_not_mixed(tmp_path) -> None:
    for config in ("cropped_digits", "full_numbers"):
        for split in ("train", "test"):
            write(tmp_path / config / f"{split}.parquet", table([0, 1]))
    with pytest.raises(BadFile, match="Name one of these folders"):
        find_splits(tmp_path)


@pytest.mark.parametrize(
    "content, message",
    [
        (pa.table({"label": [0]}), "an image column"),
        (pa.table({"img": [b"x"], "name": ["cat"]}), "a label column"),
        (pa.table({"img": [b"x"], "label": ["cat"]}), "an integer in every row of 'label'"),
        (pa.table({"img": [b"x", b"x"], "label": [0, None]}), "1 empty rows"),
    ],
)
def test_columns_that_cannot_be_used_are_named(tmp_path, content, message) -> None:
    write(tmp_path / "train.parquet", content)
    write(tmp_path / "test.parquet", content)
    with pytest.raises(BadFile, match=message):
        found = find_splits(tmp_path)
        assert found is not None
        found[0].labels()


@pytest.mark.parametrize("empty", [{"bytes": None, "path": "elsewhere.png"}, None])
def test_a_row_without_bytes_is_named(tmp_path, empty) -> None:
    images = [{"bytes": png(0), "path": ""}, empty]
    for name in ("train", "test"):
        write(tmp_path / f"{name}.parquet", pa.table({"img": images, "label": [0, 1]}))
    train, _ = find_splits(tmp_path) or pytest.fail("not found")
    with pytest.raises(BadFile, match=r"train\.parquet row 1: expected an image's bytes"):
        list(train.images())


@pytest.mark.parametrize("name", [b"label", b"bytes", b"img", b"path"])
def test_names_that_are_no_text_are_refused(tmp_path, name) -> None:
    for split in ("train", "test"):
        pq.write_table(table([0, 1]), tmp_path / f"{split}.parquet", store_schema=False)
    content = (tmp_path / "train.parquet").read_bytes()
    damaged = content.replace(name, b"\xff" * len(name))
    assert damaged != content
    (tmp_path / "train.parquet").write_bytes(damaged)
    with pytest.raises(BadFile, match=r"train\.parquet"):
        find_splits(tmp_path)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_a_damaged_file_is_refused_in_one_line(tmp_path, data) -> None:
    write(tmp_path / "test.parquet", table([0, 1]))
    write(tmp_path / "train.parquet", table(list(range(8))))
    whole = (tmp_path / "train.parquet").read_bytes()
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 5)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "train.parquet").write_bytes(damaged)
    try:
        found = find_splits(tmp_path)
        assert found is not None
        assert found[0].labels().dtype == np.int64
        list(found[0].images())
    except BadFile as error:
        assert "\n" not in str(error)
        assert "train.parquet" in str(error)
