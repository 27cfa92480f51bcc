"""What stands in for published files and real datasets while the pages are walked through.

The right names, shapes and formats, with next to nothing inside.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from walkthrough import run, settled

PREPARED = (
    "data prepare cifar10 --root cifar10",
    "baseline random --dataset digits --ipc 1 --out random.safetensors",
    "score random.safetensors --track digits-ipc1-convnet2 --recipe unified-digits",
)
"""What has been done before any page begins: pages may speak of a folder ``records``."""


def build_state(folder: Path) -> None:
    """Fills ``folder`` with the files that the pages speak of."""
    import torch

    chance = np.random.default_rng(0)
    _parquet(folder / "cifar10", 10, (32, 32, 3), chance)
    _parquet(folder / "kmnist", 10, (28, 28), chance)
    _distilled_shards(folder / "rded_cifar10_ipc1", chance)
    _flat_pictures(folder / "d4m_cifar10_flat", chance)
    _class_folders(folder / "flowers", ("daisy", "rose", "tulip"), chance)

    def labelled() -> list[Any]:
        images = torch.from_numpy(chance.normal(0, 1.5, (10, 3, 32, 32)).astype(np.float32))
        return [images, torch.arange(10)]

    experiments = {"data": [labelled(), labelled()], "accs_all_exps": {"ConvNet": [0.28]}}
    torch.save(experiments, folder / "res_DC_CIFAR10_ConvNet_1ipc.pt")
    images, labels = labelled()
    mtt = folder / "mtt_cifar10_ipc1"
    mtt.mkdir()
    torch.save(images, mtt / "images_best.pt")
    torch.save(labels, mtt / "labels_best.pt")
    with settled(folder):
        for line in PREPARED:
            code, printed = run(line.split())
            assert code == 0, printed


def _parquet(folder: Path, classes: int, shape: tuple[int, ...], chance: Any) -> None:
    """Train and test in the Hub's layout: an image column of encoded bytes, and a label."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    for half, each in (("train", 14), ("test", 3)):
        labels = np.repeat(np.arange(classes), each)
        images = [{"bytes": _png(shape, label, chance), "path": None} for label in labels]
        pq.write_table(pa.table({"image": images, "label": labels}), folder / f"{half}.parquet")


def _distilled_shards(folder: Path, chance: Any) -> None:
    """A distilled set in two Parquet shards: pictures, classes and a soft label for each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    for shard, labels in enumerate(np.arange(10).reshape(2, 5)):
        images = [{"bytes": _png((32, 32, 3), label, chance), "path": None} for label in labels]
        logits = chance.normal(0, 1, (5, 10)).tolist()
        table = pa.table({"image": images, "class_id": labels, "logits": logits})
        pq.write_table(table, folder / f"train-{shard:05d}-of-00002.parquet")


def _flat_pictures(folder: Path, chance: Any) -> None:
    from ddranking.data.catalog import facts

    folder.mkdir()
    for label, name in enumerate(facts("cifar10").class_names):
        for index in range(2):
            picture = _png((32, 32, 3), label, chance)
            (folder / f"{name}_{index}.png").write_bytes(picture)


def _class_folders(folder: Path, names: tuple[str, ...], chance: Any) -> None:
    for half, each in (("train", 20), ("test", 6)):
        for label, name in enumerate(names):
            (folder / half / name).mkdir(parents=True)
            for index in range(each):
                image = _png((20, 16, 3), label, chance)
                (folder / half / name / f"{index}.png").write_bytes(image)


def _png(shape: tuple[int, ...], label: Any, chance: Any) -> bytes:
    from PIL import Image

    pixels = chance.integers(0, 120, shape) + 12 * label
    stream = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
