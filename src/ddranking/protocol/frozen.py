"""What every rule is made of: immutable values, and numbers with ranges."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from ddranking.protocol.canonical import canonical_json


class Frozen(BaseModel):
    """An immutable value with no unknown fields and no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, without what was derived from the fields and kept: it has its own."""
        copy = super().model_copy(update=update, deep=deep)
        for name in vars(copy).keys() - type(self).model_fields.keys():
            del vars(copy)[name]
        return copy

    @cached_property
    def canonical(self) -> bytes:
        """The canonical JSON, which content hashes are made of."""
        return canonical_json(self.model_dump(mode="json"))


Rate = Annotated[float, Field(gt=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
