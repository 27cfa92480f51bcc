"""Building the library: once, into a folder of one's own, and never a reason to fail."""

from __future__ import annotations

import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ddranking.training import native as room
from ddranking.training.native import NO_COMPILER, Native

build = room.native.__wrapped__


TINY = """
extern "C" long group() { return 32; }
extern "C" int tiles() { return 0; }
"""
"""In place of the real source, which takes a second to build."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    found = room.native()
    if isinstance(found, str):
        pytest.skip(f"no fused operation here: {found}")
    monkeypatch.setenv(room.FOLDER, str(tmp_path / "native"))
    monkeypatch.setattr(room, "SOURCE", tmp_path / "tiny.cpp")
    room.SOURCE.write_text(TINY)
    return tmp_path / "native"


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch):
    """Puts a g++ of the test's own first on the path; returns what writes it."""

    def write(script: str) -> Path:
        path = tmp_path / "bin" / "g++"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}{os.pathsep}{os.environ['PATH']}")
        return path

    return write


def test_it_is_built_once_and_for_the_user_alone(folder: Path, compiler) -> None:
    real, calls = shutil.which("g++"), folder.parent / "calls"
    compiler(f'echo "$@" >> {calls}\nexec {real} "$@"')
    first, second = build(), build()
    assert isinstance(first, Native)
    assert isinstance(second, Native)
    [file] = folder.iterdir()
    assert file.name.startswith("fused-")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    lines = calls.read_text().splitlines()
    assert sum("-shared" in line for line in lines) == 1
    assert sum("--version" in line for line in lines) == 2


def test_another_compiler_builds_another_file(folder: Path, compiler) -> None:
    build()
    real = shutil.which("g++")
    compiler(f'[ "$1" = --version ] && echo another || exec {real} "$@"')
    assert isinstance(build(), Native)
    assert len(list(folder.iterdir())) == 2


def test_another_source_builds_another_file(folder: Path) -> None:
    assert build().group == 32
    room.SOURCE.write_text(TINY.replace("32", "16"))
    assert build().group == 16


def test_another_header_builds_another_file(folder: Path) -> None:
    build()
    room.SOURCE.with_name("more.h").write_text("// it says something else\n")
    build()
    assert len(list(folder.iterdir())) == 2


def test_many_at_once_leave_one_whole_file(folder: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert all(isinstance(found, Native) for found in pool.map(lambda _: build(), range(3)))
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exit 1", "failed: exit code 1"),
        ('[ "$1" = --version ] || { echo "no such flag" >&2; exit 2; }', "failed: no such flag"),
    ],
)
def test_a_compiler_that_fails_is_a_reason(folder: Path, compiler, script: str, why: str) -> None:
    compiler(script)
    assert why in build()
    assert list(folder.iterdir()) == []


def test_a_library_that_does_not_load_is_a_reason(folder: Path, compiler) -> None:
    compiler('[ "$1" = --version ] || { while [ "$1" != -o ]; do shift; done; : > "$2"; }')
    assert isinstance(build(), str)


def test_no_compiler_is_a_reason(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert build() == NO_COMPILER
    assert not folder.exists()


def test_a_folder_that_others_may_write_to_is_not_trusted(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    assert "yours alone" in build()
    assert list(folder.iterdir()) == []


def test_a_switch_turns_it_off(folder: Path, monkeypatch) -> None:
    monkeypatch.setenv(room.SWITCH, "0")
    assert build() == "DDRANKING_FUSED=0"
    assert not folder.exists()


def test_a_processor_it_was_not_written_for_is_a_reason(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(room, "CAPABILITIES", ("another",))
    assert build() == "a processor without AVX2"
