"""Too little memory on a device: the same work in smaller pieces, with the same result.

Only what gives the same result in pieces is ever cut: a batch of an evaluation, which counts right
answers, and a group of trainings that know nothing of each other. The batch of a training is part
of its rules and stays whole; where a single training does not fit, that is said.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from ddranking.errors import DDRankingError

Job = TypeVar("Job")
Answer = TypeVar("Answer")

READ_AT_ONCE = {"cpu": 50, "cuda": 2000}
"""Images that a network is shown together where nothing is learnt from them, by device.

On a CPU, 50 keep the first layer's maps in the cache.
"""

FULL = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "_STATUS_ALLOC_FAILED",
    "unable to find an engine to execute this computation",
)
"""How a CPU, CUDA, Triton, cuBLAS and cuDNN say that memory is wanting.

cuDNN's last one may mean something else, which is then said of a single training, too.
"""


class Batches(Protocol):
    """Images [N,C,H,W], whole or made batch by batch."""

    def __len__(self) -> int: ...
    def split(self, size: int, /) -> Sequence[Tensor] | Iterator[Tensor]: ...


def in_batches(run: Callable[[Tensor], Tensor], images: Batches, device: torch.device) -> Tensor:
    """What ``run`` gives for all images, joined; batches as large as suits the device, or smaller.

    Args:
        run: from images [B,C,H,W] to one row of an answer for each.
        images: on ``device``, or made there.
        device: where ``run`` computes.
    """

    def read(size: int) -> Tensor:
        joined, done = torch.empty(0), 0
        for batch in images.split(size):
            part = run(batch)
            if not done:
                joined = part.new_empty(len(images), *part.shape[1:])
            joined[done : done + len(part)] = part
            done += len(part)
            # What is kept of a batch would lie where the next one's maps want to: a heap that is
            # never trimmed then grows with every batch.
            del batch, part
        return joined

    return with_smaller_batches(read, READ_AT_ONCE.get(device.type, 500))


def with_smaller_batches(run: Callable[[int], Answer], size: int) -> Answer:
    """``run(size)``; where memory runs out ``run`` of half the size, and so on down to one.

    Args:
        run: computes something that does not depend on the size of its batches.
        size: images a batch to begin with.

    Raises:
        DDRankingError: not even one image fits.
    """
    while True:
        try:
            return run(size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if size <= 1:
                raise _too_large("the evaluation of one image", error) from None
        # Only here, outside of the handler, the failed attempt's tensors have no holder any more.
        release()
        size = max(1, size // 2)


Run = Callable[[Mapping[int, Job]], Iterator[tuple[int, Answer]]]
"""Gives the answer of each job by the job's number, in any order."""


def in_smaller_groups(
    run: Run[Job, Answer], group: Mapping[int, Job], sparing: Run[Job, Answer] | None = None
) -> Iterator[tuple[int, Answer]]:
    """``run(group)``; where memory runs out each half of what is left of it, and so on.

    Args:
        run: answers that do not depend on the jobs beside each.
        group: what is run together to begin with, by number.
        sparing: the same with less memory, for a job that does not fit by itself.

    Raises:
        DDRankingError: one job does not fit by itself.
    """
    left = dict(group)
    try:
        for number, answer in run(group):
            del left[number]
            yield number, answer
        return
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        if len(group) <= 1 and sparing is None:
            raise _too_large("one training", error) from None
    release()
    if len(group) <= 1:
        assert sparing is not None
        yield from in_smaller_groups(sparing, left)
        return
    numbers, middle = list(left), len(left) // 2
    for half in (numbers[:middle], numbers[middle:]):
        if half:
            yield from in_smaller_groups(run, {number: left[number] for number in half}, sparing)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is for want of memory: a CPU's comes without a type of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in FULL)


def release() -> None:
    """Gives memory that nobody holds back to the device."""
    there = torch.cuda.is_available() and torch.cuda.is_initialized()
    if there:
        torch.cuda.synchronize()  # what is freed below may still be written to
    gc.collect()
    if there:
        torch.cuda.empty_cache()


def _too_large(what: str, error: BaseException) -> DDRankingError:
    first = " ".join(str(error).split())[:200]
    return DDRankingError(
        f"{what} needs more memory than the device has ({first}); finished trainings are in the "
        "store: run the same command again with fewer --workers, or on another --device"
    )
