"""Valid inputs of every reader, small ones: what a fuzzer starts from."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]

PIXELS = (np.arange(10 * 64) % 251).astype(np.uint8).reshape(10, 1, 8, 8)
FLOATS = (PIXELS / np.float32(255) - np.float32(0.5)).astype(np.float32)
LABELS = np.arange(10)


def file(path: str) -> list[bytes]:
    return [(ROOT / path).read_bytes()]


def record() -> list[bytes]:
    return file("tests/scoring/records/record-1.json")


def reference() -> list[bytes]:
    return [*file("records/reference/cifar10-convnet3.json"), small_reference()]


def small_reference() -> bytes:
    values = json.loads((ROOT / "records/reference/cifar10-ipc1-random-dsa.json").read_text())
    values["observations"] = values["observations"][:2]
    return json.dumps(values).encode()


def observation() -> list[bytes]:
    [whole] = record()
    return [json.dumps(each).encode() for each in json.loads(whole)["observations"][:2]]


def shelf(folder: str) -> list[bytes]:
    found = sorted((ROOT / "src/ddranking/protocol" / folder).glob("*.yaml"))
    return [path.read_bytes() for path in found]


def tracks() -> list[bytes]:
    """The shipped tracks, with one number of images per class, as a user's track has."""
    values = [yaml.safe_load(content) for content in shelf("tracks")]
    return [yaml.safe_dump(each | {"ipc": each["ipc"][:1]}).encode() for each in values]


def packed() -> list[bytes]:
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
    with TemporaryDirectory() as place:
        folder = Path(place)
        for each in made:
            save(each, folder / "set.safetensors")
            out.append((folder / "set.safetensors").read_bytes())
    return out


def weights() -> list[bytes]:
    from safetensors.numpy import save

    from ddranking.running.sealed import seal

    plain = save({"0.weight": FLOATS.reshape(10, 64), "0.bias": np.zeros(10, np.float32)})
    return [plain, seal(plain, "abc")]


def halfway() -> list[bytes]:
    import torch

    from ddranking.running.sealed import seal
    from ddranking.training.snapshot import Snapshot

    weights = {"0.weight": torch.from_numpy(FLOATS.reshape(10, 64))}
    moments = {0: (torch.zeros(10, 64), torch.tensor(3.0))}
    plain = Snapshot(3, 1.5, "torch", weights, moments).to_bytes()
    return [plain, seal(plain, "abc here")]


def checkpoints() -> list[bytes]:
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(64, 10)).state_dict()
    trees = [network, {"state_dict": network}, [[list(network.values())] * 2]]
    return [*weights(), *(bytes_of(partial(torch.save, tree)) for tree in trees)]


def whitening() -> list[bytes]:
    from safetensors.numpy import save

    square, one = np.eye(64, dtype=np.float32), np.ones(1, np.float32)
    arrays = {"mean": np.zeros(64, np.float32), "matrix": square, "inverse": square}
    return [save(arrays | {"contrast": one, "brightness": one})]


def bytes_of(write: Callable[[io.BytesIO], object]) -> bytes:
    out = io.BytesIO()
    write(out)
    return out.getvalue()


def npy() -> list[bytes]:
    arrays = (PIXELS, FLOATS, np.asfortranarray(FLOATS.astype(np.float64)), PIXELS > 9)
    return [bytes_of(partial(np.save, arr=each)) for each in arrays]


def arrays() -> tuple[bytes, bytes]:
    """Pixels and labels as a prepared dataset has them."""
    pixels, labels = (bytes_of(partial(np.save, arr=each)) for each in (PIXELS, LABELS))
    return pixels, labels


def npz() -> list[bytes]:
    def plain(out: io.BytesIO) -> None:
        np.savez(out, images=FLOATS, labels=LABELS)

    def soft(out: io.BytesIO) -> None:
        np.savez_compressed(out, x=PIXELS, soft_labels=np.eye(10, dtype=np.float32), lr=0.1)

    return [bytes_of(plain), bytes_of(soft)]


def torch() -> list[bytes]:
    import torch

    images, labels = torch.from_numpy(FLOATS), torch.from_numpy(LABELS)
    trees: list[Any] = [
        {"data": [[images, labels]], "accs_all_exps": {"ConvNet": [0.5, np.float64(0.25)]}},
        {"images": images.half(), "labels": labels, "lr": 0.01},
        [FLOATS, "text", (1, None)],
    ]
    return [
        bytes_of(lambda out, t=tree, z=z: torch.save(t, out, _use_new_zipfile_serialization=z))
        for tree in trees
        for z in (True, False)
    ]


def pictures(*formats: str) -> list[bytes]:
    colours = np.kron(np.arange(300, dtype=np.uint8).reshape(10, 10, 3), np.ones((2, 2, 1), "u1"))
    images = [Image.fromarray(colours), Image.fromarray(colours[..., 0])]
    images += [images[0].convert("P"), images[0].convert("RGBA"), images[1].convert("1")]
    made = []
    for format_ in formats:
        for image in images:
            with suppress(OSError):
                made.append(bytes_of(partial(image.save, format=format_)))
    return made


def grid() -> list[bytes]:
    canvas = np.zeros((12, 102), np.uint8)
    for index in range(10):
        canvas[2:10, 2 + 10 * index : 10 + 10 * index] = PIXELS[index, 0]
    return [bytes_of(partial(Image.fromarray(canvas).save, format="PNG"))]


def parquet() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    [png] = [bytes_of(partial(Image.fromarray(PIXELS[0, 0]).save, format="PNG"))]
    rows = [{"bytes": png, "path": "a.png"}] * 3
    table = pa.table({"image": rows, "label": [0, 1, 1]})
    names = {"info": {"features": {"label": {"names": ["no", "yes"]}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    return [
        bytes_of(lambda out, c=codec: pq.write_table(table, out, compression=c))
        for codec in ("none", "snappy")
    ]


def idx() -> list[bytes]:
    import gzip

    plain = b"\0\0\x08\x03" + struct.pack(">3I", 10, 8, 8) + PIXELS.tobytes()
    return [plain, gzip.compress(plain, mtime=0), b"\0\0\x08\x01" + struct.pack(">I", 2) + b"\0\1"]


def dataset_card() -> list[bytes]:
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


def list_of_classes() -> list[bytes]:
    return [b"0.png\ta\n1.png\tb\n", b"0,a 1 2\n1,b 3\n", b"a\nb\n"]


def labels_beside() -> list[bytes]:
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


def names_of_pictures() -> list[bytes]:
    patterns = ("class{}_id0.png", "airplane_{}.png", "{}_37.jpg", "n0144076{}_1.webp", "x{}.png")
    made = ["\n".join(each.format(k) for k in range(10)).encode() for each in patterns]
    return [*made, b"cat_0.png\ndog_0.png"]
