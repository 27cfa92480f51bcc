"""NumPy files: what NumPy writes is read back, and what lies about itself is refused."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ddranking.distilled.arrayfile import parse_npy, read_npy, read_npz
from ddranking.errors import BadFile, BadInput

LIMIT = 1 << 20
FUZZ = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def saved(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(text: str, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + body


@FUZZ
@given(
    array=hnp.arrays(
        st.sampled_from(["<f4", ">f8", "<f2", "u1", ">i4", "<i8", "?"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    fortran=st.booleans(),
)
def test_reads_what_numpy_writes(array, fortran):
    array = np.asfortranarray(array) if fortran else array
    content = saved(array)
    back = parse_npy(io.BytesIO(content), len(content), "x", LIMIT)
    assert back.dtype == array.dtype.newbyteorder("=") and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (saved(np.zeros(9))[:-1], "bytes"),
        (saved(np.zeros(9)) + b"x", "got more"),
        (header("{'descr':'<f4','fortran_order':False,'shape':(9999999999,)}\n"), "bytes in all"),
        (header("{'descr':'<f4','fortran_order':False,'shape':(2,-1)}\n"), "npy"),
        (header("{'descr':'|O','fortran_order':False,'shape':(1,)}\n", b"x" * 9), "unpickled"),
        (header("{'descr':[('a','<f4')],'fortran_order':False,'shape':(1,)}\n"), "numbers"),
        (header("{'descr':'<c8','fortran_order':False,'shape':(0,)}\n"), "numbers"),
        (header("__import__('os').abort()\n"), "npy"),
        (header("(" * 4000 + "\n"), "npy"),
        (header(" " * 9000), "npy"),
        (b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 31), "npy"),
        (b"\x93NUMPY\x03\x00" + struct.pack("<I", 2) + b"{}", "version 1 or 2"),
        (b"GIF89a", "npy"),
        (b"", "npy"),
    ],
)
def test_refused(tmp_path, content, words):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(BadFile, match=words) as caught:
        read_npy(tmp_path / "x.npy", LIMIT)
    assert "\n" not in str(caught.value)


def test_limits_and_absence(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1000))
    with pytest.raises(BadFile, match="at most 500 bytes"):
        read_npy(tmp_path / "x.npy", 500)
    with pytest.raises(BadFile, match="No such file"):
        read_npy(tmp_path / "y.npy", 500)


def test_npz(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=np.ones((2, 3)), y=np.arange(2))
    back = read_npz(path, LIMIT)
    assert sorted(back) == ["images", "y"]
    np.testing.assert_array_equal(back["images"], np.ones((2, 3)))
    np.savez_compressed(path, images=np.zeros(1 << 18))
    assert path.stat().st_size < 1 << 14
    with pytest.raises(BadFile, match="declared in its directory"):
        read_npz(path, LIMIT)
    np.savez(path, images=np.array([object()]))
    with pytest.raises(BadFile, match="unpickled"):
        read_npz(path, LIMIT)
    for name, words in (("../images.npy", "a path"), ("readme.txt", "only arrays")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, saved(np.zeros(2)))
        with pytest.raises(BadFile, match=words):
            read_npz(path, LIMIT)


def test_a_member_longer_than_its_directory_says(tmp_path):
    """A zip bomb may lie in its directory; what counts is what is read."""
    path = tmp_path / "x.npz"
    np.savez_compressed(path, images=np.zeros(1 << 15))
    content = bytearray(path.read_bytes())
    size = struct.pack("<I", (1 << 18) + 128)
    assert content.count(size) >= 1
    path.write_bytes(bytes(content).replace(size, struct.pack("<I", 300)))
    with pytest.raises(BadFile):
        read_npz(path, LIMIT)


def read_or_refuse(tmp_path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    for reader in (read_npy, read_npz):
        try:
            reader(tmp_path / "x", LIMIT)
        except BadInput as error:
            assert "\n" not in str(error)


@FUZZ
@given(content=st.binary(max_size=200), magic=st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"PK"]))
def test_random_bytes(tmp_path, content, magic):
    read_or_refuse(tmp_path, magic + content)


@FUZZ
@given(data=st.data(), compressed=st.booleans(), archive=st.booleans())
def test_damaged_files(tmp_path, data, compressed, archive):
    stream = io.BytesIO()
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    if archive:
        (np.savez_compressed if compressed else np.savez)(stream, images=array, y=np.arange(3))
    else:
        np.save(stream, array)
    raw = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    read_or_refuse(tmp_path, bytes(raw[: data.draw(st.none() | st.integers(0, len(raw)))]))
