"""Every published set at hand packs, and its arrays are those its about.json describes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from ddranking.cli import main
from ddranking.distilled import kinds
from ddranking.distilled.artifact import load, save
from ddranking.distilled.importers import PackOptions, pack
from ddranking.distilled.torchfile import read_torch
from ddranking.errors import BadDistilledSet

pytestmark = pytest.mark.data

#: What has to be said about a source; everything else is inferred.
SAID = {
    "kip_cifar10_ipc10": PackOptions(space="zca-kip", soft_label_kind="logits", balanced=False),
    "mtt-rerun-zca_cifar10_ipc1": PackOptions(space="zca"),
}
METHODS = {"dc-b": "dc", "dc-png": "dc", "dm-png": "dm", "mtt-rerun-zca": "mtt"}


def test_all_of_them(real_data, tmp_path, monkeypatch):
    folders = sorted(each for each in (real_data / "distilled").iterdir() if each.is_dir())
    assert len(folders) >= 14
    # One child process for all files: starting torch takes seconds, reading takes none.
    files = [file for folder in folders for file in sorted(folder.glob("*.pt"))]
    trees = dict(zip(files, read_torch(files), strict=True))
    monkeypatch.setattr(kinds, "read_torch", lambda some, _: [trees[each] for each in some])
    for folder in folders:
        about = json.loads((folder / "about.json").read_text())
        said = SAID.get(folder.name, PackOptions())
        made = pack(sorted(folder.glob("*")), options=said).set
        assert pack([folder], options=said).set.digest == made.digest
        card, name = made.card, folder.name.split("_")[0]
        if folder.name == "mtt_cifar100_ipc1":  # MTT took CIFAR-10's constants over
            assert card.space.model_dump()["std"] == (0.2023, 0.1994, 0.201)
        assert (card.dataset, card.ipc) == (about["dataset"], about["ipc"]), folder.name
        assert card.method == METHODS.get(name, name)
        assert card.space.kind == about["space"].split("-")[-1], folder.name
        pixels = about["arrays"]["x"]
        assert list(made.images.shape) == pixels["shape"]
        for statistic in ("min", "max", "mean", "std"):
            value = getattr(made.images.astype(np.float64), statistic)()
            assert value == pytest.approx(pixels[statistic], rel=1e-5, abs=1e-6), folder.name
        if about["arrays"]["y"]["kind"] == "hard":
            np.testing.assert_array_equal(
                made.labels, np.repeat(np.arange(made.num_classes), card.ipc)
            )
        save(made, tmp_path / "set.safetensors")
        assert load(tmp_path / "set.safetensors").digest == made.digest


def test_whitened_sets_are_not_guessed(real_data, monkeypatch):
    images = np.random.default_rng(0).normal(size=(10, 3, 32, 32)).astype(np.float32)
    monkeypatch.setattr(kinds, "read_torch", lambda some, _: [images, np.arange(10)])
    with pytest.raises(BadDistilledSet, match="--space zca "):
        pack([real_data / "distilled" / "mtt-rerun-zca_cifar10_ipc1"])
    with pytest.raises(BadDistilledSet, match="--space zca-kip"):
        pack([real_data / "distilled" / "kip_cifar10_ipc10"])


def test_the_lines_of_the_documentation(real_data, tmp_path, monkeypatch):
    """docs/pack.md shows a line for every set at hand, and each of them packs it."""
    page = Path(__file__).resolve().parents[2] / "docs" / "pack.md"
    lines = re.findall(r"^\$ ddranking (pack distilled/(\S+) .*)$", page.read_text(), re.MULTILINE)
    folders = [each.name for each in (real_data / "distilled").iterdir() if each.is_dir()]
    assert sorted(name for _, name in lines) == sorted(folders)
    files = [f for name in folders for f in sorted((real_data / "distilled" / name).glob("*.pt"))]
    trees = dict(zip(files, read_torch(files), strict=True))

    def read(some, _):
        return [trees[real_data / "distilled" / each.parent.name / each.name] for each in some]

    monkeypatch.setattr(kinds, "read_torch", read)
    monkeypatch.chdir(tmp_path)
    Path("distilled").symlink_to((real_data / "distilled").resolve())
    for line, name in lines:
        assert main(shlex.split(line)) == 0, name
        written = load(Path(shlex.split(line)[-1]))
        assert pack([real_data / "distilled" / name], options=SAID.get(name)).set.digest == (
            written.digest
        )
