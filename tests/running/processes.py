"""What tests ask the system about processes, and one that forks commands quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Direct child processes; see proc(5)."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def wait_until(true: Callable[[], object], seconds: float = 90) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False


NURSERY = """
import json, os, sys
import ddranking.cli.score, ddranking.running.study, ddranking.cli.progress
from ddranking import api
from ddranking.cli import main
from ddranking.running import local, worker
worker.SAVE_SECONDS = 0.0
local.WORKER = "from ddranking.running import worker; worker.SAVE_SECONDS = 0.0; " + local.WORKER
api.dataset("digits")
print("ready", flush=True)
for line in sys.stdin:
    arguments, told = json.loads(line)
    if arguments is None:
        print(os.waitstatus_to_exitcode(os.waitpid(told, 0)[1]), flush=True)
        continue
    pid = os.fork()
    if not pid:
        os.setsid()
        out = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0), os.dup2(out, 1), os.dup2(out, 2)
        code = 99
        try:
            code = main(arguments)
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(pid, flush=True)
"""


@dataclass(frozen=True)
class Command:
    """A running command line, a process of its own."""

    pid: int
    nursery: Nursery

    def wait(self) -> int:
        """Its exit code; the negative number of the signal that ended it."""
        return self.nursery.ask(None, self.pid)


class Nursery:
    """Starts command lines as forks of a process that has imported torch already.

    Apart from that, and that they keep a training halfway after every epoch, they are what
    ``python -m ddranking`` is, and a hundred starts take seconds.
    """

    def __enter__(self) -> Nursery:
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY], stdin=-1, stdout=-1, text=True, env=dict(os.environ)
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def ask(self, arguments: list[str] | None, told: object) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([arguments, told]) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, arguments: list[str], told: Path) -> Command:
        """Starts ``ddranking ARGUMENTS``; what it says is appended to ``told``."""
        return Command(self.ask(arguments, str(told)), self)
