"""The score: HLR, IOR, alpha, DDRS and ARS as pure functions of accuracies (fractions in [0, 1]).

Source: DD-Ranking (Li et al. 2025), equations of the score and of the augmentation-robust score.
Nothing here knows of seeds or intervals; see :mod:`ddranking.scoring.statistics` for those.
"""

from __future__ import annotations

import math

from ddranking.errors import ValueOutOfRange


def fraction(value: float, name: str, low: float = 0.0, high: float = 1.0) -> float:
    """``value`` as a float in [low, high].

    Raises:
        ValueOutOfRange: not a finite number in the range; a value such as 84.8 gets the hint
            "looks like a percentage".
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueOutOfRange(
            name, expected=f"a number in [{low:g}, {high:g}]", got=repr(value)
        ) from None
    if math.isfinite(number) and low <= number <= high:
        return number
    hint = ""
    if math.isfinite(number) and 1 < abs(number) <= 100:
        hint = f"{number:g} looks like a percentage: give it as a fraction, {number / 100:g}."
    raise ValueOutOfRange(
        name, expected=f"a fraction in [{low:g}, {high:g}]", got=f"{number:g}", hint=hint
    )


def hlr(real_hard: float, syn_hard: float) -> float:
    """Hard label recovery, ``acc(real, hard) - acc(synthetic, hard)``, in [-1, 1]; lower is better.

    >>> round(hlr(0.848, 0.481), 4)
    0.367
    """
    return fraction(real_hard, "real_hard") - fraction(syn_hard, "syn_hard")


def ior(syn_any: float, rdm_any: float) -> float:
    """Improvement over random, ``acc(synthetic) - acc(random)`` under one recipe, in [-1, 1].

    >>> round(ior(0.449, 0.26), 4)
    0.189
    """
    return fraction(syn_any, "syn_any") - fraction(rdm_any, "rdm_any")


def alpha(hlr: float, ior: float, w: float = 0.5) -> float:
    """``w * IOR - (1 - w) * HLR``, in [-1, 1]: what orders a board at weight ``w`` in [0, 1].

    >>> alpha(hlr=0.2, ior=0.1)
    -0.05
    """
    w = fraction(w, "w")
    return w * fraction(ior, "ior", -1.0) - (1 - w) * fraction(hlr, "hlr", -1.0)


def ddrs(alpha: float) -> float:
    """``(exp(alpha) - exp(-1)) / (e - exp(-1))``: alpha in [-1, 1] mapped onto [0, 1].

    Later papers call the same number LRS, the label-robust score.

    >>> [round(ddrs(value), 6) for value in (-1, 0, 1)]
    [0.0, 0.268941, 1.0]
    """
    value = fraction(alpha, "alpha", -1.0)
    return (math.exp(value) - math.exp(-1)) / (math.e - math.exp(-1))


def ars(
    syn_aug: float, rdm_aug: float, syn_noaug: float, rdm_noaug: float, g: float = 0.5
) -> float:
    """The augmentation-robust score (DD-Ranking 0.2), in [0, 1].

    :func:`beta`, mapped as :func:`ddrs`.
    """
    return ddrs(beta(syn_aug, rdm_aug, syn_noaug, rdm_noaug, g))


def beta(
    syn_aug: float, rdm_aug: float, syn_noaug: float, rdm_noaug: float, g: float = 0.5
) -> float:
    """``g (syn_aug - rdm_aug) + (1 - g) (syn_noaug - rdm_noaug)``, in [-1, 1], g in [0, 1]."""
    g = fraction(g, "g")
    return g * ior(syn_aug, rdm_aug) + (1 - g) * ior(syn_noaug, rdm_noaug)
