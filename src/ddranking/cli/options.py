"""What options of several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cyclopts import Parameter, Token


def _whole(_: Any, tokens: tuple[Token, ...]) -> int:
    """A whole number, written as one: the parser by itself would round 1.5 to 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


def _place(_: Any, tokens: tuple[Token, ...]) -> Path:
    """A folder by name: an empty one, from a variable that is not set, would mean this folder."""
    if not tokens[0].value:
        raise ValueError("an empty name, where that of a folder is expected")
    return Path(tokens[0].value)


WHOLE = Parameter(converter=_whole)
PLACE = Parameter(converter=_place)
