"""Which tasks train together."""

from __future__ import annotations

import pytest
import torch

from ddranking import api
from ddranking.running.groups import MOST_TRAININGS, VALUES_AT_ONCE, groups
from ddranking.running.local import Pool
from ddranking.running.worker import Task

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
SMALL, LARGE = 3 * 32 * 32, 3 * 448 * 448
AT_ONCE = VALUES_AT_ONCE // SMALL


@pytest.fixture
def tasks(make_study) -> list[Task]:
    return [Task(trial) for trial in make_study().pending({})]


def test_on_a_cpu_each_trains_alone(tasks) -> None:
    assert groups(tasks, lambda _: 10, on_gpu=False) == [(task,) for task in tasks]


def test_on_a_gpu_alike_trainings_are_together_and_each_is_once(tasks) -> None:
    made = groups(tasks, lambda _: 10, on_gpu=True)
    assert sorted(t.trial.key for g in made for t in g) == sorted(t.trial.key for t in tasks)
    assert max(map(len, made)) > 1
    for group in made:
        rules = {t.trial.training.model_copy(update={"learning_rate": 0.0}) for t in group}
        assert len(group) <= MOST_TRAININGS
        assert len({t.trial.student for t in group}) == len(rules) == 1


@pytest.mark.parametrize(
    ("images", "workers", "values", "most"),
    [
        (10, 1, SMALL, MOST_TRAININGS),
        (10, 100, SMALL, 1),
        (AT_ONCE, 1, SMALL, None),
        (10, 1, LARGE, 1),
    ],
)
def test_a_group_fills_a_gpu_and_leaves_no_worker_idle(
    tasks, images, workers, values, most
) -> None:
    made = groups(tasks, lambda _: images, on_gpu=True, workers=workers, values=values)
    batch = min(images, tasks[0].trial.training.batch_size)
    assert max(map(len, made)) <= (most or max(1, AT_ONCE // batch))


def test_what_is_only_evaluated_is_not_beside_what_is_trained(tasks, tmp_path) -> None:
    first, *others = tasks
    read = Task(first.trial, weights=tmp_path / "weights")
    made = groups([read, *others], lambda _: 10, on_gpu=True)
    assert (read,) in made


@pytest.mark.parametrize("workers", [1, 2])
def test_a_score_of_groups_is_the_score(make_study, recorder, monkeypatch, workers) -> None:
    """The pool as it is on a GPU, with this CPU in its place: same outcomes, each told once."""
    together: list[int] = []

    def grouped(self, tasks):
        made = groups(tasks, self.workbench.images, on_gpu=True)
        together.extend(map(len, made))
        return made

    alone = make_study("alone")
    with Pool(alone.workbench, [CPU]) as pool:
        expected = alone.run(pool, api.Silent())
    monkeypatch.setattr(Pool, "_groups", grouped)
    study = make_study("together")
    with Pool(study.workbench, [CPU] * workers) as pool:
        found = study.run(pool, recorder)
        assert not any(worker.left for worker in pool.workers)
    assert max(together) > 1
    assert {k: seen.outcome for k, seen in found.items()} == {
        k: seen.outcome for k, seen in expected.items()
    }
    assert len(recorder.keys) == len(set(recorder.keys)) == len(found)
