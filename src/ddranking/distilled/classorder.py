"""Do the labels number the classes as the dataset does? Class means against real class means.

``C[k, j]`` is the cosine of the set's mean image of class k with the real mean image of class j,
both after the mean over classes is taken away. Where the order is right the diagonal stands out;
where it was permuted, the best one-to-one assignment is the permutation. How much better than the
given order it must be is read from sets in the right order: random real images, which follow their
classes less than distilled ones do, and the set's own residuals.

Shapes: K classes (those that the set has), D values an image, n real images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtr

from ddranking import seeds

DRAWS = 499
"""Simulated sets that the gain of another order is compared with."""

LEVEL = 0.01
"""Probability under which chance is no explanation."""

MOST_CLASSES = 200
"""More than these and no other order is searched for: a draw takes a second at 1,000."""


@dataclass(frozen=True, eq=False)
class Order:
    """How the labels of a set fit the classes of the real dataset.

    Attributes:
        matched: classes whose own real mean is the most similar one.
        classes: K.
        diagonal: mean of ``C[k, k]``.
        chance: probability of so large a diagonal where labels say nothing about images.
        best: for each of the set's classes (in rising order) the position, among the same
            classes, of the real class that the best assignment gives it.
        gain: how much larger the cosine of all means together is under ``best``.
        by_images: probability of so large a gain among random real images in the right order, as
            many of each class as the set has; 1 where not searched for.
        by_residuals: likewise among simulated sets in the right order, whose residuals are as
            large as this one's are in the given order.
    """

    matched: int
    classes: int
    diagonal: float
    chance: float
    best: np.ndarray
    gain: float
    by_images: float
    by_residuals: float

    @property
    def unrelated(self) -> bool:
        """The given order is no better than a random one (1 %)."""
        return self.chance > LEVEL

    @property
    def permuted(self) -> bool:
        """Another order is meant: the given one is random, or the other one gains too much."""
        return self.by_images < LEVEL and (self.unrelated or self.by_residuals < LEVEL)


def compare(own: np.ndarray, images: np.ndarray, labels: np.ndarray, ipc: int) -> Order:
    """Compare class means of a set with real ones.

    ``chance`` is Hoeffding's normal approximation of ``sum C[k, p(k)]`` over random orders p, whose
    variance is ``sum D^2 / (K - 1)`` with D the doubly centred C.

    Args:
        own: float [K, D], the set's class means, classes in rising order.
        images: real images [n, D] of these classes, in the space of ``own``.
        labels: their classes [n].
        ipc: images of a class that ``own`` is the mean of.
    """
    classes = np.unique(labels)
    real = np.stack([images[labels == k].mean(0, dtype=np.float64) for k in classes])
    centre = real.mean(0)
    own, real = own - own.mean(0), real - centre
    matrix, chance = match(own, real)
    count = len(matrix)
    best, gain, by_images, by_residuals = np.arange(count), 0.0, 1.0, 1.0
    if 2 < count <= MOST_CLASSES:
        # The centred means of K classes span K - 1 directions; what is outside says nothing.
        span = np.linalg.svd(real, full_matrices=False)[2][: count - 1]
        m, r = own @ span.T, real @ span.T
        best, gain = _assignment(m, r)
        if gain > 0:
            # Many classes get fewer draws: an assignment takes longer there.
            draws = DRAWS if count <= 20 else 99
            drawn = _random_images((images - centre) @ span.T, labels, ipc, draws)
            by_images = _share(drawn, r, gain)
            by_residuals = _share(_residuals(m, r, draws), r, gain)
    return Order(
        matched=int((matrix.argmax(1) == np.arange(count)).sum()),
        classes=count,
        diagonal=float(np.diag(matrix).mean()),
        chance=chance,
        best=best,
        gain=gain,
        by_images=by_images,
        by_residuals=by_residuals,
    )


def match(own: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, float]:
    """Cosines C [K, K] of class means, and the probability of their diagonal by chance.

    Args:
        own, real: class means [K, D]; the mean over classes is taken away.
    """
    matrix = _cosines(own - own.mean(0), real - real.mean(0))
    centred = matrix - matrix.mean(0) - matrix.mean(1, keepdims=True) + matrix.mean()
    spread = float(np.sqrt((centred**2).sum() / max(len(matrix) - 1, 1)))
    standing = float(np.trace(centred)) / spread if spread > 0 else 0.0
    return matrix, float(ndtr(-standing))


def _random_images(x: np.ndarray, labels: np.ndarray, ipc: int, draws: int) -> np.ndarray:
    """[draws, K, K-1]: means of ``ipc`` random real images of each class, centred."""
    chance = seeds.generator(0, "doctor", "order", "images")
    means = []
    for k in np.unique(labels):
        members = x[labels == k]
        means.append(members[chance.integers(len(members), size=(draws, ipc))].mean(1))
    drawn = np.stack(means, 1)
    return drawn - drawn.mean(1, keepdims=True)


def _residuals(m: np.ndarray, r: np.ndarray, draws: int) -> np.ndarray:
    """[draws, K, K-1]: ``a r + e``, with a and e as if the given order was right.

    e is normal with the covariance of the set's own residuals: sets vary most where real images
    do, so white noise would call every other set permuted.
    """
    scale = float((m * r).sum() / (r * r).sum())
    chance = seeds.generator(0, "doctor", "order", "residuals")
    weights = chance.standard_normal((draws, len(m), len(m))) / np.sqrt(len(m))
    return scale * r + weights @ (m - scale * r)


def _share(drawn: np.ndarray, r: np.ndarray, gain: float) -> float:
    """Share of drawn sets whose best order gains as much, the observed one counted in."""
    return (1 + sum(_assignment(m, r)[1] >= gain for m in drawn)) / (1 + len(drawn))


def _assignment(m: np.ndarray, r: np.ndarray) -> tuple[np.ndarray, float]:
    """The order with the least squared distance, and its gain in cosine over the given order."""
    products = m @ r.T
    rows, columns = linear_sum_assignment(products, maximize=True)
    norm = float(np.linalg.norm(m) * np.linalg.norm(r))
    if norm == 0 or not (columns != rows).any():
        return rows, 0.0
    return columns, float(products[rows, columns].sum() - np.trace(products)) / norm


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)[None]
    return a @ b.T / np.where(norms > 0, norms, 1)
