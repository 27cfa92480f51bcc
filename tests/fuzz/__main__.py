"""Fuzzes readers with atheris: ``python -m tests.fuzz SECONDS [READER...]``, all by default.

Seconds are of processor time, for each reader. Each runs in a process of its own, with limits on
memory and on the time of one input. What is found is written into ``FINDINGS`` (a folder below the
temporary one), one file an input; put it into ``tests/fuzz/corpus/READER`` and mend the reader.
Needs the group ``fuzz`` (atheris).
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random

FINDINGS = Path(tempfile.gettempdir()) / "ddranking-fuzz"
MEMORY_MB, INPUT_SECONDS = 3000, 20
DONE = "inputs read:"


def fuzz(name: str, seconds: int) -> None:
    """Fuzzes one reader in this process, and ends it."""
    import atheris

    with atheris.instrument_imports(include=["ddranking", "yaml", "zipfile"]):
        import ddranking.api
        import ddranking.board.submission
        import ddranking.data.sources
        import ddranking.distilled.importers
        import ddranking.running.store  # noqa: F401

    from tests.fuzz.readers import READERS, attempt, changed, corpus

    reader = READERS[name]
    seeds = FINDINGS / "seeds" / name
    seeds.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate([*reader.seeds(), *(path.read_bytes() for path in corpus(name))]):
        (seeds / str(index)).write_bytes(seed)
        attempt(reader, seed)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        chance = Random(seed)
        if chance.random() < 0.4:
            return atheris.Mutate(data, max_size)
        return changed(reader, data, chance)[:max_size]

    inputs, start = 0, time.process_time()

    def one(data: bytes) -> None:
        nonlocal inputs
        attempt(reader, data)
        inputs += 1
        if time.process_time() - start > seconds:  # libFuzzer's own limit is of the wall clock
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


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(arguments: list[str]) -> int:
    """Fuzzes the readers one after another; 1 where something was found."""
    from tests.fuzz.readers import READERS

    if arguments[0] == "--one":
        fuzz(arguments[1], int(arguments[2]))
        return 0
    seconds, names = int(arguments[0]), arguments[1:] or list(READERS)
    failed = []
    for name in names:
        before = _processor_seconds()
        command = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", "--one", name, str(seconds)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace")
        (FINDINGS / name).mkdir(parents=True, exist_ok=True)
        (FINDINGS / name / "log").write_text(done.stderr)
        runs = [line.split()[-1] for line in done.stderr.splitlines() if line.startswith(DONE)]
        spent = _processor_seconds() - before
        told = f"{name}: {spent:.0f} s of processor time, {runs[0] if runs else '?'} inputs,"
        print(told, "ok" if done.returncode == 0 else f"FOUND, see {FINDINGS / name}", flush=True)
        if done.returncode:
            failed.append(name)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
