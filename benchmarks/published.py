"""The same trainings by this package and by the published evaluator, DD-Ranking 0.2, in one run.

As in :mod:`benchmarks.training`, whose tables these are, with that evaluator's own loop in the
place of the conventional one. ``--evaluator FOLDER`` is its unpacked wheel; it is not part of this
repository and runs in a process of its own, since its package has the same name as ours:

    pip download ddranking==0.2.0 --no-deps --dest wheel
    python -m zipfile -e wheel/ddranking-0.2.0-py3-none-any.whl FOLDER

:mod:`benchmarks.published_loop` says which of its functions run and what had to be given to them.
It reads the test set every 10 epochs and reports the best of these accuracies; compared here is the
last one, as ours is. Its DSA resizes and turns with ``align_corners=True``, ours as torch's default
has it; its constants for standardising images are its own. Seed i has the same images on both
sides, and networks and orders of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import distributions
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks import trials
from benchmarks.options import Options
from benchmarks.report import Report
from benchmarks.training import IPCS, Setting, Trained, compare
from ddranking.data.draws import random_subset
from ddranking.data.images import Images
from ddranking.errors import BadInput
from ddranking.protocol.trial import RandomImages
from ddranking.scoring.statistics import compare_paired

LOOP = Path(__file__).with_name("published_loop.py")

DATASETS = {"cifar10": "CIFAR10"}
MODELS = {"convnet3": "ConvNet-3"}
"""Their names there."""

EPOCHS = 5
"""Of the run whose epochs are timed; the first, which makes what first use makes, is left out."""

HINT = (
    "Give the unpacked wheel of ddranking 0.2.0, and install what is missing "
    "with `uv pip install` (benchmarks/published.py)."
)


@dataclass(frozen=True)
class Published:
    """The evaluator in ``folder``; ``every`` and ``how`` are what a first start of it said."""

    setting: Setting
    folder: Path
    every: int = 0
    how: str = ""

    @property
    def name(self) -> str:
        return "published"

    @classmethod
    def of(cls, setting: Setting, folder: Path, ipc: int) -> Published:
        """Starts it once without a training.

        Raises:
            BadInput: no such evaluator in ``folder``, or it does not start here.
        """
        if not (folder / "ddranking" / "metrics" / "hard_label.py").is_file():
            raise BadInput(
                f"--evaluator {folder}",
                expected="a folder with ddranking/metrics/hard_label.py",
                got="none there",
                hint=HINT,
            )
        made = cls(setting, folder)
        found = made.run(ipc, [0], 0)
        versions = [each.version for each in distributions(name="ddranking", path=[str(folder)])]
        how = (
            f"Published: ddranking {', '.join(versions) or 'of unknown version'}, "
            f"{found['threads']} threads, {found['workers']} loader workers."
        )
        return replace(made, every=found["every"], how=how)

    def epoch(self, ipc: int) -> float:
        [training] = self.run(ipc, [0], EPOCHS)["trainings"]
        return fmean(training["epochs"][1:])

    def evaluation(self, ipc: int) -> float:
        [training] = self.run(ipc, [0], self.every)["trainings"]
        return training["evaluations"][0]

    def train(self, ipc: int, seeds: Sequence[int], epochs: int) -> Trained:
        """Seconds are those of its loop: neither its start nor that of its evaluator is in them."""
        trainings = self.run(ipc, seeds, epochs)["trainings"]
        return Trained(
            sum(each["seconds"] for each in trainings),
            [each["accuracies"][-1] for each in trainings if each["accuracies"]],
        )

    def run(self, ipc: int, seeds: Sequence[int], epochs: int) -> dict[str, Any]:
        """Trains once for each seed in a process of its own; what :data:`LOOP` answers.

        Raises:
            BadInput: the process failed; with the last line that it wrote.
        """
        with TemporaryDirectory() as folder:
            request, answer = Path(folder) / "request.json", Path(folder) / "answer.json"
            arrays = Path(folder) / "arrays.npz"
            np.savez(arrays, allow_pickle=False, **self.arrays(ipc, seeds))
            asked = {
                "folder": str(self.folder.resolve()),
                "arrays": str(arrays),
                "answer": str(answer),
                "seeds": list(seeds),
                "epochs": epochs,
                "dataset": DATASETS[self.setting.workbench.dataset.name],
                "model": MODELS[self.setting.student],
                "ipc": ipc,
                "device": self.setting.device,
            }
            request.write_text(json.dumps(asked), encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "-P", str(LOOP), str(request)],
                env={**os.environ, "PYTHONPATH": asked["folder"]},
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode or not answer.is_file():
                said = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
                raise BadInput(
                    f"--evaluator {self.folder}", expected="it to run here", got=said, hint=HINT
                )
            return json.loads(answer.read_text(encoding="utf-8"))

    def arrays(self, ipc: int, seeds: Sequence[int]) -> dict[str, np.ndarray]:
        """Pixels and labels of the test set and of the images that our trial of each seed draws."""
        test = self.setting.workbench.dataset.test
        found = {"test": np.asarray(test.pixels), "test_labels": np.asarray(test.labels)}
        for seed in seeds:
            drawn = _drawn(self.setting, ipc, seed)
            found |= {f"train_{seed}": drawn.pixels, f"train_{seed}_labels": drawn.labels}
        return found


def measure(options: Options) -> Report:
    """Ratios of the published evaluator's time to ours, for each precision and number of images.

    Raises:
        BadInput: no evaluator, or nothing that it knows under these names.
    """
    if options.evaluator is None:
        raise BadInput("--evaluator", expected="a folder", got="nothing", hint=HINT)
    for what, given, known in (
        ("--dataset", options.dataset, DATASETS),
        ("--student", options.student, MODELS),
    ):
        if given not in known:
            raise BadInput(what, expected=", ".join(known), got=given)
    setting = Setting.of(options)
    other = Published.of(setting, options.evaluator, (options.ipc or IPCS)[0])
    if options.check % other.every:
        raise BadInput(
            "--check",
            expected=f"a multiple of {other.every}, after which it reads the test set",
            got=str(options.check),
        )
    report = compare("published", setting, other, options)
    return replace(report, notes=[*report.notes, *_agreement(report.raw["accuracies"], other.name)])


def _agreement(accuracies: dict[int, dict[str, list[float]]], other: str) -> list[str]:
    """A sentence for each number of images and precision: ours less theirs, paired by images."""
    lines = []
    for ipc, sides in accuracies.items():
        for side, reached in sides.items():
            if side == other:
                continue
            found = compare_paired(reached, sides[other]).difference
            noise = "within" if found.low <= 0 <= found.high else "beyond"
            lines.append(
                f"ipc {ipc}, {side} less {other}: {100 * found.mean:+.2f} points of accuracy, 95 % "
                f"interval {100 * found.low:+.2f} to {100 * found.high:+.2f}, n = {found.n}: "
                f"{noise} the noise of seeds."
            )
    return lines


def _drawn(setting: Setting, ipc: int, seed: int) -> Images:
    """The real images that our trial of this seed trains on, as pixels."""
    workbench = setting.workbench
    trial = trials.random_images(workbench, setting.student, ipc, "fp32")(seed)
    assert isinstance(trial.training_set, RandomImages)
    train = workbench.dataset.train
    among = workbench.split(trial.validation_size).train
    return train.take(random_subset(train.labels, ipc, seed=trial.seed, among=among))
