"""Released recipes and tracks cannot change silently; see :mod:`ddranking.protocol.lock`."""

import json

from ddranking.protocol import lock, shelf
from ddranking.protocol.recipe import recipe_files
from ddranking.protocol.track import tracks


def test_what_was_released_is_still_there_and_unchanged() -> None:
    """Never repair this by writing the lock anew: give the changed file a new version instead."""
    present = lock.present()
    for name, content in shelf.locked().items():
        assert present.get(name) == content, f"{name} was released with another content"


def test_every_shipped_recipe_and_track_is_locked() -> None:
    assert set(lock.present()) == set(shelf.locked()), "run: python -m ddranking.protocol.lock"
    assert len(lock.present()) == len(recipe_files()) + len(tracks())


def test_new_releases_are_added_and_old_ones_kept(tmp_path) -> None:
    path = tmp_path / "lock.json"
    path.write_text(json.dumps({"recipe dc@1": "sha256:old", "track gone@1": "sha256:gone"}))
    added = lock.add(path)
    written = json.loads(path.read_text())
    assert written["recipe dc@1"] == "sha256:old"
    assert written["track gone@1"] == "sha256:gone"
    assert "recipe dc@1" not in added
    assert set(written) == {*lock.present(), "track gone@1"}
    assert lock.add(path) == []
