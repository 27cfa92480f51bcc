"""What a careful colleague would say about a distilled set: findings, each with its evidence.

Some need the set alone (labels, learning rate, repeated images), the others compare it with real
training images; the test set is never read. Nothing is trained here; see
:mod:`ddranking.running.probe` for the training that compares spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ddranking.data.images import Dataset
from ddranking.data.space import FittedSpace, Standardized
from ddranking.distilled import classorder, layout, twins
from ddranking.distilled.alone import habit, space_alone
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.candidates import (
    Candidate,
    Standing,
    candidates,
    class_means,
    rank,
    real_images,
    statistics,
)
from ddranking.distilled.finding import Finding, Severity
from ddranking.distilled.mistakes import INTERLEAVED, WHAT, Constants, undo
from ddranking.distilled.scale import black_to_white, clipped, contrast, done_twice
from ddranking.distilled.softlabels import labels

__all__ = ["Finding", "Upright", "declared_standing", "examine", "upright"]


TURNS = 0.001
"""Probability under which it is no chance that images whose classes take turns fit real ones."""


@dataclass(frozen=True, eq=False)
class Upright:
    """A set whose values lie where they should, and how they lay.

    Attributes:
        set: the set, or the one that undoing its wrong layout gives.
        seen: the comparison of layouts.
    """

    set: DistilledSet
    seen: layout.Layout


def upright(distilled: DistilledSet, choices: Sequence[Candidate]) -> Upright:
    """Undo the layout of a set where it is wrong beyond chance, and only there."""
    declared = next((each for each in choices if each.space == distilled.card.space), None)
    negative = layout.inverted(distilled, declared) if declared else None
    seen = negative or layout.compare(distilled, choices)
    if not seen.wrong:
        return Upright(distilled, seen)
    turned = undo(seen.mistake, distilled.images, _constants(distilled))
    return Upright(replace(distilled, images=turned), seen)


def _constants(distilled: DistilledSet) -> Constants:
    """Of the declared standardisation; those of pixels for any other space."""
    space, channels = distilled.card.space, distilled.images.shape[1]
    if isinstance(space, Standardized):
        return space.mean, space.std
    return (0.0,) * channels, (1.0,) * channels


def examine(
    distilled: DistilledSet,
    dataset: Dataset | None,
    *,
    choices: Sequence[Candidate] | None = None,
    cache_dir: str | Path | None = None,
) -> list[Finding]:
    """Everything that can be said without training.

    Args:
        distilled: the set.
        dataset: its real dataset; None leaves out all that needs real images.
        choices: the candidate spaces, where they were made before.
        cache_dir: where fitted whitenings are kept.

    Raises:
        ValueError: ``dataset`` is another one than the card's.
    """
    usual = habit(distilled)
    found = [labels(distilled), balance(distilled), rate(distilled), *repeats(distilled)]
    found += [usual] if usual else []
    if dataset is None:
        return [space_alone(distilled), *found]
    if dataset.name != distilled.card.dataset:
        raise ValueError(f"a set of {distilled.card.dataset} beside {dataset.name}")
    ready = list(choices or candidates(distilled, dataset, cache_dir))
    values = examine_values(distilled, ready, dataset)
    found = [*values.findings, *found]
    fitted = values.lives_in.fitted
    found.append(order(values.set, fitted, dataset))
    found.append(copies(values.set, fitted, dataset))
    return found


@dataclass(frozen=True, eq=False)
class Values:
    """What the values of a set say: findings, the set with its layout undone, and its space."""

    findings: list[Finding]
    set: DistilledSet
    lives_in: Candidate


def examine_values(
    distilled: DistilledSet, choices: Sequence[Candidate], dataset: Dataset
) -> Values:
    """Space, layout and scale. All but the layout is asked with a wrong layout undone."""
    right = upright(distilled, choices)
    standings = rank(right.set, list(choices))
    fits = space(right.set, standings)
    wrong = fits.severity == "wrong"
    # What is asked of values, images and classes is asked in the space that they live in.
    declared = declared_standing(right.set, standings).candidate
    lives_in = standings[0].candidate if wrong else declared
    size = contrast(right.set, lives_in, dataset, declared=not wrong)
    maybe = [
        lying(right.seen),
        done_twice(right.set, lives_in) if size.severity != "wrong" else None,
        clipped(right.set, lives_in.fitted, dataset),
    ]
    found = [fits, *(each for each in maybe if each)]
    found.append(size)
    if not wrong:
        found.append(black_to_white(right.set, declared.fitted))
    return Values(found, right.set, lives_in)


def lying(seen: layout.Layout) -> Finding | None:
    """Values in the wrong place: reversed channels, turned or reshaped images."""
    if not seen.wrong and not seen.doubted:
        return None
    evidence = {
        "mistake": seen.mistake,
        "cosine": round(seen.cosine, 4),
        "given": round(seen.given, 4),
        "ahead": round(seen.ahead, 4),
        "error": round(seen.error, 4),
        "space": seen.space,
    }
    text = (
        f"{WHAT[seen.mistake]}: undone, the cosine of class means with real ones is "
        f"{seen.cosine:.3f} instead of {seen.given:.3f}, {seen.ahead:.3f} +- {seen.error:.3f} more"
    )
    if seen.wrong:
        return Finding(
            "wrong",
            "layout",
            f"the images are {text}; the rest is said of them undone",
            evidence,
            f"--undo {seen.mistake}",
        )
    fix = f"look at --png, then perhaps --undo {seen.mistake}"
    return Finding("note", "layout", f"perhaps the images are {text}", evidence, fix)


def declared_standing(distilled: DistilledSet, standings: Sequence[Standing]) -> Standing:
    """The candidate that the card declares."""
    return next(each for each in standings if each.candidate.space == distilled.card.space)


def space(distilled: DistilledSet, standings: Sequence[Standing]) -> Finding:
    """The declared space against all others; see :mod:`ddranking.distilled.candidates`."""
    first, declared = standings[0], declared_standing(distilled, standings)
    name, called = first.candidate.name, declared.candidate.name
    evidence = _space_evidence(distilled, standings)
    unclear = [each.candidate.name for each in standings if not each.apart and each is not declared]
    beside = f"; not told from {', '.join(unclear)}" if unclear else ""
    cosine = f"cosine of class means with real ones {declared.cosine:.3f}"
    if first.proven:
        cosine = f"every value is a whole 8-bit level in {name}"
    if declared.apart:
        text = f"declared {called}, but {name} fits better: {_better(first, declared)}"
        return Finding("wrong", "space", text, evidence, f"--space {name}")
    if declared is first:
        second = next((each for each in standings if each.apart), None)
        after = f", next {second.candidate.name} {second.cosine:.3f}" if second else ""
        return Finding("ok", "space", f"{called} fits best: {cosine}{after}{beside}", evidence)
    if declared.alike:
        text = f"{called} fits, as well as {name} does: {cosine}; no statistics tell them apart"
        return Finding("note", "space", text, evidence, f"--space {name} if the authors used it")
    text = (
        f"declared {called}; {name} fits better, but not beyond chance: {_better(first, declared)}"
    )
    return Finding("note", "space", text, evidence, f"--probe, then perhaps --space {name}")


def _better(first: Standing, declared: Standing) -> str:
    if first.proven:
        return (
            f"{100 * (first.whole_levels or 0):.1f} % of the values are whole 8-bit levels there, "
            f"{100 * (declared.whole_levels or 0):.1f} % in the declared space"
        )
    return (
        f"cosine of class means with real ones {first.cosine:.3f} against {declared.cosine:.3f}, "
        f"{declared.behind:.3f} +- {declared.error:.3f} apart"
    )


def _space_evidence(distilled: DistilledSet, standings: Sequence[Standing]) -> dict[str, Any]:
    own = statistics(as_float(distilled.images))
    rows = []
    for each in standings:
        real = each.candidate.statistics
        rows.append(
            {
                "space": each.candidate.name,
                "same_as": list(each.candidate.also),
                "cosine": round(each.cosine, 4),
                "behind": round(each.behind, 4),
                "error": round(each.error, 4) if np.isfinite(each.error) else None,
                "told_apart": each.apart,
                "whole_levels": None if each.whole_levels is None else round(each.whole_levels, 4),
                "real_mean": [round(value, 4) for value in real.mean],
                "real_std": [round(value, 4) for value in real.std],
                "real_neighbours": round(real.neighbours, 4),
            }
        )
    return {
        "mean": [round(value, 4) for value in own.mean],
        "std": [round(value, 4) for value in own.std],
        "neighbours": round(own.neighbours, 4),
        "spaces": rows,
    }


def balance(distilled: DistilledSet) -> Finding:
    """Images of each class. That a balanced set is one was checked when it was loaded."""
    counts = np.bincount(distilled.labels, minlength=distilled.num_classes)
    evidence = {"fewest": int(counts.min()), "most": int(counts.max())}
    if counts.min() == counts.max():
        return Finding("ok", "balance", f"{counts.min()} images of each class", evidence)
    missing = int((counts == 0).sum())
    none = f", none of {missing} classes" if missing else ""
    text = f"{counts.min()} to {counts.max()} images of a class{none}, declared as unbalanced"
    return Finding("note", "balance", text, evidence, "a balanced release, if there is one")


def rate(distilled: DistilledSet) -> Finding:
    """Whether the rate that some methods learn with the images is there."""
    if distilled.learning_rate is not None:
        stored = distilled.learning_rate
        return Finding("ok", "learning rate", f"{stored:g} is stored", {"rate": stored})
    text = "none stored: recipes that train with the learned rate (mtt, datm) need it"
    return Finding("note", "learning rate", text, {}, "--learning-rate RATE, if one was released")


def repeats(distilled: DistilledSet) -> list[Finding]:
    """Images of one colour, and images that are there more than once."""
    found: list[Finding] = []
    flat, again = twins.constant(distilled.images), twins.repeated(distilled.images)
    remake = "pack the authors' own file again"
    if flat:
        severity: Severity = "wrong" if len(flat) == len(distilled) else "note"
        text = f"{len(flat)} of {len(distilled)} images are of one colour, the first is {flat[0]}"
        found.append(Finding(severity, "constant images", text, {"images": flat[:20]}, remake))
    if again:
        severity = "wrong" if again == len(distilled) - 1 else "note"
        text = f"{again} of {len(distilled)} images repeat an earlier one exactly"
        found.append(Finding(severity, "repeated images", text, {"repeats": again}, remake))
    return found


def order(distilled: DistilledSet, fitted: FittedSpace, dataset: Dataset) -> Finding:
    """Whether class k of the set looks like class k of the dataset."""
    present = np.unique(distilled.labels)
    real = real_images(dataset)
    real = real.take(np.flatnonzero(np.isin(real.labels, present)))
    own = class_means(as_float(distilled.images), distilled.labels, present)
    images = fitted.apply(real.pixels).reshape(len(real), -1)
    each = max(1, round(len(distilled) / len(present)))
    seen = classorder.compare(own, images, real.labels, each)
    evidence: dict[str, Any] = {
        "matched": seen.matched,
        "classes": seen.classes,
        "diagonal": seen.diagonal,
        "chance": seen.chance,
        "gain": seen.gain,
    }
    share = f"{seen.matched} of {seen.classes} classes look most like their own"
    turns = _turns(distilled, images, real.labels, seen)
    if turns is not None:
        evidence["interleaved"] = {"matched": turns[0], "chance": turns[1]}
        text = (
            f"images are not in class order ({share}): their classes take turns, image i is of "
            f"class i mod {seen.classes} ({turns[0]} then do, p = {turns[1]:.2g})"
        )
        return Finding("wrong", "class order", text, evidence, f"--undo {INTERLEAVED}")
    if seen.permuted:
        meant = {int(present[k]): int(present[seen.best[k]]) for k in range(seen.classes)}
        moved = {k: v for k, v in meant.items() if k != v}
        evidence |= {"likely": meant, "by_images": seen.by_images}
        names = dataset.class_names
        shown = ", ".join(
            f"{k} is {names[v] if names else 'class'} ({v})" for k, v in list(moved.items())[:10]
        )
        text = f"labels do not follow the dataset's classes ({share}); likely {shown}"
        numbers = (meant.get(k, k) for k in range(distilled.num_classes))
        fix = f"--classes {','.join(map(str, numbers))}"
        return Finding("wrong", "class order", text, evidence, fix)
    if seen.unrelated:
        text = f"{share}: no better than chance (p = {seen.chance:.2g})"
        fix = "look at --png: is every row the class that it should be?"
        return Finding("note", "class order", text, evidence, fix)
    return Finding("ok", "class order", f"{share} (p = {seen.chance:.2g})", evidence)


def _turns(
    distilled: DistilledSet, images: np.ndarray, labels: np.ndarray, given: classorder.Order
) -> tuple[int, float] | None:
    """Classes matched, and their chance, if image i is of class ``i mod K``; None where it is not.

    Asked of sets in class order without soft labels, as many images of each class: what packing
    makes of images without labels. The other order must be no chance (1 in 1,000) and fit better
    than the given one.

    Args:
        distilled: the set.
        images, labels: real ones [n, D], in its space.
        given: the comparison of the given order.
    """
    many, classes = len(distilled), distilled.num_classes
    ipc = many // classes
    plain = np.array_equal(distilled.labels, np.repeat(np.arange(classes), ipc))
    if distilled.soft_labels is not None or ipc < 2 or not plain:
        return None
    own = class_means(as_float(distilled.images), np.arange(many) % classes, range(classes))
    matrix, chance = classorder.match(own, class_means(images, labels, range(classes)))
    if chance > TURNS or chance >= given.chance or np.diag(matrix).mean() <= given.diagonal:
        return None
    return int((matrix.argmax(1) == np.arange(classes)).sum()), chance


def copies(distilled: DistilledSet, fitted: FittedSpace, dataset: Dataset) -> Finding:
    """Training images among the set's: selections of real images are legal, and should say so."""
    seen = twins.find(distilled, fitted, dataset)
    evidence = {
        "looked_up": seen.looked_up,
        "same": seen.same,
        "near": seen.near,
        "nearest_levels": seen.nearest,
        "usual_levels": seen.usual,
    }
    if not seen.same and not seen.near:
        text = f"no training image among them: the nearest are {seen.nearest:.0f} levels away"
        return Finding("ok", "real images", text, evidence)
    text = (
        f"{seen.same} of {seen.looked_up} images are training images and {seen.near} more nearly "
        f"so (median {seen.nearest:.1f} levels off; 1 % of real pairs are within {seen.usual:.0f})"
    )
    fix = "none needed; say --method of the selection"
    return Finding("note", "real images", text, evidence, fix)
