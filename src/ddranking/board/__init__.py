"""Judging records: rankings, the page that shows them, and checks of what is handed in.

``ddranking.board(records, out)`` builds the page; ``ddranking.board.ranking`` and the other modules
are reached as usual. A package cannot be both a folder and a function, so this module is callable.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ddranking.scoring.record import Record


class _CallableModule(ModuleType):
    def __call__(
        self, records: Iterable[Record | str | os.PathLike[str]], out: str | os.PathLike[str]
    ) -> Path:
        """Writes the ranking page of records (objects, files or folders of files) into ``out``.

        Returns:
            the page, ``out/index.html``.

        Raises:
            BadFile, BadProtocol: a record that does not validate.
            StoreUnusable: the folder cannot be written.
        """
        from ddranking.board.site import build
        from ddranking.board.submission import load_records

        given = list(records)
        paths = [each for each in given if isinstance(each, str | os.PathLike)]
        objects = [each for each in given if not isinstance(each, str | os.PathLike)]
        return build([*objects, *load_records(paths)], Path(out))


sys.modules[__name__].__class__ = _CallableModule
