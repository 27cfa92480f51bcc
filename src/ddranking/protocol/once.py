"""Values that many files repeat: validated once, and one object in memory.

Every observation of every record holds its training's rules. A thousand records name the same few.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import ValidationInfo, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import to_json

from ddranking.protocol.frozen import Frozen

KEPT = 1024
LONGEST = 16_384
"""So many values of a kind are kept, none longer than so many bytes of JSON."""


def once(kind: type[Frozen]) -> WrapValidator:
    """For a field of ``kind``: equal JSON gives the same immutable object.

    Read from JSON such a field is always strict. What comes as Python values is validated as usual.
    """

    def read(text: bytes) -> Frozen:
        return kind.model_validate_json(text, strict=True)

    kept = lru_cache(KEPT)(read)

    def validate(value: Any, usual: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if info.mode != "json":
            return usual(value)
        text = to_json(value)
        return kept(text) if len(text) <= LONGEST else read(text)

    return WrapValidator(validate)
