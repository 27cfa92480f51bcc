"""A training between two epochs: all that it takes to go on as if it had never been stopped.

Random numbers are no part of it. What the epochs to come draw follows from the trial's seed, so
that of the epochs before is drawn once more and left (:class:`ddranking.training.lesson.Lesson`).
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
    """A training after some of its epochs; its tensors are on the CPU, and nobody else's.

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

    def is_of(self, network: nn.Module, kernels: str) -> bool:
        """Whether ``network``, computed by ``kernels``, ends as if it had never been stopped.

        A training starts anew where it does not: its result may not depend on where it stopped.
        """
        own = {name: value.shape for name, value in network.state_dict().items()}
        there = {name: value.shape for name, value in self.network.items()}
        return kernels == self.kernels and own == there

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
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a snapshot of a training: {error}") from None


def epochs_in(path: Path) -> int:
    """How many epochs a file says are done, of which nothing else is read: 0 of what is none."""
    try:
        with safe_open(path, framework="numpy") as file:
            return max(0, int(json.loads(file.get_tensor(NOTES).tobytes())["epochs"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return 0


def copied(tensor: Tensor) -> Tensor:
    """On the CPU, contiguous, and nobody else's."""
    return tensor.detach().to("cpu", copy=True).contiguous()
