"""Importing the package, asking for help, and judging 1,000 entries from their files.

Wall time is what a person waits for; processor time says the same on a machine that is busy.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.invented import records

REPEATS = 5
PROCESSES = {
    "python -c pass": ("-c", "pass"),
    "import ddranking": ("-c", "import ddranking"),
    "ddranking --help": ("-m", "ddranking", "--help"),
    "ddranking list tracks": ("-m", "ddranking", "list", "tracks"),
}
ENTRIES = 1000
BUILDS = 3


class Taken(NamedTuple):
    """Milliseconds of one process from its start to its end."""

    wall: float
    processor: float


def measure() -> list[dict[str, float | int | str]]:
    """Milliseconds of each process; the records' files are in memory after the first round."""
    rows = [
        _row(name, [_process(words) for _ in range(REPEATS)]) for name, words in PROCESSES.items()
    ]
    rows.append(_row(f"ranking and page of {ENTRIES:,} records in memory", _pages()))
    with tempfile.TemporaryDirectory() as folder:
        home, site = Path(folder) / "records", Path(folder) / "site"
        for number, record in enumerate(records(ENTRIES)):
            record.save(home / f"{number}.json")
        size = sum(file.stat().st_size for file in home.iterdir()) / 1e6
        what = f"{ENTRIES:,} records, {size:.0f} MB of JSON"
        build = ("-m", "ddranking", "board", "build", str(home), "--out", str(site))
        new = []
        for _ in range(BUILDS):
            shutil.rmtree(site, ignore_errors=True)
            new.append(_process(build))
        rows.append(_row(f"ddranking board build, {what}", new))
        again = [_process(build) for _ in range(BUILDS)]
        rows.append(_row(f"ddranking board build again, {what}", again))
        check = ("-m", "ddranking", "board", "check", str(home))
        rows.append(
            _row(f"ddranking board check, {what}", [_process(check) for _ in range(BUILDS)])
        )
    return rows


def _pages() -> list[Taken]:
    """Ranks records that are read already and writes the page and the records beside it."""
    from ddranking.board.site import build

    made, taken = records(ENTRIES), []
    for _ in range(BUILDS):
        with tempfile.TemporaryDirectory() as folder:
            begun, before = time.perf_counter(), time.process_time()
            build(made, Path(folder))
            wall, used = time.perf_counter() - begun, time.process_time() - before
        taken.append(Taken(1000 * wall, 1000 * used))
    return taken


def _process(words: tuple[str, ...]) -> Taken:
    begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Taken(1000 * wall, 1000 * used)


def _row(name: str, times: list[Taken]) -> dict[str, float | int | str]:
    walls, used = [one.wall for one in times], [one.processor for one in times]
    return {
        "what": name,
        "ms": median(walls),
        "best": min(walls),
        "processor ms": median(used),
        "n": len(times),
    }
