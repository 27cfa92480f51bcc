"""The teacher that a trial names, as a module: its networks with their weights.

Networks that were trained here come from the store by trial key, those of a person's file from
where the person said it lies, published ones from torchvision or timm.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from ddranking.training.teacher import Seeing, Teacher

if TYPE_CHECKING:
    from ddranking.running.workbench import Workbench


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
