"""Files appear whole or not at all, follow links, and never replace a device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ddranking.files import digest_of_file, read_bounded, write_new, write_whole


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_is_written_and_replaced(tmp_path) -> None:
    target = tmp_path / "made" / "file"
    write_whole(target, b"one")
    write_whole(target, b"two")
    assert target.read_bytes() == b"two"
    assert names(target.parent) == ["file"]


def test_a_link_is_followed(tmp_path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_stays(tmp_path, kind: str) -> None:
    target = tmp_path / kind
    os.mkfifo(target) if kind == "pipe" else target.mkdir()
    with pytest.raises(OSError, match="not a regular file"):
        write_whole(target, b"x")
    assert names(tmp_path) == [kind]


def test_an_interruption_leaves_the_old_file_alone(tmp_path, monkeypatch) -> None:
    target = tmp_path / "file"
    write_whole(target, b"old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(target, b"new")
    assert names(tmp_path) == ["file"]
    assert target.read_bytes() == b"old"


def test_a_file_is_written_once(tmp_path) -> None:
    target = tmp_path / "made" / "file"
    assert write_new(target, b"one")
    before = target.stat()
    assert not write_new(target, b"two")
    assert target.read_bytes() == b"one"
    assert (target.stat().st_ino, target.stat().st_nlink) == (before.st_ino, 1)
    assert names(target.parent) == ["file"]


def test_no_more_is_read_than_allowed(tmp_path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_bounded(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="more than 4 bytes"):
        read_bounded(tmp_path / "file", 4)


@pytest.mark.parametrize("read", [lambda path: read_bounded(path, 4), digest_of_file])
def test_what_has_no_end_is_not_read(tmp_path, read) -> None:
    """A pipe is not waited for; nothing stays open."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "terminal").symlink_to("/dev/null")
    before = sorted(Path("/proc/self/fd").iterdir())
    for name in ("pipe", "link", "terminal"):
        with pytest.raises(OSError, match="not a regular file") as caught:
            read(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        read(tmp_path)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
