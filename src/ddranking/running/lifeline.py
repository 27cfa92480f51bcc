"""What a worker process begins with: it ends when its parent does, also while it imports.

This module imports nothing but the standard library, and little of that.
"""

from __future__ import annotations

import os
import sys
import threading
import time

PARENT_SECONDS = 0.5
"""How often a worker looks whether its parent is still there."""


def main() -> None:
    """Serves the pipe of the first argument (a file descriptor) for the process of the second."""
    threading.Thread(target=_end_with, args=(int(sys.argv[2]),), daemon=True).start()
    from ddranking.running.worker import serve  # takes seconds

    serve(int(sys.argv[1]))


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone, also in the middle of an epoch of an hour."""
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(0)
