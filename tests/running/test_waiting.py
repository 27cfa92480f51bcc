from random import Random
from types import SimpleNamespace

import pytest

from ddranking.running.waiting import Waiting, never


def groups(*sizes: int) -> list:
    return [tuple(SimpleNamespace(name=f"{size}{k}") for k in range(size)) for size in sizes]


def names(waiting: Waiting) -> list[list[str]]:
    made = []
    while group := waiting.next():
        made.append([task.name for task in group])
    return made


def test_the_largest_effort_is_next() -> None:
    waiting = Waiting(groups(2, 5, 1, 3), len, never)
    assert len(waiting) == 4
    assert [len(group) for group in names(waiting)] == [5, 3, 2, 1]
    assert (len(waiting), waiting.next()) == (0, ())


def test_what_is_finished_when_its_turn_comes_is_left_out() -> None:
    done = {"50", "52"}
    waiting = Waiting(groups(5, 3, 1), len, lambda task: task.name in done)  # type: ignore[attr-defined]
    assert [task.name for task in waiting.next()] == ["51", "53", "54"]  # type: ignore[attr-defined]
    done |= {"30", "31", "32"}
    assert names(waiting) == [["10"]]


def test_equals_come_in_an_order_of_each_process() -> None:
    tasks = [(SimpleNamespace(name=str(k)),) for k in range(20)]
    orders = [names(Waiting(tasks, len, never, Random(seed))) for seed in (1, 2, 1)]  # type: ignore[arg-type]
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


@pytest.mark.parametrize("of_its_own", [True, False])
def test_a_group_that_comes_back_is_next(of_its_own: bool) -> None:
    waiting = Waiting(groups(5, 3, 1), len, never)
    first = waiting.next()
    if of_its_own:
        waiting.next()
    waiting.put_back(first)
    assert waiting.next() == first
