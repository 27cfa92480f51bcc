"""ResNet-18, -34 and -50 for small images.

He, Zhang, Ren and Sun 2016, with the 3x3 stem of kuangliu/pytorch-cifar that the field's code
(VICO-UoE/DatasetCondensation ``networks.py``) uses at 32 and 64 px, and ImageNet's own stem (7x7
at stride 2, then 3x3 max-pooling at stride 2) from 128 px. The stride of a bottleneck is in its
3x3 convolution, as in both sources. Module names are the field's.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ddranking.models.names import ModelName, Shape
from ddranking.models.norms import LAYERS

Norm = Callable[[tuple[int, int, int]], nn.Module]

LARGE = 128
"""From this side on (the shorter one), images get ImageNet's stem."""


def _conv(channels: int, out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """relu(norm(conv 3x3)) -> norm(conv 3x3), plus the shortcut, then ReLU."""

    expansion = 1

    def __init__(self, channels: int, planes: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(channels, planes, 3, stride)
        self.bn1 = norm((planes, 0, 0))
        self.conv2 = _conv(planes, planes, 3)
        self.bn2 = norm((planes, 0, 0))
        self.shortcut = _shortcut(channels, planes, stride, norm)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x_BCHW)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x_BCHW))


class Bottleneck(nn.Module):
    """1x1 to ``planes``, 3x3 with the stride, 1x1 to ``4 * planes``, plus the shortcut."""

    expansion = 4

    def __init__(self, channels: int, planes: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = _conv(channels, planes, 1)
        self.bn1 = norm((planes, 0, 0))
        self.conv2 = _conv(planes, planes, 3, stride)
        self.bn2 = norm((planes, 0, 0))
        self.conv3 = _conv(planes, 4 * planes, 1)
        self.bn3 = norm((4 * planes, 0, 0))
        self.shortcut = _shortcut(channels, 4 * planes, stride, norm)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        out = F.relu(self.bn1(self.conv1(x_BCHW)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.shortcut(x_BCHW))


def _shortcut(channels: int, out: int, stride: int, norm: Norm) -> nn.Sequential:
    """Identity where the shapes agree, else a 1x1 convolution and a norm."""
    if stride == 1 and channels == out:
        return nn.Sequential()
    return nn.Sequential(_conv(channels, out, 1, stride), norm((out, 0, 0)))


LAYOUTS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
}
"""The kind of block and how many of them in each of the four stages (64, 128, 256, 512 planes)."""


class ResNet(nn.Module):
    """Images [B, C, H, W] to logits [B, num_classes]; the last map is averaged over its pixels.

    Stages 2 to 4 halve the map. Instance norm of a one-pixel map is a constant and passes no
    gradient, so a stage that would leave one pixel keeps its map instead (stride 1). That happens
    only at 8 px, in the last stage; the parameters are the same at every size with the same stem.
    """

    def __init__(self, name: ModelName, shape: Shape, num_classes: int) -> None:
        super().__init__()
        block, counts = LAYOUTS[name.number]
        norm = LAYERS[name.norm]
        side = min(shape[1:])
        large = side >= LARGE
        self.conv1 = _conv(shape[0], 64, *((7, 2) if large else (3, 1)))
        self.bn1 = norm((64, 0, 0))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        side = -(-side // 4) if large else side

        channels, stages = 64, []
        for stage, count in enumerate(counts):
            planes = 64 * 2**stage
            stride = 2 if stage and side > 2 else 1
            side = -(-side // stride)
            blocks = []
            for index in range(count):
                blocks.append(block(channels, planes, stride if index == 0 else 1, norm))
                channels = planes * block.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        out = self.pool(F.relu(self.bn1(self.conv1(images_BCHW))))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        return self.classifier(out.mean(dim=(2, 3)))
