"""The SLURM script runs, with an ``sbatch`` of this test that starts jobs here, one by one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from snippets import ROOT

SCRIPT = ROOT / "examples" / "slurm_array.sh"
SCORE = (
    *("--track", "digits-ipc1-convnet2", "--recipe", "unified-digits", "--seeds", "2"),
    *("--set=epochs=1", "--set=track.hard.epochs=1", "--set=track.whole.epochs=1"),
    *("--set=learning_rate=0.1", "--set=track.hard.learning_rate=[0.05, 0.1]"),
    *("--set=track.student=mlp", "--workers", "1"),
)
TRAININGS = 2 * 2 + 2 + 2 + 2 + 2

SBATCH = """#!{python}
# Runs a job array here and now, as SLURM would one task after the other; prints its number.
import os, pathlib, re, subprocess, sys

log = pathlib.Path(os.environ["FAKE_LOG"])
words = sys.argv[1:]
options = [word for word in words if word.startswith("--") and words.index(word) < 4]
script = next(word for word in words if word.endswith(".sh"))
arguments = words[words.index(script) + 1 :]
with log.open("a") as file:
    file.write(" ".join(words[: words.index(script)]) + "\\n")
array = next((re.fullmatch(r"--array=1-(\\d+)", one) for one in options if "--array" in one), None)
environment = dict(os.environ, SLURM_JOB_ID="77")
killed = os.environ.get("FAKE_KILLED")
for task in range(1, int(array[1]) + 1) if array else [None]:
    if task is not None:
        if str(task) == killed:
            continue
        environment |= dict(SLURM_ARRAY_TASK_ID=str(task), SLURM_ARRAY_TASK_COUNT=array[1])
    told = dict(env=environment, capture_output=True, text=True)
    done = subprocess.run(["bash", script, *arguments], **told)
    with log.open("a") as file:
        file.write(f"task {{task}}: {{done.returncode}}\\n")
    sys.stderr.write(done.stderr + done.stdout)
print("77;cluster" if "--parsable" in words else "Submitted batch job 78")
"""


@pytest.fixture
def submit(tmp_path, monkeypatch):
    """Submits from an empty folder; gives what was submitted, task by task."""
    programs = tmp_path / "bin"
    programs.mkdir()
    own = f'#!/bin/sh\nexec {sys.executable} -m ddranking "$@"\n'
    for name, text in (("sbatch", SBATCH.format(python=sys.executable)), ("ddranking", own)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "STORE", "SBATCH", "DDRANKING_REFERENCES"):
        monkeypatch.delenv(name, raising=False)
    here = tmp_path / "here"
    here.mkdir()

    def submit_(*arguments: str) -> list[str]:
        (tmp_path / "log").write_text("")
        command = ["bash", str(SCRIPT), *arguments]
        done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return (tmp_path / "log").read_text().splitlines()

    return submit_


@pytest.fixture
def packed(tmp_path) -> Path:
    from ddranking.cli import main

    path = tmp_path / "set.safetensors"
    words = ("baseline", "kmeans", "--dataset", "digits", "--ipc", "1", "--out", str(path))
    assert main(list(words)) == 0
    return path


@pytest.mark.slow
@pytest.mark.parametrize("killed", [None, "2"])
def test_an_array_of_shards_and_a_run_after_it(submit, packed, tmp_path, monkeypatch, killed):
    """Three shards, one of which may never have run; the last run writes the record."""
    if killed:
        monkeypatch.setenv("FAKE_KILLED", killed)
    monkeypatch.setenv("SBATCH", "--partition=short")
    told = submit("3", str(packed), *SCORE, "--out", "record.json")
    assert told[0] == "--parsable --partition=short --array=1-3"
    assert told[-2:] == ["--partition=short --dependency=afterany:77", "task None: 0"]
    ran = [task for task in ("1", "2", "3") if task != killed]
    assert told[1:-2] == [f"task {task}: 0" for task in ran]
    here = tmp_path / "here"
    record = json.loads((here / "record.json").read_text())
    assert len(record["observations"]) == TRAININGS
    assert len(list((here / "store").rglob("*.json"))) == TRAININGS


def test_the_script_parses() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
