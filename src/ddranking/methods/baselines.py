"""Baselines: distilled sets made by selecting or averaging real images, and one made of noise.

Each is one function ``(dataset, ipc, seed) -> images float32 [N,C,H,W] in pixel space``, classes in
order, ``ipc`` images a class. Distances are Euclidean between pixels in [0, 1].

Shapes: N images, C channels, H height, W width; M images of one class, D = C*H*W.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ddranking import seeds
from ddranking.data.catalog import describe
from ddranking.data.images import Dataset, random_subset
from ddranking.data.space import Pixel
from ddranking.distilled.artifact import DistilledSet
from ddranking.errors import UnknownName

SelectMD = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
"""From one class's images [M,D] to ``ipc`` images [ipc,D]."""


def _by_class(dataset: Dataset, ipc: int, seed: int, select: SelectMD) -> np.ndarray:
    chosen = []
    for label in range(dataset.num_classes):
        pixels = dataset.train.pixels[dataset.train.labels == label]
        flat = pixels.reshape(len(pixels), -1).astype(np.float32) / 255
        chosen.append(select(flat, ipc, seeds.generator(seed, "baseline", label)))
    return np.concatenate(chosen).reshape(-1, *dataset.train.shape).astype(np.float32)


def random(dataset: Dataset, ipc: int, seed: int) -> np.ndarray:
    """Real images drawn uniformly, class by class."""
    drawn = random_subset(dataset.train.labels, ipc, seed=seed)
    return dataset.train.take(drawn).pixels.astype(np.float32) / 255


def kmeans(dataset: Dataset, ipc: int, seed: int) -> np.ndarray:
    """The ``ipc`` centroids of k-means of each class (k-means++ start, best of 4)."""

    def select(flat: np.ndarray, count: int, chance: np.random.Generator) -> np.ndarray:
        from sklearn.cluster import KMeans

        state = int(chance.integers(2**31))
        means = KMeans(count, n_init=4, random_state=state)  # type: ignore[arg-type]
        return means.fit(flat).cluster_centers_

    return _by_class(dataset, ipc, seed, select)


def herding(dataset: Dataset, ipc: int, seed: int) -> np.ndarray:
    """Real images picked one by one so that their mean stays closest to the class mean.

    Welling 2009: with mu the class mean and S the sum of the n picked, the next is
    ``argmin_x || mu - (S + x) / (n + 1) ||``. Deterministic; ``seed`` has no effect.
    """

    def select(flat: np.ndarray, count: int, _: np.random.Generator) -> np.ndarray:
        mean, total = flat.mean(0), np.zeros(flat.shape[1], flat.dtype)
        free, picked = np.ones(len(flat), bool), []
        for n in range(count):
            distance = np.linalg.norm(mean - (total + flat) / (n + 1), axis=1)
            best = int(np.where(free, distance, np.inf).argmin())
            free[best] = False
            picked.append(best)
            total = total + flat[best]
        return flat[picked]

    return _by_class(dataset, ipc, seed, select)


def kcenter(dataset: Dataset, ipc: int, seed: int) -> np.ndarray:
    """Real images picked greedily, each the farthest from those picked (Gonzalez 1985).

    Starts at the image nearest to the class mean. Deterministic; ``seed`` has no effect.
    """

    def select(flat: np.ndarray, count: int, _: np.random.Generator) -> np.ndarray:
        picked = [int(np.linalg.norm(flat - flat.mean(0), axis=1).argmin())]
        nearest = np.linalg.norm(flat - flat[picked[0]], axis=1)
        while len(picked) < count:
            picked.append(int(nearest.argmax()))
            nearest = np.minimum(nearest, np.linalg.norm(flat - flat[picked[-1]], axis=1))
        return flat[picked]

    return _by_class(dataset, ipc, seed, select)


def noise(dataset: Dataset, ipc: int, seed: int) -> np.ndarray:
    """Pixels drawn uniformly from [0, 1]: what a set without any information scores."""
    shape = (dataset.num_classes * ipc, *dataset.train.shape)
    return seeds.generator(seed, "baseline", "noise").random(shape, dtype=np.float32)


METHODS: dict[str, tuple[Callable[[Dataset, int, int], np.ndarray], str]] = {
    "herding": (herding, "real images whose mean follows the class mean"),
    "kcenter": (kcenter, "real images that lie far apart"),
    "kmeans": (kmeans, "k-means centroids of each class"),
    "noise": (noise, "uniform noise"),
    "random": (random, "random real images"),
}
"""Name to function and a one-line description."""

TITLES = {
    "herding": "Herding",
    "kcenter": "k-Center",
    "kmeans": "k-means centroids",
    "noise": "Uniform noise",
    "random": "Random selection",
}


def make(name: str, dataset: Dataset, ipc: int, *, seed: int = 0) -> DistilledSet:
    """A baseline as a distilled set in pixel space.

    Raises:
        UnknownName: no such baseline.
        BadInput: a class has fewer than ``ipc`` images.
    """
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    random_subset(dataset.train.labels, ipc, seed=seed)  # every class must hold ipc images
    return DistilledSet.from_arrays(
        METHODS[name][0](dataset, ipc, seed),
        np.repeat(np.arange(dataset.num_classes), ipc),
        known=describe(dataset),
        dataset=dataset.name,
        ipc=ipc,
        space=Pixel(),
        method=TITLES[name],
    )
