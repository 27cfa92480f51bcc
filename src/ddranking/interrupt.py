"""Ctrl-C at the command line, also while libraries are imported.

Python raises KeyboardInterrupt in whatever runs at that moment. In the middle of an import this is
a library's own code, which may take it for a part that is not installed and go on, print a
traceback of its own, or abort. So an import is not interrupted: it is waited for, and the process
ends with it where it takes longer than ``PATIENCE``. Nor is a function that is :func:`whole`, such
as one that starts a process and notes whom to stop. Elsewhere, too, code may catch whatever is
raised and go on; so the interrupt is raised again until somebody handles it. Where Python itself
drops it, as in a weak reference's callback or where a compiled library asks for an object's type,
it would print a traceback: that one is not shown.

This module imports nothing but the standard library, and little of that: it is loaded first.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

CODE = 130
"""Exit code of an interrupted command."""
LINE = "Interrupted. What is finished is kept: run the same command again to go on."
PATIENCE = 0.2
"""Seconds from Ctrl-C to the end of the process, where an import takes longer than that."""
STEP = 0.05
"""Seconds until it is asked again whether what is waited for is over."""
AGAIN = 0.5
"""Seconds until it is asked whether the interrupt is being handled or was lost."""


class _Waiting:
    """A handler of signals that raises KeyboardInterrupt as soon as that stops nothing halfway."""

    def __init__(self) -> None:
        self.since: float | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGALRM and isinstance(sys.exception(), KeyboardInterrupt):
            # What was interrupted is tidying up.
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
            return
        if in_whole(frame):
            signal.setitimer(signal.ITIMER_REAL, STEP)
            return
        if not importing(frame):
            self.since = None
            signal.setitimer(signal.ITIMER_REAL, AGAIN)
            raise KeyboardInterrupt
        now = time.monotonic()
        if self.since is None:
            self.since = now
        if now - self.since > PATIENCE:
            # As a killed process loses no finished training, neither does this one.
            os.write(2, f"{LINE}\n".encode())
            os._exit(CODE)
        signal.setitimer(signal.ITIMER_REAL, STEP)


class _Dropped:
    """A hook for exceptions that Python cannot raise: of an interrupt it says nothing."""

    def __init__(self, others: Callable[[sys.UnraisableHookArgs], object]) -> None:
        self.others = others

    def __call__(self, dropped: sys.UnraisableHookArgs) -> None:
        if issubclass(dropped.exc_type, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, STEP)  # it is raised again where it can be
        else:
            self.others(dropped)


def watch() -> None:
    """Handles Ctrl-C from now on, for the rest of the process. For a command's main thread alone.

    Where the signal is ignored, as in a shell's background jobs, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handler = _Waiting()
        signal.signal(signal.SIGINT, handler)
        signal.signal(signal.SIGALRM, handler)
        sys.unraisablehook = _Dropped(sys.unraisablehook)


def handled() -> None:
    """The interrupt has reached the command line: it is not raised again."""
    if isinstance(signal.getsignal(signal.SIGALRM), _Waiting):
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # one may be on its way already


_WHOLE: set[CodeType] = set()


def whole(function: Callable[Given, Answer]) -> Callable[Given, Answer]:
    """Marks a function that Ctrl-C at the command line does not stop halfway; it must be short."""
    _WHOLE.add(function.__code__)
    return function


def in_whole(frame: FrameType | None) -> bool:
    """Whether a frame, or one that called it, is of a function that is not stopped halfway."""
    return any(code in _WHOLE for code in _codes(frame))


def importing(frame: FrameType | None) -> bool:
    """Whether a frame, or one that called it, is of Python's import system."""
    return any(code.co_filename.startswith("<frozen importlib") for code in _codes(frame))


def _codes(frame: FrameType | None) -> Iterator[CodeType]:
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back
