"""A root that holds another dataset is refused before anything is cached; memory stays bounded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ddranking.data import sources
from ddranking.errors import BadFile


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "root", "got"),
    [
        ("mnist", "cifar10-jpeg", "airplane"),
        ("svhn", "cifar10-jpeg", "airplane"),
        ("fashion-mnist", "MNIST/raw", "MNIST"),
    ],
)
def test_another_dataset_is_refused(real_data, tmp_path, name: str, root: str, got: str) -> None:
    with pytest.raises(BadFile, match=got):
        sources.prepare(name, root=real_data / root, cache=tmp_path)
    assert not list(tmp_path.rglob("dataset.json"))
    assert not list(tmp_path.rglob("current.json"))


LARGE = """
import os, sys
from pathlib import Path
import numpy as np
from PIL import Image
from ddranking.data.sources import prepare

home = Path(sys.argv[1])
picture = home / "one.jpg"
Image.fromarray(np.zeros((224, 224, 3), np.uint8)).save(picture)

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

def prepared(name, count):
    for split, images in (("train", count), ("test", 8)):
        for index in range(images):
            place = home / name / split / f"class{index % 4}"
            place.mkdir(parents=True, exist_ok=True)
            os.link(picture, place / f"{index}.jpg")
    return prepare(f"folder:{home / name}", cache=home / "cache", image_size=224)

prepared("small", 600)
before = peak()
assert len(prepared("large", 4000).train) == 4000
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_images_that_are_read(tmp_path) -> None:
    """0.6 GB of pixels, with their constants, after as many as wait for their turn."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100e6
