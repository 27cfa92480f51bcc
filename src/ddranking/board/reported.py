"""Scores from the literature: shown apart from measured ones, never ranked or tied with them."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import Field

from ddranking.protocol.rules import Frozen
from ddranking.scoring import metrics

Difference = Annotated[float, Field(ge=-1, le=1, strict=True)]


class Reported(Frozen):
    """One published score: HLR and IOR as fractions, without seeds and so without intervals."""

    method: str
    labels: Literal["hard", "soft"]
    ipc: Annotated[int, Field(ge=1)]
    hlr: Difference
    ior: Difference

    def ddrs(self, w: float = 0.5) -> float:
        """The score at weight ``w``, in [0, 1]."""
        return metrics.ddrs(metrics.alpha(self.hlr, self.ior, w))


class ReportedTable(Frozen):
    """The rows of one source for one dataset."""

    source: str
    link: Annotated[str, Field(pattern=r"^https://")]
    dataset: str
    rows: tuple[Reported, ...]


@cache
def reported_tables() -> tuple[ReportedTable, ...]:
    """The tables of ``reported.yaml``, validated."""
    text = (resources.files("ddranking.board") / "reported.yaml").read_text(encoding="utf-8")
    return tuple(ReportedTable.model_validate(table) for table in yaml.safe_load(text)["tables"])
