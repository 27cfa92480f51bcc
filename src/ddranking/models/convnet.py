"""ConvNet-D, the student of dataset distillation.

    D x [conv 3x3, width W, padding 1 -> norm -> ReLU -> 2x2 pooling] -> flatten -> linear

Gidaris and Komodakis 2018; Zhao, Mopuri and Bilen, Dataset Condensation, ICLR 2021. With the
defaults (D = 3, W = 128, instance norm, average pooling), 32x32x3 images and 10 classes it has
320,010 parameters.
"""

from __future__ import annotations

import torch
from torch import nn

from ddranking.models.geometry import first_padding, map_size
from ddranking.models.names import ModelName, Shape
from ddranking.models.norms import LAYERS

POOLS: dict[str, type[nn.AvgPool2d] | type[nn.MaxPool2d]] = {
    "avg": nn.AvgPool2d,
    "max": nn.MaxPool2d,
}


class ConvNet(nn.Module):
    """Images [B, C, H, W] to logits [B, num_classes].

    The state dict has the field's names, ``features.N.weight`` and ``classifier.weight``, where N
    counts convolutions, norms, activations and poolings alike, so that its checkpoints load.

    28x28 images are padded by 3 in the first convolution, so that maps are 32x32. An odd side
    loses its last row or column in pooling, as in the field. The image must survive D poolings:
    ``2**D <= min(H, W)``, which ``table.check`` tells people before anything is built.
    """

    def __init__(self, name: ModelName, shape: Shape, num_classes: int) -> None:
        super().__init__()
        height, width = map_size(shape)
        channels = shape[0]
        layers: list[nn.Module] = []
        for block in range(name.number):
            padding = 1 if block else first_padding(shape, 1)
            layers.append(nn.Conv2d(channels, name.width, kernel_size=3, padding=padding))
            channels = name.width
            if name.norm != "none":
                layers.append(LAYERS[name.norm]((channels, height, width)))
            layers += [nn.ReLU(), POOLS[name.pooling](kernel_size=2, stride=2)]
            height, width = height // 2, width // 2
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * height * width, num_classes)

    def forward(self, images_BCHW: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.features(images_BCHW), 1))
