"""A step that is recorded once and then replayed, without Python in between.

On a GPU the step of a small network is over before Python has asked for the next one. A CUDA graph
asks for all of a step's kernels at once. It reads and writes the addresses it was recorded with, so
whatever changes from step to step has to come as a tensor, and whatever is no tensor (the family
that DSA drew, the number of images) is part of the form: each form has a recording of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ddranking.training.drawn import form, mapped, tensors
from ddranking.training.memory import is_out_of_memory, release

Replay = Callable[[], object]
Recorder = Callable[[Callable[[], object]], Replay]
"""Runs a function once and answers with what repeats it on the same addresses."""

SHORT_STEP = 1 << 22
"""Values of a batch's images up to which steps are recorded: 1,365 images of 32 px, 27 of 224 px.

A longer step is thought to keep a GPU busy until Python asks for the next one (not measured), and
its recording would hold the memory of a second one.
"""

MOST_FORMS = 64
"""Recordings of one training; a form beyond them runs as it is."""


@dataclass(frozen=True)
class _Recording:
    inputs: tuple[Tensor, ...]
    replay: Replay


class Recorded:
    """``step`` of inputs that hold tensors; recorded when a form comes for the second time.

    The first time it runs as it is: libraries make ready then what may not be made while recording.
    Where recording fails, steps run as they are from then on, and ``reason`` says why.

    Args:
        step: changes state (weights, sums) in place and gives nothing back.
        record: what records, :func:`cuda_recorder` or a test's.
    """

    def __init__(self, step: Callable[..., object], record: Recorder) -> None:
        self.step, self.record = step, record
        self.reason: str | None = None
        self._seen: set[Hashable] = set()
        self._recordings: dict[Hashable, _Recording] = {}

    def __call__(self, *inputs: Any) -> None:
        kind = form(inputs)
        known = self._recordings.get(kind)
        if known is not None:
            for own, given in zip(known.inputs, tensors(inputs), strict=True):
                own.copy_(given)
            known.replay()
        elif kind not in self._seen or self.reason or len(self._recordings) >= MOST_FORMS:
            self._seen.add(kind)
            self.step(*inputs)
        else:
            self._record(kind, inputs)

    def _record(self, kind: Hashable, inputs: tuple[Any, ...]) -> None:
        own = mapped(inputs, Tensor.clone)
        for last in (False, True):
            try:
                replay = self.record(lambda: self.step(*own))
            except RuntimeError as error:
                self.reason = " ".join(str(error).split())[:200]
                full = is_out_of_memory(error)
            else:
                self.reason = None
                self._recordings[kind] = _Recording(tuple(tensors(own)), replay)
                return
            if last or not full:
                break
            release()  # while it records, torch does not give back what is cached, so do it before
        self.step(*inputs)


def cuda_recorder() -> Recorder:
    """Records on the current stream, which must not be the default one; one pool for all.

    Of ``torch.cuda.graph`` this is the capture alone: that also waits for the device and empties
    its caches, which the trainings beside this one would feel.
    """
    pool = torch.cuda.graph_pool_handle()

    def record(function: Callable[[], object]) -> Replay:
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=pool, capture_error_mode="thread_local")
        try:
            function()
            graph.capture_end()
        except BaseException:
            _abandon(graph, pool)
            raise
        graph.replay()
        return graph.replay

    return record


_ABANDONED: list[torch.cuda.CUDAGraph] = []
"""Graphs whose capture broke: torch's allocator may still ask them whether memory is theirs."""


def _abandon(graph: torch.cuda.CUDAGraph, pool: Any) -> None:
    """Ends a capture that failed; the error that ended it is the one to tell.

    A capture that the device called off cannot be ended by torch, which then takes it for under way
    for ever and frees nothing any more; so its pool is closed by hand.
    """
    try:
        graph.capture_end()
    except RuntimeError:
        _ABANDONED.append(graph)
        with suppress(RuntimeError, AttributeError):
            device = torch.cuda.current_device()
            torch._C._cuda_endAllocateToPool(device, pool)  # pyright: ignore
            torch._C._cuda_releasePool(device, pool)  # pyright: ignore
