"""The conventional way to judge a distilled set, written plainly: the other side of ``training``.

As the field's evaluators do it: one model after another, in float32 as torch runs it with all its
threads; the set behind a ``DataLoader`` with four worker processes, which start anew each epoch;
one family of DSA a batch, drawn and applied image by image where the published code does so; SGD
whose rate drops to a tenth at half of the epochs; the test set every 20 epochs, behind a loader of
its own. Written for this comparison after the descriptions in Zhao and Bilen 2020 and 2021 and the
behaviour of their public code; nothing here is used to measure anything else.

Shapes: N images in a batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

TEST_BATCH = 256


@dataclass(frozen=True)
class Loop:
    """How long and how: the settings of the recipe ``dsa``, and those of the loaders."""

    epochs: int
    rate: float = 0.01
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augmented: bool = True
    every: int = 20
    workers: int = 4
    device: str = "cpu"


def train(
    network: nn.Module, training: TensorDataset, test: TensorDataset, loop: Loop, seed: int = 0
) -> list[float]:
    """Trains ``network`` in place; test accuracies (fractions) of every ``loop.every`` epochs."""
    chance = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=loop.rate,
        momentum=loop.momentum,
        weight_decay=loop.weight_decay,
    )
    accuracies = []
    for number in range(loop.epochs):
        if number == loop.epochs // 2 and number > 0:
            for group in optimizer.param_groups:
                group["lr"] = loop.rate * 0.1
        epoch(network, training, optimizer, loop, chance)
        if (number + 1) % loop.every == 0:
            accuracies.append(evaluate(network, test, loop))
    return accuracies


def epoch(
    network: nn.Module,
    training: TensorDataset,
    optimizer: torch.optim.Optimizer,
    loop: Loop,
    chance: torch.Generator,
) -> float:
    """One pass over the set; the mean loss per image."""
    network.train()
    loader = DataLoader(
        training,
        batch_size=loop.batch_size,
        shuffle=True,
        num_workers=loop.workers,
        generator=chance,
    )
    total, count = 0.0, 0
    for images, labels in loader:
        images, labels = images.to(loop.device), labels.to(loop.device)
        if loop.augmented:
            images = dsa(images, chance)
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        count += len(labels)
    return total / count


@torch.no_grad()
def evaluate(network: nn.Module, test: TensorDataset, loop: Loop) -> float:
    """Share of the test set whose largest logit is the label's, a fraction."""
    network.eval()
    right = 0
    for images, labels in DataLoader(test, batch_size=TEST_BATCH, num_workers=loop.workers):
        images, labels = images.to(loop.device), labels.to(loop.device)
        right += (network(images).argmax(1) == labels).sum().item()
    return right / len(test)


# DSA: brightness 1, saturation 2, contrast 0.5, crop 0.125, cutout 0.5, flip 0.5, scale 1.2,
# rotate 15 degrees. One family a batch, parameters for each image.


def dsa(images: Tensor, chance: torch.Generator) -> Tensor:
    """One family of DSA, drawn for the batch [N,C,H,W], applied to it."""
    family = FAMILIES[int(torch.randint(len(FAMILIES), (), generator=chance))]
    for operation in family:
        images = operation(images, chance)
    return images


def brightness(images: Tensor, chance: torch.Generator) -> Tensor:
    return images + (_draw(images, chance) - 0.5)


def saturation(images: Tensor, chance: torch.Generator) -> Tensor:
    grey = images.mean(dim=1, keepdim=True)
    return (images - grey) * (_draw(images, chance) * 2) + grey


def contrast(images: Tensor, chance: torch.Generator) -> Tensor:
    mean = images.mean(dim=[1, 2, 3], keepdim=True)
    return (images - mean) * (_draw(images, chance) + 0.5) + mean


def flip(images: Tensor, chance: torch.Generator) -> Tensor:
    return torch.where(_draw(images, chance) < 0.5, images.flip(3), images)


def scale(images: Tensor, chance: torch.Generator) -> Tensor:
    low, high = 1 / 1.2, 1.2
    across = torch.rand(len(images), generator=chance) * (high - low) + low
    down = torch.rand(len(images), generator=chance) * (high - low) + low
    return _sample(images, [[[across[i], 0, 0], [0, down[i], 0]] for i in range(len(images))])


def rotate(images: Tensor, chance: torch.Generator) -> Tensor:
    angles = (torch.rand(len(images), generator=chance) - 0.5) * 2 * 15 / 180 * math.pi
    return _sample(
        images,
        [
            [[torch.cos(angle), torch.sin(-angle), 0], [torch.sin(angle), torch.cos(angle), 0]]
            for angle in angles
        ],
    )


def crop(images: Tensor, chance: torch.Generator) -> Tensor:
    n, _, height, width = images.shape
    down, across = (int(side * 0.125 + 0.5) for side in (height, width))
    first = torch.randint(-down, down + 1, (n, 1, 1), generator=chance)
    second = torch.randint(-across, across + 1, (n, 1, 1), generator=chance)
    batch, rows, columns = torch.meshgrid(
        torch.arange(n), torch.arange(height), torch.arange(width), indexing="ij"
    )
    rows = (rows + first + 1).clamp(0, height + 1)
    columns = (columns + second + 1).clamp(0, width + 1)
    padded = F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    return padded[batch, rows, columns].permute(0, 3, 1, 2).contiguous()


def cutout(images: Tensor, chance: torch.Generator) -> Tensor:
    n, _, height, width = images.shape
    down, across = int(height * 0.5 + 0.5), int(width * 0.5 + 0.5)
    first = torch.randint(0, height + (1 - down % 2), (n, 1, 1), generator=chance)
    second = torch.randint(0, width + (1 - across % 2), (n, 1, 1), generator=chance)
    batch, rows, columns = torch.meshgrid(
        torch.arange(n), torch.arange(down), torch.arange(across), indexing="ij"
    )
    rows = (rows + first - down // 2).clamp(0, height - 1)
    columns = (columns + second - across // 2).clamp(0, width - 1)
    mask = torch.ones(n, height, width)
    mask[batch, rows, columns] = 0
    return images * mask[:, None].to(images.device)


def _draw(images: Tensor, chance: torch.Generator) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, generator=chance).to(images.device)


def _sample(images: Tensor, matrices: list[list[list[float | Tensor]]]) -> Tensor:
    """Bilinear sampling on affine grids, from lists of numbers as in the published code."""
    grid = F.affine_grid(torch.tensor(matrices).to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


FAMILIES: Sequence[Sequence[Callable[[Tensor, torch.Generator], Tensor]]] = (
    (brightness, saturation, contrast),
    (crop,),
    (cutout,),
    (flip,),
    (scale,),
    (rotate,),
)
