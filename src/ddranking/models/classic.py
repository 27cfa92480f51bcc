"""MLP, LeNet and AlexNet as dataset distillation evaluates on them.

The layer sizes are those of VICO-UoE/DatasetCondensation ``networks.py``, which are made for 28x28
and 32x32 images. At other sizes the convolutions stay as they are and only the last map changes:
a larger one is averaged down to the field's, a smaller one is used as it is.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ddranking.models.geometry import average_to, first_padding, map_size
from ddranking.models.names import ModelName, Shape


class MLP(nn.Module):
    """Flattened pixels -> 128 -> 128 -> logits, with ReLU: [B, C, H, W] to [B, num_classes]."""

    def __init__(self, name: ModelName, shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.fc_1 = nn.Linear(shape[0] * shape[1] * shape[2], 128)
        self.fc_2 = nn.Linear(128, 128)
        self.fc_3 = nn.Linear(128, num_classes)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.fc_1(torch.flatten(images_BCHW, 1)))
        return self.fc_3(F.relu(self.fc_2(hidden)))


class LeNet(nn.Module):
    """LeNet-5 with ReLU and max-pooling: [B, C, H, W] to logits [B, num_classes].

    Convolutions of 6 and 16 channels, 5x5, then 120 - 84 - num_classes. On 28x28 (first padding 2)
    and 32x32 images the last map is 5x5, as published. Larger maps are averaged to 5x5. Below
    28 px a 5x5 convolution without padding would eat the image, so both are padded by 2 and the
    last map is a quarter of the image's side (2x2 for 8 px).
    """

    def __init__(self, name: ModelName, shape: Shape, num_classes: int) -> None:
        super().__init__()
        small = min(shape[1:]) < 28
        padding = 2 if small else first_padding(shape, 0)
        second = 2 if small else 0
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], 6, kernel_size=5, padding=padding),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
            nn.Conv2d(6, 16, kernel_size=5, padding=second),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )
        first = [(side + 2 * padding - 4) // 2 for side in shape[1:]]
        height, width = ((side + 2 * second - 4) // 2 for side in first)
        self.shrink, (height, width) = average_to((height, width), 5)
        self.fc_1 = nn.Linear(16 * height * width, 120)
        self.fc_2 = nn.Linear(120, 84)
        self.fc_3 = nn.Linear(84, num_classes)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        features = torch.flatten(self.shrink(self.features(images_BCHW)), 1)
        return self.fc_3(F.relu(self.fc_2(F.relu(self.fc_1(features)))))


class AlexNet(nn.Module):
    """The field's AlexNet: [B, C, H, W] to logits [B, num_classes].

    Convolutions of 128 (5x5), 192 (5x5), 256, 192, 192 (3x3) channels at stride 1, each with ReLU;
    2x2 max-pooling after the first, second and fifth; one linear layer. On 32x32 images (and on
    28x28, padded to 32x32) the last map is 4x4; larger maps are averaged to 4x4, smaller ones are
    used as they are (1x1 for 8 px).
    """

    def __init__(self, name: ModelName, shape: Shape, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], 128, kernel_size=5, padding=first_padding(shape, 2)),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
            nn.Conv2d(128, 192, kernel_size=5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
            nn.Conv2d(192, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 192, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(192, 192, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )
        height, width = (side // 8 for side in map_size(shape))
        self.shrink, (height, width) = average_to((height, width), 4)
        self.fc = nn.Linear(192 * height * width, num_classes)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.flatten(self.shrink(self.features(images_BCHW)), 1))
