import io
from typing import get_args

import pytest
from rich.console import Console

from ddranking.cli.progress import ARM_NAMES, TrainingProgress
from ddranking.protocol.trial import Arm


@pytest.fixture
def trials(make_record):
    return [seen.trial for seen in make_record().observations]


def test_every_arm_has_words_of_its_own() -> None:
    assert set(get_args(Arm)) == ARM_NAMES.keys()
    assert len(set(ARM_NAMES.values())) == len(ARM_NAMES)


def test_without_a_terminal_there_is_a_line_for_each_training(trials, capsys) -> None:
    with TrainingProgress("Mine", {trial.key: 1.0 for trial in trials[:3]}, done=2) as bar:
        for trial in trials[:3]:
            bar.running(trial, 0.5)
            bar.finished(trial)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["3/5", "4/5", "5/5"]
    assert lines[0] == "3/5 distilled images, hard labels, rate 0.001, seed 0"


def test_on_a_terminal_it_shows_count_arm_and_time_left(trials, monkeypatch) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=140)
    monkeypatch.setattr("ddranking.cli.progress.Console", lambda **_: console)
    with TrainingProgress("Mine", {trial.key: 2.0 for trial in trials[:4]}) as bar:
        bar.finished(trials[0])
        bar.running(trials[1], 0.5)
        bar.bar.refresh()
        assert bar.bar.tasks[0].completed == 3.0
        assert bar.bar.tasks[0].total == 8.0
    text = screen.getvalue()
    for word in ("Mine: distilled images, hard labels", "1/4 trainings", "left"):
        assert word in text


def test_a_trial_that_had_no_name_yet_takes_a_place_that_waits_for_it(trials) -> None:
    searched = [trial for trial in trials if trial.evaluate == "validation"]
    final = next(trial for trial in trials if trial.evaluate == "test")
    work = {searched[0].key: 5.0, "validation/a/0": 5.0, "validation/a/1": 5.0, "test/a/0": 1.0}
    with TrainingProgress("Mine", work) as bar:
        assert bar.total == 4
        bar.finished(searched[0])
        bar.running(searched[1], 0.5)
        bar.finished(searched[1])
        bar.finished(searched[2])
        assert bar.bar.tasks[0].completed == 15.0
        bar.finished(final)
        assert bar.bar.tasks[0].completed == bar.bar.tasks[0].total == 16.0
        bar.finished(searched[3])  # trained beyond what was foreseen
        assert bar.bar.tasks[0].completed == 16.0


def test_nothing_to_do_is_no_division_by_zero() -> None:
    with TrainingProgress("Mine", {}, done=3) as bar:
        assert bar.bar.tasks == [] or bar.bar.tasks[0].total > 0


class Clock:
    def __init__(self, monkeypatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("ddranking.cli.progress.time.monotonic", lambda: self.now)

    def after(self, seconds: float) -> None:
        self.now += seconds


def test_the_time_left_is_by_the_pace_since_the_start(trials, monkeypatch) -> None:
    """Also where an epoch takes minutes, and between two of them."""
    clock = Clock(monkeypatch)
    with TrainingProgress("Mine", {trial.key: 10.0 for trial in trials[:2]}) as bar:
        assert bar.left() == "-:--:--"
        clock.after(300)
        bar.running(trials[0], 0.1)
        assert bar.left() == "1:35:00"
        clock.after(60)
        assert bar.left() == "1:34:00"
        clock.after(10**6)
        assert bar.left() == "0:00:00"


def test_what_an_earlier_run_did_is_not_this_ones_pace(trials, monkeypatch) -> None:
    clock, [one, other, anew] = Clock(monkeypatch), trials[:3]
    halfway = {one.key: 0.5, anew.key: 0.5}
    work = {trial.key: 10.0 for trial in (one, other, anew)}
    with TrainingProgress("Mine", work, halfway=halfway) as bar:
        clock.after(100)
        bar.running(one, 0.6)
        assert bar.left() == "0:40:00", "24 of 30 at 1 in 100 seconds"
        clock.after(100)
        bar.running(anew, 0.1)
        assert bar.left() == "0:38:20", "begun in another environment: 23 at 2 in 200 seconds"
        bar.running(anew, 0.6)
        assert bar.left() == "0:08:34", "18 at 7 in 200 seconds"


def test_without_a_terminal_a_long_training_says_how_far_it_is(trials, monkeypatch, capsys) -> None:
    clock = Clock(monkeypatch)
    with TrainingProgress("Mine", {trial.key: 10.0 for trial in trials[:2]}) as bar:
        for epoch in range(1, 9):
            clock.after(200)
            bar.running(trials[0], epoch / 10)
        bar.finished(trials[0])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "0/2 15 % of the work done, 0:56:40 left",
        "0/2 30 % of the work done, 0:46:40 left",
    ]
    assert lines[2].startswith("1/2 distilled images")
