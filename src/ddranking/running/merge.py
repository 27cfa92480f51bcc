"""Several stores into one, and what is wrong in a store.

Shards that ran without a shared file system each leave a store of their own; what they trained is
brought together here. A source is only read: nothing in it is renamed or removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ddranking.errors import BadInput, StoreUnusable
from ddranking.running.sealed import is_whole
from ddranking.running.store import HALFWAY, Store, read_observation, unfinished
from ddranking.scoring.observation import Observation, Outcome

_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Conflict:
    """One trial with two accuracies; ``kept`` is the one of the target, ``other`` of ``file``."""

    file: Path
    arm: str
    seed: int
    kept: float
    other: float


@dataclass
class Merged:
    """What a merge did: counts of observations and weights, and the files it left out."""

    copied: int = 0
    present: int = 0
    weights: int = 0
    corrupt: list[Path] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)


@dataclass
class Examined:
    """What a store holds, and which of its files are of no use.

    ``searched`` are the weights that a search kept for its finals; those of teachers are not.
    ``halfway`` are trainings that a run began and none has finished; they are not read.
    """

    observations: int = 0
    weights: list[Path] = field(default_factory=list)
    weight_bytes: int = 0
    searched: list[Path] = field(default_factory=list)
    halfway: list[Path] = field(default_factory=list)
    corrupt: list[Path] = field(default_factory=list)
    set_aside: list[Path] = field(default_factory=list)
    unfinished: list[Path] = field(default_factory=list)


def merge(target: Store, sources: Sequence[Path]) -> Merged:
    """Copies what ``target`` lacks out of other stores, in their order, each file checked first.

    An observation is read and validated whole, and must be the trial that its name says. Where
    two stores hold one trial with different outcomes, the first one stays and both are reported:
    different machines may differ in the last digits, two copies of one run may not. Weights that a
    selected rate can still start from are copied with their trial.

    Raises:
        BadInput: a source that is no folder, or that is the target.
        StoreUnusable: a source cannot be read or the target not written; run it again to go on.
    """
    for source in sources:
        if not source.is_dir():
            raise BadInput(f"store {source}", expected="a folder of a store", got="none")
        if source.resolve() == target.folder.resolve():
            raise BadInput(f"store {source}", expected="another store than the target", got="it")
    result = Merged()
    for source in sources:
        for path in _observations(source):
            _merge_one(target, path, result)
    return result


def _merge_one(target: Store, path: Path, result: Merged) -> None:
    seen = _read(path)
    if seen is None:
        result.corrupt.append(path)
        return
    known = target.get(seen.key)
    if known is None:
        target.put(seen)
        result.copied += 1
    else:
        result.present += 1
        if _accuracy(known.outcome) != _accuracy(seen.outcome):
            trial, values = seen.trial, (_accuracy(known.outcome), _accuracy(seen.outcome))
            result.conflicts.append(Conflict(path, trial.arm, trial.seed, *values))
            return
    weights = path.with_suffix(".safetensors")
    if target.weights(seen.key) is not None:
        return
    content = _weights(weights)
    if content is None:
        return
    if is_whole(content, seen.key):
        target.put_weights(seen.key, content)
        result.weights += 1
    else:
        result.corrupt.append(weights)


def examine(folder: Path) -> Examined:
    """Reads every file of a store; nothing is changed.

    Raises:
        BadInput: no such folder.
        StoreUnusable: it cannot be read.
    """
    if not folder.is_dir():
        raise BadInput(f"store {folder}", expected="a folder of a store", got="none")
    found = Examined()
    search = set()
    for path in _observations(folder):
        seen = _read(path)
        if seen is None:
            found.corrupt.append(path)
            continue
        found.observations += 1
        if seen.trial.evaluate == "validation":
            search.add(path.stem)
    for path in sorted(folder.glob("??/*.safetensors")):
        content = _weights(path)
        if content is None:
            continue
        if is_whole(content, path.stem):
            found.weights.append(path)
            found.weight_bytes += len(content)
            found.searched += [path] if path.stem in search else []
        else:
            found.corrupt.append(path)
    begun = sorted(folder.glob(f"??/*{HALFWAY}"))
    found.halfway = [path for path in begun if path.is_file()]
    found.set_aside = sorted(folder.glob("??/*.corrupt"))
    found.unfinished = unfinished(folder)
    return found


def _observations(folder: Path) -> Iterator[Path]:
    """The files that are named as observations are."""
    for path in sorted(folder.glob("??/*.json")):
        if _KEY.fullmatch(path.stem) and path.parent.name == path.stem[:2]:
            yield path


def _read(path: Path) -> Observation | None:
    try:
        return read_observation(path)
    except FileNotFoundError:  # a link to nothing
        return None
    except OSError as error:
        raise _unreadable(path, error) from None


def _weights(path: Path) -> bytes | None:
    """The content of a file of weights; None where a score that has finished removed it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> StoreUnusable:
    return StoreUnusable(
        f"store file {path}", expected="a readable file", got=error.strerror or str(error)
    )


def _accuracy(outcome: Outcome) -> float:
    read = outcome.test_accuracy
    return read if read is not None else outcome.validation_accuracy or 0.0
