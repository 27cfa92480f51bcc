"""As many trainings take turns as pay on a device of which it is known how fast it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from ddranking.training.turns import as_many_as_pay, take_turns


@dataclass
class Device:
    """One that does ``speed(n)`` epochs a second where n trainings take turns."""

    speed: Callable[[int], float]
    asked: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def clock(self) -> float:
        beside = len(set(self.asked)) or 1
        self.seconds += len(self.asked) / self.speed(beside)
        self.asked.clear()
        return self.seconds

    def trainings(
        self, count: int, epochs: int
    ) -> tuple[list[Iterator[str | None]], list[list[int]]]:
        """Trainings that end with their names, and the epochs that each has run."""
        ran: list[list[int]] = [[] for _ in range(count)]

        def training(number: int) -> Iterator[str | None]:
            for epoch in range(epochs):
                self.asked.append(number)
                ran[number].append(epoch)
                yield None
            yield f"training {number}"

        return [training(number) for number in range(count)], ran


def names(count: int) -> list[str]:
    return [f"training {number}" for number in range(count)]


def test_turns_go_round_and_one_that_ends_makes_room_and_is_told_at_once() -> None:
    order: list[str] = []

    def training(name: str, epochs: int) -> Iterator[str | None]:
        for _ in range(epochs):
            order.append(name)
            yield None
        yield name.upper()

    every = [training("a", 1), training("b", 3), training("c", 2), training("d", 0)]
    for ended in take_turns(every, 2):
        order.append(ended)
    assert "".join(order) == "abAbbcBcCD"


@pytest.mark.parametrize(
    ("speed", "count", "found"),
    [
        (lambda n: 10 * n, 8, 8),
        (lambda n: 10 * min(n, 4), 8, 4),
        (lambda n: 10 * min(n, 3), 8, 4),
        (lambda n: 10, 8, 1),
        (lambda n: 10 / n, 8, 1),
        (lambda n: 10 + n / 10, 8, 1),
        (lambda n: 10 * n, 5, 5),
        (lambda n: 10 * min(n, 2), 5, 2),
        (lambda n: 10 * n, 1, 1),
    ],
)
def test_as_many_as_pay_and_each_runs_to_its_end(speed, count, found) -> None:
    device = Device(speed)
    trainings, ran = device.trainings(count, 100)
    assert as_many_as_pay(trainings, 3, device.clock) == (found, [])
    assert sorted(take_turns(trainings, found)) == names(count)
    assert ran == [list(range(100))] * count


def test_what_comes_first_is_slow_and_no_part_of_a_measurement() -> None:
    """Kernels are compiled and steps recorded in the first epochs of each training."""
    device = Device(lambda n: 10 * n)
    trainings, ran = device.trainings(4, 100)

    def slow(training: Iterator[str | None], own: list[int]) -> Iterator[str | None]:
        for epoch in training:
            if len(own) <= 3:
                device.seconds += 1000
            yield epoch

    slowed = [slow(one, own) for one, own in zip(trainings, ran, strict=True)]
    assert as_many_as_pay(slowed, 3, device.clock) == (4, [])


def test_none_is_far_ahead_of_the_others_when_it_is_known() -> None:
    """Eight trainings are measured alone, in twos, in fours and all, in turn."""
    device = Device(lambda n: 10 * n)
    trainings, ran = device.trainings(8, 100)
    assert as_many_as_pay(trainings, 3, device.clock) == (8, [])
    assert [len(one) for one in ran] == [12] * 7 + [6]


@pytest.mark.parametrize("epochs", [0, 1, 5, 11])
def test_those_that_end_before_they_are_measured_all_take_turns(epochs) -> None:
    device = Device(lambda n: 10)
    trainings, ran = device.trainings(4, epochs)
    found, early = as_many_as_pay(trainings, 6, device.clock)
    assert (found, early) == (4, ["training 0"])
    assert early + list(take_turns(trainings, found)) == names(4)
    assert ran == [list(range(epochs))] * 4


def test_a_clock_that_stands_still_is_no_division_by_zero() -> None:
    trainings, _ = Device(lambda n: 10).trainings(2, 100)
    assert as_many_as_pay(trainings, 3, lambda: 0.0)[0] in (1, 2)
