"""Shared arms: trainings that depend on the rules and the seed alone, measured once for everybody.

``real_hard`` needs a track; ``rdm_hard`` too; ``rdm_any`` also a recipe. What is measured here is
shipped as a reference record and counts in every later score of the same track, recipe and data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddranking.protocol.plan import Entry, RealCopy, make_plan
from ddranking.protocol.recipe import Recipe
from ddranking.protocol.track import Track
from ddranking.protocol.trial import Arm
from ddranking.running import teachers
from ddranking.running.references import SCHEMA, Reference
from ddranking.running.store import Store
from ddranking.running.study import check_data, shared_observations, usual_space
from ddranking.running.work import Work
from ddranking.running.workbench import Workbench
from ddranking.scoring.observation import Observation
from ddranking.training import augment

SHARED: tuple[Arm, ...] = ("real_hard", "rdm_hard", "rdm_any")

NO_SET = "sha256:" + "0" * 64


def prepare_shared(
    track: Track,
    recipe: Recipe,
    workbench: Workbench,
    store: Store,
    *,
    arms: tuple[Arm, ...],
    space: Mapping[str, Any] | None = None,
    any_teacher: bool = False,
) -> Work:
    """The work of some shared arms, checked.

    Args:
        track: the rules of the board.
        recipe: the rules of ``rdm_any``; not used by the other arms.
        workbench: the real dataset.
        store: where observations are kept.
        arms: some of :data:`SHARED`.
        space: where random images are put; the dataset's usual space by default.
        any_teacher: as :func:`ddranking.running.study.prepare` takes it.

    Raises:
        BadInput, BadProtocol: as :func:`ddranking.running.study.prepare`.
    """
    check_data(track, workbench)
    usual = usual_space(workbench.dataset)
    copy = RealCopy(workbench.dataset.digest, usual)
    plan = make_plan(track, recipe, Entry(NO_SET, space or usual), copy, arms=arms)
    for arm in plan.arms:
        augment.check(arm.training.augmentation, workbench.dataset.train.shape)
        teachers.check(arm.training.labels, workbench)
    teachers.examine(plan.arms, workbench, any_teacher=any_teacher)
    return Work(plan=plan, workbench=workbench, store=store, shared=shared_observations(track))


def reference(work: Work, known: Mapping[str, Observation]) -> Reference:
    """What was measured, as a reference record."""
    track, data = work.plan.track, work.workbench.dataset
    arms = ", ".join(arm.arm for arm in work.plan.arms)
    return Reference.model_validate(
        {
            "schema": SCHEMA,
            "dataset": track.dataset,
            "student": track.student,
            "title": f"{arms} on {track.id}, recipe {work.plan.recipe.id}, {data.title}",
            "observations": tuple(known[key] for key in sorted(known)),
        }
    )
