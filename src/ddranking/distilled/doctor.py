"""What a careful colleague would say about a distilled set: findings, each with its evidence.

Some need the set alone (labels, learning rate, repeated images), the others compare it with real
training images; the test set is never read. Nothing is trained here; see
:mod:`ddranking.running.probe` for the training that compares spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import logsumexp

from ddranking.data.images import Dataset
from ddranking.data.space import FittedSpace
from ddranking.distilled import classorder, twins
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
from ddranking.distilled.faults import PROBABILITY_TOLERANCE

Severity = Literal["ok", "note", "wrong"]

LOST_CONTRAST = 0.1
"""Below this share of the real class means' contrast the scale is wrong, not the method."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        severity: ``wrong`` where the card or the data is; ``note`` for what a person should know.
        subject: what was looked at, in a word or two.
        text: one sentence.
        evidence: the numbers behind it.
        fix: the flag of ``ddranking pack`` (or the step) that puts it right; empty for ``ok``.
    """

    severity: Severity
    subject: str
    text: str
    evidence: dict[str, Any] = field(default_factory=dict)
    fix: str = ""


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
    found = [labels(distilled), balance(distilled), rate(distilled), *repeats(distilled)]
    if dataset is None:
        return found
    if dataset.name != distilled.card.dataset:
        raise ValueError(f"a set of {distilled.card.dataset} beside {dataset.name}")
    ready = list(choices or candidates(distilled, dataset, cache_dir))
    standings = rank(distilled, ready)
    fits = space(distilled, standings)
    declared = declared_standing(distilled, standings).candidate
    found = [fits, *found]
    if fits.severity != "wrong":
        found.append(contrast(distilled, declared))
        found.append(black_to_white(distilled, declared.fitted))
    # What is asked of single images and classes is asked in the space that they live in.
    lives_in = standings[0].candidate if fits.severity == "wrong" else declared
    found.append(order(distilled, lives_in.fitted, dataset))
    found.append(copies(distilled, lives_in.fitted, dataset))
    return found


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
        real = statistics(each.candidate.real)
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


def labels(distilled: DistilledSet) -> Finding:
    """Hard labels, logits, probabilities or regression targets, against what is declared."""
    soft, kind = distilled.soft_labels, distilled.card.soft_label_kind
    if soft is None:
        return Finding("ok", "labels", f"hard, {distilled.num_classes} classes")
    rows = soft.reshape(-1, soft.shape[-1]).astype(np.float64)
    sums, low, high = rows.sum(1), float(rows.min()), float(rows.max())
    mean = soft.mean(1) if soft.ndim == 3 else soft
    agreeing = float((mean.argmax(1) == distilled.labels).mean())
    evidence = {
        "declared": kind,
        "lowest": low,
        "highest": high,
        "row_sums": [float(sums.min()), float(sums.max())],
        "agree_with_class": agreeing,
    }
    simplex = low >= -PROBABILITY_TOLERANCE and np.abs(sums - 1).max() <= PROBABILITY_TOLERANCE
    if kind == "logits" and simplex:
        text = "declared logits, but every row lies in [0, 1] and sums to one: probabilities"
        return Finding("wrong", "labels", text, evidence, "--soft-label-kind probabilities")
    if agreeing < 0.5:
        text = f"the largest soft label is the class of only {100 * agreeing:.0f} % of the images"
        return Finding("note", "labels", text, evidence, "pack again with the labels that belong")
    if kind == "probabilities":
        return Finding("ok", "labels", "soft labels are probabilities, as declared", evidence)
    spread = float(np.abs(rows - rows.mean(1, keepdims=True)).max())
    centred = bool(np.abs(sums).max() <= PROBABILITY_TOLERANCE * max(1.0, spread))
    top = float(np.exp(rows.max(1) - logsumexp(rows, axis=1)).mean())
    evidence |= {"top_probability": top}
    if centred and high <= 1:
        text = "rows sum to zero and stay below one: regression targets (one-hot minus 1/K)"
        return Finding("note", "labels", text, evidence, "--drop-soft-labels keeps their classes")
    if top > 1 - 1 / rows.shape[1] / 10:
        text = (
            f"as logits these labels ({low:.3g} to {high:.3g}) are hard: mean largest probability "
            f"{top:.4f}; perhaps regression targets of a kernel method"
        )
        return Finding("note", "labels", text, evidence, "--drop-soft-labels keeps their classes")
    text = f"soft labels are logits, as declared ({low:.3g} to {high:.3g})"
    return Finding("ok", "labels", text, evidence)


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


def contrast(distilled: DistilledSet, declared: Candidate) -> Finding:
    """The scale of the values: optimisation raises contrast, and even averaging keeps some.

    The average of all real images of a class has the least contrast that a sensible set can have.
    """
    own = float(np.mean(statistics(as_float(distilled.images)).std))
    shape = (len(declared.means), *distilled.images.shape[1:])
    least = float(np.mean(statistics(declared.means.reshape(shape)).std))
    real = float(np.mean(statistics(declared.real).std))
    evidence = {"std": own, "real_std": real, "class_mean_std": least}
    text = f"standard deviation {own:.3g}; real images {real:.3g}, their class means {least:.3g}"
    if own >= least:
        return Finding("ok", "contrast", text, evidence)
    if own >= LOST_CONTRAST * least:
        return Finding("note", "contrast", f"low: {text}", evidence, "is --space right?")
    fix = "pack values of the declared scale: were they divided by 255 twice?"
    return Finding("wrong", "contrast", f"lost: {text}", evidence, fix)


def black_to_white(distilled: DistilledSet, fitted: FittedSpace) -> Finding:
    """How many values leave [0, 1] when they are taken back to pixels."""
    pixels = fitted.invert_to_pixels(as_float(distilled.images))
    half = 0.5 / 255
    outside = float(((pixels < -half) | (pixels > 1 + half)).mean())
    evidence = {"outside": outside, "lowest": float(pixels.min()), "highest": float(pixels.max())}
    text = f"{100 * outside:.1f} % of the values lie beyond black and white"
    if outside <= 0.5:
        return Finding("ok", "range", text, evidence)
    return Finding("note", "range", f"{text}: do not clip them", evidence, "nothing, if intended")


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
    if seen.permuted:
        meant = {int(present[k]): int(present[seen.best[k]]) for k in range(seen.classes)}
        moved = {k: v for k, v in meant.items() if k != v}
        evidence |= {"likely": meant, "by_images": seen.by_images}
        names = dataset.class_names
        shown = ", ".join(
            f"{k} is {names[v] if names else 'class'} ({v})" for k, v in list(moved.items())[:10]
        )
        text = f"labels do not follow the dataset's classes ({share}); likely {shown}"
        fix = "renumber the labels as the evidence's likely says and pack again"
        return Finding("wrong", "class order", text, evidence, fix)
    if seen.unrelated:
        text = f"{share}: no better than chance (p = {seen.chance:.2g})"
        fix = "look at --png: is every row the class that it should be?"
        return Finding("note", "class order", text, evidence, fix)
    return Finding("ok", "class order", f"{share} (p = {seen.chance:.2g})", evidence)


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
