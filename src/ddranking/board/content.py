"""What the page holds: boards and entries as plain JSON values, small and bounded.

Per-seed values go in, estimates do not: the page computes scores, intervals, ties and ranks for any
w from them. Whatever several entries share (recipes, environments) is written once. Texts of
records are cut to a length and freed of control characters; the page inserts them as text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ddranking.board.ranking import LEVEL, Board, Row, entry_id, recipe_as_released
from ddranking.board.reported import reported_tables
from ddranking.board.unified import unified_recipe
from ddranking.errors import Skipped
from ddranking.protocol.recipe import Recipe
from ddranking.protocol.track import Track
from ddranking.scoring.derivation import RealHard
from ddranking.scoring.marks import Verification
from ddranking.scoring.observation import Environment
from ddranking.scoring.record import Record

LONG, SHORT = 2000, 200
SHOWN = {"L", "M", "N", "P", "S", "Z"}
"""Unicode classes that a reader can see; control and direction-changing characters are dropped."""


def content(
    boards: Sequence[Board],
    pictures: Mapping[str, str],
    files: Mapping[str, str],
    skipped: Sequence[Skipped] = (),
) -> dict[str, Any]:
    """Everything the page shows.

    Args:
        boards: as :func:`ddranking.board.ranking.rank` made them, at any w.
        pictures: row id to the address of its picture, a data URI or a relative path.
        files: row id to the relative path of its record.
        skipped: files that did not validate, for the footer.
    """
    shared = Shared()
    shown = [_board(board, shared, pictures, files) for board in boards]
    return {
        "level": LEVEL,
        "boards": shown,
        "recipes": shared.recipes,
        "shared": shared.values,
        "reported": [table.model_dump(mode="json") for table in reported_tables()],
        "skipped": [{"file": tidy(s.file), "reason": tidy(s.reason)} for s in skipped],
    }


class Shared:
    """Values that several entries hold, each written once and named by its index."""

    def __init__(self) -> None:
        self.recipes: list[dict[str, Any]] = []
        self.values: list[Any] = []
        self._recipes: dict[str, int] = {}
        self._known: dict[str, int] = {}

    def recipe(self, recipe: Recipe, track: Track) -> int:
        """The index of a recipe, by its name and content, among :attr:`recipes`.

        Its texts are the released recipe's where it is that one on ``track``.
        """
        key = f"{recipe.id} {recipe.hash}"
        if key not in self._recipes:
            self._recipes[key] = len(self.recipes)
            self.recipes.append(_recipe(recipe_as_released(recipe, track)))
        return self._recipes[key]

    def index(self, value: Any) -> int:
        """The index of ``value``, which is appended where it is new."""
        known = json.dumps(value, sort_keys=True)
        if known not in self._known:
            self._known[known] = len(self.values)
            self.values.append(value)
        return self._known[known]


@lru_cache(4096)  # most records repeat the texts of others
def tidy(text: str, limit: int = LONG) -> str:
    """``text`` without characters that cannot be seen, on one line, at most ``limit`` long.

    >>> tidy("A\\u202eB\\n  C", 4)
    'AB …'
    """
    spaced = (" " if c.isspace() else c for c in text[: 4 * limit])
    line = "".join(c for c in spaced if unicodedata.category(c)[0] in SHOWN)
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _board(
    board: Board, shared: Shared, pictures: Mapping[str, str], files: Mapping[str, str]
) -> dict[str, Any]:
    track, unified = board.track, unified_recipe(board)
    return {
        "id": board.id,
        "track": {
            "id": track.id,
            "title": tidy(track_title(track), SHORT),
            "dataset": tidy(track.dataset, SHORT),
            "ipc": track.ipc,
            "student": tidy(track.student, SHORT),
            "seeds": track.seeds,
            "validation": track.validation_size,
            "selection": track.selection,
            "hash": track.hash,
            "custom": track.custom,
            "hard": rules(track.hard),
            "whole": rules(track.whole),
        },
        "dataset": {"title": tidy(board.dataset.title, SHORT), "digest": board.dataset.digest},
        "reference": None if board.reference is None else _real(board.reference),
        "unified": None if unified is None else shared.recipe(unified, track),
        "judged": {"w": board.w, "apart": sum(row.lowest - 1 for row in board.rows)},
        "entries": [
            _told(
                {
                    **_entry(row.record, shared),
                    **_standing(row),
                    "id": row.id,
                    "file": files.get(row.id),
                    "picture": pictures.get(row.id),
                }
            )
            for row in board.rows
        ],
        "invalidated": [
            _invalidated(record, files.get(invalidated_id(board, number)))
            for number, record in enumerate(board.invalidated)
        ],
    }


def _told(entry: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that say nothing: the page holds a thousand entries."""
    return {
        name: value
        for name, value in entry.items()
        if value is not None and value is not False and value not in ("", [])
    }


def track_title(track: Track) -> str:
    """The title of a track, or its id; older records say "1 images per class"."""
    return re.sub(r"\b1 images\b", "1 image", track.title or track.id)


def _standing(row: Row) -> dict[str, Any]:
    """What the page takes from Python because it does not change with w."""
    return {
        "best": row.best,
        "worst": row.worst,
        "front": row.on_front,
        "tie": row.tie,
        "custom": row.custom_recipe,
    }


def _entry(record: Record, shared: Shared) -> dict[str, Any]:
    """The card, accuracies and provenance of one record; HLR and IOR follow from accuracies."""
    card = record.entry
    return {
        "method": tidy(card.method, SHORT),
        "authors": card.authors and tidy(card.authors),
        "paper": card.paper,
        "code": card.code,
        "licence": card.licence and tidy(card.licence, SHORT),
        "digest": card.digest,
        "space": shared.index(tidy(phrase(card.space), SHORT)),
        "softLabels": card.soft_label_kind,
        "recipe": shared.recipe(record.recipe, record.track),
        "unified": None if record.unified is None else shared.recipe(record.unified, record.track),
        "real": shared.index(_real(record.real_hard)),
        "accuracy": {arm: seen.values for arm, seen in record.accuracy.items()},
        "selection": {
            arm: {"selected": chosen.selected}
            if chosen.mean_validation is None
            else {
                "selected": chosen.selected,
                "rates": chosen.rates,
                "validation": [round(value, 6) for value in chosen.mean_validation],
                **({} if chosen.seeds is None else {"seeds": chosen.seeds}),
            }
            for arm, chosen in record.selection.items()
        },
        "environments": _environments((seen.environment for seen in record.observations), shared),
        "trainings": len(record.observations),
        "seconds": round(sum(seen.seconds for seen in record.observations)),
        "diverged": sum(seen.outcome.diverged for seen in record.observations),
        "trust": record.trust,
        **_verified(record.verification, shared),
        "notes": [tidy(note) for note in record.notes[:20]],
        "created": tidy(record.created, 40),
        "implementation": record.implementation,
    }


def _real(real: RealHard) -> dict[str, Any]:
    return {"kind": real.kind, "accuracies": real.accuracies, "source": tidy(real.source)}


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {
        "id": recipe.id,
        "name": recipe.name,
        "title": tidy(recipe.title, SHORT),
        "source": tidy(recipe.source),
        "differs": [tidy(text) for text in recipe.differs_from_source[:20]],
        "labels": "hard" if recipe.training.labels.kind == "hard" else "soft",
        "rules": rules(recipe.training),
    }


def rules(training: Any) -> dict[str, str]:
    """Training rules as short texts by name, e.g. ``optimizer: sgd (momentum 0.9, ...)``."""
    return {
        name.replace("_", " "): tidy(phrase(value), 400)
        for name, value in training.model_dump(mode="json").items()
    }


def phrase(value: Any, depth: int = 0) -> str:
    """A rule in words: ``{'kind': 'step', 'factor': 0.1}`` reads ``step (factor 0.1)``.

    >>> phrase([{"kind": "dsa", "flip": 0.5}]), phrase([]), phrase([0.1, 0.01])
    ('dsa (flip 0.5)', 'none', '0.1, 0.01')
    """
    if depth > 6:
        return "…"
    if isinstance(value, dict):
        rest = [
            f"{name.replace('_', ' ')} {phrase(inner, depth + 1)}"
            for name, inner in value.items()
            if name != "kind"
        ]
        kind = str(value.get("kind", ""))
        return f"{kind} ({', '.join(rest)})".strip() if rest else kind
    if isinstance(value, list | tuple):
        return ", ".join(phrase(item, depth + 1) for item in value[:1000]) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _verified(mark: Verification | None, shared: Shared) -> dict[str, Any]:
    """Who trained a record again, when, where, and how each arm came out; nothing without it."""
    if mark is None:
        return {}
    return {
        "verified": {
            "by": tidy(mark.by, SHORT),
            "date": mark.date,
            "margin": mark.margin,
            "environments": _environments(mark.environments, shared),
            "arms": {
                tidy(arm, SHORT): {
                    "seeds": rerun.seeds[:1000],
                    "mean": rerun.difference.mean,
                    "low": rerun.difference.low,
                    "high": rerun.difference.high,
                }
                for arm, rerun in mark.arms.items()
            },
        }
    }


def _environments(seen: Iterable[Environment], shared: Shared) -> list[int]:
    """Indices of the distinct environments of a record, ten at most."""
    return [
        shared.index(
            {
                name: None if value is None else tidy(str(value), SHORT)
                for name, value in environment.model_dump(mode="json").items()
            }
        )
        for environment in list(dict.fromkeys({id(one): one for one in seen}.values()))[:10]
    ]


def invalidated_id(board: Board, number: int) -> str:
    """The id of a board's invalidated record: several may be of the same entry."""
    return f"{entry_id(board.invalidated[number])}-invalidated-{number + 1}"


def _invalidated(record: Record, file: str | None) -> dict[str, Any]:
    mark = record.invalidated
    assert mark is not None, "only invalidated records come here"
    return {
        "method": tidy(record.entry.method, SHORT),
        "recipe": record.recipe.id,
        "reason": tidy(mark.reason),
        "date": mark.date,
        "by": tidy(mark.by),
        "file": file,
    }
