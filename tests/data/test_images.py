import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from ddranking.data import images
from ddranking.data.images import Dataset, Images, channel_constants
from ddranking.errors import BadInput


def pixels(count: int = 6, channels: int = 3, size: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, channels, size, size), np.uint8)


LABELS = np.array([0, 1, 2, 0, 1, 2])


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_a_dataset_of_own_arrays(channels) -> None:
    half = pixels(channels=channels)
    dataset = Dataset.from_arrays("mine", half, LABELS.astype(np.int16), half[:3], [0, 1, 2])
    assert (dataset.num_classes, dataset.channels, dataset.image_size) == (3, channels, 4)
    assert dataset.title == "mine"
    assert dataset.train.labels.dtype == np.int64
    np.testing.assert_allclose(dataset.mean, (half / 255).mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(dataset.std, (half / 255).std((0, 2, 3)), rtol=1e-12)


def test_grey_arrays_may_come_without_a_channel() -> None:
    grey = pixels(channels=1)
    flat = Dataset.from_arrays("mine", grey[:, 0], LABELS, grey[:, 0], LABELS)
    assert flat.digest == Dataset.from_arrays("mine", grey, LABELS, grey, LABELS).digest


def test_a_thousand_classes() -> None:
    labels = np.arange(1000)
    some = pixels(1000, 1, 2)
    assert Dataset.from_arrays("many", some, labels, some, labels).num_classes == 1000


def test_a_channel_without_contrast_can_still_be_standardised() -> None:
    flat = np.full((6, 1, 2, 2), 7, np.uint8)
    assert Dataset.from_arrays("flat", flat, LABELS, flat, LABELS).std == (1.0,)


GOOD = pixels()
WRONG = [
    ((GOOD.astype(np.float32), LABELS, GOOD, LABELS), {}, "train_pixels: expected uint8"),
    ((GOOD, LABELS, GOOD[:, :, :, :2], LABELS), {}, "square images"),
    ((GOOD, LABELS, pixels(channels=1), LABELS), {}, "one size in train and test"),
    ((GOOD[0, 0], LABELS, GOOD, LABELS), {}, "[N, C, H, W]"),
    ((GOOD[:0], LABELS[:0], GOOD, LABELS), {}, "N >= 1"),
    ((GOOD, LABELS[:5], GOOD, LABELS), {}, "train_labels: expected 6 labels"),
    ((GOOD, LABELS / 2, GOOD, LABELS), {}, "train_labels: expected integers"),
    ((GOOD, LABELS - 1, GOOD, LABELS), {}, "got the label -1"),
    ((GOOD, LABELS + 1000, GOOD, LABELS), {}, "got the label 1002"),
    ((GOOD, LABELS, GOOD, LABELS + 1), {}, "test labels: expected 0 to 2, got the label 3"),
    ((GOOD, LABELS + 1, GOOD, LABELS), {}, "none of class 0"),
    ((GOOD, LABELS * 0, GOOD, LABELS * 0), {}, "classes: expected 2 to 1,000, got 1"),
    ((GOOD, LABELS, GOOD, LABELS), {"mean": (0.5,)}, "mean: expected 3 finite numbers"),
    ((GOOD, LABELS, GOOD, LABELS), {"std": (1.0, 0.0, 1.0)}, "std: expected 3 positive numbers"),
    ((GOOD, LABELS, GOOD, LABELS), {"mean": (0.5, np.nan, 0)}, "mean: expected 3 finite numbers"),
    ((GOOD, LABELS, GOOD, LABELS), {"class_names": ("a", "b")}, "0 to 1, got the label 2"),
    ((GOOD, LABELS, GOOD, LABELS), {"class_names": ("abcd")}, "none of class 3"),
]


@pytest.mark.parametrize("arrays, named, message", WRONG, ids=[w[2] for w in WRONG])
def test_arrays_that_are_no_dataset_are_refused(arrays, named, message) -> None:
    with pytest.raises(BadInput, match=re.escape(message)):
        Dataset.from_arrays("mine", *arrays, **named)


def test_constants_of_many_chunks_are_those_of_the_whole() -> None:
    some = pixels(10)
    for mine, numpys in zip(
        channel_constants(some, chunk=3),
        ((some / 255).mean((0, 2, 3)), (some / 255).std((0, 2, 3))),
        strict=True,
    ):
        np.testing.assert_allclose(mine, numpys, rtol=1e-12)


def test_constants_of_large_images_are_measured_one_image_at_a_time(monkeypatch) -> None:
    some = pixels(10)
    whole = channel_constants(some)
    monkeypatch.setattr(images, "LARGE_VALUES", 3 * 4 * 4 - 1)
    assert channel_constants(some) == channel_constants(some, chunk=1)
    np.testing.assert_allclose(channel_constants(some), whole, rtol=1e-12)


def resident(path: Path) -> int:
    """Bytes that this process holds of a mapped file."""
    parts = Path("/proc/self/smaps").read_text().split(str(path))[1:]
    return sum(int(part.split("Rss:")[1].split()[0]) for part in parts) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("rows", [slice(100, 900), np.arange(0, 1000, 3)], ids=["slice", "rows"])
def test_of_a_large_memory_map_no_page_stays(tmp_path, rows, monkeypatch) -> None:
    some, path = pixels(1000, 3, 16), tmp_path / "pixels.npy"
    np.save(path, some)
    mapped = np.load(path, mmap_mode="r")
    assert np.array_equal(images.read_rows(mapped, rows), some[rows])
    assert resident(path) > 0.5 * some.nbytes, "a small one may stay"
    monkeypatch.setattr(images, "MAPPED_BYTES", some.nbytes - 1)
    assert np.array_equal(images.read_rows(mapped, rows), some[rows])
    assert resident(path) == 0
    assert np.array_equal(images.read_rows(mapped[5:], slice(0, 4)), some[5:9])


def test_what_was_written_to_a_private_map_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(images, "MAPPED_BYTES", 0)
    np.save(tmp_path / "pixels.npy", pixels(10))
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="c")
    mapped[3] = 77
    assert (images.read_rows(mapped, slice(3, 4)) == 77).all()
    assert (mapped[3] == 77).all()


def test_arrays_in_memory_travel_as_arrays() -> None:
    dataset = Dataset.from_arrays("mine", GOOD, LABELS, GOOD, LABELS, mean=[0.5] * 3, std=[1] * 3)
    assert pickle.loads(pickle.dumps(dataset)) == dataset
    assert hash(pickle.loads(pickle.dumps(dataset))) == hash(dataset)


def test_memory_maps_travel_as_the_names_of_their_files(tmp_path) -> None:
    labels = np.arange(500) % 10
    np.save(tmp_path / "pixels.npy", pixels(500, 3, 16))
    np.save(tmp_path / "labels.npy", labels)
    mapped = Images(
        np.load(tmp_path / "pixels.npy", mmap_mode="r"), np.load(tmp_path / "labels.npy", "r")
    )
    sent = pickle.dumps(mapped)
    assert len(sent) < 1000
    received = pickle.loads(sent)
    assert isinstance(received.pixels, np.memmap)
    assert received == mapped


@pytest.mark.parametrize("part", [slice(0, 5), slice(5, None), slice(None, None, -1)])
def test_a_part_of_a_memory_map_travels_as_that_part(tmp_path, part) -> None:
    np.save(tmp_path / "pixels.npy", pixels(10))
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")[part]
    sent = Images(mapped, np.arange(len(mapped)))
    assert pickle.loads(pickle.dumps(sent)) == sent


def test_taking_images_copies_them() -> None:
    some = Images(GOOD, LABELS)
    taken = some.take(np.array([4, 0]))
    assert taken.labels.tolist() == [1, 0]
    assert np.array_equal(taken.pixels[0], GOOD[4])
    assert not np.shares_memory(taken.pixels, GOOD)
