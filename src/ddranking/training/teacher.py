"""Teachers: frozen networks whose logits are the labels.

Labels are data: whatever the precision of the training that they are made for, teachers compute in
fp32, fused where their network can be.

Shapes: B images in a batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ddranking.training.arithmetic import Forward, arithmetic, forward


class Seeing(nn.Module):
    """A frozen network that is shown images of another space: ``scale * x + shift`` per channel.

    Args:
        network: gives logits [B,K]; put into evaluation mode, its parameters need no gradients.
        scale, shift: C numbers each, which bring images of the trial's space into the network's.
        classes: which of its outputs are the dataset's classes, in their order; None for all.
    """

    def __init__(
        self,
        network: nn.Module,
        scale: Sequence[float],
        shift: Sequence[float],
        classes: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.scale = nn.Buffer(torch.tensor(scale, dtype=torch.float32)[:, None, None])
        self.shift = nn.Buffer(torch.tensor(shift, dtype=torch.float32)[:, None, None])
        self.classes: Tensor | None
        chosen = None if classes is None else torch.tensor(list(classes))
        self.register_buffer("classes", chosen, persistent=False)
        self.same = set(scale) == {1.0} and set(shift) == {0.0}
        self._run: tuple[torch.device, Forward] | None = None

    def forward(self, images: Tensor) -> Tensor:
        logits = self._on(images)(images if self.same else images * self.scale + self.shift)
        return logits if self.classes is None else logits[:, self.classes]

    def _on(self, images: Tensor) -> Forward:
        """The network as it runs where the images are; a teacher sees images of one shape."""
        if self._run is None or self._run[0] != images.device:
            _, channels, height, width = images.shape
            shape = (channels, height, width)
            self._run = images.device, forward(self.network, shape, "fp32", images.device)
        return self._run[1]


class Teacher(nn.Module):
    """The mean of the logits of one or several frozen networks, [B,C,H,W] to float [B,K].

    Source: SRe2L (Yin et al. 2023) with one network; G-VBSM (Shao et al. 2024) and EDC (Shao et al.
    2024) with the mean over several. It stays in evaluation mode whatever it is asked, so batch
    normalisation uses the statistics of its own training, and never keeps a graph.
    """

    def __init__(self, networks: Sequence[Seeing]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.train(False)

    def train(self, mode: bool = True) -> Teacher:
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        with arithmetic("fp32", images.device):
            return torch.stack([network(images) for network in self.networks]).mean(0)
