"""Runs benchmarks by name and prints a table of each.

    uv run python -m benchmarks page           the page of up to 1,000 entries in Chromium
    uv run python -m benchmarks start page --json times.json
    uv run python -m benchmarks training --rounds 5 --json training.json

Times are of this machine; they say little while it does something else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import (
    circumstances,
    group,
    options,
    page,
    precision,
    profile,
    published,
    roofline,
    scaling,
    score,
    selection,
    start,
    training,
    workers,
)
from benchmarks.options import Options
from benchmarks.report import Report, machine
from ddranking.errors import DDRankingError

BUSY = 0.7
"""Load average at which other programs take a part of the cores."""

Row = dict[str, float | int | str]

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "page": page.measure,
    "start": start.measure,
}

WITH_OPTIONS: dict[str, Callable[[Options], Report]] = {
    "circumstances": circumstances.measure,
    "group": group.measure,
    "precision": precision.measure,
    "profile": profile.measure,
    "published": published.measure,
    "roofline": roofline.measure,
    "scaling": scaling.measure,
    "score": score.measure,
    "selection": selection.measure,
    "training": training.measure,
    "workers": workers.measure,
}
"""Benchmarks that take options and say what their numbers rest on."""


def show(name: str, rows: Sequence[Mapping[str, float | int | str]]) -> Table:
    """Rows as a table for the terminal; every row has the same keys."""
    table = Table(title=name, title_justify="left")
    for column in rows[0] if rows else ():
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(_cell(value) for value in row.values()))
    return table


def _cell(value: float | int | str) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def markdown(rows: Sequence[Mapping[str, float | int | str]]) -> str:
    """Rows as a table for a page of the documentation."""
    lines = [tuple(rows[0]), ("---",) * len(rows[0])] if rows else []
    lines += [tuple(_cell(value) for value in row.values()) for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def tell(report: Report, console: Console, page: bool) -> None:
    """Prints the tables of a report, for a page or for the terminal, and what they rest on."""
    for title, rows in report.tables.items():
        if page:
            print(f"\n{title}\n\n{markdown(rows)}\n")
        else:
            console.print(show(title, rows))
    for note in report.notes:
        console.print(note, highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="+", choices=sorted(BENCHMARKS | WITH_OPTIONS))
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    options.add(parser)
    given = parser.parse_args()
    console = Console(width=120 if not Console().is_terminal else None)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    found: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, load {load:.1f} at the start"
    }
    print(found["machine"])
    if load > BUSY:
        print("The machine is busy: times are too long, and most so of what uses several threads.")
    for name in given.names:
        if name in WITH_OPTIONS:
            try:
                report = WITH_OPTIONS[name](options.read(given))
            except DDRankingError as error:
                raise SystemExit(str(error)) from None
            found[name] = {"where": machine(given.device), "load": load, **asdict(report)}
            tell(report, console, given.markdown)
            continue
        rows = BENCHMARKS[name]()
        found[name] = rows
        console.print(show(name, rows))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"Wrote {given.json}")


if __name__ == "__main__":
    main()
