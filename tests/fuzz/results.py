"""When each reader was last fuzzed, for how long, with what result: a JSON file, and its table.

``python -m tests.fuzz.results [LOG...] [--commit HASH] [--date DAY]`` puts the lines that
``python -m tests.fuzz`` printed (in files, or ``-`` for standard input) into ``results.json``, and
the table of that file into ``SECURITY.md``. Readers that no line names keep what they had.

``--check`` changes nothing, and ends with 1 where a reader has not had its time or something was
found in it: no release before that.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from importlib.metadata import distributions, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(__file__).with_name("results.json")
PAGE = ROOT / "SECURITY.md"
BEGIN, END = "<!-- fuzzed: python -m tests.fuzz.results -->\n", "<!-- end -->"
LIBRARIES = ("atheris", "numpy", "pillow", "pyarrow", "pydantic", "pyyaml", "safetensors", "torch")
SECONDS = 600
"""Of processor time that every reader is fuzzed for before a release."""

LINE = re.compile(r"([\w-]+): (\d+) s of processor time, (\d+|\?) inputs, (ok|FOUND|did not run)\b")


@dataclass(frozen=True)
class Fuzzed:
    """What fuzzing one reader gave.

    Attributes:
        seconds: of processor time.
        inputs: how many were read; None where the run ended before it could say.
        result: ``ok``, ``FOUND`` or ``did not run``.
    """

    seconds: int
    inputs: int | None
    result: str

    def line(self, reader: str) -> str:
        """What a person is told; :func:`read_lines` reads it back."""
        inputs = "?" if self.inputs is None else self.inputs
        return f"{reader}: {self.seconds} s of processor time, {inputs} inputs, {self.result}"


@dataclass(frozen=True)
class Run:
    """What one run of the fuzzer was of: its day, the commit and the versions it read with."""

    date: str
    commit: str | None
    versions: Mapping[str, str]


def this_run(commit: str | None = None, day: str | None = None) -> Run:
    """The run of today, this checkout and these libraries, but for what is said."""
    versions = {"python": platform.python_version(), "ddranking": version("ddranking")}
    installed = {each.name.lower() for each in distributions()}
    versions |= {name: version(name) for name in LIBRARIES if name in installed}
    return Run(day or datetime.now(UTC).date().isoformat(), commit or _commit(), versions)


def _commit() -> str | None:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, check=True, capture_output=True, timeout=10, text=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def read_lines(lines: Iterable[str]) -> dict[str, Fuzzed]:
    """The results in what the fuzzer printed; of a reader that stands twice, the last."""
    found = (LINE.match(line) for line in lines)
    return {
        match[1]: Fuzzed(int(match[2]), None if match[3] == "?" else int(match[3]), match[4])
        for match in found
        if match
    }


def save(file: Path, results: Mapping[str, Fuzzed], run: Run) -> None:
    """Puts results into a file; what it had of other readers stays. One line a reader."""
    kept = load(file) | {name: asdict(each) | asdict(run) for name, each in results.items()}
    lines = (f"{json.dumps(name)}: {json.dumps(kept[name])}" for name in sorted(kept))
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def load(file: Path) -> dict[str, dict]:
    """By reader: seconds, inputs, result, date, commit and versions; nothing without a file."""
    return json.loads(file.read_text()) if file.exists() else {}


def owing(results: Mapping[str, Mapping], readers: Iterable[str]) -> list[str]:
    """What stands between the readers and a release: a line for each that is not ready."""
    lines = []
    for name in readers:
        seen = results.get(name, {"seconds": 0, "result": "did not run"})
        if seen["result"] != "ok" or seen["seconds"] < SECONDS:
            lines.append(f"{name}: {seen['seconds']} of {SECONDS} s, {seen['result']}")
    return lines


def table(results: Mapping[str, Mapping], readers: Iterable[str]) -> str:
    """A Markdown row for each reader; one that was never fuzzed says so."""
    rows = ["| reader | fuzzed on | processor time | inputs | result |", "|---|---|---|---|---|"]
    for name in readers:
        seen = results.get(name)
        if seen is None:
            rows.append(f"| {name} | not yet | | | |")
            continue
        inputs = "" if seen["inputs"] is None else f"{seen['inputs']:,}"
        rows.append(
            f"| {name} | {seen['date']} | {seen['seconds']} s | {inputs} | {seen['result']} |"
        )
    return "\n".join(rows) + "\n"


def with_table(page: str, rows: str) -> str:
    """A page whose table between the two marks is ``rows``."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"a page with {BEGIN.strip()} and {END}")
    return before + begin + rows + end + after


def main(arguments: list[str]) -> int:
    from tests.fuzz.readers import READERS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.results", description=__doc__)
    parser.add_argument("logs", nargs="*", metavar="LOG")
    parser.add_argument("--commit", help="commit that was fuzzed; this checkout's by default")
    parser.add_argument(
        "--date", type=date.fromisoformat, help="day it was fuzzed; today by default"
    )
    parser.add_argument("--check", action="store_true", help="whether a release may be made")
    said = parser.parse_args(arguments)
    if said.check:
        lines = owing(load(FILE), READERS)
        print("\n".join(lines) or f"every reader was fuzzed for {SECONDS} s, and nothing was found")
        return bool(lines)
    texts = [sys.stdin.read() if log == "-" else Path(log).read_text() for log in said.logs]
    results = read_lines(line for text in texts for line in text.splitlines())
    unknown = sorted(results.keys() - READERS.keys())
    if unknown or (texts and not results):
        got = f"unknown readers: {', '.join(unknown)}" if unknown else "no such line"
        print(f"expected lines as {Fuzzed(600, 12345, 'ok').line('recipe')!r}, got {got}")
        return 2
    if results:
        save(FILE, results, this_run(said.commit, said.date and said.date.isoformat()))
    PAGE.write_text(with_table(PAGE.read_text(), table(load(FILE), READERS)))
    print(f"{len(results)} readers into {FILE.name}; table in {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
