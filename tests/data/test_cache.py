import errno
import json
import os
import socket

import numpy as np
import pytest

from ddranking.data import cache
from ddranking.errors import StoreUnusable

PIXELS = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 1, 4, 4)


CARD = {"num_classes": 2, "class_names": [], "mean": [0.5], "std": [0.5], "lossy": False}


def write_copy(home, digest="sha256:" + "ab" * 32):
    with cache.writing(home, PIXELS.nbytes) as writer:
        for half in ("train", "test"):
            with writer.pixels(half, PIXELS.shape) as append:
                append(PIXELS[:1])
                append(PIXELS[1:])
            writer.labels(half, np.array([0, 1]))
        return writer.finish(CARD | {"digest": digest})


def test_a_copy_is_whole_mapped_and_in_its_place(tmp_path) -> None:
    place = write_copy(tmp_path / "new" / "home")
    assert place.name == "ab" * 8
    assert json.loads((place / "dataset.json").read_text())["schema"] == "ddranking.dataset/1"
    halves = cache.open_halves(place)
    assert halves is not None
    assert isinstance(halves[0].pixels, np.memmap)
    assert np.array_equal(halves[0].pixels, PIXELS)
    assert not halves[0].pixels.flags.writeable
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_the_same_copy_again_leaves_the_files_that_others_have_open(tmp_path) -> None:
    before = (write_copy(tmp_path) / "train_pixels.npy").stat().st_ino
    assert (write_copy(tmp_path) / "train_pixels.npy").stat().st_ino == before


def test_a_copy_that_lacks_a_file_is_none_and_is_replaced(tmp_path) -> None:
    place = write_copy(tmp_path)
    (place / "test_labels.npy").unlink()
    assert cache.read_card(place) is None
    assert cache.read_card(write_copy(tmp_path)) is not None


@pytest.mark.parametrize("name", ["train_pixels.npy", "test_labels.npy"])
def test_a_truncated_array_is_none(tmp_path, name) -> None:
    place = write_copy(tmp_path)
    (place / name).write_bytes((place / name).read_bytes()[:-8])
    assert cache.open_halves(place) is None


def test_nothing_is_left_when_writing_fails(tmp_path) -> None:
    with pytest.raises(KeyError), cache.writing(tmp_path, 1) as writer:
        writer.labels("train", np.array([0]))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path) -> None:
    host = socket.gethostname()
    keep = [f".building-{host}-{os.getpid()}-a", ".building-another-machine-1-a", "ab" * 8]
    for name in (*keep, f".building-{host}-99999999-a"):
        (tmp_path / name).mkdir()
    with cache.writing(tmp_path, 1):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(keep)


def test_a_full_disk_is_seen_before_and_while_writing(tmp_path, monkeypatch) -> None:
    with (
        pytest.raises(StoreUnusable, match=r"expected 1000000000.0 GB free"),
        cache.writing(tmp_path, 10**18),
    ):
        pytest.fail("began to write")
    with (
        pytest.raises(StoreUnusable, match="no space left"),
        cache.writing(tmp_path, 1),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for attempt in (
        lambda: write_copy(tmp_path / "file"),
        lambda: cache.write_atomically(tmp_path / "file" / "a", b""),
    ):
        with pytest.raises(StoreUnusable, match="DDRANKING_CACHE") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_files_are_replaced_whole(tmp_path) -> None:
    for content in (b"one", b"two"):
        cache.write_atomically(tmp_path / "deep" / "a", content)
    assert (tmp_path / "deep" / "a").read_bytes() == b"two"
    assert len(list((tmp_path / "deep").iterdir())) == 1


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DDRANKING_CACHE", str(tmp_path))
    assert cache.default_cache() == tmp_path
    monkeypatch.delenv("DDRANKING_CACHE")
    assert cache.default_cache().parts[-3:] == (".cache", "ddranking", "data")
