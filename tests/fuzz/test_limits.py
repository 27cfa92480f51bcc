"""Small files that promise huge contents are refused by what they promise, not by what it costs.

Each is read while the process may map one GiB more than it has; each promises more than that. So a
reader that believes it runs out of memory, and says so in other words than those expected here.
The limits are listed in ``SECURITY.md``.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: F401  before memory is limited

import ddranking.distilled.importers
import ddranking.running.worker  # noqa: F401
from ddranking.errors import BadInput

from . import seeds
from .readers import READERS

GIB = 1 << 30


@contextmanager
def one_gib_more() -> Iterator[None]:
    """Lets this process map no more than that."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + GIB, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def npy(shape: str = "(1000000, 1000, 1000)") -> bytes:
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    head = head.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + b"\0" * 64


def zipped(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def zip_bomb() -> bytes:
    """Zeros, a little more than the limit that the reader is given here."""
    return zipped(images=npy("(17000000,)")[:128] + b"\0" * 68_000_000)


def zip_that_lies() -> bytes:
    """The directory says 100 bytes, the member unpacks to 80 MiB."""
    content = bytearray(zipped(images=b"\0" * (80 << 20)))
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 100)
    return bytes(content)


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def safetensors(shape: list[int], offsets: list[int]) -> bytes:
    [whole, _] = seeds.packed()
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    header["images"] |= {"shape": shape, "data_offsets": offsets}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + whole[8 + length :]


def parquet(rows: int) -> bytes:
    """One label a row, all the same, which takes next to nothing, and no image."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    labels = pa.array(np.zeros(rows, np.int8))
    table = pa.table({"image": pa.nulls(rows, pa.binary()), "label": labels})
    pq.write_table(table, out, compression="zstd", row_group_size=rows)
    return out.getvalue()


def sparse(size: int) -> Callable[[], bytes]:
    return lambda: b" " * size


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
)
MIB = 1 << 20

CASES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "record": ("record", sparse((32 * MIB) + 1), "at most 32 MiB"),
    "record, nested": (
        "record",
        lambda: b'{"ddranking.record/":' + b"[" * MIB,
        "at most 1,000,000 values",
    ),
    "reference": ("reference", sparse((32 * MIB) + 1), "more than 33,554,432 bytes"),
    "recipe": ("recipe", sparse(MIB + 1), "at most 1 MiB"),
    "recipe, aliases": ("recipe", lambda: LAUGHS.encode(), "more than 10000 values"),
    "track": ("track", sparse(MIB + 1), "at most 1 MiB"),
    "set, header": ("set", lambda: struct.pack("<Q", 1 << 62) + b"{}" * 99, "at most 1048576"),
    "set, tensor": (
        "set",
        lambda: safetensors([10**6, 1, 10**3, 10**3], [0, 10**12]),
        "whole .safetensors file",
    ),
    "set, overflow": (
        "set",
        lambda: safetensors([2**40, 2**40, 2**40, 1], [0, 640]),
        "whole .safetensors file",
    ),
    "npy": ("pack-npy", npy, "bytes for shape"),
    "npy, rank": (
        "pack-npy",
        lambda: npy("(" + "1," * 20 + ")"),
        "bytes for shape|shape|dimension",
    ),
    "npz": ("pack-npz", lambda: zipped(images=npy(), labels=npy("(10,)")), "bytes for shape"),
    "npz, bomb": ("pack-npz", zip_bomb, "when unpacked"),
    "npz, lie": ("pack-npz", zip_that_lies, "whole .npz|npy"),
    "grid": ("pack-grid", lambda: png(60_000, 60_000), "60000x60000 pixels|3600000000 pixels"),
    "real image": ("image", lambda: png(60_000, 60_000), "DecompressionBomb"),
    "parquet": ("parquet", lambda: parquet(20_000_001), "at most 20,000,000 rows"),
    "idx": (
        "idx",
        lambda: gzip.compress(b"\0\0\x08\x03", mtime=0) + 257 * gzip.compress(bytes(MIB), mtime=0),
        "at most 268,435,456 bytes",
    ),
    "idx, header": (
        "idx",
        lambda: b"\0\0\x08\x03" + struct.pack(">3I", 2**31 - 1, 2**31 - 1, 2**31 - 1),
        "do not fit its header",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_promise_is_refused_for_what_it_is(tmp_path, monkeypatch, kind) -> None:
    name, make, words = CASES[kind]
    content = make()
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", 89478485)
    with one_gib_more(), pytest.raises(BadInput, match=words):
        READERS[name].read(tmp_path, content)


NONE = {
    "store": sparse(MIB + 1),
    "dataset-card": sparse(MIB + 1),
    "dataset-pointer": sparse(MIB + 1),
    "dataset-pixels": npy,
    "whitening": lambda: struct.pack("<Q", 1 << 62) + b"{}" * 99,
    "weights": lambda: struct.pack("<Q", 1 << 62) + b"{}" * 99,
}
"""Caches: what is too large is nothing, and made again."""


@pytest.mark.parametrize("name", NONE)
def test_a_cached_file_that_is_too_large_is_none(tmp_path, name) -> None:
    content = NONE[name]()
    with one_gib_more():
        answer = READERS[name].read(tmp_path, content)
    assert answer is None or answer == (None, None)


def test_a_packed_parquet_file_of_many_rows(tmp_path) -> None:
    """Refused by the child process, whose answer names the limit."""
    from ddranking.distilled.unparquet import Frame, answer

    (tmp_path / "x.parquet").write_bytes(parquet(1_000_001))
    with one_gib_more():
        reply = answer(tmp_path, Frame(1, 64 << 20), [tmp_path / "x.parquet"])
    assert "1000000 rows" in reply["refused"][1]


def test_a_list_of_classes_is_read_under_a_limit(tmp_path, monkeypatch) -> None:
    from ddranking.data import folder

    monkeypatch.setattr(folder, "MAX_LIST_BYTES", 100)
    (tmp_path / "list.txt").write_bytes(b"x" * 101)
    with pytest.raises(BadInput, match="more than 100 bytes"):
        folder._lines(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("labels.json", b" " * ((32 * MIB) + 1), "more than 33,554,432 bytes"),
        ("labels.csv", b"\n" * (8 * MIB), "more than 1000000 lines"),
        ("labels.txt", b"a" * (8 * MIB), "a line of 8388608 characters"),
    ],
)
def test_a_list_beside_pictures_is_read_under_a_limit(tmp_path, name, content, words) -> None:
    from ddranking.distilled.classlist import read_list

    (tmp_path / name).write_bytes(content)
    with one_gib_more(), pytest.raises(BadInput, match=words):
        read_list(tmp_path / name)


def test_the_picture_of_a_record_is_not_decoded(tmp_path) -> None:
    tracemalloc.start()
    told = READERS["record-picture"].read(tmp_path, png(9000, 9000))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert told == [("error", "the picture is over 4096 pixels a side")]
    assert most < 4 * MIB


@pytest.mark.parametrize("name", ["record", "reference", "recipe", "track"])
def test_what_has_no_end_is_not_read_to_it(name) -> None:
    """A device tells no size, and a pipe no end."""
    from ddranking.protocol.recipe import find_recipe
    from ddranking.protocol.track import find_track
    from ddranking.running.references import load_reference
    from ddranking.scoring.recordfile import load_record

    find = {
        "record": load_record,
        "reference": load_reference,
        "recipe": lambda path: find_recipe(str(path)),
        "track": lambda path: find_track(str(path)),
    }
    with one_gib_more(), pytest.raises(BadInput, match="not a regular file"):
        find[name](Path("/dev/zero"))


MANY = {str(name): {} for name in range(16_000)}
ALL_FAULTS = {
    "observations": b'{"schema": "ddranking.record/1","observations":['
    + b"{}," * 300_000
    + b"{}]}",
    "numbers": b'{"schema": "ddranking.record/1","observations":[' + b"1," * 1_400_000 + b"1]}",
    "some numbers": b'{"schema": "ddranking.record/1","observations":[' + b"1," * 49_000 + b"1]}",
    "fields": json.dumps({"schema": "ddranking.record/1"} | MANY).encode(),
    "many fields": json.dumps({str(name): 1 for name in range(600_000)}).encode(),
    "each field": json.dumps(
        dict.fromkeys(
            [
                "entry",
                "track",
                "recipe",
                "unified",
                "dataset",
                "real_hard",
                "observations",
                "selection",
                "scores",
                "verification",
                "created",
            ],
            MANY,
        )
        | {"schema": "ddranking.record/1"}
    ).encode(),
    "accuracies": json.dumps(
        {"schema": "ddranking.record/1", "scores": {"accuracy": MANY}, "selection": MANY}
    ).encode(),
    "key again": b'{"schema": "ddranking.record/1","entry":{' + b'"x":{},' * 490_000 + b'"y":1}}',
    "long text": b'{"picture":"' + "\U0001f600".encode() + b"a" * (20 << 20) + b'"}',
}
"""Records of a few MiB in which everything is wrong: pydantic tells of each fault."""

REFUSES = """
import json, pathlib, sys, time
from ddranking.distilled.header import make_card
from ddranking.errors import BadInput
from ddranking.protocol.recipe import find_recipe
from ddranking.protocol.track import find_track
from ddranking.board.reading import read_records
from ddranking.running.references import load_reference
from ddranking.scoring.recordfile import load_record

read = {
    "record": load_record,
    "board": lambda path: read_records([path.parent]),
    "reference": load_reference,
    "recipe": lambda path: find_recipe(str(path)),
    "track": lambda path: find_track(str(path)),
    "card": lambda path: make_card(json.loads(path.read_text())),
}

def most():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

before = most()
start = time.process_time()
for kind, name in (pair.split("=", 1) for pair in sys.argv[1:]):
    try:
        read[kind](pathlib.Path(name))
        assert kind == "board", "what is no record is passed by"
    except BadInput as error:
        assert len(str(error)) < 2000 and chr(10) not in str(error)
print(json.dumps({"mib": most() - before, "seconds": time.process_time() - start}))
"""


def what_it_takes(*files: str) -> dict[str, float]:
    """Memory and processor time that a fresh process needs to refuse ``KIND=FILE`` each."""
    done = subprocess.run(
        [sys.executable, "-c", REFUSES, *files], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ALL_FAULTS)
def test_a_record_that_is_all_faults_takes_little(tmp_path, name) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(ALL_FAULTS[name])
    took = what_it_takes(f"record={file}", f"board={file}", f"reference={file}")
    assert took["mib"] < 512 and took["seconds"] < 20


def test_other_files_that_are_all_faults_take_little(tmp_path) -> None:
    keys = {str(name): 1 for name in range(60_000)}
    (tmp_path / "card.json").write_text(json.dumps(keys))
    (tmp_path / "order.json").write_text(json.dumps({"class_order": [1] * 400_000}))
    (tmp_path / "list.yaml").write_text("training: [" + "1," * 500_000 + "1]")
    (tmp_path / "keys.yaml").write_text("\n".join(f"k{name}: 1" for name in range(4_900)))
    took = what_it_takes(
        f"card={tmp_path}/card.json",
        f"card={tmp_path}/order.json",
        *(
            f"{kind}={tmp_path}/{name}.yaml"
            for kind in ("recipe", "track")
            for name in ("list", "keys")
        ),
    )
    assert took["mib"] < 256 and took["seconds"] < 20
