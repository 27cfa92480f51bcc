"""Ctrl-C while libraries are imported: never lost, one line, and nothing left behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from ddranking import interrupt
from ddranking.__main__ import main
from ddranking.data import sources
from ddranking.distilled.artifact import save
from ddranking.methods import baselines

GREEDY = """
import signal, time
try:
    signal.raise_signal(signal.SIGINT)
    time.sleep({seconds})
except BaseException:
    print("swallowed", flush=True)
"""
COMMAND = """
import signal
from ddranking import interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupt.watch()
try:
    import greedy
    for _ in range(10**9):
        pass
except KeyboardInterrupt:
    print("tidied up", flush=True)
"""


@pytest.mark.parametrize(
    ("seconds", "code", "out", "error"),
    [(0.05, 0, "tidied up\n", ""), (30, interrupt.CODE, "", f"{interrupt.LINE}\n")],
)
def test_an_import_is_not_interrupted_and_not_waited_for_long(
    tmp_path, seconds, code, out, error
) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY.format(seconds=seconds))
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=25,
    )
    assert (done.returncode, done.stdout, done.stderr) == (code, out, error)
    assert time.monotonic() - start < 20


LOST = """
import signal, time
from ddranking import interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupt.watch()
try:
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        print("lost", flush=True)
    try:
        time.sleep(30)
    finally:
        time.sleep(3 * interrupt.AGAIN)
        print("tidied up", flush=True)
except KeyboardInterrupt:
    interrupt.handled()
    print("handled", flush=True)
time.sleep(2 * interrupt.AGAIN)
"""


def test_an_interrupt_that_somebody_swallows_comes_again_and_disturbs_no_tidying_up() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stdout) == (0, "lost\ntidied up\nhandled\n"), done.stderr


DROPPED = """
import signal, time, weakref
from ddranking import interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupt.watch()

class Thing:
    pass

def fail(reference):
    raise ValueError("an error of somebody else's")

def stop(reference):
    signal.raise_signal(signal.SIGINT)

try:
    for callback in (fail, stop):
        thing = Thing()
        reference = weakref.ref(thing, callback)
        del thing
    print("dropped", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    interrupt.handled()
    print("handled", flush=True)
"""


def test_an_interrupt_that_python_drops_comes_again_and_shows_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROPPED], capture_output=True, text=True, timeout=25
    )
    assert (done.returncode, done.stdout) == (0, "dropped\nhandled\n"), done.stderr
    assert "an error of somebody else's" in done.stderr
    assert "KeyboardInterrupt" not in done.stderr


WHOLE = """
import signal, time
from ddranking import interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
interrupt.watch()

@interrupt.whole
def begin_and_note() -> None:
    signal.raise_signal(signal.SIGINT)
    time.sleep(2 * interrupt.PATIENCE)
    print("noted", flush=True)

try:
    begin_and_note()
    time.sleep(30)
except KeyboardInterrupt:
    interrupt.handled()
    print("handled", flush=True)
"""


def test_a_whole_function_is_not_stopped_halfway() -> None:
    done = subprocess.run([sys.executable, "-c", WHOLE], capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stdout, done.stderr) == (0, "noted\nhandled\n", "")


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupt.watch()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_interface_for_python_leaves_signals_alone() -> None:
    """Importing, and running a command inside a process of somebody else's."""
    program = (
        "import signal, ddranking, ddranking.interrupt, ddranking.cli as cli; cli.main(['list']);"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler;"
        "assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL"
    )
    # A shell's background jobs ignore the signal, and so would what they start.
    subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_before_there_is_a_command_it_ends_with_the_line_too(monkeypatch, capsys) -> None:
    def fails() -> None:
        raise KeyboardInterrupt

    codes: list[int] = []
    monkeypatch.setattr(interrupt, "watch", fails)
    monkeypatch.setattr(os, "_exit", codes.append)
    with pytest.raises(SystemExit):  # as the process goes on here
        main()
    assert codes == [interrupt.CODE]
    assert capsys.readouterr().err == f"{interrupt.LINE}\n"


@pytest.mark.slow
def test_at_any_moment_of_the_first_seconds(tmp_path) -> None:
    """Of a score in this very process, whose libraries are loaded one after the other."""
    save(baselines.make("random", sources.load("digits"), 1, seed=0), tmp_path / "set.safetensors")
    command = [
        *(sys.executable, "-m", "ddranking", "score", str(tmp_path / "set.safetensors")),
        *("--track", "digits-ipc1-convnet2", "--recipe", "unified-digits", "--workers", "1"),
        *("--set=epochs=100000", "--set=track.hard.epochs=100000"),
        *("--store", str(tmp_path / "store"), "--out", str(tmp_path / "out.json")),
    ]
    draws = random.Random(0)
    for moment in sorted(draws.uniform(0.1, 4) for _ in range(20)):
        process = subprocess.Popen(
            command,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(moment)
        start = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
        print(f"Ctrl-C after {moment:.2f} s: ended after {time.monotonic() - start:.2f} s")
        if process.returncode == -signal.SIGINT:
            assert "ddranking/interrupt.py" not in said  # Python itself was starting
        else:
            assert process.returncode == interrupt.CODE, said
            assert said.count(interrupt.LINE) == 1 and "Traceback" not in said, said
        with pytest.raises(ProcessLookupError):  # nobody is left of its group
            for _ in range(50):
                os.killpg(process.pid, 0)
                time.sleep(0.1)
        assert not (tmp_path / "out.json").exists()
        assert not list((tmp_path / "store").rglob("*.partial"))
