"""From observations to selected rates and scores: what a record derives, and nothing stored.

A plan says which trials there are; :func:`derive` takes their observations and gives what follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field

from ddranking.errors import BadProtocol
from ddranking.protocol.plan import ArmPlan, Plan
from ddranking.protocol.recipe import Text
from ddranking.protocol.rules import Frozen
from ddranking.protocol.trial import Arm
from ddranking.scoring import metrics
from ddranking.scoring.observation import Fraction, Observation, validation_accuracies
from ddranking.scoring.statistics import Estimate, estimate

SCORED: tuple[Arm, ...] = ("syn_hard", "syn_any", "rdm_any")
"""The arms that every score trains; ``real_hard`` and ``OPTIONAL`` join where asked for."""


class RealHard(Frozen):
    """The whole-set accuracy: measured (one value a seed) or reported (one value, with source)."""

    kind: Literal["measured", "reported"]
    accuracies: Annotated[tuple[Fraction, ...], Field(min_length=1)]
    source: Text


class Scores(Frozen):
    """Derived estimates at weight 0.5; ``accuracy`` holds each arm's test accuracy.

    ``ars`` is the augmentation-robust score at g = 0.5, ``ior_unified`` the improvement over random
    under the unified recipe; None where their arms were not trained.
    """

    accuracy: dict[str, Estimate]
    hlr: Estimate
    ior: Estimate
    alpha: Estimate
    ddrs: Estimate
    ars: Estimate | None = None
    ior_unified: Estimate | None = None


class Selection(Frozen):
    """How one arm's learning rate was chosen: mean validation accuracy of each rate over seeds.

    ``seeds`` says over how many, where it is not all of them for every rate.
    """

    rates: tuple[float, ...]
    mean_validation: tuple[Fraction, ...] | None = None
    seeds: tuple[int, ...] | None = None
    selected: float


def derive(
    plan: Plan, observations: Iterable[Observation], real_hard: RealHard
) -> tuple[dict[str, Selection], Scores]:
    """Selected rates and estimates from observations, by the rules of the plan.

    Raises:
        BadProtocol: an observation is missing, double, or not part of the plan.
    """
    known: dict[str, Observation] = {}
    for observation in observations:
        if observation.key in known:
            raise BadProtocol("observations", expected="each trial once", got=observation.key)
        known[observation.key] = observation
    validation = validation_accuracies(known)
    selection, values, used = {}, {}, set()
    for arm in plan.arms:
        selection[arm.arm], values[arm.arm], keys = _arm(arm, known, validation)
        used |= keys
    for trial in plan.teachers:
        if trial.key not in known:
            raise BadProtocol("observations", expected="those of the teacher", got="none")
        used.add(trial.key)
    if used != known.keys():
        raise BadProtocol(
            "observations",
            expected="only trials of the track and recipe",
            got=f"{len(known.keys() - used)} others",
        )
    seeds = plan.track.seeds
    real = values.get("real_hard", list(real_hard.accuracies))
    if ("real_hard" in values) != (real_hard.kind == "measured"):
        raise BadProtocol(
            "real_hard", expected="observations where it is measured, none where it is reported"
        )
    if "real_hard" in values and tuple(real) != real_hard.accuracies:
        raise BadProtocol("real_hard", expected="the accuracies of its observations")
    if real_hard.kind == "reported" and len(real) == 1:
        real = real * seeds
    needed = set(SCORED) - values.keys()
    if needed or len(real) != seeds:
        raise BadProtocol(
            "observations",
            expected=f"{seeds} seeds of every arm",
            got=f"{', '.join(sorted(needed)) or 'real_hard'} incomplete",
        )
    hlr = estimate([metrics.hlr(r, s) for r, s in zip(real, values["syn_hard"], strict=True)])
    ior = _ior(values, "any")
    assert ior is not None, "both arms are there"
    alpha = alpha_estimate(hlr, ior, 0.5)
    accuracy = {arm: estimate(seen) for arm, seen in values.items()}
    scores = Scores(
        accuracy=accuracy,
        hlr=hlr,
        ior=ior,
        alpha=alpha,
        ddrs=ddrs_estimate(alpha),
        ars=ars_estimate(accuracy),
        ior_unified=_ior(values, "unified"),
    )
    return selection, scores


def _arm(
    arm: ArmPlan, known: Mapping[str, Observation], validation: Mapping[str, float]
) -> tuple[Selection, list[float], set[str]]:
    """The selected rate of one arm, its test accuracies in seed order, and the keys it uses."""
    search = arm.standing(validation)
    rate = search.selected
    finals = [] if rate is None else [known.get(trial.key) for trial in arm.finals(rate)]
    if rate is None or any(final is None for final in finals):
        name: Arm = arm.arm
        where = "in its search" if rate is None else f"at the selected rate {rate:g}"
        raise BadProtocol(f"arm {name}", expected=f"{arm.total} trainings", got=f"fewer {where}")
    accuracies = [final.outcome.test_accuracy for final in finals if final is not None]
    means, asked = search.means, arm.asked(validation)
    partial = len(asked) < len(arm.search)
    selection = Selection(
        rates=arm.rates,
        mean_validation=tuple(means[rate] for rate in arm.rates) if means else None,
        seeds=tuple(search.asked[rate] for rate in arm.rates) if partial else None,
        selected=rate,
    )
    keys = {trial.key for trial in asked} | {final.key for final in finals if final}
    return selection, [value for value in accuracies if value is not None], keys


def _ior(values: Mapping[str, Sequence[float]], recipe: str) -> Estimate | None:
    """Improvement over random of the arms under one recipe; None where they were not trained."""
    synthetic, random = values.get(f"syn_{recipe}"), values.get(f"rdm_{recipe}")
    if synthetic is None or random is None:
        return None
    return estimate([metrics.ior(s, r) for s, r in zip(synthetic, random, strict=True)])


def alpha_estimate(hlr: Estimate, ior: Estimate, w: float) -> Estimate:
    """Per-seed alpha at weight ``w`` with its interval."""
    return estimate([metrics.alpha(h, i, w) for h, i in zip(hlr.values, ior.values, strict=True)])


def ddrs_estimate(alpha: Estimate) -> Estimate:
    """DDRS of the mean alpha; the interval is the map of alpha's, clipped to alpha's range.

    ``values`` maps each seed's alpha; ``std`` is their sample standard deviation.
    """
    values = [metrics.ddrs(value) for value in alpha.values]
    ends = [metrics.ddrs(min(1.0, max(-1.0, end))) for end in (alpha.low, alpha.high)]
    spread = estimate(values)
    return spread.model_copy(
        update={"mean": metrics.ddrs(alpha.mean), "low": ends[0], "high": ends[1]}
    )


def ars_estimate(accuracy: Mapping[str, Estimate], g: float = 0.5) -> Estimate | None:
    """The augmentation-robust score of some arms' accuracies; None without those it needs."""
    arms = ("syn_any", "rdm_any", "syn_noaug", "rdm_noaug")
    if any(arm not in accuracy for arm in arms):
        return None
    seeds = zip(*(accuracy[arm].values for arm in arms), strict=True)
    return ddrs_estimate(estimate([metrics.beta(sa, ra, sn, rn, g) for sa, ra, sn, rn in seeds]))
