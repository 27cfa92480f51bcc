import gzip
import os
import pickle
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddranking.data.catalog import facts
from ddranking.data.originals import (
    IDX_FILES,
    download,
    find_cifar,
    find_idx,
    find_svhn,
    read_idx,
)
from ddranking.errors import BadFile, MissingData

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
LABELS = np.arange(6, dtype=np.uint8)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_mnist(folder, suffix="") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in IDX_FILES:
        content = idx(PIXELS if "images" in name else LABELS)
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("inner", ["MNIST/raw", "raw", "."])
def test_idx_files_plain_or_compressed(tmp_path, suffix, inner) -> None:
    write_mnist(tmp_path / inner, suffix)
    found = find_idx(tmp_path, facts("mnist"))
    assert found is not None
    train, _ = found.halves()
    assert np.array_equal([one.content for one in train.images()], PIXELS[:, None])
    assert train.labels.tolist() == LABELS.tolist()
    assert train.labels.dtype == np.int64


def test_idx_agrees_with_torchvision(tmp_path) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    write_mnist(tmp_path / "FashionMNIST" / "raw")
    theirs = datasets.FashionMNIST(str(tmp_path), train=True)
    found = find_idx(tmp_path, facts("fashion-mnist"))
    assert found is not None
    assert np.array_equal(
        np.concatenate([one.content for one in found.halves()[0].images()]), theirs.data.numpy()
    )


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_idx_files_are_refused_in_one_line(tmp_path, data) -> None:
    whole = idx(PIXELS[:2, :3, :3])
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3)) if damaged else 0):
        damaged[data.draw(st.integers(0, min(15, len(damaged) - 1)))] = data.draw(
            st.integers(0, 255)
        )
    compressed = data.draw(st.booleans())
    path = tmp_path / ("a.gz" if compressed else "a")
    path.write_bytes(gzip.compress(bytes(damaged)) if compressed else damaged)
    try:
        assert read_idx(path).size == len(damaged) - 4 - 4 * damaged[3]
    except BadFile as error:
        assert "\n" not in str(error)


def test_what_is_no_gzip_is_refused(tmp_path) -> None:
    whole = gzip.compress(idx(PIXELS))
    for content in (b"not gzip", whole[: len(whole) // 2], whole[:20] + b"\0" * 50):
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(BadFile, match="a whole idx file"):
            read_idx(tmp_path / "a.gz")


def test_as_many_labels_as_images(tmp_path) -> None:
    write_mnist(tmp_path / "MNIST" / "raw")
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte").write_bytes(idx(LABELS[:5]))
    found = find_idx(tmp_path, facts("mnist"))
    assert found is not None
    with pytest.raises(BadFile, match="expected 6 labels"):
        found.halves()


def write_cifar(folder) -> np.ndarray:
    rows = np.random.default_rng(1).integers(0, 256, (4, 3072), np.uint8)
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": rows, "labels": [3, 1, 4, 1]}))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    return rows


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-py"])
def test_cifar_is_read_by_torchvision(tmp_path, inner, monkeypatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    rows = write_cifar(tmp_path / "cifar-10-batches-py")
    # Made-up batches cannot have the published MD5 sums.
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda *_: True)
    found = find_cifar(tmp_path / inner, facts("cifar10"))
    assert found is not None
    assert len(found.files) == 7
    train, test = found.halves()
    assert (len(train.labels), test.labels.tolist()) == (20, [3, 1, 4, 1])
    images = [one.content for one in test.images()]
    assert np.array_equal(images, rows.reshape(4, 3, 32, 32))


def test_cifar_batches_that_fail_their_md5_sums_are_not_unpickled(tmp_path) -> None:
    pytest.importorskip("torchvision.datasets")
    write_cifar(tmp_path / "cifar-10-batches-py")
    found = find_cifar(tmp_path, facts("cifar10"))
    assert found is not None
    with pytest.raises(BadFile, match="by their MD5 sums"):
        found.halves()


@pytest.mark.parametrize("inner", ["", "SVHN"])
def test_svhn_is_read_by_torchvision(tmp_path, inner, monkeypatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    io = pytest.importorskip("scipy.io")
    pixels = np.random.default_rng(2).integers(0, 256, (32, 32, 3, 5), np.uint8)
    (tmp_path / inner).mkdir(exist_ok=True)
    for name in ("train", "test"):
        content = {"X": pixels, "y": np.array([[10], [1], [2], [9], [10]], np.uint8)}
        io.savemat(tmp_path / inner / f"{name}_32x32.mat", content)
    monkeypatch.setattr(datasets.svhn, "check_integrity", lambda *_: True)
    found = find_svhn(tmp_path, facts("svhn"))
    assert found is not None
    train, _ = found.halves()
    assert train.labels.tolist() == [0, 1, 2, 9, 0]  # 10 stands for the digit 0
    images = [one.content for one in train.images()]
    assert np.array_equal(images, pixels.transpose(3, 2, 0, 1))


def test_a_failed_download_is_one_line(tmp_path, monkeypatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")

    def fail(*_, **__):
        raise OSError("<urlopen error [Errno -3]\n Temporary failure>")

    monkeypatch.setattr(datasets, "MNIST", fail)
    with pytest.raises(MissingData, match="download of mnist") as caught:
        download("mnist", tmp_path)
    assert "\n" not in str(caught.value)


def test_nothing_is_found_where_nothing_is(tmp_path) -> None:
    assert find_idx(tmp_path, facts("mnist")) is None
    assert find_cifar(tmp_path, facts("cifar100")) is None
    assert find_svhn(tmp_path, facts("svhn")) is None


@pytest.mark.parametrize("name", ["pipe", "pipe.gz"])
def test_a_pipe_named_as_an_idx_file_is_not_waited_for(tmp_path, name) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(BadFile, match="not a regular file"):
        read_idx(tmp_path / name)
