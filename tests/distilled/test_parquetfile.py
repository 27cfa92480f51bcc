"""Parquet files of distilled sets: columns and shards that are found, and files that lie."""

from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ddranking.data.catalog import facts
from ddranking.distilled import parquetfile, unparquet
from ddranking.distilled.guarded import Limits
from ddranking.distilled.importers import PackOptions, pack
from ddranking.distilled.parquetfile import choose_split, read_parquet, shards
from ddranking.errors import BadFile, BadInput, MissingData

CIFAR10 = facts("cifar10")
NAMES = list(CIFAR10.class_names)


@pytest.fixture
def here(monkeypatch):
    """Reads in this process: starting the child takes a second, reading takes none."""

    def run(script, files, out, limits, channels):
        assert script == "unparquet.py"
        frame = unparquet.Frame(int(channels), limits.bytes)
        return json.loads(json.dumps(unparquet.answer(out, frame, files)))

    monkeypatch.setattr(parquetfile, "run_child", run)


def pixels(many: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(many).integers(0, 256, (many, size, size, 3)).astype(np.uint8)


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def structs(images: np.ndarray, kind: str = "PNG") -> list[dict[str, object]]:
    return [{"bytes": encoded(image, kind), "path": f"{i}.png"} for i, image in enumerate(images)]


def write(path: Path, **columns) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = columns.pop("metadata", None)
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata({b"huggingface": json.dumps(metadata).encode()})
    pq.write_table(table, path)
    return path


def read(*files: Path, known=CIFAR10, **limits: int):
    return read_parquet(files, known, Limits(**limits))


def refused(*files: Path, known=CIFAR10, **limits: int) -> str:
    with pytest.raises(BadInput) as caught:
        read(*files, known=known, **limits)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("image", ["image", "img", "picture_of_mine"])
@pytest.mark.parametrize("label", ["label", "fine_label", "class_id", "number"])
@pytest.mark.parametrize("plain", [False, True])
def test_columns_are_found_by_what_they_hold(tmp_path, here, image, label, plain):
    images = pixels(4)
    column = [encoded(each) for each in images] if plain else structs(images)
    file = write(tmp_path / "x.parquet", **{image: column, label: pa.array([3, 1, 2, 0], "int16")})
    found = read(file)
    np.testing.assert_array_equal(found.images, images.transpose(0, 3, 1, 2))
    assert found.labels.tolist() == [3, 1, 2, 0] and found.soft_labels is None


def test_cifar100_has_its_fine_labels(tmp_path, here):
    both = {"img": structs(pixels(2)), "coarse_label": [1, 0], "fine_label": [70, 3]}
    assert read(write(tmp_path / "x.parquet", **both)).labels.tolist() == [70, 3]


@pytest.mark.parametrize("views", [0, 3])
@pytest.mark.parametrize("name", ["soft_label", "logits", "of_my_teacher"])
def test_soft_labels_one_or_several_views(tmp_path, here, views, name):
    soft = np.random.default_rng(0).normal(size=(4, views, 10) if views else (4, 10))
    columns = {"image": structs(pixels(4)), "label": [0, 1, 2, 3], name: soft.tolist()}
    found = read(write(tmp_path / "x.parquet", **columns))
    np.testing.assert_array_equal(found.soft_labels, soft)
    assert found.labels.tolist() == [0, 1, 2, 3]


def test_a_label_column_of_lists_is_soft_labels(tmp_path, here):
    soft = np.eye(10)[[2, 1]] * 3 - 1
    found = read(write(tmp_path / "x.parquet", image=structs(pixels(2)), label=soft.tolist()))
    np.testing.assert_array_equal(found.soft_labels, soft)
    assert found.labels is None


def test_images_as_numbers_keep_their_values(tmp_path, here):
    """Optimised images leave [0, 255] and fit in no picture."""
    images = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    file = write(tmp_path / "x.parquet", image=images.tolist(), label=[0, 1, 2, 3])
    np.testing.assert_array_equal(read(file).images.astype(np.float32), images)
    kind = pa.fixed_shape_tensor(pa.float32(), (3, 8, 8))
    flat = pa.FixedSizeListArray.from_arrays(images.ravel(), 192)
    tensor = pa.ExtensionArray.from_storage(kind, flat)
    file = write(tmp_path / "t.parquet", image=tensor, label=[0, 1, 2, 3])
    np.testing.assert_array_equal(read(file).images, images)


def test_names_of_classes_give_the_datasets_numbers(tmp_path, here):
    images = structs(pixels(3))
    texts = write(tmp_path / "t.parquet", image=images, label=["ship", "cat", "truck"])
    assert read(texts).labels.tolist() == [NAMES.index(n) for n in ("ship", "cat", "truck")]
    listed = sorted(NAMES, reverse=True)
    info = {"info": {"features": {"label": {"names": listed}}}}
    numbers = [listed.index(name) for name in ("ship", "cat", "truck")]
    file = write(tmp_path / "n.parquet", image=images, label=numbers, metadata=info)
    found = read(file)
    assert found.labels.tolist() == [NAMES.index(n) for n in ("ship", "cat", "truck")]
    assert found.class_order == tuple(NAMES) and any("renumbered" in n for n in found.notes)
    info["info"]["features"]["label"]["names"] = [f"thing {n}" for n in range(10)]
    strange = read(write(tmp_path / "s.parquet", image=images, label=numbers, metadata=info))
    assert strange.labels.tolist() == numbers


def test_shards_of_the_hub_in_order(tmp_path, here):
    images = pixels(12)
    for shard in range(3):
        part = slice(4 * shard, 4 * shard + 4)
        write(
            tmp_path / "data" / f"train-0000{shard}-of-00003-9a34196e.parquet",
            image=structs(images[part]),
            class_id=np.arange(12)[part] // 2,
        )
    write(tmp_path / "data" / "test-00000-of-00001.parquet", image=structs(images[:1]), label=[0])
    files, notes = choose_split(shards(tmp_path), None)
    assert len(files) == 3 and notes == ["split train: passed over test"]
    found = read(*files)
    np.testing.assert_array_equal(found.images, images.transpose(0, 3, 1, 2))
    assert found.labels.tolist() == [n // 2 for n in range(12)]
    assert [f.name for f in choose_split(shards(tmp_path), "test")[0]] == [
        "test-00000-of-00001.parquet"
    ]
    with pytest.raises(BadFile, match="a split 'ipc50', got test, train"):
        choose_split(shards(tmp_path), "ipc50")


def test_the_hubs_own_conversion_and_several_sets(tmp_path):
    for name in ("default/train/0000.parquet", "default/train/0001.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert len(choose_split(shards(tmp_path), None)[0]) == 2
    (tmp_path / "ipc_1.parquet").touch()
    (tmp_path / "ipc_10.parquet").touch()
    for folder in ("default/train/0000.parquet", "default/train/0001.parquet"):
        (tmp_path / folder).unlink()
    with pytest.raises(BadFile, match=r"one split, got ipc_1, ipc_10.*:SPLIT"):
        choose_split(shards(tmp_path), None)


def test_jpeg_is_said_and_grey_pictures_fit(tmp_path, here):
    file = write(tmp_path / "x.parquet", image=structs(pixels(2), "JPEG"), label=[0, 1])
    assert any("2 are JPEG" in note for note in read(file).notes)
    grey = [encoded(each[..., 0]) for each in pixels(2, 28)]
    file = write(tmp_path / "g.parquet", image=grey, label=[0, 1])
    assert read(file, known=facts("mnist")).images.shape == (2, 1, 28, 28)
    assert read(file).images.shape == (2, 3, 28, 28)


def test_what_is_refused(tmp_path, here):
    images = structs(pixels(2))
    path = tmp_path / "x.parquet"
    assert "a column of pictures" in refused(write(path, label=[0, 1]))
    assert "one column of pictures" in refused(write(path, a=images, b=images, label=[0, 1]))
    assert "one column of labels" in refused(write(path, image=images, a=[0, 1], b=[0, 1]))
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    outside = pa.array([{"bytes": None, "path": "/etc/x"}], kind)
    assert "no bytes" in refused(write(path, image=outside, label=[0]))
    assert "row 0" in refused(write(path, image=[b"no picture"], label=[0]))
    assert "empty" in refused(write(path, image=images, label=[0, None]))
    assert "one length" in refused(write(path, image=images, logits=[[0.0], [0.0, 1.0]]))
    assert "as the first" in refused(
        write(path, image=[encoded(pixels(1)[0]), encoded(pixels(1, 16)[0])], label=[0, 1])
    )
    assert "rows" in refused(
        write(path, image=pa.array([], pa.binary()), label=pa.array([], "int8"))
    )
    write(path, image=images, label=[0, 1])
    assert "the columns of x.parquet" in refused(
        path, write(tmp_path / "y.parquet", img=images, label=[0, 1])
    )
    assert "No such file" in refused(tmp_path / "none.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    assert "whole Parquet file" in refused(path)


def test_sizes_before_allocation(tmp_path, here):
    path = write(tmp_path / "x.parquet", image=structs(pixels(4)), label=[0, 1, 2, 3])
    assert "bytes in all" in refused(path, bytes=1000)
    assert "bytes when decoded" in refused(
        write(path, image=[encoded(np.zeros((64, 64, 3), np.uint8))] * 4, label=[0, 1, 2, 3]),
        bytes=20_000,
    )
    # A kilobyte of a picture that would be a gigabyte.
    flat = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(flat, "PNG")
    assert "12000x12000" in refused(write(path, image=[flat.getvalue()], label=[0]), bytes=1 << 28)
    zeros = pa.array([b"\0" * (1 << 22)] * 4)
    pq.write_table(pa.table({"image": zeros, "label": [0] * 4}), path, compression="zstd")
    assert path.stat().st_size < 1 << 16
    assert "declared" in refused(path, bytes=1 << 20)


def test_the_child_process_and_its_limits(tmp_path):
    images = pixels(20)
    path = tmp_path / "dm_cifar10_ipc2.parquet"
    write(path, image=structs(images), label=np.repeat(np.arange(10), 2))
    made = pack([path]).set
    np.testing.assert_array_equal(made.images, images.transpose(0, 3, 1, 2))
    assert (made.card.method, made.card.ipc, made.card.space.kind) == ("dm", 2, "pixel")
    # Two numbers, each a billion times: dictionary and run lengths make it small on disk.
    many = pa.array([0.0] * 1000).take(pa.array(np.zeros(40_000_000, np.int32)))
    lists = pa.FixedSizeListArray.from_arrays(many, 4_000_000)
    pq.write_table(pa.table({"image": structs(images[:10]), "logits": lists}), path)
    with pytest.raises(BadFile, match=r"more memory than allowed|ended with|declared"):
        read_parquet([path], CIFAR10, Limits(bytes=1 << 20))


def hub(monkeypatch, folder: Path) -> list[dict[str, object]]:
    """A Hub whose every repository is ``folder``; keeps what it is asked for."""
    asked: list[dict[str, object]] = []

    def snapshot_download(repository, **words):
        asked.append({"repository": repository, **words})
        return str(folder)

    module = types.ModuleType("huggingface_hub")
    module.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return asked


def test_a_repository_of_the_hub(tmp_path, here, monkeypatch):
    folder = tmp_path / "snapshots" / "e27fd816"
    images = pixels(10)
    for split in ("train", "ipc_1"):
        write(
            folder / "data" / f"{split}-00000-of-00001.parquet",
            image=structs(images),
            class_id=np.arange(10),
        )
    asked = hub(monkeypatch, folder)
    packed = pack(["hub:someone/rded-cifar10-ipc-1@v1.0:train"])
    assert asked[0]["repository"] == "someone/rded-cifar10-ipc-1"
    assert (asked[0]["revision"], asked[0]["repo_type"]) == ("v1.0", "dataset")
    card = packed.set.card
    assert (card.method, card.dataset, card.ipc) == ("rded", "cifar10", 1)
    assert any("revision v1.0" in note for note in packed.notes)
    assert "passed over ipc_1" in " ".join(pack(["hub:someone/rded-cifar10-ipc-1"]).notes)
    assert "revision" not in asked[1]
    with pytest.raises(BadFile, match="a split 'other'"):
        pack(["hub:someone/rded-cifar10-ipc-1:other"])
    with pytest.raises(BadInput, match="hub:owner/name"):
        pack(["hub:someone"])
    with pytest.raises(BadInput, match="a folder of the repository"):
        pack(["hub:someone/name/../../up"])
    with pytest.raises(BadInput, match="by itself"):
        pack(["hub:someone/name", tmp_path])


def test_a_repository_of_torch_files(tmp_path, monkeypatch):
    images = np.random.default_rng(0).normal(size=(10, 3, 32, 32)).astype(np.float32)
    np.savez(tmp_path / "set.npz", images=images * 2, labels=np.arange(10))
    asked = hub(monkeypatch, tmp_path)
    made = pack(["hub:someone/dm_cifar10"], options=PackOptions(space="standardized")).set
    np.testing.assert_array_equal(made.images, images * 2)
    assert "*.npz" in asked[0]["allow_patterns"] and "*.pkl" not in asked[0]["allow_patterns"]


def test_a_hub_that_fails(monkeypatch):
    module = types.ModuleType("huggingface_hub")

    def fail(*_, **__):
        raise ConnectionError("no route")

    module.snapshot_download = fail  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    with pytest.raises(MissingData, match="no route"):
        pack(["hub:someone/name"])


# What strangers may do to a file.

FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(data=st.data())
def test_damaged_files_end_in_one_line(tmp_path, data):
    soft = np.zeros((4, 2, 10)).tolist()
    path = write(
        tmp_path / "x.parquet",
        image=structs(pixels(4, 8)),
        label=[0, 1, 2, 3],
        logits=soft,
        metadata={"info": {"features": {"label": {"names": list("abcd")}}}},
    )
    raw = bytearray(path.read_bytes())
    # Most bytes are pixels; the interesting ones are in the footer.
    places = st.integers(0, len(raw) - 1) | st.integers(max(0, len(raw) - 1500), len(raw) - 1)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(places)] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(raw[: data.draw(st.none() | st.integers(0, len(raw)))]))
    reply = unparquet.answer(tmp_path, unparquet.Frame(3, 1 << 24), [path])
    assert ("refused" in reply) != ("tree" in reply)
    json.dumps(reply)


@FUZZ
@given(
    kinds=st.lists(
        st.sampled_from(
            ["picture", "bytes", "int", "text", "list", "lists", "cube", "bool", "null"]
        ),
        max_size=5,
    ),
    names=st.lists(
        st.sampled_from([*unparquet.IMAGE_NAMES, "label", "y", "a\nb", ""]), unique=True
    ),
)
def test_columns_of_any_kind_end_in_one_line(tmp_path, kinds, names):
    made = {
        "picture": structs(pixels(2, 8)),
        "bytes": [b"\x89PNG", None],
        "int": [2**62, -1],
        "text": ["a", "b"],
        "list": [[1.0, 2.0], [3.0, 4.0]],
        "lists": [[[1.0]], [[2.0, 3.0]]],
        "cube": [[[[1]]], [[[2]]]],
        "bool": [True, None],
        "null": [None, None],
    }
    columns = {name: made[kind] for name, kind in zip(names, kinds, strict=False)}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    frame = unparquet.Frame(0, 1 << 24)
    reply = json.loads(json.dumps(unparquet.answer(tmp_path, frame, [tmp_path / "x.parquet"])))
    assert ("refused" in reply) != ("tree" in reply)
