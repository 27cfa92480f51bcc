"""Every reader of what others wrote: seeds to start from, a way to change them, and the call.

A reader may answer or raise :class:`~ddranking.errors.DDRankingError`; anything else, and any
answer that takes more than the limits of the fuzzer, is a finding. Found inputs lie in
``corpus/READER`` and are replayed by ``test_corpus.py``. ``__main__.py`` fuzzes with atheris.
"""

from __future__ import annotations

import base64
import faulthandler
import io
import json
import os
import shutil
import signal
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CORPUS = Path(__file__).with_name("corpus")

Change = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        seeds: valid inputs, small ones.
        read: reads ``content``, with an empty folder to put files in.
        change: what understands the format and changes one thing in it; None where bytes do.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[Path, bytes], object]
    change: Change | None = None


# --- Changes --------------------------------------------------------------------------------------

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 10, 255, 2**31, 2**63, -(2**63) - 1, 10**400),
    *(0.5, -0.5, 1e308, 1e-320, "", "0", "x", "\0", "\ud800", "é" * 50, "a" * 5000, "../../x"),
    *([], [1], [[]], {}, {"kind": "x"}, {"kind": None}, "os:system", "sha256:" + "0" * 64),
]


def change_value(value: Any, chance: Random) -> Any:
    """``value`` with one inner value replaced, dropped, doubled, renamed or moved."""
    holder: list[Any] = [value]
    places: list[tuple[Any, Any]] = []
    waiting: list[tuple[Any, Any]] = [(holder, 0)]
    while waiting:
        place, key = waiting.pop()
        places.append((place, key))
        inner = place[key]
        if isinstance(inner, dict):
            waiting += [(inner, each) for each in inner]
        elif isinstance(inner, list):
            waiting += [(inner, each) for each in range(min(len(inner), 50))]
    place, key = chance.choice(places)
    other, other_key = chance.choice(places)
    kind = chance.randrange(6)
    if kind == 0 and place is not holder:
        del place[key]
    elif kind == 1 and isinstance(place, dict):
        place[chance.choice([str(key) + "x", "", "kind", "\0", "schema"])] = place.pop(key)
    elif kind == 2:
        place[key] = json.loads(json.dumps(other[other_key]))
    elif kind == 3 and isinstance(place[key], int | float) and not isinstance(place[key], bool):
        with suppress(OverflowError, ValueError):
            place[key] = chance.choice([-1, 2, 0.1, 1e30]) * place[key]
    elif kind == 4 and isinstance(place[key], list):
        place[key] = place[key] * 2
    else:
        place[key] = chance.choice(ODD)
    return holder[0]


def change_json(content: bytes, chance: Random) -> bytes:
    value = change_value(json.loads(content), chance)
    return json.dumps(value).encode()


def change_yaml(content: bytes, chance: Random) -> bytes:
    value = change_value(yaml.safe_load(content), chance)
    text = json.dumps(value) if chance.random() < 0.5 else yaml.safe_dump(value)
    return text.encode("utf-8", "surrogatepass")


def change_safetensors(content: bytes, chance: Random) -> bytes:
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    if chance.random() < 0.5 and "card" in header.get("__metadata__", {}):
        card = change_value(json.loads(header["__metadata__"]["card"]), chance)
        header["__metadata__"]["card"] = json.dumps(card)
    else:
        header = change_value(header, chance)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def change_png(content: bytes, chance: Random) -> bytes:
    """One chunk's bytes changed, its checksum made right again."""
    chunks, at = [], 8
    while at + 12 <= len(content):
        size = struct.unpack(">I", content[at : at + 4])[0]
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + size]))
        at += 12 + size
    index = chance.randrange(len(chunks))
    name, body = chunks[index]
    body = bytearray(body or b"\0")
    for _ in range(chance.randint(1, 3)):
        body[chance.randrange(len(body))] = chance.choice([0, 1, 3, 8, 16, 127, 255])
    kind = chance.randrange(4)
    if kind == 0:
        chunks.insert(index, (name, bytes(body)))
    elif kind == 1:
        chunks[index] = (chance.choice([b"tRNS", b"acTL", b"iCCP", b"zTXt", name]), bytes(body))
    else:
        chunks[index] = (name, bytes(body))
    out = content[:8]
    for name, body in chunks:
        out += struct.pack(">I", len(body)) + name + body
        out += struct.pack(">I", zlib.crc32(name + body))
    return out


def change_zip(content: bytes, chance: Random) -> bytes:
    """One member changed or renamed, in an archive that is whole."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(each, archive.read(each)) for each in archive.namelist()]
    index = chance.randrange(len(members))
    name, body = members[index]
    kind = chance.randrange(4)
    if kind == 0:
        name = chance.choice(["images", "images.npy", "x/../y.npy", "a\0.npy", "labels.npy"])
    elif kind == 1:
        members.append(members[index])
    elif body:
        changed = bytearray(body)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(min(len(changed), 200))] = chance.randrange(256)
        body = bytes(changed)
    members[index] = (name, body)
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        for name, body in members:  # twice the same name is what a warning says, and is meant
            archive.writestr(name, body)
    return out.getvalue()


# --- Seeds ----------------------------------------------------------------------------------------

PIXELS = (np.arange(10 * 64) % 251).astype(np.uint8).reshape(10, 1, 8, 8)
FLOATS = (PIXELS / np.float32(255) - np.float32(0.5)).astype(np.float32)
LABELS = np.arange(10)


def _file(path: str) -> list[bytes]:
    return [(ROOT / path).read_bytes()]


def _record() -> list[bytes]:
    return _file("tests/scoring/records/record-1.json")


def _reference() -> list[bytes]:
    return [*_file("records/reference/cifar10-convnet3.json"), _small_reference()]


def _small_reference() -> bytes:
    values = json.loads((ROOT / "records/reference/cifar10-ipc1-random-dsa.json").read_text())
    values["observations"] = values["observations"][:2]
    return json.dumps(values).encode()


def _observation() -> list[bytes]:
    [record] = _record()
    return [json.dumps(each).encode() for each in json.loads(record)["observations"][:2]]


def _shelf(folder: str) -> list[bytes]:
    found = sorted((ROOT / "src/ddranking/protocol" / folder).glob("*.yaml"))
    return [path.read_bytes() for path in found]


def _tracks() -> list[bytes]:
    """The shipped tracks, with one number of images per class, as a user's track has."""
    values = [yaml.safe_load(content) for content in _shelf("tracks")]
    return [yaml.safe_dump(each | {"ipc": each["ipc"][:1]}).encode() for each in values]


def _packed() -> list[bytes]:
    from ddranking.distilled.artifact import DistilledSet, save

    made = []
    common = {"dataset": "digits", "ipc": 1, "method": "invented"}
    soft = np.full((10, 10), 0.1, np.float32)
    for images, more in (
        (PIXELS, {"space": {"kind": "pixel"}}),
        (FLOATS, {"space": "standardized", "learning_rate": 0.01, "soft_labels": soft}),
    ):
        kind = {"soft_label_kind": "probabilities"} if "soft_labels" in more else {}
        made.append(DistilledSet.from_arrays(images, LABELS, **common, **kind, **more))
    out = []
    with _scratch() as folder:
        for each in made:
            save(each, folder / "set.safetensors")
            out.append((folder / "set.safetensors").read_bytes())
    return out


def _weights() -> list[bytes]:
    from safetensors.numpy import save

    from ddranking.running.sealed import seal

    plain = save({"0.weight": FLOATS.reshape(10, 64), "0.bias": np.zeros(10, np.float32)})
    return [plain, seal(plain, "abc")]


def _checkpoints() -> list[bytes]:
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(64, 10)).state_dict()
    trees = [network, {"state_dict": network}, [[list(network.values())] * 2]]
    return [*_weights(), *(_bytes_of(partial(torch.save, tree)) for tree in trees)]


def _whitening() -> list[bytes]:
    from safetensors.numpy import save

    square, one = np.eye(64, dtype=np.float32), np.ones(1, np.float32)
    arrays = {"mean": np.zeros(64, np.float32), "matrix": square, "inverse": square}
    return [save(arrays | {"contrast": one, "brightness": one})]


def _bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def _npy() -> list[bytes]:
    arrays = (PIXELS, FLOATS, np.asfortranarray(FLOATS.astype(np.float64)), PIXELS > 9)
    return [_bytes_of(partial(np.save, arr=each)) for each in arrays]


def _npz() -> list[bytes]:
    def plain(out: io.BytesIO) -> None:
        np.savez(out, images=FLOATS, labels=LABELS)

    def soft(out: io.BytesIO) -> None:
        np.savez_compressed(out, x=PIXELS, soft_labels=np.eye(10, dtype=np.float32), lr=0.1)

    return [_bytes_of(plain), _bytes_of(soft)]


def _torch() -> list[bytes]:
    import torch

    images, labels = torch.from_numpy(FLOATS), torch.from_numpy(LABELS)
    trees: list[Any] = [
        {"data": [[images, labels]], "accs_all_exps": {"ConvNet": [0.5, np.float64(0.25)]}},
        {"images": images.half(), "labels": labels, "lr": 0.01},
        [FLOATS, "text", (1, None)],
    ]
    return [
        _bytes_of(lambda out, t=tree, z=z: torch.save(t, out, _use_new_zipfile_serialization=z))
        for tree in trees
        for z in (True, False)
    ]


def _pictures(*formats: str) -> list[bytes]:
    colours = np.kron(np.arange(300, dtype=np.uint8).reshape(10, 10, 3), np.ones((2, 2, 1), "u1"))
    images = [Image.fromarray(colours), Image.fromarray(colours[..., 0])]
    images += [images[0].convert("P"), images[0].convert("RGBA"), images[1].convert("1")]
    made = []
    for format_ in formats:
        for image in images:
            with suppress(OSError):
                made.append(_bytes_of(partial(image.save, format=format_)))
    return made


def _grid() -> list[bytes]:
    canvas = np.zeros((12, 102), np.uint8)
    for index in range(10):
        canvas[2:10, 2 + 10 * index : 10 + 10 * index] = PIXELS[index, 0]
    return [_bytes_of(partial(Image.fromarray(canvas).save, format="PNG"))]


def _parquet() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    [png] = [_bytes_of(partial(Image.fromarray(PIXELS[0, 0]).save, format="PNG"))]
    rows = [{"bytes": png, "path": "a.png"}] * 3
    table = pa.table({"image": rows, "label": [0, 1, 1]})
    names = {"info": {"features": {"label": {"names": ["no", "yes"]}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    return [
        _bytes_of(lambda out, c=codec: pq.write_table(table, out, compression=c))
        for codec in ("none", "snappy")
    ]


def _idx() -> list[bytes]:
    import gzip

    plain = b"\0\0\x08\x03" + struct.pack(">3I", 10, 8, 8) + PIXELS.tobytes()
    return [plain, gzip.compress(plain, mtime=0), b"\0\0\x08\x01" + struct.pack(">I", 2) + b"\0\1"]


def _dataset_card() -> list[bytes]:
    card = {
        "schema": "ddranking.dataset/1",
        "name": "mnist",
        "digest": "sha256:" + "0" * 64,
        "num_classes": 10,
        "class_names": [],
        "mean": [0.5],
        "std": [0.5],
        "lossy": False,
    }
    return [json.dumps(card).encode()]


def _list_of_classes() -> list[bytes]:
    return [b"0.png\ta\n1.png\tb\n", b"0,a 1 2\n1,b 3\n", b"a\nb\n"]


def _labels_beside() -> list[bytes]:
    pairs = [(f"{index}.png", index) for index in range(4)]
    lines = "".join(f"{name},{label}\n" for name, label in pairs)
    names = "file,label\n" + lines.replace(",1", ",cat").replace(",", ",frog,")
    return [
        lines.encode(),
        f"id,file,label\n{lines}".replace(".png,", ".png,x,").encode(),
        names.encode(),
        lines.replace(",", "\t").encode(),
        json.dumps(dict(pairs)).encode(),
        json.dumps({"labels": pairs}).encode(),
    ]


def _names_of_pictures() -> list[bytes]:
    patterns = ("class{}_id0.png", "airplane_{}.png", "{}_37.jpg", "n0144076{}_1.webp", "x{}.png")
    made = ["\n".join(each.format(k) for k in range(10)).encode() for each in patterns]
    return [*made, b"cat_0.png\ndog_0.png"]


# --- Calls ----------------------------------------------------------------------------------------


class _Scratch:
    """A folder that is emptied after each use; one a process, as a call may be made a million
    times."""

    folder: Path | None = None

    def __enter__(self) -> Path:
        import tempfile

        if _Scratch.folder is None:
            fast = Path("/dev/shm")
            place = str(fast) if fast.is_dir() else None
            _Scratch.folder = Path(tempfile.mkdtemp(prefix="ddranking-fuzz-", dir=place))
        _Scratch.folder.mkdir(exist_ok=True)
        return _Scratch.folder

    def __exit__(self, *_: object) -> None:
        assert _Scratch.folder is not None
        shutil.rmtree(_Scratch.folder, ignore_errors=True)


_scratch = _Scratch


def _put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _read_record(folder: Path, content: bytes) -> object:
    from ddranking.board.reading import says_record
    from ddranking.scoring.recordfile import content_of, record_of

    read = content_of(_put(folder, "record.json", content))
    return record_of(read).to_json() if says_record(read) else None


def _check_record(folder: Path, content: bytes) -> object:
    from ddranking.board.submission import check

    return check([_put(folder, "record.json", content)]).to_dict()


def _read_reference(folder: Path, content: bytes) -> object:
    from ddranking.running.references import load_reference

    return load_reference(_put(folder, "reference.json", content)).to_json()


def _read_store(folder: Path, content: bytes) -> object:
    from ddranking.running.store import Store

    key = "ab" + "0" * 62
    _put(folder, f"{key[:2]}/{key}.json", content)
    try:  # the key of what is inside, so that more than the first check is reached
        from ddranking.scoring.observation import Observation

        own = Observation.model_validate(json.loads(content)).key
        _put(folder, f"{own[:2]}/{own}.json", content)
    except (ValueError, RecursionError):
        own = key
    store = Store(folder)
    seen = store.get(own)
    if seen is not None:
        store.put(seen.model_copy())
    return store.get(key)


def _read_recipe(folder: Path, content: bytes) -> object:
    from ddranking.protocol.recipe import find_recipe

    found = find_recipe(str(_put(folder, "mine.yaml", content)))
    return found.resolve("cifar10", 10), found.id, found.lock_hash


def _read_track(folder: Path, content: bytes) -> object:
    from ddranking.protocol.track import find_track

    found = find_track(str(_put(folder, "mine.yaml", content)))
    return found.id, found.hash, found.model_dump_json()


def _read_changes(folder: Path, content: bytes) -> object:
    from ddranking.protocol.recipe import find_recipe

    return find_recipe("dsa").resolve("cifar10", 10, content.decode("utf-8", "replace").split("\n"))


def _read_set(folder: Path, content: bytes) -> object:
    from ddranking.distilled.artifact import load

    return load(_put(folder, "set.safetensors", content)).digest


def _read_weights(folder: Path, content: bytes) -> object:
    from ddranking.running.store import Store
    from ddranking.running.worker import Task, _weights

    path = _put(folder, "ab/abc.safetensors", content)
    started = _weights(Task(None, path))  # type: ignore[arg-type]
    return started, Store(folder).weights("abc")


def _read_whitening(folder: Path, content: bytes) -> object:
    from ddranking.data.whitening import _load

    return _load(_put(folder, "zca.safetensors", content), "kornia", 64)


def _pack(name: str, folder: Path, content: bytes) -> object:
    from ddranking.distilled.importers import PackOptions, pack
    from ddranking.distilled.torchfile import Limits

    options = PackOptions(method="mine", space="pixel", limits=Limits(bytes=64 << 20))
    return pack([_put(folder, name, content)], dataset="digits", options=options).set.digest


def _read_grid(folder: Path, content: bytes) -> object:
    """What the child process decodes, and what the parent makes of it."""
    from ddranking.distilled.grid import images_of
    from ddranking.distilled.unpicture import Frame, stacked

    path = _put(folder, "grid.png", content)
    [picture] = stacked([("grid.png", path)], 1, Frame(0, 64 << 20), ("PNG",))
    return images_of(picture.transpose(1, 2, 0), "grid.png", (8,), 1)


def _read_class_folders(folder: Path, content: bytes) -> object:
    """What the child process does, which reads no more of a name than its suffix."""
    from ddranking.distilled.unpicture import Frame, stacked

    for channels in (0, 1, 3):
        path = _put(folder, "a.png", content)
        try:
            stacked([("a.png", path), ("b", content)], 2, Frame(channels, 64 << 20))
        except Exception as error:
            _allowed(error)
    return None


def _read_labels_beside(folder: Path, content: bytes) -> object:
    """The list of classes beside pictures, in each of its forms."""
    from ddranking.data.catalog import facts
    from ddranking.distilled.flat import labels_of_pictures

    files = [folder / f"{index}.png" for index in range(4)]
    for name in ("labels.csv", "labels.json", "labels.txt"):
        path = _put(folder, name, content)
        for known in (None, facts("cifar10")):
            try:
                labels_of_pictures(files, known)
            except Exception as error:
                _allowed(error)
        path.unlink()
    return None


def _read_names_of_pictures(folder: Path, content: bytes) -> object:
    """Names of pictures, a line each; nothing is there."""
    from ddranking.data.catalog import facts
    from ddranking.distilled.flat import labels_of_pictures

    names = [each or "0" for each in content.decode("utf-8", "surrogateescape").split("\n")][:50]
    files = [folder / each.replace("/", "_").replace("\0", "_") for each in names]
    for known in (None, facts("cifar10"), facts("imagewoof")):
        try:
            labels_of_pictures(files, known)
        except Exception as error:
            _allowed(error)
    return None


def _read_torch(folder: Path, content: bytes) -> object:
    """What the child process does, and what the parent does with its answer."""
    from ddranking.distilled import torchfile, unpickle
    from ddranking.distilled.guarded import tree_of

    path = _put(folder, "set.pt", content)
    torchfile.check_torch_file(path, 64 << 20)
    out = folder / "out"
    out.mkdir()
    reply = json.loads(json.dumps(unpickle.answer(out, 64 << 20, [path])))
    trees = enumerate(reply.get("trees", ()))
    return [tree_of(node, out / str(index), 64 << 20) for index, node in trees]


def _read_packed_parquet(folder: Path, content: bytes) -> object:
    """Likewise, of rows with pictures; in a process of its own, which damage may abort."""
    from ddranking.distilled import unparquet
    from ddranking.distilled.guarded import tree_of

    path = _put(folder, "train.parquet", content)

    def read() -> object:
        frame = unparquet.Frame(0, 64 << 20)
        reply = json.loads(json.dumps(unparquet.answer(folder, frame, [path])))
        return "refused" in reply or tree_of(reply["tree"], folder, 64 << 20)

    return _forked(read)


def _forked(read: Callable[[], object]) -> int:
    """Calls ``read`` in a fork; an exception there is one here."""
    pid = os.fork()
    if not pid:
        code = 70
        with suppress(BaseException):
            signal.alarm(60)
            faulthandler.disable()
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            read()
            code = 0
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code not in (70, -signal.SIGALRM), "an exception, or no end"
    return code


def _read_checkpoint(folder: Path, content: bytes) -> object:
    import torch

    from ddranking.models.checkpoint import load_state

    for name in ("weights.safetensors", "weights.pt"):
        network = torch.nn.Sequential(torch.nn.Linear(64, 10))
        try:
            load_state(network, _put(folder, name, content))
        except Exception as error:
            _allowed(error)
    return None


def _read_parquet(folder: Path, content: bytes) -> object:
    from ddranking.data.parquet import find_splits

    _put(folder, "train.parquet", content)
    _put(folder, "test.parquet", content)
    found = find_splits(folder)
    return found and [(half.labels(), sum(1 for _ in half.images())) for half in found]


def _read_image(folder: Path, content: bytes) -> object:
    from ddranking.data.decode import Encoded, decode_all, is_grey, size_of

    one = Encoded("image", content)
    return is_grey(content), size_of(one), list(decode_all([one], 3, 8, threads=1))


def _read_idx(folder: Path, content: bytes) -> object:
    from ddranking.data.originals import read_idx

    suffix = ".gz" if content[:2] == b"\x1f\x8b" else ""
    return read_idx(_put(folder, f"train-images-idx3-ubyte{suffix}", content))


def _open_cache(folder: Path, card: bytes, pixels: bytes, labels: bytes) -> object:
    from ddranking.data import sources
    from ddranking.errors import MissingData

    copy = folder / "mnist" / "copy"
    _put(copy, "dataset.json", card)
    for half in ("train", "test"):
        _put(copy, f"{half}_pixels.npy", pixels)
        _put(copy, f"{half}_labels.npy", labels)
    _put(folder, "mnist/current.json", b'{"folder": "copy", "image_size": 8}')
    with suppress(MissingData):
        found = sources.load("mnist", cache=folder)
        return found.title, found.mean, found.train.take(np.arange(2)).pixels
    return None


def _read_dataset_card(folder: Path, content: bytes) -> object:
    pixels, labels = (_bytes_of(partial(np.save, arr=each)) for each in (PIXELS, LABELS))
    return _open_cache(folder, content, pixels, labels)


def _read_pointer(folder: Path, content: bytes) -> object:
    from ddranking.data import sources
    from ddranking.errors import MissingData

    _put(folder, "mnist/current.json", content)
    with suppress(MissingData):
        sources.load("mnist", cache=folder)
    return None


def _read_cached_pixels(folder: Path, content: bytes) -> object:
    labels = _bytes_of(partial(np.save, arr=LABELS))
    return _open_cache(folder, _dataset_card()[0], content, labels)


def _read_list_of_classes(folder: Path, content: bytes) -> object:
    from ddranking.data.catalog import facts
    from ddranking.data.folder import MAPPINGS, _find

    for name in MAPPINGS:
        root = folder / name.split(".")[0]
        for file in ("train/a/0.png", "train/b/1.png", "val/0.png", "val/1.png"):
            _put(root, file, b"")
        _put(root, f"val/{name}", content)
        try:
            reading = _find(root, ("val",), None)
            assert reading is None or reading.halves()
        except Exception as error:
            _allowed(error)
    return facts("mnist")


def _allowed(error: BaseException) -> None:
    """Raises again what no reader may raise."""
    from ddranking.errors import DDRankingError

    if not isinstance(error, DDRankingError):
        raise error


def _read_picture(folder: Path, content: bytes) -> object:
    """The picture inside a record, as a board checks it."""
    from types import SimpleNamespace

    from ddranking.board.submission import _picture

    return _picture(SimpleNamespace(picture=base64.b64encode(content).decode()), [])  # type: ignore[arg-type]


READERS: dict[str, Reader] = {
    "record": Reader(_record, _read_record, change_json),
    "handed-in": Reader(_record, _check_record, change_json),
    "reference": Reader(_reference, _read_reference, change_json),
    "store": Reader(_observation, _read_store, change_json),
    "recipe": Reader(lambda: _shelf("recipes"), _read_recipe, change_yaml),
    "track": Reader(_tracks, _read_track, change_yaml),
    "changes": Reader(lambda: [b"epochs=3", b"optimizer.momentum=0.5\na=[1]"], _read_changes),
    "set": Reader(_packed, _read_set, change_safetensors),
    "pack-set": Reader(_packed, partial(_pack, "set.safetensors"), change_safetensors),
    "pack-npy": Reader(_npy, partial(_pack, "images.npy")),
    "pack-npz": Reader(_npz, partial(_pack, "set.npz"), change_zip),
    "pack-grid": Reader(_grid, _read_grid, change_png),
    "pack-torch": Reader(_torch, _read_torch, change_zip),
    "pack-parquet": Reader(_parquet, _read_packed_parquet),
    "checkpoint": Reader(_checkpoints, _read_checkpoint, change_zip),
    "class-folders": Reader(
        lambda: _pictures("PNG", "JPEG", "BMP", "WEBP"), _read_class_folders, change_png
    ),
    "pack-labels": Reader(_labels_beside, _read_labels_beside),
    "pack-names": Reader(_names_of_pictures, _read_names_of_pictures),
    "weights": Reader(_weights, _read_weights, change_safetensors),
    "whitening": Reader(_whitening, _read_whitening, change_safetensors),
    "parquet": Reader(_parquet, _read_parquet),
    "image": Reader(
        lambda: _pictures("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM"), _read_image
    ),
    "idx": Reader(_idx, _read_idx),
    "dataset-card": Reader(_dataset_card, _read_dataset_card, change_json),
    "dataset-pointer": Reader(lambda: [b'{"folder": "x"}'], _read_pointer, change_json),
    "dataset-pixels": Reader(_npy, _read_cached_pixels),
    "class-list": Reader(_list_of_classes, _read_list_of_classes),
    "record-picture": Reader(_grid, _read_picture, change_png),
}


def attempt(reader: Reader, content: bytes) -> bool:
    """Reads ``content``; whether it was refused.

    Raises:
        Exception: a finding.
    """
    with _scratch() as folder:
        try:
            reader.read(folder, content)
        except Exception as error:
            _allowed(error)
            assert len(str(error).splitlines()) == 1, "an error of several lines"
            assert len(str(error)) < 2000, "a long error"
            return True
    return False


def changed(reader: Reader, content: bytes, chance: Random) -> bytes:
    """``content`` with one thing changed: by its format where that is known, else some bytes."""
    if reader.change is not None and chance.random() < 0.7:
        with suppress(Exception):  # what was changed before is no longer of the format
            return reader.change(content, chance)
    result = bytearray(content or b"\0")
    for _ in range(chance.choice([1, 1, 2, 8])):
        result[chance.randrange(len(result))] = chance.choice([0, 1, 255, chance.randrange(256)])
    if chance.random() < 0.2:
        del result[chance.randrange(len(result)) :]
    return bytes(result)


def corpus(name: str) -> Iterator[Path]:
    """The found cases of a reader."""
    yield from sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
