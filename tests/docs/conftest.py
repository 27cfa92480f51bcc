"""What all tests of the documentation share: the pages' readers, and one folder of small data."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with stand-ins for published files and real datasets; copy it, then work in it."""
    from stand_ins import build_state

    folder = tmp_path_factory.mktemp("docs") / "state"
    folder.mkdir()
    build_state(folder)
    return folder
