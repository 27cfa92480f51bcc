"""Streamed images against the whole tensor that they stand for, to the bit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from ddranking.data.images import Images
from ddranking.data.space import Pixel, Space, Standardized, Zca, fit
from ddranking.protocol.trial import Trial
from ddranking.training import fit as training
from ddranking.training import streamed
from ddranking.training.fit import Job
from ddranking.training.streamed import Streamed, in_space
from ddranking.training.targets import LabelledImages

CPU = torch.device("cpu")
SPACES = [
    Pixel(),
    Standardized(mean=(0.4914, 0.4822, 0.4465), std=(0.247, 0.2435, 0.2616)),
    Standardized(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
]


def images(count: int = 40, size: int = 8) -> Images:
    chance = np.random.default_rng(count)
    pixels = chance.integers(0, 256, (count, 3, size, size), np.uint8)
    return Images(pixels, np.arange(count) % 4)


def made(space: Space, some: Images, rows: np.ndarray | None = None) -> Streamed:
    found = in_space(some, fit(space, some), rows)
    assert isinstance(found, Streamed)
    return found


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.kind)
@pytest.mark.parametrize("rows", [None, np.array([7, 3, 3, 39, 0, 12])], ids=["all", "rows"])
def test_what_is_asked_for_has_the_bits_of_the_whole(space, rows, monkeypatch) -> None:
    monkeypatch.setattr(streamed, "MAPPED_BYTES", 0)
    some = images()
    before = some.pixels.copy()
    whole = torch.from_numpy(fit(space, some).apply(some.pixels))
    whole = whole if rows is None else whole[torch.from_numpy(rows)]
    ours = made(space, some, rows)
    assert np.shares_memory(ours.pixels, some.pixels), "no copy"
    assert (len(ours), tuple(ours.shape)) == (len(whole), tuple(whole.shape))
    assert torch.equal(ours[:], whole)
    chosen = torch.randperm(len(whole))[:5]
    assert torch.equal(ours[chosen], whole[chosen])
    assert torch.equal(ours[2:5], whole[2:5])
    for size in (1, 4, 7, 100):
        for batch, wanted in zip(ours.split(size), whole.split(size), strict=True):
            assert torch.equal(batch, wanted)
    assert np.array_equal(some.pixels, before)


def test_a_value_is_its_level_scaled_and_standardised() -> None:
    """The slow reference: every pixel by hand in float64, rounded once."""
    space, some = SPACES[1], images(2, 3)
    assert isinstance(space, Standardized)
    ours = made(space, some)[:]
    for index, level in np.ndenumerate(some.pixels):
        channel = index[1]
        exact = (int(level) / 255 - space.mean[channel]) / space.std[channel]
        assert float(ours[index]) == float(np.float32(exact))


def test_few_rows_are_copied_out_of_a_large_set() -> None:
    some = images()
    ours = made(Pixel(), some, np.array([5, 1]))
    assert not np.shares_memory(ours.pixels, some.pixels)
    assert torch.equal(ours[:], made(Pixel(), some)[torch.tensor([5, 1])])


def test_whitened_images_are_whole_as_before() -> None:
    some, rows = images(), np.array([4, 2, 9])
    fitted = fit(Zca(), some)
    whole = fitted.apply(some.pixels)
    seen = in_space(some, fitted)
    assert isinstance(seen, torch.Tensor) and np.array_equal(seen.numpy(), whole)
    chosen = in_space(some, fitted, rows)
    assert isinstance(chosen, torch.Tensor)
    assert np.array_equal(chosen.numpy(), fitted.apply(some.pixels[rows]))


@pytest.mark.parametrize("batch_size", [7, 100])
def test_a_training_and_its_accuracy_do_not_change(batch_size) -> None:
    some, labels = images(), torch.arange(40) % 4
    ours = LabelledImages(made(SPACES[1], some), labels)
    whole = LabelledImages(ours.images[:], labels)
    trial = Trial.model_validate(
        {
            "arm": "real_hard",
            "training_set": {"kind": "whole"},
            "space": SPACES[1].model_dump(),
            "student": "convnet1-w8",
            "seed": 1,
            "dataset": "sha256:" + "0" * 64,
            "validation_size": 4,
            "evaluate": "test",
            "training": {
                "epochs": 3,
                "batch_size": batch_size,
                "learning_rate": 0.05,
                "augmentation": [{"kind": "dsa"}],
            },
        }
    )
    jobs = [Job(trial, data, data, num_classes=4) for data in (ours, whole)]
    first, second = training.fit(jobs, CPU)
    assert (first.accuracy, first.train_loss) == (second.accuracy, second.train_loss)
    for name, value in first.weights.items():
        assert torch.equal(value, second.weights[name])


def test_on_a_gpu_small_sets_are_whole_and_large_ones_are_not(monkeypatch) -> None:
    """The device without content stands for one: it says where tensors would be."""
    elsewhere, ours = torch.device("meta"), made(Pixel(), images())
    whole = ours.to(elsewhere)
    assert isinstance(whole, torch.Tensor) and whole.shape == ours.shape
    monkeypatch.setattr(streamed, "RESIDENT_BYTES", 4 * 40 * 3 * 64 - 1)
    large = ours.to(elsewhere)
    assert isinstance(large, Streamed)
    assert large[torch.arange(3)].device == elsewhere
    assert isinstance(ours.to(CPU), Streamed)


@pytest.mark.gpu
@pytest.mark.parametrize("most", [0, 1 << 30], ids=["streamed", "whole"])
def test_a_gpu_sees_the_same_bits(most, monkeypatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setattr(streamed, "RESIDENT_BYTES", most)
    ours = made(SPACES[1], images())
    there = ours.to(torch.device("cuda"))
    assert torch.equal(there[:].cpu(), ours[:])
    chosen = torch.randperm(40)[:9]
    assert torch.equal(there[chosen].cpu(), ours[chosen])


LARGE = """
import sys
from pathlib import Path
import numpy as np, torch
from ddranking.data.images import Dataset, Images
from ddranking.protocol.trial import Trial
from ddranking.running.workbench import Workbench
from ddranking.running.worker import tune_allocator
from ddranking.training.fit import fit

DIGEST = "sha256:" + "0" * 64

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

def half(count):
    path = Path(sys.argv[1], f"{count}.npy")
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 3, 224, 224)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * 3 * 224 * 224)
    return Images(np.load(path, mmap_mode="r"), np.arange(count) % 4)

def score(train, test):
    constants, halves = (0.5, 0.5, 0.5), (half(train), half(test))
    dataset = Dataset("large", "large", 4, constants, constants, (), *halves, DIGEST)
    bench, weights = Workbench(dataset, {}), None
    for split in ("test", "validation"):
        trial = Trial.model_validate({
            "arm": "real_hard", "training_set": {"kind": "whole"}, "student": "convnet1-w2",
            "seed": 0, "space": {"kind": "standardized", "mean": constants, "std": constants},
            "dataset": DIGEST, "validation_size": test, "evaluate": split,
            "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.001},
        })
        [result] = fit([bench.job(trial, weights)], torch.device("cpu"))
        weights = result.weights

torch.set_num_threads(1)
tune_allocator()
score(600, 200)
before = peak()
score(4000, 600)
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_dataset(tmp_path) -> None:
    """0.6 GB of images at 224 px, 2.4 GB as float32, after as many as a few batches take.

    How a heap that is never trimmed happens to lie may take 0.12 GB, in one run of six; what a
    worker holds on to, it would in each.
    """
    grown = []
    while len(grown) < 3 and not any(size < 100e6 for size in grown):
        done = subprocess.run(
            [sys.executable, "-c", LARGE, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        grown.append(int(done.stdout))
    assert min(grown) < 100e6, grown
    assert max(grown) < 300e6, grown
