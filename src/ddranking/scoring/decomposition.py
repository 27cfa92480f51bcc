"""Where an accuracy comes from: images, labels or augmentation.

From random images under the common hard recipe (``rdm_hard``) to distilled images under the
method's own (``syn_any``) there are steps that change one thing each:

    rdm_hard --images--> syn_hard --labels--> syn_noaug --augmentation--> syn_any

- images: ``syn_hard - rdm_hard``, other images, the same rules;
- labels: ``syn_noaug - syn_hard``, the method's labels, loss and schedule in place of hard ones;
- augmentation: ``syn_any - syn_noaug``, its augmentation.

Each is a difference per seed, so their sum is the gap exactly. The same path for random images,
``rdm_hard -> rdm_noaug -> rdm_any``, says what labels and augmentation give to *any* images. Where
the arms without augmentation were not trained, labels and augmentation are one step.

The order of the steps is a choice: an effect is what it adds to those before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ddranking.errors import BadInput
from ddranking.scoring.statistics import Estimate, estimate


@dataclass(frozen=True)
class Step:
    """One change and what it gave: ``effect`` is accuracy after minus before, per seed."""

    name: str
    before: str
    after: str
    effect: Estimate


@dataclass(frozen=True)
class Decomposition:
    """The steps from ``rdm_hard`` to the method's own recipe, with distilled and random images.

    ``gap`` is ``syn_any - rdm_hard``, the sum of the effects of ``distilled``. ``random`` holds the
    same changes of rules made with random images.
    """

    start: Estimate
    distilled: tuple[Step, ...]
    random: tuple[Step, ...]
    gap: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {each.name: _plain(getattr(self, each.name)) for each in fields(self)}


def decompose(accuracy: Mapping[str, Estimate], what: str = "record") -> Decomposition:
    """The decomposition of a record's accuracies.

    Args:
        accuracy: arm to test accuracy over seeds, the same seeds for every arm.
        what: how an error names where they come from.

    Raises:
        BadInput: ``rdm_hard`` is not there.
    """
    if "rdm_hard" not in accuracy:
        raise BadInput(
            what,
            expected="random images under the common hard recipe (arm rdm_hard), to start from",
            got=", ".join(accuracy),
            hint="Score again with --rdm-hard, and with --ars to tell labels from augmentation: "
            "all that is in the store is kept.",
        )
    apart = "syn_noaug" in accuracy and "rdm_noaug" in accuracy
    return Decomposition(
        start=accuracy["rdm_hard"],
        distilled=(
            _step("images", "rdm_hard", "syn_hard", accuracy),
            *_rules("syn", apart, accuracy),
        ),
        random=_rules("rdm", apart, accuracy),
        gap=_difference("rdm_hard", "syn_any", accuracy),
    )


def _rules(images: str, apart: bool, accuracy: Mapping[str, Estimate]) -> tuple[Step, ...]:
    hard, noaug, own = f"{images}_hard", f"{images}_noaug", f"{images}_any"
    if not apart:
        return (_step("labels and augmentation", hard, own, accuracy),)
    return (
        _step("labels", hard, noaug, accuracy),
        _step("augmentation", noaug, own, accuracy),
    )


def _step(name: str, before: str, after: str, accuracy: Mapping[str, Estimate]) -> Step:
    effect = _difference(before, after, accuracy)
    return Step(name=name, before=before, after=after, effect=effect)


def _difference(before: str, after: str, accuracy: Mapping[str, Estimate]) -> Estimate:
    pairs = zip(accuracy[after].values, accuracy[before].values, strict=True)
    return estimate([a - b for a, b in pairs])


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return value.model_dump(mode="json")
    if isinstance(value, Step):
        return {each.name: _plain(getattr(value, each.name)) for each in fields(value)}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
