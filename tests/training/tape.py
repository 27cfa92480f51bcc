"""A recorder of steps on a CPU, which does what a CUDA graph does and refuses what it refuses.

Every operation of torch is written down with the tensors that it read and wrote, and a replay does
the same operations on the same tensors. So what a step computes in Python, or takes from a tensor
that is new in each step, is frozen, as on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

READS = {"_local_scalar_dense", "is_nonzero", "nonzero", "equal"}
"""Operations whose result the host waits for."""

BRINGS = {torch.tensor, torch.as_tensor, torch.from_numpy, torch.asarray}
"""What copies from the host's memory."""


class HostTalks(RuntimeError):
    """A step asked the device for a number, or gave it one."""


class _Tape(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.split("::")[-1]
        if name in READS or torch.Tag.nondeterministic_seeded in func.tags:
            raise HostTalks(f"{name} in a recorded step")
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        for func, args, kwargs, written in self.calls:
            if _makes_no_tensor(func):
                func(*args, **kwargs)
                continue
            made = func(*args, **kwargs)
            for old, new in zip(tree_leaves(written), tree_leaves(made), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class _NothingBrought(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in BRINGS or _chosen_by_a_list(func, args):
            raise HostTalks(f"{func.__name__} in a recorded step")
        return func(*args, **(kwargs or {}))


def _chosen_by_a_list(func: Any, args: tuple[Any, ...]) -> bool:
    """Indices in a list become a tensor, which has to travel."""
    if func is not torch.Tensor.__getitem__:
        return False
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    return any(isinstance(part, list) for part in index)


def _makes_no_tensor(func: Any) -> bool:
    """In-place operations and views write or show what is there already."""
    return func._schema.is_mutable or any(
        returned.alias_info is not None for returned in func._schema.returns
    )


def tape(function: Callable[[], object]) -> Callable[[], object]:
    """Runs ``function`` and answers with what repeats it on the same tensors."""
    written = _Tape()
    with _NothingBrought(), written:
        function()
    return lambda: torch.no_grad()(written.replay)()
