"""Every error a user can cause, in one tree. Each says what, expected, got, and what to do next.

    DDRankingError
      BadInput                 the command line ends with exit code 2 and this one line
        ValueOutOfRange        a number outside its range (also a ValueError)
        UnknownName            a name that no table holds; the closest one is offered (LookupError)
        BadFile                missing, truncated, unsafe or malformed file
        BadDistilledSet        pixels, labels or card of a distilled set that cannot be scored
        BadProtocol            a recipe or track that does not validate, or does not fit the data
        MissingData            a dataset that is not where it was looked for
        MissingReference       an accuracy that has to be measured or given before scoring
        StoreUnusable          a store that cannot be read or written, a full disk
        MissingExtra           an optional dependency that is not installed

Where many files are given, one that cannot be used may be :class:`Skipped` instead.

This module imports nothing but the standard library.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

LONGEST = 600
"""Characters of each part of a message."""

MOST_FAULTS = 1000
"""So many faults of one file are looked at; see :func:`first_fault`."""


class DDRankingError(Exception):
    """The root of the tree; catch it to catch everything this package raises on purpose."""


class BadInput(DDRankingError):
    """Something the user gave cannot be used.

    Args:
        what: the argument, file or field that is wrong.
        expected: what would have been right.
        got: what came instead.
        hint: what to do next, as one imperative sentence.

    The message is always a single line: ``what: expected ..., got .... hint``. Each part is cut
    where it is long: it may quote a file that nobody vouches for.
    """

    def __init__(self, what: str, *, expected: str = "", got: str = "", hint: str = "") -> None:
        what, expected, got, hint = (_cut(part) for part in (what, expected, got, hint))
        self.what, self.expected, self.got, self.hint = what, expected, got, hint
        middle = ", ".join(
            part for part in (expected and f"expected {expected}", got and f"got {got}") if part
        )
        message = f"{what}: {middle}" if middle else what
        if hint:
            message = f"{message.rstrip('.')}. {hint}"
        # File names and contents are quoted here: no control character may reach the terminal.
        super().__init__(printable(" ".join(message.split()), " "))

    def __reduce__(self):
        return (_rebuild, (type(self), self.what, self.expected, self.got, self.hint))


def printable(text: object, instead: str = "?") -> str:
    """Text out of a stranger's file for a terminal: one line, ``instead`` of control characters."""
    return "".join(each if each.isprintable() else instead for each in str(text))


def first_fault(error: ValidationError) -> ErrorDetails:
    """The first fault that pydantic found.

    It tells all of them or none, about 2 KB each. So of a file with more than ``MOST_FAULTS`` only
    their number is told.
    """
    faults = error.error_count()
    if faults <= MOST_FAULTS:
        return error.errors(include_url=False)[0]
    return {
        "type": "too_many",
        "loc": (),
        "msg": f"at most {MOST_FAULTS:,} faults",
        "input": f"{faults:,} faults",
    }


def _cut(text: str) -> str:
    """Text without its middle where it is longer than ``LONGEST`` characters."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


def _rebuild(kind: type[BadInput], what: str, expected: str, got: str, hint: str) -> BadInput:
    """Errors cross process borders (worker to parent), so they must survive pickling."""
    error = kind.__new__(kind)
    BadInput.__init__(error, what, expected=expected, got=got, hint=hint)
    return error


class ValueOutOfRange(BadInput, ValueError):
    """A number outside the range that its meaning allows."""


class UnknownName(BadInput, LookupError):
    """A name that is not in its table. Lists the right ones and offers the closest.

    >>> raise UnknownName("recipe", "dcc", ["dc", "dsa"])
    Traceback (most recent call last):
    ...
    ddranking.errors.UnknownName: recipe: expected one of dc, dsa, got 'dcc'. Did you mean 'dc'?
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        names = sorted(known)
        close = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.4)
        shown = ", ".join(names[:24]) + (", ..." if len(names) > 24 else "")
        suggestion = f"Did you mean {close[0]!r}?" if close else ""
        super().__init__(
            kind,
            expected=f"one of {shown}",
            got=repr(name),
            hint=" ".join(part for part in (suggestion, hint) if part),
        )


class BadFile(BadInput):
    """A file that is missing, truncated, unsafe to open, or not of the expected format."""


class BadDistilledSet(BadInput):
    """Images, labels or card of a distilled set that cannot be scored as they are."""


class BadProtocol(BadInput):
    """A recipe, track or override that does not validate or does not fit the data."""


class MissingData(BadInput):
    """A dataset that is not where it was looked for."""


class MissingReference(BadInput):
    """An accuracy that a score needs and that nobody has measured or given."""


class StoreUnusable(BadInput):
    """A store that cannot be read from or written to."""


class MissingExtra(BadInput):
    """An optional dependency that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            purpose,
            expected=f"the package {package}",
            got="it is not installed",
            hint=f"Run: pip install 'ddranking[{extra}]'",
        )


class Skipped(NamedTuple):
    """One of many files, left out of the work because it cannot be used: why, in one line."""

    file: str
    reason: str
