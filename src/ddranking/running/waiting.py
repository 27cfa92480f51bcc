"""What waits for a worker: the longest first, and nothing that was finished elsewhere meanwhile.

Several processes may score the same thing with one store, started twice by mistake or on purpose.
None knows of the others; each asks the store before it gives a training out, and each goes through
trainings of equal length in an order of its own. So they seldom train the same one, and share the
work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from ddranking.running.worker import Group, Task

Finished = Callable[[Task], bool]
"""Whether a task needs no training any more."""


def never(task: Task) -> bool:
    """Of tasks that nobody else trains."""
    return False


class Waiting:
    """Groups of tasks that wait for a worker.

    Args:
        groups: in any order.
        effort: of a group; the largest is next.
        finished: asked of each task just before it is given out.
        chance: decides among equals; of this process alone by default. No result depends on it.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        effort: Callable[[Group], float],
        finished: Finished,
        chance: Random | None = None,
    ) -> None:
        self._left = list(groups)
        (chance or Random()).shuffle(self._left)
        self._left.sort(key=effort)
        self._finished = finished

    def __len__(self) -> int:
        return len(self._left)

    def next(self) -> Group:
        """The next group, without what was finished elsewhere; empty where nothing is left."""
        while self._left:
            group = tuple(task for task in self._left.pop() if not self._finished(task))
            if group:
                return group
        return ()

    def put_back(self, group: Group) -> None:
        """A group whose worker died: it is next."""
        self._left.append(group)
