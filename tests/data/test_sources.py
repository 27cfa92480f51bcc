import io
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from ddranking.data import sources
from ddranking.data.catalog import DATASETS, facts
from ddranking.data.images import channel_constants
from ddranking.data.layouts import READERS
from ddranking.data.sources import load, prepare
from ddranking.errors import BadFile, BadInput, MissingData, StoreUnusable, UnknownName


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DDRANKING_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(seed: int, size=(32, 32), kind="PNG", mode="RGB") -> bytes:
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8)).save(file, kind)
    return file.getvalue()


def write_parquet(root, labels, kind="PNG", split="train", start=0):
    root.mkdir(exist_ok=True)
    images = [{"bytes": picture(start + i, kind=kind), "path": ""} for i in range(len(labels))]
    pq.write_table(pa.table({"img": images, "label": labels}), root / f"{split}.parquet")


@pytest.fixture
def root(tmp_path):
    write_parquet(tmp_path / "root", list(range(10)) * 2)
    write_parquet(tmp_path / "root", list(range(10)), split="test", start=100)
    return tmp_path / "root"


def write_folders(root, size=(20, 12), mode="RGB"):
    for split in ("train", "val"):
        for k, name in enumerate(("cat", "dog")):
            for i in range(3):
                path = root / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(picture(10 * k + i, size, mode=mode))


def test_digits_need_nothing(cache) -> None:
    digits = load("digits")
    assert (len(digits.train), len(digits.test)) == (1297, 500)
    assert digits.train.shape == (1, 8, 8)
    assert digits.train.pixels.max() == 255
    assert digits.digest == (
        "sha256:95203b283b8ad4f6ff89772aa05365ff829866a2723296fb33fa3dec524aef6d"
    )
    np.testing.assert_allclose(
        channel_constants(digits.train.pixels), (digits.mean, digits.std), atol=5e-5
    )
    assert prepare("digits") == digits
    assert not cache.exists()


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    ours, theirs = load("digits"), load_digits(return_X_y=True)[0]
    pixels = np.concatenate([ours.train.pixels, ours.test.pixels]).reshape(1797, 64)
    assert sorted(map(tuple, np.rint(pixels * (16 / 255)))) == sorted(map(tuple, theirs))


def test_prepare_then_load(root) -> None:
    prepared = prepare("cifar10", root=root)
    assert prepared.train.shape == (3, 32, 32)
    assert np.array_equal(
        prepared.train.pixels[3].transpose(1, 2, 0), Image.open(io.BytesIO(picture(3)))
    )
    assert prepared.title == "CIFAR-10 (partial copy: 20 + 10 images)"
    loaded = load("cifar10")
    assert loaded == prepared
    assert isinstance(loaded.train.pixels, np.memmap)
    assert len(pickle.dumps(loaded)) < 4000
    assert pickle.loads(pickle.dumps(loaded)) == prepared
    assert load("cifar10", root=root) == prepared


def test_a_prepared_root_is_not_decoded_again_until_it_changes(root, monkeypatch) -> None:
    first = load("cifar10", root=root)
    runs = []
    ingest = sources.ingest
    monkeypatch.setattr(sources, "ingest", lambda *args: runs.append(1) or ingest(*args))
    assert load("cifar10", root=root) == first
    assert not runs
    write_parquet(root, [*range(10), 0])
    os.utime(root / "train.parquet", ns=(1, 1))
    assert load("cifar10", root=root).digest != first.digest
    assert len(runs) == 1
    assert load("cifar10").digest != first.digest  # what was prepared last is current


def test_each_root_keeps_its_own_copy(root, tmp_path) -> None:
    first = prepare("cifar10", root=root)
    write_parquet(tmp_path / "jpeg", list(range(10)), kind="JPEG")
    write_parquet(tmp_path / "jpeg", list(range(10)), kind="JPEG", split="test")
    second = prepare("cifar10", root=tmp_path / "jpeg")
    assert load("cifar10").digest == second.digest
    assert load("cifar10", root=root).digest == first.digest


def test_other_sizes_are_other_datasets(root) -> None:
    native, small = prepare("cifar10", root=root), prepare("cifar10", root=root, image_size=16)
    assert small.train.shape == (3, 16, 16)
    assert small.digest != native.digest
    assert load("cifar10", image_size=16) == small
    with pytest.raises(MissingData, match="--image-size 32"):
        load("cifar10", image_size=32)
    assert load("cifar10", root=root) == native


def test_a_lossless_dataset_in_jpeg_says_so(tmp_path, monkeypatch) -> None:
    for split, count in (("train", 20), ("test", 10)):
        write_parquet(tmp_path / "jpeg", [i % 10 for i in range(count)], "JPEG", split)
    small = replace(facts("cifar10"), train_size=20, test_size=10)
    monkeypatch.setitem(DATASETS, "cifar10", small)
    assert prepare("cifar10", root=tmp_path / "jpeg").title == "CIFAR-10 (lossy copy)"


def test_own_folders_of_images(tmp_path) -> None:
    write_folders(tmp_path / "pets")
    name = f"folder:{tmp_path / 'pets'}"
    with pytest.raises(BadInput, match="--image-size 64"):
        load(name)
    pets = prepare(name, image_size=8)
    assert (pets.name, pets.title, pets.class_names) == (name, "pets", ("cat", "dog"))
    assert pets.train.shape == (3, 8, 8)
    assert pets.num_classes == 2
    np.testing.assert_allclose((pets.mean, pets.std), channel_constants(pets.train.pixels))
    assert load(name) == pets
    assert load(name, image_size=8) == pets
    assert load(name, image_size=4).train.shape == (3, 4, 4)


def test_own_grey_images_have_one_channel(tmp_path) -> None:
    write_folders(tmp_path / "grey", mode="L")
    assert prepare(f"folder:{tmp_path / 'grey'}", image_size=8).channels == 1


def test_own_parquet_files(root) -> None:
    own = prepare(f"folder:{root}", image_size=32)
    assert own.num_classes == 10
    assert own.digest == prepare("cifar10", root=root).digest


@pytest.mark.parametrize("name", [n for n in DATASETS if n != "digits"])
def test_what_is_not_prepared_says_the_command(name) -> None:
    for ask in (load, prepare):
        with pytest.raises(MissingData, match=f"ddranking data prepare {name} --root DIR"):
            ask(name)


@pytest.mark.parametrize("name", [n for n in DATASETS if n != "digits"])
def test_a_wrong_root_says_what_was_looked_for(name, tmp_path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    looked_for = READERS[facts(name).reader][0].looks_for
    for root, got in (
        (tmp_path, "holiday.jpg"),
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path / "holiday.jpg", "a file"),
    ):
        with pytest.raises(MissingData) as caught:
            prepare(name, root=root)
        assert got in str(caught.value)
        assert looked_for in str(caught.value) or "expected a folder" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_unknown_names() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'cifar10'"):
        load("cifar")


@pytest.mark.parametrize("labels", [[0, 1, 10], [0, 1, -1]])
def test_labels_out_of_range_are_seen_before_decoding(tmp_path, cache, labels) -> None:
    write_parquet(tmp_path / "root", labels)
    write_parquet(tmp_path / "root", [0], split="test")
    with pytest.raises(BadFile, match="expected 0 to 9, got the label"):
        prepare("cifar10", root=tmp_path / "root")
    assert not cache.exists()


def test_a_corrupt_image_is_named_and_leaves_nothing_behind(root, cache) -> None:
    table = pq.read_table(root / "train.parquet").to_pydict()
    table["img"][7]["bytes"] = table["img"][7]["bytes"][:200]
    pq.write_table(pa.table(table), root / "train.parquet")
    with pytest.raises(BadFile, match=r"train\.parquet row 7: expected an image"):
        prepare("cifar10", root=root)
    assert list((cache / "cifar10").iterdir()) == []
    with pytest.raises(MissingData):
        load("cifar10")


def test_an_empty_split_and_a_missing_class_are_refused(tmp_path, cache) -> None:
    write_parquet(tmp_path / "root", [0, 1, 2])
    write_parquet(tmp_path / "root", [0], split="test")
    with pytest.raises(BadFile, match="none of class 3"):
        prepare("cifar10", root=tmp_path / "root")
    assert not cache.exists()
    schema = pq.read_schema(tmp_path / "root" / "test.parquet")
    pq.write_table(schema.empty_table(), tmp_path / "root" / "test.parquet")
    with pytest.raises(BadFile, match="test images: expected at least one"):
        prepare("cifar10", root=tmp_path / "root")


def test_a_cache_that_cannot_be_written_is_one_line(root, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnusable, match="DDRANKING_CACHE"):
        prepare("cifar10", root=root, cache=tmp_path / "file")


def test_a_damaged_copy_is_missing_and_can_be_prepared_again(root, cache) -> None:
    good = prepare("cifar10", root=root)
    (card,) = cache.glob("cifar10/*/dataset.json")
    card.write_text("{")
    with pytest.raises(MissingData):
        load("cifar10")
    assert load("cifar10", root=root) == good


def test_progress_counts_images(root) -> None:
    seen = []
    prepare("cifar10", root=root, progress=lambda *step: seen.append(step))
    assert seen[0] == ("train images", 0, 20)
    assert ("train images", 20, 20) in seen
    assert seen[-1] == ("test images", 10, 10)


def test_a_worker_process_opens_the_same_dataset(root, tmp_path) -> None:
    prepared = prepare("cifar10", root=root)
    (tmp_path / "dataset.pickle").write_bytes(pickle.dumps(prepared))
    worker = (
        "import pickle, sys; d = pickle.load(open(sys.argv[1], 'rb')); "
        "assert 'torch' not in sys.modules; print(d.digest, d.train.pixels.sum())"
    )
    out = subprocess.run(
        [sys.executable, "-c", worker, str(tmp_path / "dataset.pickle")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert out == [prepared.digest, str(prepared.train.pixels.sum())]


@pytest.mark.data
def test_the_real_copy_of_cifar10(real_data) -> None:
    cifar = prepare("cifar10", root=real_data / "cifar10-jpeg")
    assert cifar.title == "CIFAR-10 (JPEG copy)"
    assert np.bincount(cifar.train.labels).tolist() == [5000] * 10
    assert np.bincount(cifar.test.labels).tolist() == [1000] * 10
    # The README of the data: mean as the original's, std half a percent lower.
    mean, std = channel_constants(cifar.train.pixels)
    np.testing.assert_allclose(mean, cifar.mean, atol=0.0005)
    np.testing.assert_allclose(std, cifar.lineages["true"][1], atol=0.002)


@pytest.mark.data
def test_the_real_mnist(real_data) -> None:
    mnist = prepare("mnist", root=real_data)
    assert mnist.digest in facts("mnist").known_copies
    assert (len(mnist.train), len(mnist.test)) == (60000, 10000)
    mean, std = channel_constants(mnist.train.pixels)
    np.testing.assert_allclose((mean, std), (mnist.mean, mnist.std), atol=5e-5)
