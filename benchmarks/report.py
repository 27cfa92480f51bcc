"""What a benchmark gives: tables for people, what they rest on, and every raw number for a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ddranking.protocol.rules import Precision

Row = Mapping[str, float | int | str]


@dataclass(frozen=True)
class Report:
    """Tables by title, sentences on what the numbers rest on, and the numbers they come from."""

    tables: Mapping[str, Sequence[Row]]
    notes: Sequence[str] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)


def spread(values: Sequence[float], digits: int = 3) -> str:
    """The median and the range, as ``12.1 (11.8 to 12.9, n=3)``.

    >>> spread([1.0, 2.0, 4.0]), spread([1.0])
    ('2 (1 to 4, n=3)', '1 (n=1)')
    """
    if len(values) == 1:
        return f"{values[0]:.{digits}g} (n=1)"
    low, middle, high = (f"{v:.{digits}g}" for v in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high}, n={len(values)})"


def machine(device: str | None = None) -> dict[str, Any]:
    """Hardware, versions and commit of this run."""
    from ddranking.running.environment import environment
    from ddranking.running.local import cores, devices

    return {
        **environment(devices(device)[0]).model_dump(exclude={"threads"}),
        "cores": cores(),
        "amx": tiles(),
    }


def quick_precisions(device: str | None) -> tuple[Precision, ...]:
    """fp32, and bf16 where it is fast: on a GPU, or on a processor with tiles."""
    from ddranking.running.local import devices

    return ("fp32", "bf16") if devices(device)[0].type == "cuda" or tiles() else ("fp32",)


def tiles() -> bool:
    """Whether this processor multiplies bfloat16 on tiles (AMX)."""
    import torch

    return bool(torch.cpu._is_amx_tile_supported())
