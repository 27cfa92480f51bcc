"""Importing the package, asking for help, and building the page of 1,000 entries."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.invented import records

REPEATS = 5
PROCESSES = {
    "python -c pass": ("-c", "pass"),
    "import ddranking": ("-c", "import ddranking"),
    "ddranking --help": ("-m", "ddranking", "--help"),
    "ddranking list tracks": ("-m", "ddranking", "list", "tracks"),
}
ENTRIES = 1000


def measure() -> list[dict[str, float | int | str]]:
    """Milliseconds of wall time; of processes from their start to their end."""
    rows = [
        _row(name, [_process(words) for _ in range(REPEATS)]) for name, words in PROCESSES.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        home, site = Path(folder) / "records", Path(folder) / "site"
        for number, record in enumerate(records(ENTRIES)):
            record.save(home / f"{number}.json")
        words = ("-m", "ddranking", "board", "build", str(home), "--out", str(site))
        rows.append(_row(f"ddranking board build, {ENTRIES:,} entries", [_process(words)]))
    return rows


def _process(words: tuple[str, ...]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return 1000 * (time.perf_counter() - begun)


def _row(name: str, times: list[float]) -> dict[str, float | int | str]:
    return {"what": name, "ms": median(times), "best": min(times), "n": len(times)}
