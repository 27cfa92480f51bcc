"""Runs benchmarks by name and prints a table of each.

    uv run python -m benchmarks page           the page of up to 1,000 entries in Chromium
    uv run python -m benchmarks start page --json times.json

Times are milliseconds on this machine; they say little while it does something else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import page, start

Row = dict[str, float | int | str]

BENCHMARKS: dict[str, Callable[[], list[Row]]] = {
    "page": page.measure,
    "start": start.measure,
}


def show(name: str, rows: list[Row]) -> Table:
    """Rows as a table for the terminal; every row has the same keys."""
    table = Table(title=name, title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row.values()))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="+", choices=sorted(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    found: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, load {load:.1f} at the start"
    }
    print(found["machine"])
    for name in given.names:
        rows = BENCHMARKS[name]()
        found[name] = rows
        Console(width=120 if not Console().is_terminal else None).print(show(name, rows))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"Wrote {given.json}")


if __name__ == "__main__":
    main()
