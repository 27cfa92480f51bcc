"""A training between two epochs: all that it takes to go on as if it had never been stopped.

Random numbers are no part of it. What the epochs to come draw follows from the trial's seed, so
that of the epochs before is drawn once more and left (:class:`ddranking.training.lesson.Lesson`),
which takes 0.1 to 3 ms for a step of 256 images of 32 px.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

NOTES = "notes"
"""The tensor that holds all but tensors: JSON, byte by byte."""


@dataclass(frozen=True)
class Snapshot:
    """A training after some of its epochs.

    On a CPU its tensors are those of the training itself: it is written down before that goes on.

    Attributes:
        epochs: how many are done.
        seconds: how long those took.
        kernels: by what they were computed; others may differ in last bits.
        network: parameters and buffers by name.
        moments: what the optimiser remembers of each parameter, by the parameter's place; those
            without a gradient have none.
    """

    epochs: int
    seconds: float
    kernels: str
    network: Mapping[str, Tensor]
    moments: Mapping[int, tuple[Tensor, ...]]

    def is_of(self, network: nn.Module, kernels: str, epochs: int) -> bool:
        """Whether a training of ``epochs`` goes on from here as if it had never been stopped.

        It starts anew where it does not: its result may not depend on where it was stopped.

        Args:
            network: that is to be trained.
            kernels: by what it is computed now.
            epochs: of the training.
        """
        own = {name: value.shape for name, value in network.state_dict().items()}
        there = {name: value.shape for name, value in self.network.items()}
        return kernels == self.kernels and own == there and 0 < self.epochs < epochs

    def to_bytes(self) -> bytes:
        """In the safetensors format."""
        notes = {"epochs": self.epochs, "seconds": self.seconds, "kernels": self.kernels}
        text = bytearray(json.dumps(notes).encode())
        tensors = {NOTES: torch.frombuffer(text, dtype=torch.uint8)}
        tensors |= {f"network/{name}": value for name, value in self.network.items()}
        for place, moments in self.moments.items():
            tensors |= {f"moments/{place}/{which}": value for which, value in enumerate(moments)}
        return save(tensors)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What :meth:`to_bytes` gave.

        Raises:
            ValueError: anything else.
        """
        try:
            tensors = load(content)
            notes = json.loads(tensors.pop(NOTES).numpy().tobytes())
            network: dict[str, Tensor] = {}
            moments: dict[int, dict[int, Tensor]] = {}
            for path, value in tensors.items():
                kind, _, name = path.partition("/")
                if kind == "network":
                    network[name] = value
                else:
                    place, _, which = name.partition("/")
                    moments.setdefault(int(place), {})[int(which)] = value
            return cls(
                int(notes["epochs"]),
                float(notes["seconds"]),
                str(notes["kernels"]),
                network,
                {at: tuple(of[n] for n in range(len(of))) for at, of in moments.items()},
            )
        except UNREADABLE as error:
            raise ValueError(f"not a snapshot of a training: {error}") from None


UNREADABLE = (
    SafetensorError, KeyError, TypeError, ValueError, OverflowError, RecursionError, MemoryError
)  # fmt: skip


def epochs_in(path: Path) -> int:
    """How many epochs a file says are done, of which nothing else is read: 0 of what is none."""
    try:
        if not path.is_file():  # a pipe would be waited for
            return 0
        with safe_open(path, framework="numpy") as file:
            return max(0, int(json.loads(file.get_tensor(NOTES).tobytes())["epochs"]))
    except (OSError, *UNREADABLE):
        return 0


def on_the_cpu(tensor: Tensor) -> Tensor:
    """As safetensors takes it."""
    return tensor.detach().cpu().contiguous()
