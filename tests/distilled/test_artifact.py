"""The artefact: round trip, digest, deterministic bytes, and every fault of a file in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import resource
import signal
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddranking.distilled import artifact
from ddranking.distilled.artifact import Card, DistilledSet, as_float, load, save, validate
from ddranking.errors import BadDistilledSet, BadFile, BadInput, UnknownName

FUZZ = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def write_raw(path: Path, tensors: dict, card: dict | str | None) -> Path:
    """A file that save() would refuse to write."""
    text = card if isinstance(card, str) or card is None else json.dumps(card)
    metadata = None if text is None else {"card": text}
    safetensors.numpy.save_file(tensors, path, metadata=metadata)
    return path


def card_of(distilled: DistilledSet) -> dict:
    return distilled.card.model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_round_trip(tmp_path, make_set, dtype):
    pixels = np.random.default_rng(1).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    images = pixels if dtype == "uint8" else (pixels / 100 - 1).astype(dtype)
    soft = np.random.default_rng(2).normal(size=(20, 3, 10))
    made = make_set(
        images=images,
        space="pixel" if dtype == "uint8" else "standardized",
        soft_labels=soft,
        soft_label_kind="logits",
        learning_rate=0.0123,
        authors="A. Person, B. Person",
        code="https://example.org/code",
    )
    save(made, tmp_path / "set.safetensors")
    back = load(tmp_path / "set.safetensors")
    assert back.images.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(back.images, made.images)
    np.testing.assert_array_equal(back.labels, made.labels)
    np.testing.assert_array_equal(back.soft_labels, soft.astype(np.float32))
    assert (back.learning_rate, back.card, back.num_classes) == (0.0123, made.card, 10)
    assert back.digest == made.digest


def test_same_set_same_bytes_and_nothing_else_is_left(tmp_path, make_set):
    for name in ("a", "b"):
        save(make_set(learning_rate=0.1), tmp_path / f"{name}.safetensors")
    a, b = (tmp_path / f"{name}.safetensors" for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_digest_matches_an_independent_computation(make_set):
    made = make_set(ipc=1, learning_rate=0.5)
    space = {"kind": "standardized", "mean": list(made.card.space.mean)}
    space["std"] = list(made.card.space.std)
    head = {"schema": "ddranking.distilled/1", "dataset": "digits", "ipc": 1, "space": space}
    head["soft_label_kind"] = None
    expected = hashlib.sha256(dumped(head))
    for name, dtype, shape, raw in (
        ("images", "float32", [10, 1, 8, 8], made.images.astype("<f4").tobytes()),
        ("labels", "int64", [10], struct.pack("<10q", *range(10))),
        ("learning_rate", "float64", [1], struct.pack("<d", 0.5)),
    ):
        expected.update(b"\0" + dumped({"name": name, "dtype": dtype, "shape": shape}) + b"\0")
        expected.update(raw)
    assert made.digest == f"sha256:{expected.hexdigest()}"


def dumped(value) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def test_digest_ignores_what_describes_and_sees_what_trains(make_set):
    plain = make_set()
    assert make_set(method="other", authors="someone", paper="https://a.org").digest == plain.digest
    changed = plain.images.copy()
    changed[3, 0, 2, 2] = np.nextafter(changed[3, 0, 2, 2], np.float32(9))
    soft = np.zeros((20, 10), np.float32)
    others = [
        make_set(images=changed),
        make_set(images=plain.images.astype(np.float16)),
        make_set(space="zca"),
        make_set(learning_rate=0.01),
        make_set(soft_labels=soft, soft_label_kind="logits"),
        make_set(labels=plain.labels[::-1], sorted=False),
    ]
    digests = {each.digest for each in others}
    assert len(digests) == len(others)
    assert plain.digest not in digests


def test_digest_does_not_depend_on_memory_layout(make_set):
    plain = make_set()
    strided = dataclasses.replace(plain, images=np.asfortranarray(plain.images))
    swapped = dataclasses.replace(plain, images=plain.images.astype(">f4"))
    assert strided.digest == plain.digest == swapped.digest


def test_as_float():
    np.testing.assert_array_equal(
        as_float(np.array([0, 51, 255], np.uint8)), np.array([0, 0.2, 1], np.float32)
    )
    half = np.array([-3, 700], np.float16)
    assert as_float(half).dtype == np.float32
    np.testing.assert_array_equal(as_float(half), [-3, 700])


def test_dataset_outside_the_catalogue(tmp_path, make_set):
    made = make_set(
        images=np.zeros((6, 4, 5, 5), np.uint8),
        labels=[0, 0, 1, 1, 2, 2],
        dataset="my-own",
        num_classes=3,
        space={"kind": "pixel"},
    )
    save(made, tmp_path / "own.safetensors")
    assert load(tmp_path / "own.safetensors").num_classes == 3
    with pytest.raises(UnknownName, match="cifar10"):
        make_set(dataset="cifar-10", space={"kind": "pixel"})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("paper", "http://example.org", "https://"),
        ("code", "javascript:alert(1)", "https://"),
        ("code", 'https://a.org/"><script>', "https://"),
        ("method", "x" * 101, "100 characters"),
        ("method", "two\nlines", "line breaks"),
        ("authors", "\x1b[2Jgone", "control characters"),
        ("ipc", 0, "greater than or equal to 1"),
        ("soft_label_kind", "logit", "'logits'"),
        ("colour", "blue", "no such field"),
        ("balanced", "no", "boolean"),
    ],
)
def test_card_refuses(make_set, field, value, words):
    with pytest.raises(BadDistilledSet, match=words) as caught:
        make_set(**{field: value})
    assert "\n" not in str(caught.value) and field in str(caught.value)


def test_file_faults(tmp_path, make_set):
    path = tmp_path / "set.safetensors"
    with pytest.raises(BadFile, match="no such file"):
        load(path)
    with pytest.raises(BadFile, match="a folder"):
        load(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(BadFile, match="0 bytes"):
        load(path)
    path.write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    with pytest.raises(BadFile, match="header of at most"):
        load(path)
    path.write_bytes(struct.pack("<Q", 500) + b"{}" * 20)
    with pytest.raises(BadFile, match="cut short"):
        load(path)
    deep = b"[" * 100_000
    path.write_bytes(struct.pack("<Q", len(deep)) + deep)
    with pytest.raises(BadFile, match="not JSON"):
        load(path)
    save(make_set(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(BadFile, match="Copy or download"):
        load(path)


def test_content_faults_start_with_the_path(tmp_path, make_set):
    made = make_set()
    tensors = {"images": made.images, "labels": made.labels}
    path = tmp_path / "odd.safetensors"
    cases = [
        (tensors, None, "a card in the header"),
        (tensors, "not json", "a JSON object"),
        (
            tensors,
            card_of(made) | {"space": {"kind": "zca", "variant": "pca"}},
            "space.zca.variant",
        ),
        (tensors, card_of(made) | {"schema": "ddranking.distilled/9"}, "ddranking.distilled/1"),
        ({"images": made.images}, card_of(made), "labels"),
        ({**tensors, "images": made.images.astype(np.float64)}, card_of(made), "F64"),
        ({**tensors, "labels": made.labels.astype(np.int32)}, card_of(made), "I32"),
        ({**tensors, "pickle": made.labels}, card_of(made), "only the tensors"),
        ({**tensors, "learning_rate": np.ones(2)}, card_of(made), "one number"),
        ({**tensors, "images": np.full_like(made.images, np.nan)}, card_of(made), "1280 NaN"),
        (tensors, card_of(made) | {"dataset": "mnist"}, "8x8"),
        (tensors, card_of(made) | {"\x1b[2J": 1}, "card: ?[2J"),
    ]
    for parts, card, words in cases:
        with pytest.raises(BadInput) as caught:
            load(write_raw(path, parts, card))
        message = str(caught.value)
        assert words in message and "odd.safetensors" in message and "\n" not in message


def test_unwritable_places(tmp_path, make_set):
    with pytest.raises(BadFile, match=r"\.safetensors"):
        save(make_set(), tmp_path / "set.pt")
    (tmp_path / "file").touch()
    with pytest.raises(BadFile, match=r"[Nn]ot a directory|File exists"):
        save(make_set(), tmp_path / "file" / "set.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_full_disk_leaves_the_old_file(tmp_path, make_set):
    """A limit on the size of files fails a write in the middle, as a full disk does."""
    path = tmp_path / "set.safetensors"
    save(make_set(), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(BadFile, match="Nothing was written"):
            save(make_set(ipc=3), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["set.safetensors"]


def test_saving_validates_first(tmp_path, make_set):
    broken = dataclasses.replace(make_set(), images=np.full((20, 1, 8, 8), np.inf, np.float32))
    with pytest.raises(BadDistilledSet, match="infinite"):
        save(broken, tmp_path / "set.safetensors")
    assert not list(tmp_path.iterdir())


def load_or_refuse(path: Path) -> None:
    """Either a set that validates comes out, or one of our own errors in one line."""
    try:
        validate(load(path))
    except BadInput as error:
        assert "\n" not in str(error)


@FUZZ
@given(content=st.binary(max_size=300))
def test_random_bytes(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    load_or_refuse(tmp_path / "x.safetensors")


@FUZZ
@given(data=st.data())
def test_damaged_files(tmp_path, make_set, data):
    path = tmp_path / "x.safetensors"
    save(make_set(ipc=1, learning_rate=0.1), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # The header is where damage can mislead; pixels are mostly just other pixels.
        where = data.draw(st.integers(0, 900) | st.integers(0, len(content) - 1))
        content[where] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.none() | st.integers(0, len(content)))
    path.write_bytes(bytes(content[:cut]))
    load_or_refuse(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(["images", "labels", "__metadata__", "learning_rate", "soft_labels", "x"])
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "I64", "U8", "BOOL"]) | JSON,
        "shape": st.lists(st.integers(-1, 2**64), max_size=4) | JSON,
        "data_offsets": st.lists(st.integers(0, 2**64), max_size=3) | JSON,
    }
)


@FUZZ
@given(header=st.dictionaries(KEYS, ENTRY | JSON, max_size=4), body=st.binary(max_size=64))
def test_adversarial_headers(tmp_path, make_set, header, body):
    card = make_set(ipc=1).card.model_dump_json(by_alias=True)
    header.setdefault("__metadata__", {"card": card})
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    load_or_refuse(path)


@FUZZ
@given(fields=st.dictionaries(st.sampled_from([*Card.model_fields, "schema", "x"]), JSON))
def test_adversarial_cards(tmp_path, make_set, fields):
    made = make_set(ipc=1)
    tensors = {"images": made.images, "labels": made.labels}
    card = json.dumps(card_of(made) | fields)
    load_or_refuse(write_raw(tmp_path / "x.safetensors", tensors, card))


def test_importing_it_imports_no_torch():
    import subprocess

    code = "import sys, ddranking.distilled.artifact, ddranking.distilled.importers; "
    code += "assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert artifact.SCHEMA == "ddranking.distilled/1"
