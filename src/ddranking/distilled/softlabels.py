"""Are the labels of a set what its card says? Kinds of soft labels, and whose they are.

Shapes: N images, V views, K classes.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from ddranking.distilled.artifact import DistilledSet
from ddranking.distilled.faults import PROBABILITY_TOLERANCE
from ddranking.distilled.finding import Finding

CONSISTENT = 0.8
"""Share of a class's images whose largest soft label is one and the same other class, from which
on the soft labels are said to number the classes in another order."""


def labels(distilled: DistilledSet) -> Finding:
    """Hard labels, logits, probabilities or regression targets, against what is declared."""
    soft, kind = distilled.soft_labels, distilled.card.soft_label_kind
    if soft is None:
        return Finding("ok", "labels", f"hard, {distilled.num_classes} classes")
    rows = soft.reshape(-1, soft.shape[-1]).astype(np.float64)
    sums, low, high = rows.sum(1), float(rows.min()), float(rows.max())
    mean = soft.mean(1) if soft.ndim == 3 else soft
    largest = mean.argmax(1)
    agreeing = float((largest == distilled.labels).mean())
    evidence = {
        "declared": kind,
        "lowest": low,
        "highest": high,
        "row_sums": [float(sums.min()), float(sums.max())],
        "agree_with_class": agreeing,
    }
    meant = renumbered(distilled.labels, largest, distilled.num_classes)
    if meant is not None:
        moved = {k: v for k, v in meant.items() if k != v}
        evidence["likely"] = meant
        shown = ", ".join(f"{v} for {k}" for k, v in list(moved.items())[:10])
        text = f"soft labels number the classes in another order than the hard ones: {shown}"
        if np.bincount(distilled.labels).max() == 1:
            text += "; or they belong to other images, which one image a class does not tell apart"
        fix = "reorder the columns as the evidence's likely says, or --drop-soft-labels"
        if len(meant) == distilled.num_classes:
            column = {v: k for k, v in meant.items()}
            order = ",".join(str(column[v]) for v in range(distilled.num_classes))
            fix = f"--soft-classes {order}, or --drop-soft-labels"
        return Finding("wrong", "labels", text, evidence, fix)
    hundredth = rows / 100
    if kind == "logits" and _simplex(rows):
        text = "declared logits, but every row lies in [0, 1] and sums to one: probabilities"
        return Finding("wrong", "labels", text, evidence, "--soft-label-kind probabilities")
    if kind == "logits" and _simplex(hundredth):
        text = "declared logits, but every row lies in [0, 100] and sums to 100: percentages"
        fix = "divide them by 100, then --soft-label-kind probabilities"
        return Finding("wrong", "labels", text, evidence, fix)
    if agreeing < 0.5:
        text = f"the largest soft label is the class of only {100 * agreeing:.0f} % of the images"
        evidence["by_chance"] = 1 / distilled.num_classes
        chance = agreeing <= 2 / distilled.num_classes
        fix = "pack again with the labels that belong to these images, or --drop-soft-labels"
        if chance:
            text += f", about what chance gives ({100 / distilled.num_classes:.3g} %)"
        return Finding("wrong" if chance else "note", "labels", text, evidence, fix)
    if kind == "probabilities":
        text = "soft labels are probabilities, as declared"
        return Finding("ok", "labels", text, evidence)
    return _logits(rows, evidence)


def _logits(rows: np.ndarray, evidence: dict) -> Finding:
    """Rows [M, K] that are declared logits and are no probabilities."""
    low, high, sums = rows.min(), rows.max(), rows.sum(1)
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
            f"{top:.4f}"
        )
        fix = "none needed for a sure network's logits; if a kernel method's, check their scale"
        return Finding("note", "labels", text, evidence, fix)
    text = f"soft labels are logits, as declared ({low:.3g} to {high:.3g})"
    return Finding("ok", "labels", text, evidence)


def _simplex(rows: np.ndarray) -> bool:
    inside = rows.min() >= -PROBABILITY_TOLERANCE
    return bool(inside and np.abs(rows.sum(1) - 1).max() <= PROBABILITY_TOLERANCE)


def renumbered(hard: np.ndarray, largest: np.ndarray, classes: int) -> dict[int, int] | None:
    """The other class order that soft labels follow, or None where they follow no other one.

    Of each class, at least ``CONSISTENT`` of the images must have the same largest soft label, and
    no two classes the same one.

    Args:
        hard: classes [N].
        largest: place of the largest soft label of each image [N].
        classes: K.

    >>> renumbered(np.array([0, 0, 1, 2]), np.array([1, 1, 2, 0]), 3)
    {0: 1, 1: 2, 2: 0}
    """
    meant: dict[int, int] = {}
    for k in np.unique(hard):
        counts = np.bincount(largest[hard == k], minlength=classes)
        if counts.max() < CONSISTENT * counts.sum():
            return None
        meant[int(k)] = int(counts.argmax())
    one_to_one = len(set(meant.values())) == len(meant)
    same = all(k == v for k, v in meant.items())
    return meant if one_to_one and not same else None
