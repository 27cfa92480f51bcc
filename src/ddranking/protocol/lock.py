"""The lock: the content hash of every released recipe and track, in ``lock.json``.

``python -m ddranking.protocol.lock`` adds those that are new and never touches one that is there:
a changed rule is a new version, ``name@2``, beside the old one.
"""

from __future__ import annotations

import json
from pathlib import Path

from ddranking.protocol.recipe import recipe_files
from ddranking.protocol.track import tracks

PATH = Path(__file__).with_name("lock.json")


def present() -> dict[str, str]:
    """``recipe name@N`` and ``track name@N`` to content hash, of all that is shipped."""
    recipes = {f"recipe {key}": file.lock_hash for key, file in recipe_files().items()}
    return recipes | {f"track {key}": track.hash for key, track in tracks().items()}


def add(path: Path = PATH) -> list[str]:
    """Adds what is shipped and not locked yet to the lock file; returns the added names."""
    locked: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    added = sorted(present().keys() - locked.keys())
    path.write_text(
        json.dumps({**present(), **locked}, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    return added


if __name__ == "__main__":
    print("\n".join(add()) or "nothing new")
