"""The draws that every entry of a track shares: the validation split, the random subsets.

They depend on labels and a seed only, and give the same indices on every machine and version.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ddranking.errors import BadInput
from ddranking.seeds import generator


class Split(NamedTuple):
    """Two disjoint sets of indices that together are the training images; both sorted."""

    train: np.ndarray
    validation: np.ndarray


def stratified_split(labels: np.ndarray, size: int, *, seed: int = 0) -> Split:
    """Hold out ``size`` images in total, each class in proportion to its frequency.

    Class c with n_c of N images gives ``size * n_c / N`` images, rounded so that the counts sum
    to ``size``: the largest remainders are rounded up, ties by lower class index. No class gives
    its last image. Which images a class gives depends on its labels and ``seed`` only.

    Args:
        labels: int64 ``[N]``.
        size: validation images in total, 0 <= size <= N - (number of classes).
        seed: names the draw.

    Raises:
        BadInput: ``size`` outside its range.

    >>> split = stratified_split(np.arange(20) % 2, 6)
    >>> len(split.train), np.bincount(np.arange(20)[split.validation] % 2).tolist()
    (14, [3, 3])
    """
    labels = np.asarray(labels)
    classes, counts = np.unique(labels, return_counts=True)
    room = counts - 1
    if not 0 <= size <= room.sum():
        raise BadInput(
            "validation size",
            expected=f"0 to {room.sum()} (of {len(labels)} images, every class keeps one)",
            got=str(size),
        )
    taken = []
    for label, count in zip(classes, _proportional(size, counts, room), strict=True):
        members = np.flatnonzero(labels == label)
        taken.append(_shuffled(members, seed, "validation", int(label))[:count])
    validation = np.sort(np.concatenate(taken)).astype(np.int64)
    held_out = np.zeros(len(labels), bool)
    held_out[validation] = True
    return Split(train=np.flatnonzero(~held_out).astype(np.int64), validation=validation)


def random_subset(
    labels: np.ndarray, ipc: int, *, seed: int, among: np.ndarray | None = None
) -> np.ndarray:
    """Draw ``ipc`` images of every class without replacement: the random baseline of one seed.

    Args:
        labels: int64 ``[N]`` of the whole training set; classes are 0 ... max(labels).
        ipc: images per class, at least 1.
        seed: names the draw. Of one seed, a smaller ``ipc`` gives a prefix of each class.
        among: indices that may be drawn (their order does not matter); all when left out.

    Returns:
        int64 indices ``[K * ipc]``, class after class, within a class in the order drawn.

    Raises:
        BadInput: ``ipc`` below 1, or a class with too few images.
    """
    labels = np.asarray(labels)
    allowed = np.arange(len(labels)) if among is None else np.unique(np.asarray(among))
    if ipc < 1:
        raise BadInput("images per class", expected="at least 1", got=str(ipc))
    allowed_labels = labels[allowed]
    drawn = []
    for label in range(int(labels.max(initial=-1)) + 1):
        members = allowed[allowed_labels == label]
        if len(members) < ipc:
            raise BadInput(
                "images per class",
                expected=f"at most {len(members)}, all that class {label} has to draw from",
                got=str(ipc),
                hint="Use fewer images per class or a smaller validation split.",
            )
        drawn.append(_shuffled(members, seed, "random-subset", label)[:ipc])
    return np.concatenate(drawn).astype(np.int64) if drawn else np.zeros(0, np.int64)


def _proportional(size: int, counts: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Largest-remainder rounding of ``size * counts / sum(counts)``, at most ``room`` each."""
    total = int(counts.sum())
    share = size * counts.astype(np.int64)  # in units of 1 / total, so that ties are exact
    given = np.minimum(share // total, room)
    while (missing := size - int(given.sum())) > 0:
        open_classes = np.flatnonzero(given < room)
        by_need = np.argsort((given * total - share)[open_classes], kind="stable")
        given[open_classes[by_need[:missing]]] += 1
    return given


def _shuffled(members: np.ndarray, seed: int, *purpose: str | int) -> np.ndarray:
    """A permutation by sorting raw PCG64 output.

    NumPy promises the raw stream for ever, but not ``permutation``; a published random baseline
    has to be drawn again years later.
    """
    keys = generator(seed, *purpose).bit_generator.random_raw(len(members))
    return members[np.argsort(keys, kind="stable")]
