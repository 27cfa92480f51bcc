"""The published evaluator is run from a folder, in a process of its own; here a stand-in of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from benchmarks.options import Options
from benchmarks.training import Setting

from benchmarks import published, training
from ddranking import api
from ddranking.data.images import Dataset
from ddranking.errors import BadInput

STAND_IN = {
    "ddranking-9.8.dist-info/METADATA": "Metadata-Version: 2.1\nName: ddranking\nVersion: 9.8\n",
    "ddranking/__init__.py": "",
    "ddranking/metrics/__init__.py": """
        from . import hard_label
        from .hard_label import LabelRobustScoreHard
        """,
    "ddranking/utils/__init__.py": """
        import torch


        def set_seed(seed):
            torch.manual_seed(seed)


        def build_model(model_name, num_classes, im_size, device):
            assert model_name == "ConvNet-3" and im_size == (8, 8)
            return torch.nn.Linear(3 * 8 * 8, num_classes).to(device)


        def train_one_epoch(epoch, model, images, labels, optimizer):
            loss = torch.nn.functional.cross_entropy(model(images.flatten(1)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


        def validate(model, test):
            right = [model(image.flatten()).argmax() == label for image, label in test]
            return 100 * sum(int(one) for one in right) / len(right)
        """,
    "ddranking/metrics/hard_label.py": """
        import torch
        from torchvision import datasets, transforms

        from ddranking.utils import train_one_epoch, validate


        class LabelRobustScoreHard:
            def __init__(
                self, dataset, ipc, model_name, data_aug_func, aug_params, optimizer, lr_scheduler,
                step_size, weight_decay, momentum, im_size, num_epochs, syn_batch_size, save_path,
                device, num_workers=4,
            ):
                assert (dataset, data_aug_func, aug_params["crop"]) == ("CIFAR10", "dsa", 0.125)
                make = transforms.Compose(
                    [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
                )
                self.dst_train = datasets.CIFAR10("here", train=True, download=True, transform=make)
                self.test_loader_syn = datasets.CIFAR10("here", train=False, transform=make)
                assert len(self.dst_train) == 2 * ipc
                self.model_name, self.im_size, self.num_classes = model_name, im_size, 2
                self.num_epochs, self.test_interval, self.num_workers = num_epochs, 2, num_workers
                self.device = device

            def _compute_hard_label_metrics(
                self, model, image_tensor, image_path, lr, hard_labels, mode
            ):
                assert mode == "syn" and image_path is None
                optimizer, best = torch.optim.SGD(model.parameters(), lr=lr), 0
                for epoch in range(self.num_epochs):
                    train_one_epoch(epoch, model, image_tensor, hard_labels, optimizer)
                    if (epoch + 1) % self.test_interval == 0:
                        best = max(best, validate(model, self.test_loader_syn))
                return best
        """,
}
"""What the benchmark calls of the published package, with a linear network."""

TINY = Options(
    dataset="cifar10",
    student="convnet3",
    ipc=(1,),
    epochs=4,
    rounds=1,
    check=4,
    workers=1,
    precision=("fp32",),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in STAND_IN.items():
        file = tmp_path / "wheel" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text), encoding="utf-8")
    return tmp_path / "wheel"


@pytest.fixture(autouse=True)
def dataset(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """Two classes of noisy colours, 8 px, under the name of CIFAR-10."""
    chance = np.random.default_rng(0)

    def half(each: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.repeat(np.arange(2), each)
        noise = chance.integers(0, 100, (2 * each, 3, 8, 8))
        return (noise + 150 * labels[:, None, None, None]).astype(np.uint8), labels

    made = Dataset.from_arrays("cifar10", *half(60), *half(10))
    monkeypatch.setattr(api, "dataset", lambda name: made)
    monkeypatch.setattr(training, "QUICK_VISITS", 20)
    return made


def test_what_it_took_is_set_beside_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(side: published.Published, ipc: int, seeds: Sequence[int], epochs: int) -> dict:
        reads = epochs // 2
        each = {
            "seconds": 9.0,
            "epochs": [7.0] + [0.5] * (epochs - 1),
            "evaluations": [3.0] * reads,
            "accuracies": [0.75, 0.5, 0.25][:reads],
        }
        return {"threads": 2, "workers": 4, "every": 2, "trainings": [each for _ in seeds]}

    monkeypatch.setattr(published.Published, "run", run)
    found = published.measure(replace(TINY, evaluator=folder))
    ratios, parts, checked = found.tables.values()
    assert [row["ipc"] for row in ratios] == [1]
    assert [row["side"] for row in parts] == ["published", "ours, fp32"]
    assert (parts[0]["epoch"], parts[0]["evaluation"]) == (0.5, 3.0)
    assert [row["side"] for row in checked] == ["ours, fp32", "published"]
    theirs = checked[-1]
    assert (theirs["trainings"], theirs["seconds"], theirs["from parts"]) == (2, 18.0, 16.0)
    assert theirs["accuracy %"] == 50 and theirs["last, times"] == 1
    assert found.raw["accuracies"][1]["published"] == [0.5, 0.5]
    assert "ddranking 9.8, 2 threads" in found.notes[0] and "every 2 epochs" in found.notes[1]
    assert found.notes[-1].endswith("the noise of seeds.")
    json.dumps(found.raw, allow_nan=False)


@pytest.mark.parametrize(("gaps", "says"), [((0.1, -0.1, 0.02), "within"), ((0.1,) * 3, "beyond")])
def test_accuracies_are_paired_by_images(gaps: tuple[float, ...], says: str) -> None:
    theirs = [0.3, 0.5, 0.4]
    ours = [value + gap for value, gap in zip(theirs, gaps, strict=True)]
    [line] = published._agreement({10: {"ours, fp32": ours, "published": theirs}}, "published")
    assert line.startswith("ipc 10, ours, fp32 less published: +")
    assert line.endswith(f"n = 3: {says} the noise of seeds.")


@pytest.mark.slow
def test_both_sides_train_in_one_run(folder: Path) -> None:
    """Ours beside the evaluator in the folder, whose package has the name of ours."""
    found = published.measure(replace(TINY, evaluator=folder))
    _, parts, checked = found.tables.values()
    assert all(float(row["epoch"]) > 0 for row in parts)
    assert [row["side"] for row in checked] == ["ours, fp32", "published"]
    [reached] = found.raw["accuracies"].values()
    assert [len(values) for values in reached.values()] == [2, 2]


def test_it_gets_the_pixels_that_our_trial_trains_on(folder: Path, dataset: Dataset) -> None:
    setting = Setting.of(TINY)
    arrays = published.Published(setting, folder).arrays(3, [0, 1])
    for seed in (0, 1):
        images, labels = setting.data(3, seed)[0].tensors
        mean, std = (torch.tensor(value).view(-1, 1, 1) for value in (dataset.mean, dataset.std))
        pixels = (images * std + mean) * 255
        torch.testing.assert_close(pixels, torch.from_numpy(arrays[f"train_{seed}"]).float())
        assert labels.tolist() == arrays[f"train_{seed}_labels"].tolist()
    assert not np.array_equal(arrays["train_0"], arrays["train_1"])
    assert np.array_equal(arrays["test"], dataset.test.pixels)


def test_what_its_loop_did_comes_back(folder: Path) -> None:
    """Seconds of each call under a clock, and every accuracy; the same again for the same seed."""
    side = published.Published(Setting.of(TINY), folder)
    first, again = side.run(5, [3, 3], 20)["trainings"]
    assert (len(first["epochs"]), len(first["evaluations"])) == (20, 10)
    assert sum(first["epochs"]) + sum(first["evaluations"]) <= first["seconds"]
    assert first["accuracies"] == again["accuracies"]
    assert first["best"] == max(first["accuracies"]) > 0.5


def test_a_folder_that_is_no_evaluator_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="expected a folder with ddranking/metrics"):
        published.measure(replace(TINY, evaluator=tmp_path))
    with pytest.raises(BadInput, match="--evaluator: expected a folder"):
        published.measure(TINY)
    (folder / "ddranking" / "__init__.py").write_text("import absent_package\n")
    with pytest.raises(BadInput, match=r"got .*(absent_package|not installed: )"):
        published.measure(replace(TINY, evaluator=folder))
    (folder / "ddranking" / "__init__.py").write_text("raise RuntimeError('no such device')\n")
    with pytest.raises(BadInput, match="got RuntimeError: no such device"):
        published.measure(replace(TINY, evaluator=folder))


def test_what_it_does_not_know_is_refused(folder: Path) -> None:
    given = replace(TINY, evaluator=folder)
    with pytest.raises(BadInput, match="--student: expected convnet3, got mlp"):
        published.measure(replace(given, student="mlp"))
    with pytest.raises(BadInput, match="--dataset: expected cifar10, got digits"):
        published.measure(replace(given, dataset="digits"))
    with pytest.raises(BadInput, match="--check: expected a multiple of 2"):
        published.measure(replace(given, check=3))
