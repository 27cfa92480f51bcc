"""A minute of training that compares spaces: which one do the set's networks see rightly in?

A small network is trained on the set as it is stored. That does not depend on any space; only the
real images do that it is shown afterwards. Those are a validation split of the real training set,
put into each candidate space in turn; the test set is never read. The student has no normalisation
layers: instance normalisation would forgive a wrong mean and standard deviation.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ddranking import seeds
from ddranking.data.images import Dataset, stratified_split
from ddranking.data.space import FittedSpace
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.doctor import Finding
from ddranking.models import table
from ddranking.protocol.rules import Adam
from ddranking.scoring.statistics import Estimate, estimate
from ddranking.training.arithmetic import arithmetic
from ddranking.training.fit import accuracy
from ddranking.training.optim import Optimizer
from ddranking.training.streamed import in_space
from ddranking.training.targets import LabelledImages

STUDENT = "convnet{depth}-w32-none"
VALIDATION, STEPS, BATCH, RATE = 1_000, 150, 128, 1e-3
"""Real training images each space is judged on, and how networks are trained. Images larger than
32 x 32 have as many fewer of both, so that the time stays the same."""

SECONDS = 45.0
"""No further seed is started when the next one would end later than this."""


@dataclass(frozen=True)
class Probed:
    """One candidate: its name for ``--space`` and the accuracy over seeds, fractions."""

    name: str
    accuracy: Estimate


def probe(
    distilled: DistilledSet,
    dataset: Dataset,
    spaces: Mapping[str, FittedSpace],
    *,
    repeats: int = 3,
    seconds: float = SECONDS,
) -> list[Probed]:
    """Train ``repeats`` networks on the set and show each the validation images in every space.

    Args:
        distilled: the set; hard labels are used.
        dataset: the real dataset.
        spaces: names and fitted candidates.
        repeats: seeds, 2 or more; fewer are run (at least 2) where time is short.
        seconds: about how long it may take.

    Returns:
        the candidates, the highest mean accuracy first, equal ones in the given order.
    """
    start = time.monotonic()
    split = stratified_split(dataset.train.labels, _validation_size(dataset), seed=0)
    held = dataset.train.take(split.validation)
    labels = torch.from_numpy(held.labels)
    shown = {
        name: LabelledImages(in_space(held, fitted), labels) for name, fitted in spaces.items()
    }
    found: dict[str, list[float]] = {name: [] for name in spaces}
    for seed in range(repeats):
        network = trained(distilled, seed)
        for name, images in shown.items():
            found[name].append(accuracy(network, images, torch.device("cpu")))
        spent = time.monotonic() - start
        if seed >= 1 and spent * (seed + 2) / (seed + 1) > seconds:
            break
    results = [Probed(name, estimate(values)) for name, values in found.items()]
    return sorted(results, key=lambda each: -each.accuracy.mean)


def _validation_size(dataset: Dataset) -> int:
    """At most a fifth of the training images, and one of each class at least."""
    wanted = int(VALIDATION * _share(dataset.image_size))
    return max(dataset.num_classes, min(wanted, len(dataset.train) // 5))


def _share(side: int) -> float:
    """How many images of this side cost as much as one of 32 x 32; at most 1."""
    return min(1.0, (32 / side) ** 2)


def trained(distilled: DistilledSet, seed: int) -> torch.nn.Module:
    """A small plain network after ``STEPS`` steps of Adam on the set's images and classes.

    Inputs are divided by one number, the set's standard deviation, so that sets of every scale
    train alike; the same layer then divides the real images.
    """
    images = torch.from_numpy(as_float(distilled.images).copy())
    labels = torch.from_numpy(distilled.labels.copy())
    shape = (images.shape[1], images.shape[2], images.shape[3])
    depth = max(1, min(3, int(np.log2(shape[1])) - 2))
    name = STUDENT.format(depth=depth)
    network = table.build(name, shape, distilled.num_classes, seed=seed)
    batch = max(8, int(BATCH * _share(shape[1])))
    scaled = torch.nn.Sequential(_Scale(1 / max(float(images.std()), 1e-6)), network)
    optimizer = Optimizer(Adam(), scaled.parameters())
    chance = torch.Generator().manual_seed(seeds.derive(seed, "probe"))
    scaled.train()
    with arithmetic("fp32", torch.device("cpu")):
        for _ in range(STEPS):
            chosen = torch.randperm(len(images), generator=chance)[:batch]
            optimizer.forget_gradients()
            value = torch.nn.functional.cross_entropy(scaled(images[chosen]), labels[chosen])
            value.backward()
            optimizer.step(RATE)
    return scaled


class _Scale(torch.nn.Module):
    """Times one fixed number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def finding(probed: Sequence[Probed], declared: str, ruled_out: Collection[str] = ()) -> Finding:
    """What the probe says of the declared space.

    ``wrong`` where a space of another kind sees better by more than chance: the 95 % interval of
    the paired difference over seeds excludes zero. Constants of one kind differ too little.

    Args:
        probed: what :func:`probe` returned.
        declared: the name of the card's space.
        ruled_out: spaces that statistics exclude; shown, but never proposed. A short training sees
            well through some wrong spaces too.
    """
    own = next(each for each in probed if each.name == declared)
    best = next(each for each in probed if each is own or each.name not in ruled_out)
    evidence = {each.name: list(each.accuracy.values) for each in probed}
    shown = ", ".join(
        f"{each.name} {100 * each.accuracy.mean:.1f} % "
        f"[{100 * max(0.0, each.accuracy.low):.1f}, {100 * min(1.0, each.accuracy.high):.1f}]"
        for each in probed
    )
    text = f"accuracy on real training images by space, n = {best.accuracy.n}: {shown}"
    if best.accuracy.mean == own.accuracy.mean or _kind(best.name) == _kind(declared):
        return Finding("ok", "probe", text, evidence)
    pairs = zip(best.accuracy.values, own.accuracy.values, strict=True)
    if estimate([a - b for a, b in pairs]).low > 0:
        return Finding("wrong", "probe", text, evidence, f"--space {best.name}")
    return Finding("note", "probe", text, evidence, f"perhaps --space {best.name}")


def _kind(name: str) -> str:
    return name.partition(":")[0]
