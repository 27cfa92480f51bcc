"""Which tasks one worker trains together.

A small network does not fill a GPU: one step of ten images is over before the next one has been
asked for. Trainings of equal shape go there in groups, of which as many train side by side as pay
(see :func:`ddranking.training.fit.fit`). On a CPU every training has a core to itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence

from ddranking.protocol.trial import Trial
from ddranking.running.worker import Group, Task

MOST_TRAININGS = 16
"""Trainings of a group, all of which may take turns: what a killed run has not finished."""

VALUES_AT_ONCE = 1600 * 3 * 32 * 32
"""Values of the images in one step of all trainings of a group: 1,600 images of 32 px.

How many of a group take turns is measured where they train; this bounds the memory of the attempt.
"""


def groups(
    tasks: Sequence[Task],
    images: Callable[[Trial], int],
    *,
    on_gpu: bool,
    workers: int = 1,
    values: int = 3 * 32 * 32,
) -> list[Group]:
    """``tasks`` in groups for ``workers``; in order, and one each where not ``on_gpu``.

    Args:
        tasks: what to train.
        images: how many images an epoch of a trial visits.
        on_gpu: whether the workers have GPUs.
        workers: how many there are, none of which is left idle for a larger group.
        values: of an image, C*H*W.
    """
    if not on_gpu:
        return [(task,) for task in tasks]
    alike: dict[Hashable, list[Task]] = {}
    for task in tasks:
        alike.setdefault(_shape(task, images(task.trial)), []).append(task)
    most = VALUES_AT_ONCE // values
    return [group for some in alike.values() for group in _cut(some, images, workers, most)]


def _shape(task: Task, images: int) -> Hashable:
    """What is equal in a group: all that decides how long a training takes."""
    rules = task.trial.training.model_copy(update={"learning_rate": 0.0})
    return task.trial.student, rules.model_dump_json(), images, task.weights is None


def _cut(
    tasks: Sequence[Task], images: Callable[[Trial], int], workers: int, most: int
) -> Iterator[Group]:
    """As few groups a worker as can be, equally many and as equal in size as can be.

    The steps of a group have at most ``most`` images together, or it is one training.
    """
    trial = tasks[0].trial
    batch = min(trial.training.batch_size, images(trial))
    most = max(1, min(MOST_TRAININGS, most // batch))
    rounds = -(-len(tasks) // (workers * most))
    size = -(-len(tasks) // (workers * rounds))
    for start in range(0, len(tasks), size):
        yield tuple(tasks[start : start + size])
