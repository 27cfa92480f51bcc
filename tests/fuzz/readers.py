"""Every reader of what others wrote: seeds to start from, a way to change them, and the call.

A reader may answer or raise :class:`~ddranking.errors.DDRankingError`; anything else, and any
answer that takes more than the limits of the fuzzer, is a finding. Found inputs lie in
``corpus/READER`` and are replayed by ``test_corpus.py``. ``__main__.py`` fuzzes with atheris.
"""

from __future__ import annotations

import base64
import faulthandler
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from tests.fuzz import seeds
from tests.fuzz.changes import (
    Change,
    change_json,
    change_png,
    change_safetensors,
    change_yaml,
    change_zip,
)

CORPUS = Path(__file__).with_name("corpus")


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


def _read_halfway(folder: Path, content: bytes) -> object:
    """A training that is not done, as a worker finds it, and what it reads of an unsealed one."""
    from ddranking.running.worker import Task, _begun
    from ddranking.training.snapshot import Snapshot, epochs_in

    path = _put(folder, "abc.halfway", content)
    begun = _begun(Task(SimpleNamespace(key="abc"), begun=path), "here")  # type: ignore[arg-type]
    with suppress(ValueError):
        Snapshot.from_bytes(content)
    return begun, epochs_in(path)


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
    pixels, labels = seeds.arrays()
    return _open_cache(folder, content, pixels, labels)


def _read_pointer(folder: Path, content: bytes) -> object:
    from ddranking.data import sources
    from ddranking.errors import MissingData

    _put(folder, "mnist/current.json", content)
    with suppress(MissingData):
        sources.load("mnist", cache=folder)
    return None


def _read_cached_pixels(folder: Path, content: bytes) -> object:
    _, labels = seeds.arrays()
    return _open_cache(folder, seeds.dataset_card()[0], content, labels)


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
    "record": Reader(seeds.record, _read_record, change_json),
    "handed-in": Reader(seeds.record, _check_record, change_json),
    "reference": Reader(seeds.reference, _read_reference, change_json),
    "store": Reader(seeds.observation, _read_store, change_json),
    "recipe": Reader(lambda: seeds.shelf("recipes"), _read_recipe, change_yaml),
    "track": Reader(seeds.tracks, _read_track, change_yaml),
    "changes": Reader(lambda: [b"epochs=3", b"optimizer.momentum=0.5\na=[1]"], _read_changes),
    "set": Reader(seeds.packed, _read_set, change_safetensors),
    "pack-set": Reader(seeds.packed, partial(_pack, "set.safetensors"), change_safetensors),
    "pack-npy": Reader(seeds.npy, partial(_pack, "images.npy")),
    "pack-npz": Reader(seeds.npz, partial(_pack, "set.npz"), change_zip),
    "pack-grid": Reader(seeds.grid, _read_grid, change_png),
    "pack-torch": Reader(seeds.torch, _read_torch, change_zip),
    "pack-parquet": Reader(seeds.parquet, _read_packed_parquet),
    "checkpoint": Reader(seeds.checkpoints, _read_checkpoint, change_zip),
    "class-folders": Reader(
        lambda: seeds.pictures("PNG", "JPEG", "BMP", "WEBP"), _read_class_folders, change_png
    ),
    "pack-labels": Reader(seeds.labels_beside, _read_labels_beside),
    "pack-names": Reader(seeds.names_of_pictures, _read_names_of_pictures),
    "weights": Reader(seeds.weights, _read_weights, change_safetensors),
    "halfway": Reader(seeds.halfway, _read_halfway, change_safetensors),
    "whitening": Reader(seeds.whitening, _read_whitening, change_safetensors),
    "parquet": Reader(seeds.parquet, _read_parquet),
    "image": Reader(
        lambda: seeds.pictures("PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF", "PPM"), _read_image
    ),
    "idx": Reader(seeds.idx, _read_idx),
    "dataset-card": Reader(seeds.dataset_card, _read_dataset_card, change_json),
    "dataset-pointer": Reader(lambda: [b'{"folder": "x"}'], _read_pointer, change_json),
    "dataset-pixels": Reader(seeds.npy, _read_cached_pixels),
    "class-list": Reader(seeds.list_of_classes, _read_list_of_classes),
    "record-picture": Reader(seeds.grid, _read_picture, change_png),
}


def attempt(reader: Reader, content: bytes) -> bool:
    """Reads ``content``; whether it was refused.

    Raises:
        Exception: a finding.
    """
    with _Scratch() as folder:
        try:
            reader.read(folder, content)
        except Exception as error:
            _allowed(error)
            assert len(str(error).splitlines()) == 1, "an error of several lines"
            assert len(str(error)) < 2000, "a long error"
            return True
    return False


def corpus(name: str) -> Iterator[Path]:
    """The found cases of a reader."""
    yield from sorted(path for path in (CORPUS / name).glob("*") if path.is_file())
