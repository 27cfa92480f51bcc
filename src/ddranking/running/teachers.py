"""The teacher that a trial names, as a module: its networks with their weights.

Networks that were trained here come from the store by trial key, those of a person's file from
where the person said it lies, published ones from torchvision or timm.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ddranking.data.images import Dataset
from ddranking.errors import BadFile, BadInput, StoreUnusable
from ddranking.models import table
from ddranking.models.checkpoint import load_state
from ddranking.models.external import published
from ddranking.protocol.rules import Labels, Network
from ddranking.protocol.rules import Teacher as TeacherRules
from ddranking.training.memory import in_batches
from ddranking.training.teacher import Seeing, Teacher

if TYPE_CHECKING:
    from ddranking.protocol.plan import ArmPlan
    from ddranking.running.workbench import Workbench

SHOWN = 500
"""Real images that a given teacher is shown before any training."""
NOT_BY_CHANCE = 0.001
"""Probability with which a network that knows nothing is taken for one that does."""


def teacher(
    rules: TeacherRules,
    space: Mapping[str, Any],
    workbench: Workbench,
    files: Mapping[str, Path],
) -> Teacher:
    """The teacher of a trial.

    Args:
        rules: a trial's labels, each network with its space.
        space: the trial's own image space.
        workbench: the dataset, and the files of given weights.
        files: the weights of networks that were trained here, by trial key.

    Raises:
        BadInput, BadFile: a network that does not fit its weights or the images.
        StoreUnusable: weights that are not where the store said, or do not read back.
    """
    made = []
    for network in rules.networks:
        scale, shift = between(space, network.space or space)
        classes = getattr(network.weights, "classes", None)
        made.append(Seeing(_network(network, workbench, files), scale, shift, classes))
    return Teacher(made)


def check(labels: Labels, workbench: Workbench) -> None:
    """Checks the networks of a teacher before any training; other labels have none.

    Raises:
        BadInput, UnknownName: a network that is not there or cannot take the images.
        BadFile: a file of weights that does not fit its network.
    """
    if labels.kind != "teacher":
        return
    dataset = workbench.dataset
    for network in labels.networks:
        name = table.check(network.model or "", dataset.train.shape, trusted=workbench.trusted)
        if network.weights.kind in ("given", "published"):
            _network(network, workbench, {})
        elif ":" in name:  # somebody else's code: only building it shows that it fits
            shape, classes = dataset.train.shape, dataset.num_classes
            table.build(name, shape, classes, seed=0, trusted=workbench.trusted)


@dataclass(frozen=True)
class Look:
    """How many real images a network names rightly, before it teaches.

    Attributes:
        images: how many it was shown.
        classes: K.
        accuracy: the share that it names rightly.
        renamed: the share under the one-to-one renaming of its outputs that is best; None where
            there are too few images of a class to say it.
    """

    images: int
    classes: int
    accuracy: float
    renamed: float | None

    @property
    def least(self) -> float:
        """What a teacher has to reach: twice chance, and more than chance gives 1 in 1,000 times.

        Of two or three classes, half the way from chance to all.
        """
        from scipy.stats import binom

        chance = 1 / self.classes
        lucky = float(binom.ppf(1 - NOT_BY_CHANCE, self.images, chance)) / self.images
        return max(min(2 * chance, (1 + chance) / 2), lucky)

    def __str__(self) -> str:
        text = f"names {self.accuracy:.1%} of {self.images} real training images rightly"
        if self.renamed is None or self.renamed < self.accuracy + 0.1:
            return text
        return f"{text} ({self.renamed:.1%} with its outputs in another order)"


def examine(
    arms: Sequence[ArmPlan], workbench: Workbench, *, any_teacher: bool = False
) -> tuple[str, ...]:
    """Shows real images to each network of a person's file, and says how it does, in a line each.

    They are of the validation split, in the space in which the network will see images.

    Args:
        arms: of a plan.
        workbench: the dataset, and the files of given weights.
        any_teacher: also take a network that knows no more than chance.

    Raises:
        BadInput: such a network.
    """
    told: dict[tuple[str, str], str] = {}
    for arm in arms:
        labels = arm.training.labels
        for network in labels.networks if labels.kind == "teacher" else ():
            space = dict(network.space or arm.space)
            key = (network.model_dump_json(), json.dumps(space, sort_keys=True))
            if network.weights.kind != "given" or key in told:
                continue
            if key not in workbench.looks:  # for all sets of a folder it is the same
                made = _network(network, workbench, {})
                workbench.looks[key] = _look(made, space, arm.validation_size, workbench)
            look = workbench.looks[key]
            name = f"teacher {_given(network.weights.digest, workbench)} ({network.model})"
            if look.accuracy < look.least and not any_teacher:
                raise BadInput(
                    name,
                    expected=f"a network that names at least {look.least:.1%} rightly",
                    got=f"one that {look}",
                    hint="Save one whose outputs are in the dataset's class order and that was "
                    "trained on images as the recipe shows it, or pass --any-teacher.",
                )
            told[key] = f"{name}: {look}"
    return tuple(told.values())


def _look(
    network: torch.nn.Module, space: Mapping[str, Any], validation_size: int, workbench: Workbench
) -> Look:
    from scipy.optimize import linear_sum_assignment

    places = workbench.split(validation_size).validation
    places = places[np.linspace(0, len(places) - 1, min(SHOWN, len(places))).astype(int)]
    shown = workbench.dataset.train.take(places)
    images = torch.from_numpy(workbench.fitted(space).apply(shown.pixels))
    with torch.no_grad():
        named = in_batches(network.eval(), images, images.device).argmax(1).numpy()
    classes = workbench.dataset.num_classes
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (np.asarray(shown.labels), named), 1)
    enough = len(places) >= 20 * classes
    best = counts[linear_sum_assignment(counts, maximize=True)].sum() if enough else None
    return Look(
        images=len(places),
        classes=classes,
        accuracy=float(np.trace(counts)) / len(places),
        renamed=None if best is None else float(best) / len(places),
    )


def between(
    source: Mapping[str, Any], target: Mapping[str, Any]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and shift per channel that bring images of one space into another.

    With pixels p in [0, 1], source x = (p - m) / s and target (p - m') / s', the scale is s / s'
    and the shift (m - m') / s'. One and the same space gives ones and zeros, exactly.

    >>> half = {"kind": "standardized", "mean": [0.5], "std": [0.5]}
    >>> between({"kind": "pixel"}, half)
    ((2.0,), (-1.0,))
    """
    if source == target or source["kind"] == "zca":
        assert source == target, "the plan refuses whitened images for a network of another space"
        return (1.0,), (0.0,)
    channels = max(len(space.get("mean", (0,))) for space in (source, target))
    (m, s), (m2, s2) = (_constants(space, channels) for space in (source, target))
    scale = tuple(a / b for a, b in zip(s, s2, strict=True))
    shift = tuple((a - b) / c for a, b, c in zip(m, m2, s2, strict=True))
    return scale, shift


def _constants(space: Mapping[str, Any], channels: int) -> tuple[list[float], list[float]]:
    if space["kind"] == "pixel":
        return [0.0] * channels, [1.0] * channels
    return list(space["mean"]), list(space["std"])


def _network(network: Network, workbench: Workbench, files: Mapping[str, Path]) -> torch.nn.Module:
    weights, dataset = network.weights, workbench.dataset
    shape = dataset.train.shape
    assert network.model is not None, "a trial names the model of every network"
    if weights.kind == "published":
        made = published(network.model, weights.name, shape)
        _check_outputs(network, made, dataset)
        return made
    made = table.build(network.model, shape, dataset.num_classes, seed=0, trusted=workbench.trusted)
    if weights.kind == "given":
        load_state(made, _given(weights.digest, workbench))
        return made
    assert weights.kind == "trial", "a trial names weights by what they are"
    path = files.get(weights.key)
    try:
        if path is None:
            raise FileNotFoundError
        made.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        raise StoreUnusable(
            f"weights of the teacher {network.model}",
            expected=f"what training {weights.key[:12]} ended with",
            got="a file that is missing or damaged",
            hint="Run the same command again: it is trained anew.",
        ) from None
    return made


def _check_outputs(network: Network, made: torch.nn.Module, dataset: Dataset) -> None:
    """Published networks have the outputs of their own training, not the dataset's classes."""
    with torch.no_grad():
        outputs = made.eval()(torch.zeros(2, *dataset.train.shape)).shape[1]
    classes = getattr(network.weights, "classes", None)
    chosen = range(outputs) if classes is None else classes
    if len(chosen) != dataset.num_classes or max(chosen) >= outputs:
        raise BadInput(
            f"teacher {network.model}",
            expected=f"{dataset.num_classes} of its {outputs} outputs, one for each class",
            got=f"{len(chosen)}",
            hint="Name them in the recipe: weights: {kind: published, classes: [0, 217, ...]}.",
        )


def _given(digest: str, workbench: Workbench) -> Path:
    path = workbench.given.get(digest)
    if path is None:
        raise BadInput(
            f"teacher with weights {digest[:19]}...",
            expected="its file",
            got="none",
            hint="Name it with --teacher FILE.",
        )
    if not path.is_file():
        raise BadFile(f"teacher {path}", expected="a file of weights", got="nothing there")
    return path
