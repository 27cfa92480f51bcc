"""Trains with the published evaluator, DD-Ranking 0.2, and times what it does; run as a script.

    PYTHONPATH=FOLDER python -P published_loop.py REQUEST.json

FOLDER is its unpacked wheel. Its package has the name of this repository's, so the two are never in
one process, and nothing here is imported by anything. What is called of it:

    ddranking.metrics.LabelRobustScoreHard   its evaluator for hard labels, with ``device="cpu"``
        .test_loader_syn, .dst_train         its loader of the test set, its training split
        ._compute_hard_label_metrics         its loop over the epochs, ``mode="syn"``
    ddranking.utils.set_seed, build_model    before each training, as the evaluator does

That loop makes a ``TensorDataset``, a ``RandomSampler`` and a ``DataLoader`` of four workers. It
calls ``get_optimizer`` and ``get_lr_scheduler``, then each epoch ``train_one_epoch`` with its
``DSA``, and ``validate`` every ``test_interval`` epochs (10, fixed in its code). The last two are
put behind a clock under their own names, which changes nothing else. What had to be given to it:

    images   it reads CIFAR-10 by ``torchvision.datasets.CIFAR10`` and wants the original files.
             That name is replaced by a subclass which takes our copy's pixels and inherits all the
             rest, so its own transforms and class map apply to each image as ever. Its training
             split is the set to train on, and nothing else.
    entry    its public ``compute_metrics`` cannot be called: between the set and the random images
             it looks up an accuracy of the whole dataset that its table does not have for this
             network, and the other way, training it there, needs all of the training split.

Missing packages, a FOLDER that is not what gets imported, and anything else that its code raises
end the process with a line on stderr.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torchvision

NEEDED = ("kornia", "pandas", "timm", "tqdm")
"""What it imports beyond what this repository depends on."""

AUGMENTATION = {
    "scale": 1.2,
    "rotate": 15.0,
    "flip": 0.5,
    "brightness": 1.0,
    "saturation": 2.0,
    "contrast": 0.5,
    "crop": 0.125,
    "cutout": 0.5,
}
"""The parameters of DSA, under the names that its class reads."""


class Given(torchvision.datasets.CIFAR10):
    """CIFAR-10 as torchvision reads it, with the pixels and labels of ``halves`` by ``train``."""

    halves: ClassVar[dict[bool, tuple[np.ndarray, list[int]]]] = {}

    def __init__(
        self,
        root: str,
        train: bool = True,
        transform: Callable[..., Any] | None = None,
        download: bool = False,
    ) -> None:
        self.data, self.targets = self.halves[train]
        self.transform, self.target_transform = transform, None


def main(request_file: Path) -> None:
    """Runs the trainings of a request and writes what was seen into the file it names.

    A request has ``folder``, ``arrays`` (an ``.npz`` of uint8 images ``[N, C, H, W]`` and labels:
    ``test``, ``test_labels``, and for each seed S ``train_S`` and ``train_S_labels``), ``seeds``,
    ``epochs``, ``dataset``, ``model``, ``ipc``, ``device`` and ``answer``.
    """
    request = json.loads(request_file.read_text(encoding="utf-8"))
    metrics, utils = _modules(Path(request["folder"]))
    arrays = np.load(request["arrays"])
    answer = {"threads": torch.get_num_threads(), "every": None, "trainings": []}
    for seed in request["seeds"]:
        evaluator = _evaluator(metrics, request, arrays, seed)
        answer["every"] = evaluator.test_interval
        answer["workers"] = evaluator.num_workers
        if request["epochs"]:
            answer["trainings"].append(_training(evaluator, metrics, utils, seed))
    Path(request["answer"]).write_text(json.dumps(answer), encoding="utf-8")


def _modules(folder: Path) -> tuple[Any, Any]:
    """Its modules of metrics and of utilities, both from ``folder``."""
    try:
        package = importlib.import_module("ddranking")
        if not Path(package.__file__ or "").resolve().is_relative_to(folder.resolve()):
            sys.exit(f"Python imports ddranking from {package.__file__}")
        metrics = importlib.import_module("ddranking.metrics")
        utils = importlib.import_module("ddranking.utils")
    except ModuleNotFoundError as error:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        sys.exit(f"not installed: {', '.join(missing)}" if missing else str(error))
    return metrics, utils


def _evaluator(metrics: Any, request: dict[str, Any], arrays: Any, seed: int) -> Any:
    """Its evaluator with the images of a seed, set to the rules of ``dsa@1``."""
    Given.halves = {
        train: (arrays[name].transpose(0, 2, 3, 1), arrays[f"{name}_labels"].tolist())
        for train, name in ((True, f"train_{seed}"), (False, "test"))
    }
    original = torchvision.datasets.CIFAR10
    torchvision.datasets.CIFAR10 = Given
    try:
        height, width = arrays["test"].shape[2:]
        return metrics.LabelRobustScoreHard(
            dataset=request["dataset"],
            ipc=request["ipc"],
            model_name=request["model"],
            data_aug_func="dsa",
            aug_params=AUGMENTATION,
            optimizer="sgd",
            lr_scheduler="step",
            step_size=max(1, request["epochs"] // 2),
            weight_decay=5e-4,
            momentum=0.9,
            im_size=(height, width),
            num_epochs=request["epochs"],
            syn_batch_size=256,
            save_path=str(Path(request["answer"]).with_name("scores.csv")),
            device=request["device"],
        )
    finally:
        torchvision.datasets.CIFAR10 = original


def _training(evaluator: Any, metrics: Any, utils: Any, seed: int) -> dict[str, Any]:
    """One training by its own loop: wall seconds, and accuracies as fractions."""
    images, labels = zip(*evaluator.dst_train, strict=True)
    epochs, evaluations, accuracies = [], [], []
    module = metrics.hard_label
    originals = module.train_one_epoch, module.validate
    module.train_one_epoch = _timed(module.train_one_epoch, epochs, [])
    module.validate = _timed(module.validate, evaluations, accuracies)
    utils.set_seed(seed)
    begun = time.perf_counter()
    try:
        model = utils.build_model(
            model_name=evaluator.model_name,
            num_classes=evaluator.num_classes,
            im_size=evaluator.im_size,
            device=evaluator.device,
        )
        best = evaluator._compute_hard_label_metrics(
            model=model,
            image_tensor=torch.stack(images),
            image_path=None,
            lr=0.01,
            hard_labels=torch.tensor(labels),
            mode="syn",
        )
    finally:
        module.train_one_epoch, module.validate = originals
    return {
        "seconds": time.perf_counter() - begun,
        "epochs": epochs,
        "evaluations": evaluations,
        "accuracies": [value / 100 for value in accuracies],
        "best": best / 100,
    }


def _timed(
    function: Callable[..., Any], seconds: list[float], answers: list[Any]
) -> Callable[..., Any]:
    """The function, which also notes how long each call took and what it gave."""

    def call(*args: Any, **named: Any) -> Any:
        begun = time.perf_counter()
        answer = function(*args, **named)
        seconds.append(time.perf_counter() - begun)
        answers.append(answer)
        return answer

    return call


if __name__ == "__main__":
    main(Path(sys.argv[1]))
