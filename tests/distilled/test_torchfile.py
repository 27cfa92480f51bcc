"""Torch files of strangers: what comes through, what is refused, and that nothing is executed."""

from __future__ import annotations

import io
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddranking.distilled.torchfile import Limits, check_torch_file, read_torch
from ddranking.distilled.unpickle import Unsafe, answer, outline, read
from ddranking.errors import BadFile


class Bomb:
    """Makes a folder when unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (os.mkdir, (str(self.target),))


def plain(tree):
    """Arrays to lists, so that trees compare."""
    if isinstance(tree, np.ndarray):
        return (tree.dtype.name, tree.tolist())
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    return [plain(each) for each in tree] if isinstance(tree, list) else tree


def test_what_comes_through_the_child(tmp_path):
    images = torch.arange(24.0).reshape(2, 3, 2, 2)
    content = {
        "data": [[images, torch.tensor([0, 1])]],
        "numpy": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "accs": {"ConvNet": [np.float64(0.25), np.float32(0.5)]},
        "half": images[:1, 0].to(torch.bfloat16),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "mixed": (1, True, None, "words", 1e400),
        "ordered": OrderedDict(a=torch.tensor(3, dtype=torch.uint8)),
    }
    torch.save(content, tmp_path / "new.pt")
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    new, old = read_torch([tmp_path / "new.pt", tmp_path / "old.pt"])
    assert plain(new) == plain(old)
    assert plain(new) == {
        "data": [[("float32", images.tolist()), ("int64", [0, 1])]],
        "numpy": ("int16", [[0, 3], [1, 4], [2, 5]]),
        "accs": {"ConvNet": [0.25, 0.5]},
        "half": ("float32", [[[0.0, 1.0], [2.0, 3.0]]]),
        "parameter": ("float32", [1.0, 1.0]),
        "mixed": [1.0, 1.0, None, "words", None],
        "ordered": {"a": ("uint8", 3)},
    }


def test_objects_are_refused_and_not_executed(tmp_path):
    path, target = tmp_path / "evil.pt", tmp_path / "made"
    torch.save({"data": Bomb(target)}, path)
    message = refused(path)
    assert "an object of posix.mkdir" in message and "could run code" in message
    assert "weights_only" not in message
    legacy = tmp_path / "legacy.pt"
    torch.save({"data": Bomb(target)}, legacy, _use_new_zipfile_serialization=False)
    with pytest.raises(Unsafe, match=r"posix\.mkdir"):
        read(legacy)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the file of this test would have done nothing anyway"


def refused(path: Path, **limits: int) -> str:
    with pytest.raises(BadFile) as caught:
        read_torch([path], Limits(**limits))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_memory_limit_of_the_child(tmp_path):
    path = tmp_path / "big.pt"
    # A legacy file declares its storage's size in the pickle: allocated by torch before any check.
    torch.save(torch.zeros(8), path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    small, huge = pickle.dumps(8, 2)[2:-1], pickle.dumps(1 << 31, 2)[2:-1]
    at = content.index(small, content.index(b"cpu"))
    path.write_bytes(content[:at] + huge + content[at + len(small) :])
    assert "more memory than allowed" in refused(path, bytes=1 << 28)


def test_time_limit_of_the_child(tmp_path):
    torch.save(torch.zeros(1), tmp_path / "x.pt")
    assert "within 0 s" in refused(tmp_path / "x.pt", seconds=0)


def test_refused_before_any_process(tmp_path, monkeypatch):
    monkeypatch.setattr("ddranking.distilled.torchfile.run_child", None)
    path = tmp_path / "x.pt"
    assert "No such file" in refused(path)
    path.write_bytes(b"")
    assert "got 0" in refused(path)
    torch.save(torch.zeros(5000), path)
    assert "got 2" in refused(path, bytes=2000)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "whole torch file" in refused(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("archive/data.pkl", b"\0" * (1 << 21))
    assert path.stat().st_size < 1 << 14
    assert "2097152 declared" in refused(path, bytes=1 << 20)
    for name in ("../up", "/etc/x", "a/../../b", "C:/x", "..\\up"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"")
        assert "a path" in refused(path)
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    assert "twice" in refused(path)


def test_small_files_cannot_describe_huge_results(tmp_path):
    with pytest.raises(Unsafe, match="over the limit"):
        outline(torch.zeros(1).expand(10**15), tmp_path, 1 << 20)
    loop: list = []
    loop.append(loop)
    with pytest.raises(Unsafe, match="nested"):
        outline(loop, tmp_path, 1 << 20)
    wide: list = [0.0] * 1000
    with pytest.raises(Unsafe, match="nested"):
        outline([wide] * 1000, tmp_path, 1 << 20)
    with pytest.raises(Unsafe, match="sparse"):
        outline(torch.eye(3).to_sparse(), tmp_path, 1 << 20)
    with pytest.raises(Unsafe, match="complex"):
        outline(torch.zeros(2, dtype=torch.complex64), tmp_path, 1 << 20)


def test_object_arrays_are_refused(tmp_path):
    path = tmp_path / "x.pt"
    for content in (np.array([{}], dtype=object), np.zeros(2, dtype=[("a", "f4")])):
        torch.save({"x": content}, path)
        with pytest.raises(Unsafe):
            read(path)


def only_known_answers(path: Path, out: Path) -> None:
    """The child's core answers with numbers or a reason; nothing else may come out."""
    out.mkdir(exist_ok=True)
    for old in out.rglob("*.npy"):
        old.unlink()
    for old in out.glob("[0-9]*"):
        old.rmdir()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the child prints warnings to a pipe that nobody shows
        reply = answer(out, 1 << 20, [path])
    assert set(reply) in ({"trees"}, {"file", "unsafe"}, {"file", "broken"})
    assert all("\n" not in str(text) for text in reply.values())


FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@FUZZ
@given(content=st.binary(max_size=200), magic=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02"]))
def test_random_bytes(tmp_path, content, magic):
    path = tmp_path / "x.pt"
    path.write_bytes(magic + content)
    try:
        check_torch_file(path, 1 << 20)
    except BadFile:
        return
    only_known_answers(path, tmp_path / "out")


@FUZZ
@given(data=st.data(), new_format=st.booleans())
def test_damaged_files(tmp_path, data, new_format):
    buffer = io.BytesIO()
    content = {"data": [[torch.ones(2, 1, 3, 3), torch.arange(2)]], "a": np.float64(0.5)}
    torch.save(content, buffer, _use_new_zipfile_serialization=new_format)
    raw = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.integers(0, min(len(raw), 1200) - 1) | st.integers(0, len(raw) - 1))
        raw[where] = data.draw(st.integers(0, 255))
    path = tmp_path / "x.pt"
    path.write_bytes(bytes(raw[: data.draw(st.none() | st.integers(1, len(raw)))]))
    try:
        check_torch_file(path, 1 << 20)
    except BadFile:
        return
    only_known_answers(path, tmp_path / "out")
