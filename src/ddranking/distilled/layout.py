"""Do the values of a set lie where they should? Channel order, turns and reshapes.

Every mistake of :data:`ddranking.distilled.mistakes.LAYOUTS` is undone in turn, and the class means
that come out are compared with real ones as in :mod:`ddranking.distilled.candidates`: the cosine in
the space where it is largest. A layout moves values and changes none, so that the same argument
holds: the cosine is largest where layout and space are both right. Layouts under which real class
means look the same (natural images and their mirror images) are never told apart.

Shapes: K classes of the set, D = C*H*W values an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ddranking.data.space import Zca
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.candidates import Candidate, class_means, cosine, jackknife
from ddranking.distilled.classorder import match
from ddranking.distilled.mistakes import COLOUR, INVERTED, LAYOUTS

ALIKE = 0.98
"""Real class means whose cosine with themselves in another layout is larger, after the level of
each channel is taken away, look the same in both."""

LEVEL, DOUBT = 0.01, 0.05
"""Probabilities of Student's t over classes under which a layout is wrong, and is doubted."""


AGAINST = 0.001
"""Probability of so negative a diagonal by chance, under which images are called inverted."""


@dataclass(frozen=True)
class Layout:
    """The layout that fits best.

    Attributes:
        mistake: name of the mistake that was undone for it; empty for the given one.
        space: the candidate in which it fits best.
        cosine: its cosine of class means.
        given: the cosine as given, in its own best space.
        ahead, error: the difference of both and its standard error (jackknife over classes).
        wrong: it is ahead beyond chance (``LEVEL``).
        doubted: it is ahead, and perhaps by chance (between ``LEVEL`` and ``DOUBT``).
    """

    mistake: str
    space: str
    cosine: float
    given: float
    ahead: float
    error: float
    wrong: bool
    doubted: bool


@dataclass(frozen=True, eq=False)
class _Fit:
    """Class means in one layout [K, D], and the candidate whose real ones they are nearest to."""

    own: np.ndarray
    candidate: Candidate
    cosine: float


def compare(distilled: DistilledSet, choices: Sequence[Candidate]) -> Layout:
    """The layout of a set's images, from its class means and those of real images."""
    present = np.unique(distilled.labels)
    own = class_means(as_float(distilled.images), distilled.labels, present)
    square = own.reshape(len(own), *distilled.images.shape[1:])
    fits = {"": _fit(own, present, choices)}
    for name, mistake in LAYOUTS.items():
        if square.shape[1] > 1 or name not in COLOUR:
            undone = mistake.undo(square).reshape(own.shape)
            fits[name] = _fit(undone, present, choices)
    best = max(fits, key=lambda name: fits[name].cosine)
    means = fits[best].candidate.means.reshape(-1, *square.shape[1:])
    best = next(name for name in fits if _same(name, best, means))
    fit, given = fits[best], fits[""]
    if not best:
        space = given.candidate.name
        return Layout("", space, given.cosine, given.cosine, 0.0, 0.0, wrong=False, doubted=False)
    ahead, error = jackknife(
        (fit.own, fit.candidate.means[present]), (given.own, given.candidate.means[present])
    )
    chance = [float(stdtrit(len(present) - 1, 1 - level)) for level in (LEVEL, DOUBT)]
    sure, likely = (math.isfinite(error) and ahead > each * error for each in chance)
    return Layout(
        mistake=best,
        space=fit.candidate.name,
        cosine=fit.cosine,
        given=given.cosine,
        ahead=ahead,
        error=error,
        wrong=sure,
        doubted=likely and not sure,
    )


def inverted(distilled: DistilledSet, declared: Candidate) -> Layout | None:
    """Negatives: differences between class means point away from those of real images.

    With the mean over classes taken away, inversion turns the sign of class means and does nothing
    else, whatever constants images are standardised with. It is called where the diagonal of
    cosines with real ones is so negative that no chance explains it, where the other sign is ahead
    beyond chance, and where no layout explains the images better.

    Args:
        distilled: the set.
        declared: the candidate that its card declares; of whitened ones nothing is said.
    """
    if isinstance(declared.space, Zca):
        return None
    present = np.unique(distilled.labels)
    own = class_means(as_float(distilled.images), distilled.labels, present)
    own, real = (each - each.mean(0) for each in (own, declared.means[present]))
    given = cosine(own, real)
    if given >= 0 or match(own, real)[1] < 1 - AGAINST:
        return None
    square = own.reshape(len(own), *distilled.images.shape[1:])
    possible = [each for n, each in LAYOUTS.items() if square.shape[1] > 1 or n not in COLOUR]
    turned = max(cosine(each.undo(square).reshape(own.shape), real) for each in possible)
    ahead, error = jackknife((-own, real), (own, real))
    chance = float(stdtrit(len(present) - 1, 1 - LEVEL))
    if -given < turned or not math.isfinite(error) or ahead <= chance * error:
        return None
    name = declared.name
    return Layout(INVERTED, name, -given, given, ahead, error, wrong=True, doubted=False)


def _fit(own: np.ndarray, present: np.ndarray, choices: Sequence[Candidate]) -> _Fit:
    cosines = [cosine(own, each.means[present]) for each in choices]
    first = int(np.argmax(cosines))
    return _Fit(own, choices[first], cosines[first])


def _same(name: str, other: str, means: np.ndarray) -> bool:
    """Whether real class means [K, C, H, W] spoilt by ``other`` look real with ``name`` undone.

    With empty names for no mistake.
    """
    if name == other:
        return True
    plain = means - means.mean((0, 2, 3), keepdims=True)
    spoilt = LAYOUTS[other].make(plain) if other else plain
    return cosine(LAYOUTS[name].undo(spoilt) if name else spoilt, plain) > ALIKE
