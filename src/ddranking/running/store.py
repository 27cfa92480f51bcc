"""The store: one immutable JSON file a trial, under ``<folder>/<key[:2]>/<key>.json``.

Every file is written under a temporary name and renamed, so that a killed run leaves whole files
only, and many processes on a shared file system may write at once. A file that does not read back
is set aside (``.corrupt``) and its trial is trained again. Weights that a later trial can start
from lie beside their trial as safetensors, with a checksum, and so does a long training that is not
done (``.halfway``).
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ddranking.errors import BadInput, StoreUnusable
from ddranking.files import read_bounded, user_folder, write_new, write_whole
from ddranking.running.sealed import is_whole, seal
from ddranking.scoring.observation import Observation

MAX_OBSERVATION_BYTES = 1 << 20
HALFWAY = ".halfway"
"""How the files end that hold a training between two epochs: sealed safetensors."""

DAY = 24 * 3600.0
"""Seconds after which an unfinished file has no writer any more."""


def default_folder() -> Path:
    """``$DDRANKING_STORE``, or a folder in the user's cache, so that every score finds it."""
    return user_folder("DDRANKING_STORE", "store")


def read_observation(path: Path) -> Observation | None:
    """The observation in a file; None where the file is damaged or holds another trial.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        content = read_bounded(path, MAX_OBSERVATION_BYTES)
        seen = Observation.model_validate(json.loads(content))
        return seen if seen.key == path.stem else None
    except (ValueError, RecursionError):  # pydantic's ValidationError is a ValueError
        return None
    except OSError as error:
        if error.errno in (errno.EFBIG, errno.EINVAL):  # too large, or a pipe and no file
            return None
        raise


def unfinished(folder: Path) -> list[Path]:
    """The files of a store that are being written, or that a killed writer left."""
    return sorted(folder.glob("??/.*.partial"))


def sweep(files: Iterable[Path], now: float, age: float = DAY) -> list[Path]:
    """Removes those files that nobody has written to for ``age`` seconds before ``now``.

    Younger ones stay: another process may be writing them.

    Args:
        files: as :func:`unfinished` finds them, or weights that were kept.
        now: by the clock that the files' times are of: another machine's, perhaps.
        age: in seconds.

    Returns:
        what was removed.
    """
    removed = []
    for path in files:
        with suppress(OSError):  # its writer has finished, or another process removed it
            if now - path.stat().st_mtime > age:
                path.unlink()
                removed.append(path)
    return removed


class Store:
    """Observations by trial key, in a folder.

    Raises:
        StoreUnusable: the folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        if folder is not None and not str(folder):  # an empty variable in a script, most likely
            raise BadInput("--store", expected="the name of a folder", got="an empty one")
        self.folder = Path(folder) if folder is not None else default_folder()
        self._checked: dict[Path, tuple[int, int, int]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder) as probe:
                probe.write(b"writable")
                probe.flush()
                now = os.fstat(probe.fileno()).st_mtime
        except OSError as error:
            raise self._unusable(error) from None
        sweep(unfinished(self.folder), now)

    def _path(self, key: str, suffix: str = ".json") -> Path:
        return self.folder / key[:2] / f"{key}{suffix}"

    def get(self, key: str) -> Observation | None:
        """The observation of a trial, or None where it is not known.

        A file that is damaged, or that holds another trial than its name says, is renamed to
        ``<key>.json.corrupt`` and counts as unknown.
        """
        path = self._path(key)
        try:
            seen = read_observation(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from None
        if seen is None:
            self._set_aside(path)
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
        """Writes an observation; one that is already there stays, also if it came just now.

        What was kept halfway of its training is removed.

        Raises:
            StoreUnusable: the disk is full or the folder not writable; what was stored before
                stays readable.
        """
        path = self._path(observation.key)
        if not path.exists():
            values = observation.model_dump(mode="json")
            text = json.dumps(values, indent=1, sort_keys=True, allow_nan=False) + "\n"
            try:
                write_new(path, text.encode())
            except OSError as error:
                raise self._unusable(error) from None
        self.drop_halfway(observation.key)

    def halfway(self, key: str) -> Path:
        """Where a training lies that is not done, if any of it was kept."""
        return self._path(key, HALFWAY)

    def put_halfway(self, key: str, snapshot: bytes) -> None:
        """Keeps a training between two epochs, in place of an earlier one, until it is done."""
        try:
            write_whole(self.halfway(key), snapshot)
        except OSError as error:
            raise self._unusable(error) from None

    def put_weights(self, key: str, weights: bytes) -> None:
        """Keeps the weights (safetensors) that a trial ended with, until :meth:`drop_weights`."""
        try:
            write_whole(self._path(key, ".safetensors"), seal(weights, key))
        except OSError as error:
            raise self._unusable(error) from None

    def drop_halfway(self, key: str) -> None:
        """Removes what was kept halfway of a training, if anything was."""
        with suppress(OSError):  # on a disk that cannot be written to it does no harm
            self.halfway(key).unlink(missing_ok=True)

    def weights(self, key: str) -> Path | None:
        """The file of weights kept for a trial, or None; one damaged or of another is removed."""
        path = self._path(key, ".safetensors")
        try:
            status = path.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._checked.get(path) != stamp:
                if not is_whole(path.read_bytes(), key):
                    self.drop_weights(key)
                    return None
                self._checked[path] = stamp
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from None
        return path

    def drop_weights(self, key: str) -> None:
        """Removes kept weights; the observation stays."""
        self._path(key, ".safetensors").unlink(missing_ok=True)

    def _unusable(self, error: OSError) -> StoreUnusable:
        return StoreUnusable(
            f"store {self.folder}",
            expected="a folder that can be read and written",
            got=f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}",
            hint="Free some space or choose another folder with --store; "
            "what is already stored is kept.",
        )
