"""Fuzzes readers with atheris: ``python -m tests.fuzz SECONDS [READER...]``, all by default.

Seconds are of processor time, for each reader. Each runs in a process of its own, with limits on
memory and on the time of one input. What is found is written into ``FINDINGS`` (a folder below the
temporary one), one file an input; put it into ``tests/fuzz/corpus/READER`` and mend the reader.
``--json FILE`` keeps the results, as ``tests/fuzz/results.py`` does. Needs the group ``fuzz``
(atheris). Exit code 1 where something was found, 2 where a reader was not fuzzed.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.fuzz.results import Fuzzed, save, this_run

FINDINGS = Path(tempfile.gettempdir()) / "ddranking-fuzz"
MEMORY_MB, INPUT_SECONDS = 3000, 20
READING, DONE = "reading inputs", "inputs read:"
"""What a child says before its first input, and at its end."""


def fuzz(name: str, seconds: int) -> None:
    """Fuzzes one reader in this process, and ends it."""
    import atheris

    with atheris.instrument_imports(include=["ddranking", "yaml", "zipfile"]):
        import ddranking.api
        import ddranking.board.submission
        import ddranking.data.sources
        import ddranking.distilled.importers
        import ddranking.running.store  # noqa: F401

    from tests.fuzz.changes import changed
    from tests.fuzz.readers import READERS, attempt, corpus

    reader = READERS[name]
    print(READING, file=sys.stderr, flush=True)
    seeds = FINDINGS / "seeds" / name
    seeds.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate([*reader.seeds(), *(path.read_bytes() for path in corpus(name))]):
        (seeds / str(index)).write_bytes(seed)
        attempt(reader, seed)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.4:
            return atheris.Mutate(data, max_size)
        return changed(reader.change, data, chance)[:max_size]

    inputs, start = 0, _used()

    def one(data: bytes) -> None:
        nonlocal inputs
        attempt(reader, data)
        inputs += 1
        if _used() - start > seconds:  # libFuzzer's own limit is of the wall clock
            print(f"{DONE} {inputs}", file=sys.stderr, flush=True)
            shutil.rmtree(seeds, ignore_errors=True)
            os._exit(0)

    found = FINDINGS / name
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={INPUT_SECONDS}",
        f"-artifact_prefix={found}/",
        "-max_len=400000",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(seeds)], one, custom_mutator=mutate)
    atheris.Fuzz()


def _used() -> float:
    """Processor seconds of this process and of those it waited for: some readers fork."""
    return time.process_time() + _processor_seconds()


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def judge(returncode: int, said: str, seconds: float) -> Fuzzed:
    """What a child that ended with ``returncode`` gave, by what it said on standard error.

    A child that ended before it read anything found nothing: its own start went wrong.
    """
    lines = said.splitlines()
    runs = [line.split()[-1] for line in lines if line.startswith(DONE)]
    failed = "FOUND" if READING in lines else "did not run"
    result = "ok" if returncode == 0 and runs else failed
    return Fuzzed(round(seconds), int(runs[0]) if runs else None, result)


def _fuzz_apart(name: str, seconds: int) -> Fuzzed:
    """Fuzzes one reader in a process of its own; what that says lies in its findings as ``log``."""
    before = _processor_seconds()
    command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--one", name, str(seconds)]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
    (FINDINGS / name).mkdir(parents=True, exist_ok=True)
    (FINDINGS / name / "log").write_text(done.stderr)
    return judge(done.returncode, done.stderr, _processor_seconds() - before)


def main(arguments: list[str]) -> int:
    """Fuzzes the readers one after another."""
    from tests.fuzz.readers import READERS

    if arguments[:1] == ["--one"]:
        fuzz(arguments[1], int(arguments[2]))
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("seconds", type=int, help="of processor time, for each reader")
    parser.add_argument("readers", nargs="*", metavar="READER", help=", ".join(READERS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the results in this file")
    said = parser.parse_args(arguments)
    unknown = [name for name in said.readers if name not in READERS]
    if unknown:
        parser.error(f"expected readers among {', '.join(READERS)}; got {', '.join(unknown)}")
    if importlib.util.find_spec("atheris") is None:
        print(
            "fuzzing needs atheris, of the group fuzz: uv run --group fuzz python -m tests.fuzz "
            f"{' '.join(arguments)}",
            file=sys.stderr,
        )
        return 2
    results: dict[str, Fuzzed] = {}
    for name in said.readers or READERS:
        results[name] = _fuzz_apart(name, said.seconds)
        where = "" if results[name].result == "ok" else f", see {FINDINGS / name}"
        print(results[name].line(name) + where, flush=True)
        if said.json is not None:
            save(said.json, {name: results[name]}, this_run())
    found = {each.result for each in results.values()}
    return 1 if "FOUND" in found else 2 if "did not run" in found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
