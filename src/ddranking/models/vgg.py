"""VGG-11, -13, -16 and -19 with normalisation and one linear layer, as the field trains them.

Simonyan and Zisserman 2015, configurations A, B, D, E; the head and the instance norm are those of
VICO-UoE/DatasetCondensation ``networks.py``.
"""

from __future__ import annotations

import torch
from torch import nn

from ddranking.models.geometry import first_padding, map_size
from ddranking.models.names import ModelName, Shape
from ddranking.models.norms import LAYERS

STAGES: dict[int, tuple[tuple[int, ...], ...]] = {
    11: ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    13: ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    16: ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    19: ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}
"""Widths of the 3x3 convolutions, stage by stage; a 2x2 max-pooling ends each stage."""


class VGG(nn.Module):
    """Images [B, C, H, W] to logits [B, num_classes].

    The last map is averaged over its pixels, which at 32 px (a 1x1 map) is the published network
    and keeps the head at 512 inputs for every size; 28x28 images are padded to 32x32.

    Instance norm of a one-pixel map is a constant, and no gradient passes it. So a pooling that
    would leave less than two pixels a side before further convolutions is skipped: of the five, an
    8 px image passes the first two and the last. A skipped pooling stays as an identity, so that
    the numbers in ``features.N.weight`` are the field's at every size.
    """

    def __init__(self, name: ModelName, shape: Shape, num_classes: int) -> None:
        super().__init__()
        height, width = map_size(shape)
        channels = shape[0]
        stages = STAGES[name.number]
        layers: list[nn.Module] = []
        for stage, widths in enumerate(stages):
            for out in widths:
                padding = 1 if layers else first_padding(shape, 1)
                layers.append(nn.Conv2d(channels, out, kernel_size=3, padding=padding))
                layers += [LAYERS[name.norm]((out, height, width)), nn.ReLU()]
                channels = out
            if min(height, width) >= (2 if stage == len(stages) - 1 else 4):
                layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
                height, width = height // 2, width // 2
            else:
                layers.append(nn.Identity())
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images_BCHW).mean(dim=(2, 3)))
