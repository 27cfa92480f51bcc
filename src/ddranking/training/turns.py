"""Trainings that take turns of an epoch, as many at once as pay.

A network may be too small to keep a GPU busy by itself, or too large to gain from another one
beside it. Which it is depends on the network, the batch and the GPU, so it is measured: on the
trainings themselves, whose epochs count, since how one ends does not depend on those beside it.

A training is an iterator that runs an epoch each time it is asked for its next value. That is None
until, after the last epoch, it is the training's answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from typing import TypeVar

Answer = TypeVar("Answer")

STEPS = 32
"""Steps of each training in a measurement, and before it: the first ones are recorded."""

GAIN = 1.05
"""How many times as fast twice as many trainings have to be; less may be chance."""

OVER = object()


def take_turns(trainings: Iterable[Iterator[Answer | None]], at_once: int) -> Iterator[Answer]:
    """Runs trainings to their ends, ``at_once`` of them in turns, and yields each one's answer."""
    waiting = iter(trainings)
    running = list(islice(waiting, at_once))
    while running:
        going = []
        for training in running:
            value = next(training, OVER)
            if value is None:
                going.append(training)
            elif value is not OVER:
                yield value  # pyright: ignore[reportReturnType]
        running = going + list(islice(waiting, at_once - len(going)))


def as_many_as_pay(
    trainings: Sequence[Iterator[Answer | None]], epochs: int, clock: Callable[[], float]
) -> tuple[int, list[Answer]]:
    """How many trainings in turns are fastest: 1, 2, 4 and so on, or all of them.

    Sizes are tried, the smallest first, as long as each is faster than the one before. Each is
    tried on the next trainings of the list, so that none is far ahead of the others.

    Args:
        trainings: of one kind, whose epochs take equally long.
        epochs: of each training in a measurement, and before it.
        clock: seconds; waits until the device has done all that it was asked for.

    Returns:
        the number, which is that of all trainings if one ended too early to be measured; and the
        answers of those that have ended.
    """
    found, fastest, following = 1, 0.0, cycle(trainings)
    answers: list[Answer] = []
    for size in _sizes(len(trainings)):
        some = list(islice(following, size))
        answers += _run(some, epochs)
        begun = clock()
        answers += _run(some, epochs)
        if answers:
            return len(trainings), answers
        speed = size / max(clock() - begun, 1e-9)
        if speed < GAIN * fastest:
            break
        found, fastest = size, speed
    return found, answers


def _sizes(most: int) -> Iterator[int]:
    """1, 2, 4 and so on below ``most``, and ``most``."""
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def _run(trainings: Sequence[Iterator[Answer | None]], turns: int) -> list[Answer]:
    """The answers of those that end in so many turns."""
    values = [next(one, None) for _ in range(turns) for one in trainings]
    return [value for value in values if value is not None]
