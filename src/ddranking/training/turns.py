"""Trainings that take turns of an epoch, as many at once as pay.

A network may be too small to keep a GPU busy by itself, or too large to gain from another one
beside it. Which it is depends on the network, the batch and the GPU, so it is measured: on the
trainings themselves, whose epochs count, since how one ends does not depend on those beside it.
A training is an iterator that runs an epoch each time it is asked for its next value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice

Training = Iterator[object]

STEPS = 64
"""Steps of each training in a measurement, and before it: the first ones are recorded."""

GAIN = 1.05
"""How many times as fast twice as many trainings have to be; less may be chance."""

ENDED = object()


def take_turns(trainings: Iterable[Training], at_once: int) -> None:
    """Runs trainings to their ends, ``at_once`` of them in turns; one that ends makes room."""
    waiting = iter(trainings)
    running = list(islice(waiting, at_once))
    while running:
        running = [one for one in running if _goes_on(one)]
        running += islice(waiting, at_once - len(running))


def take_turns_that_pay(
    trainings: Sequence[Training], epochs: int, clock: Callable[[], float]
) -> int:
    """Runs trainings to their ends, as many in turns as was fastest: 1, 2, 4 and so on, or all.

    Sizes are tried, the smallest first, as long as each is faster than the one before. Each is
    tried on the next trainings of the list, so that none is far ahead of the others.

    Args:
        trainings: of one kind, whose epochs take equally long.
        epochs: of each training in a measurement, and before it.
        clock: seconds; waits until the device has done all that it was asked for.

    Returns:
        How many took turns in the end; all of them if one ended too early to be measured.
    """
    found, fastest, following = 1, 0.0, cycle(trainings)
    for size in _sizes(len(trainings)):
        speed = _speed(list(islice(following, size)), epochs, clock)
        if speed is None:
            found = len(trainings)
            break
        if speed < GAIN * fastest:
            break
        found, fastest = size, speed
    take_turns(trainings, found)
    return found


def _sizes(most: int) -> Iterator[int]:
    """1, 2, 4 and so on below ``most``, and ``most``."""
    size = 1
    while size < most:
        yield size
        size *= 2
    yield most


def _speed(trainings: Sequence[Training], epochs: int, clock: Callable[[], float]) -> float | None:
    """Epochs a second of trainings in turns; None where one of them ended."""
    if not _all_go_on(trainings, epochs):
        return None
    begun = clock()
    if not _all_go_on(trainings, epochs):
        return None
    return epochs * len(trainings) / max(clock() - begun, 1e-9)


def _all_go_on(trainings: Sequence[Training], turns: int) -> bool:
    """Whether none of them ended in so many turns."""
    return all([_goes_on(one) for _ in range(turns) for one in trainings])


def _goes_on(training: Training) -> bool:
    return next(training, ENDED) is not ENDED
