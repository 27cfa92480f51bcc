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
