"""One finding of the doctor: what was looked at, what it says, and what fixes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        severity: ``wrong`` where the card or the data is; ``note`` for what a person should know.
        subject: what was looked at, in a word or two.
        text: one sentence.
        evidence: the numbers behind it.
        fix: the flag of ``ddranking pack`` (or the step) that puts it right; empty for ``ok``.
    """

    severity: Severity
    subject: str
    text: str
    evidence: dict[str, Any] = field(default_factory=dict)
    fix: str = ""
