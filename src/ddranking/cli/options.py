"""What options of several commands share."""

from __future__ import annotations

from typing import Any

from cyclopts import Parameter, Token


def _whole(_: Any, tokens: tuple[Token, ...]) -> int:
    """A whole number, written as one: the parser by itself would round 1.5 to 2."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is not a whole number") from None


WHOLE = Parameter(converter=_whole)
