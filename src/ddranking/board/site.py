"""The page: one self-contained ``index.html``, the records beside it, and a Hub Space's README."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from rich import box
from rich.table import Table
from rich.text import Text

from ddranking.board.content import content, invalidated_id, track_title
from ddranking.board.ranking import Board, rank
from ddranking.errors import BadInput, Skipped, printable
from ddranking.files import write_whole
from ddranking.scoring.record import Record
from ddranking.scoring.statistics import Estimate

SCRIPTS = ("statistics.js", "elements.js", "charts.js", "table.js", "detail.js", "page.js")
PAGE_BYTES = 300_000
"""Pictures are part of the page while it stays under this; the others are files beside it."""

PNG = b"\x89PNG\r\n\x1a\n"


def build(records: Sequence[Record], out: Path, *, skipped: Sequence[Skipped] = ()) -> Path:
    """Writes the page for ``records`` into the folder ``out``.

    ``out/index.html`` opens from disk and from any static host and asks no other host for
    anything; ``out/records`` holds each record as JSON; ``out/README.md`` makes the folder a
    static Space on the Hugging Face Hub. The same records give the same bytes.

    Args:
        records: of any number of tracks.
        out: made if it does not exist; files of other names in it are left alone.
        skipped: files that were no valid records, for the page's footer.

    Returns:
        the path of ``index.html``.

    Raises:
        BadInput: the folder cannot be written to, or the disk is full.
    """
    boards = rank(records)
    named = [(row.id, row.record) for board in boards for row in board.rows]
    named += [
        (invalidated_id(board, number), record)
        for board in boards
        for number, record in enumerate(board.invalidated)
    ]
    files = {name: f"records/{slug(record, name)}.json" for name, record in named}
    shown = {row.id: row.record.picture for board in boards for row in board.rows}
    decoded = {name: data for name, given in shown.items() if (data := _png(given)) is not None}
    beside = {name: files[name].removesuffix(".json") + ".png" for name in decoded}
    bare = page(content(boards, beside, files, skipped))
    inside = embedded(decoded, beside, PAGE_BYTES - len(bare.encode()))
    written: dict[str, bytes] = {files[name]: record.to_line().encode() for name, record in named}
    written |= {beside[name]: data for name, data in decoded.items() if name not in inside}
    written["README.md"] = _asset("space.md").encode()
    whole = page(content(boards, beside | inside, files, skipped)) if inside else bare
    written["index.html"] = whole.encode()
    for name, data in written.items():
        _write(Path(out) / name, data)
    return Path(out) / "index.html"


def embedded(pictures: Mapping[str, bytes], beside: Mapping[str, str], room: int) -> dict[str, str]:
    """The pictures that become part of the page, as data URIs, in order while there is room.

    Args:
        pictures: row id to PNG, the first ones first: boards in their order, rows by rank.
        beside: row id to the path that the page has where a picture is a file.
        room: bytes by which the page with all pictures beside it may grow.
    """
    inside = {}
    for name, data in pictures.items():
        address = "data:image/png;base64," + base64.b64encode(data).decode()
        if (growth := len(address) - len(beside[name])) < room:
            inside[name] = address
            room -= growth
    return inside


def page(data: dict[str, Any]) -> str:
    """The page's HTML, with style, scripts and data inside and hashes of them in its policy."""
    style, scripts = _asset("style.css"), [_asset(name) for name in SCRIPTS]
    policy = (
        "default-src 'none'; "
        f"script-src {' '.join(_source(script) for script in scripts)}; "
        f"style-src {_source(style)}; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'"
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(_asset("index.html")).render(
        policy=policy, style=style, scripts=scripts, data=as_script(data)
    )


def as_script(data: Any) -> str:
    """JSON that is safe inside a ``<script>`` element: nothing in it can end the element.

    >>> as_script({"method": "</script><b>"})
    '{"method":"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e"}'
    """
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def slug(record: Record, name: str) -> str:
    """A file name from the method, track, recipe and row id; letters, digits and hyphens only."""
    words = f"{record.entry.method}-{record.track.name}-{record.recipe.name}".lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:80] + f"-{name}"


def text_table(board: Board) -> Table:
    """A board as a table for the terminal: ranks, scores and percentages with their intervals."""
    track = board.track
    table = Table(
        title=Text(f"{printable(track_title(track))}   w = {board.w:g}, {track.seeds} seeds"),
        caption=Text(
            "Ranks: those that the seeds allow (paired, Holm-adjusted, 5 %). HLR: lower is better; "
            "IOR: higher. Brackets and ±: 95 % intervals over seeds."
        ),
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,  # narrow: a terminal may have 80 columns
    )
    table.add_column("Rank", justify="right")
    table.add_column("Ranks", justify="center")
    table.add_column("Entry", overflow="fold")
    for name in ("DDRS", "HLR %", "IOR %"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in board.rows:
        marks = [row.record.recipe.name + (" custom" if row.custom_recipe else "")]
        if row.record.real_hard.kind == "reported":
            marks.append("whole set reported")
        table.add_row(
            str(row.place),
            row.ranks,
            Text(printable(f"{row.record.entry.method} ({', '.join(marks)})")),
            f"{row.ddrs.mean:.3f} [{row.ddrs.low:.3f}, {row.ddrs.high:.3f}]",
            _percent(row.hlr),
            _percent(row.ior),
        )
    return table


def _percent(value: Estimate) -> str:
    return f"{100 * value.mean:.1f} ± {50 * (value.high - value.low):.1f}"


def _png(picture: str | None) -> bytes | None:
    """The bytes of a record's picture where they are a PNG."""
    if not picture:
        return None
    try:
        data = base64.b64decode(picture, validate=True)
    except ValueError:
        return None
    return data if data.startswith(PNG) else None


def _asset(name: str) -> str:
    return (resources.files("ddranking.board") / "site" / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _write(file: Path, data: bytes) -> None:
    """A file that has this content already stays: most records of a board built anew do."""
    try:
        if file.is_file() and file.stat().st_size == len(data) and file.read_bytes() == data:
            return
        write_whole(file, data, flush=False)
    except OSError as error:
        raise BadInput(
            f"page {file}",
            expected="a folder to write to",
            got=error.strerror or str(error),
            hint="Give another folder with --out.",
        ) from None
