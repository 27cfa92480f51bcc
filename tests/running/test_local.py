import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from ddranking import interrupt
from ddranking.errors import BadInput, DDRankingError
from ddranking.running import local
from ddranking.running.local import Pool, Worker, cores, devices
from ddranking.running.worker import Task

from .processes import alive, children, wait_until

CPU = torch.device("cpu")


# --- Devices --------------------------------------------------------------------------------------


def test_the_cpu_is_always_there() -> None:
    assert devices("cpu") == [CPU]
    assert devices(None)
    assert cores() >= 1


@pytest.mark.parametrize(
    ("told", "share"),
    [
        (["150000 100000\n"], 1),
        (["250000 100000\n"], 2),
        (["20000 100000\n"], 1),
        (["max 100000\n"], None),
        (["-1\n", "100000\n"], None),
        (["200000\n", "100000\n"], 2),
        (["0 0\n"], None),
        (["nonsense"], None),
        ([], None),
    ],
)
def test_a_container_has_as_many_workers_as_its_share_of_cores(
    told, share, tmp_path, monkeypatch
) -> None:
    files = [tmp_path / str(number) for number in range(max(1, len(told)))]
    for file, text in zip(files, told, strict=False):
        file.write_text(text)
    monkeypatch.setattr(local, "QUOTAS", (tuple(map(str, files)),))
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert cores() == (share or 64)


@pytest.mark.parametrize(
    "name", ["gpu", "", "cpu:x", "cuda:99", "mps", "meta", "cuda:-1", "x" * 99]
)
def test_a_device_that_is_not_there_is_one_line(name) -> None:
    with pytest.raises(BadInput, match="--device") as caught:
        devices(name)
    assert len(str(caught.value).splitlines()) == 1


# --- This process ---------------------------------------------------------------------------------


def test_the_longest_trials_start_first_and_threads_are_given_back(make_study, recorder) -> None:
    study = make_study()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Pool(study.workbench, [CPU]) as pool:
            tasks = [Task(trial) for trial in study.pending({})]
            order = [task for task, _ in pool.run(tasks, recorder)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    effort = [study.workbench.visits(task.trial) for task in order]
    assert effort == sorted(effort, reverse=True)
    assert sorted(task.trial.key for task in order) == sorted(task.trial.key for task in tasks)


# --- Worker processes -----------------------------------------------------------------------------


def test_workers_start_all_at_once(make_study, recorder, monkeypatch) -> None:
    """Each takes seconds to import what it needs; none is waited for before the next starts."""
    told: list[str] = []
    start, send = local._start, Worker.send

    def starting(place):
        told.append("start")
        return start(place)

    def sending(worker, message):
        told.append("send")
        return send(worker, message)

    monkeypatch.setattr(local, "_start", starting)
    monkeypatch.setattr(Worker, "send", sending)
    study = make_study()
    with Pool(study.workbench, [CPU] * 2) as pool:
        tasks = [Task(trial) for trial in study.pending({})][:2]
        assert len(list(pool.run(tasks, recorder))) == 2
    assert told == ["start", "start", "send", "send", "send", "send"]


@pytest.fixture
def watched():
    """Ctrl-C as at the command line; afterwards as it was."""
    numbers = (signal.SIGINT, signal.SIGALRM)
    before, hook = [signal.getsignal(number) for number in numbers], sys.unraisablehook
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.watch()
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.unraisablehook = hook
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_worker_that_starts_while_ctrl_c_arrives_is_stopped_too(
    make_study, recorder, monkeypatch, watched
) -> None:
    started: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, **options)
            started.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(local.subprocess, "Popen", Interrupted)
    study = make_study()
    with pytest.raises(KeyboardInterrupt), Pool(study.workbench, [CPU] * 2) as pool:
        list(pool.run([Task(trial) for trial in study.pending({})][:2], recorder))
    interrupt.handled()
    assert started and not any(map(alive, started))


def test_a_second_ctrl_c_leaves_no_worker_behind(make_study, watched) -> None:
    stopped: list[int] = []

    class Stubborn:
        def stop(self) -> None:
            signal.raise_signal(signal.SIGINT)
            stopped.append(1)

    pool = Pool(make_study().workbench, [CPU] * 2)
    pool.workers = [Stubborn(), Stubborn()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        pool.__exit__()
        time.sleep(30)
    interrupt.handled()
    assert len(stopped) == 2


def test_a_worker_ends_with_its_parent_before_it_imports_anything_long() -> None:
    """Its lifeline begins first: to import torch takes seconds."""
    program = "import sys, ddranking.running.lifeline; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert "lifeline" in local.WORKER


class FakeProcess:
    """A process that has ended with a code."""

    def __init__(self, code: int) -> None:
        self.code = code

    def wait(self) -> int:
        return self.code


def test_a_worker_that_died_while_idle_is_not_a_closed_pipe_of_the_user(make_study) -> None:
    """A broken pipe would end the command line in silence, with exit code 0."""

    class Broken:
        def send(self, _) -> None:
            raise BrokenPipeError

    worker = Worker(FakeProcess(-9), Broken(), CPU)  # type: ignore[arg-type]
    with pytest.raises(DDRankingError, match=r"died \(exit code -9\).*run the same command again"):
        worker.give(Task(make_study().pending({})[0]))
    assert not worker.group


@pytest.mark.slow
def test_a_killed_worker_is_a_clear_error_and_the_rest_goes_on(make_study, recorder, tmp_path):
    """One of two workers is killed after the first answer; what was finished is kept."""
    study = make_study()

    class Killing(type(recorder)):
        def finished(self, trial) -> None:
            super().finished(trial)
            if len(self.keys) == 2:
                for worker in pool.workers:
                    worker.process.kill()

    first = Killing()
    with (
        pytest.raises(DDRankingError, match=r"exit code -9.*fewer --workers") as caught,
        Pool(study.workbench, [CPU, CPU]) as pool,
    ):
        study.run(pool, first)
    assert not isinstance(caught.value, BadInput), "exit code 1, not 2"
    kept = {path.stem for path in (tmp_path / "store").rglob("*.json")}
    assert set(first.keys) == kept
    with Pool(study.workbench, [CPU]) as pool:
        study.record(study.run(pool, recorder))
    assert not kept & set(recorder.keys)


SCORE = [sys.executable, "-m", "ddranking", "score"]


@pytest.fixture
def command(candidate, tmp_path):
    """A real command line that scores the tiny set with two workers."""
    from ddranking.distilled.artifact import save

    save(candidate, tmp_path / "candidate.safetensors")

    def command_(store: str, out: str, *, epochs: int = 2, more=()) -> list[str]:
        rules = [
            f"epochs={epochs}",
            "learning_rate=[0.05, 0.1]",
            "augmentation=[]",
            f"track.hard.epochs={epochs}",
            "track.hard.learning_rate=[0.05, 0.1]",
            "track.whole.epochs=1",
            "track.student=mlp",
        ]
        return [
            *SCORE,
            str(tmp_path / "candidate.safetensors"),
            *("--track", "digits-ipc1-convnet2", "--recipe", "unified-digits", "--seeds", "2"),
            *(f"--set={rule}" for rule in rules),
            *("--store", str(tmp_path / store), "--out", str(tmp_path / out), "--workers", "2"),
            *more,
        ]

    return command_


@pytest.mark.slow
def test_killed_half_way_and_started_again(command, tmp_path) -> None:
    """kill -9 of the parent: its workers end too, and a second run trains what is missing."""
    from ddranking.scoring.recordfile import load_record

    store = tmp_path / "store"

    def files() -> dict[str, tuple[int, int]]:
        found = [p for p in store.rglob("*.json")]
        return {p.stem: (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}

    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(
        command("store", "a.json", epochs=400), start_new_session=True, **quiet
    )
    try:
        assert wait_until(lambda: len(files()) >= 3), "nothing was trained"
        workers = children(first.pid)
        assert len(workers) == 2
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        assert wait_until(lambda: not any(alive(pid) for pid in workers), 20), "orphans"
    finally:
        if first.poll() is None:
            os.killpg(first.pid, signal.SIGKILL)
            first.communicate()
    between = files()
    total = 2 + 3 * (4 + 2)
    assert 3 <= len(between) < total
    assert not (tmp_path / "a.json").exists()

    second = subprocess.run(command("store", "a.json", epochs=400), **quiet, timeout=300)
    assert second.returncode == 0, second.stderr
    assert f"{total} trainings, {len(between)} known" in second.stderr
    done = [line for line in second.stderr.splitlines() if f"/{total} " in line]
    assert len(done) == total - len(between)
    after = files()
    assert {key: after[key] for key in between} == between
    record = load_record(tmp_path / "a.json")
    assert after.keys() == {seen.key for seen in record.observations}
    assert len(after) == total
    assert not list(store.rglob("*.safetensors"))
