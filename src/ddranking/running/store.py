"""The store: one immutable JSON file a trial, under ``<folder>/<key[:2]>/<key>.json``.

Every file is written under a temporary name and renamed, so that a killed run leaves whole files
only, and many processes on a shared file system may write at once. A file that does not read back
is set aside (``.corrupt``) and its trial is trained again. Weights that a later trial can start
from lie beside their trial as safetensors.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from ddranking.errors import StoreUnusable
from ddranking.files import user_folder, write_whole
from ddranking.scoring.observation import Observation


def default_folder() -> Path:
    """``$DDRANKING_STORE``, or a folder in the user's cache, so that every score finds it."""
    return user_folder("DDRANKING_STORE", "store")


class Store:
    """Observations by trial key, in a folder.

    Raises:
        StoreUnusable: the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                probe.write(b"writable")
        except OSError as error:
            raise self._unusable(error) from None

    def _path(self, key: str, suffix: str = ".json") -> Path:
        return self.folder / key[:2] / f"{key}{suffix}"

    def get(self, key: str) -> Observation | None:
        """The observation of a trial, or None where it is not known.

        A file that is damaged, or that holds another trial than its name says, is renamed to
        ``<key>.json.corrupt`` and counts as unknown.
        """
        path = self._path(key)
        try:
            seen = Observation.model_validate(json.loads(path.read_text(encoding="utf-8")))
            whole = seen.key == key
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from None
        except (ValueError, ValidationError, RecursionError):
            seen, whole = None, False
        if not whole:
            self._set_aside(path)
            return None
        return seen

    def _set_aside(self, path: Path) -> None:
        """Renames a damaged file; another process may have done so already."""
        try:
            path.replace(path.with_name(path.name + ".corrupt"))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._unusable(error) from None

    def put(self, observation: Observation) -> None:
        """Writes an observation; one that is already there is left as it is.

        Raises:
            StoreUnusable: the disk is full or the folder not writable; what was stored before
                stays readable.
        """
        path = self._path(observation.key)
        if not path.exists():
            values = observation.model_dump(mode="json")
            text = json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"
            self._write(path, text.encode())

    def put_weights(self, key: str, weights: bytes) -> None:
        """Keeps the weights (safetensors) that a trial ended with, until :meth:`drop_weights`."""
        self._write(self._path(key, ".safetensors"), weights)

    def weights(self, key: str) -> Path | None:
        """The file of weights kept for a trial, or None."""
        path = self._path(key, ".safetensors")
        return path if path.exists() else None

    def drop_weights(self, key: str) -> None:
        """Removes kept weights; the observation stays."""
        self._path(key, ".safetensors").unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        try:
            write_whole(path, content)
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> StoreUnusable:
        return StoreUnusable(
            f"store {self.folder}",
            expected="a folder that can be read and written",
            got=error.strerror or str(error),
            hint="Free some space or choose another folder with --store; "
            "what is already stored is kept.",
        )
