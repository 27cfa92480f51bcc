"""``python -m ddranking`` and the ``ddranking`` command."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

from ddranking import interrupt


def main() -> None:
    """Runs the command line and exits with its code."""
    try:
        interrupt.watch()
        from ddranking.cli import main as run

        code = run()
    except KeyboardInterrupt:  # before there was a command to interrupt
        interrupt.handled()
        print(interrupt.LINE, file=sys.stderr)
        code = interrupt.CODE
    if code == interrupt.CODE:
        # Nothing is left to do, and libraries take a second to tidy up what ends anyway.
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
