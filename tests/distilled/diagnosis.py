"""What the doctor says of published sets, of wrong cards for them, and of sets made on the spot.

    python tests/distilled/diagnosis.py DATA [--probe]

DATA holds ``cifar10-jpeg/``, ``MNIST/`` and ``distilled/*/about.json`` with the released files.
Prints the tables of ``docs/doctor.md`` as Markdown.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ddranking.data import sources
from ddranking.data.cache import default_cache
from ddranking.data.images import Dataset
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.candidates import Candidate, candidates, class_means, rank, real_images
from ddranking.distilled.classorder import compare
from ddranking.distilled.doctor import Finding, examine, labels, space
from ddranking.distilled.importers import PackOptions, pack
from ddranking.methods.baselines import make

SAID = {
    "kip_cifar10_ipc10": PackOptions(space="zca-kip", soft_label_kind="logits", balanced=False),
    "mtt-rerun-zca_cifar10_ipc1": PackOptions(space="zca"),
}
ROOTS = {"cifar10": "cifar10-jpeg", "mnist": "."}
PERMUTATIONS = 20


def main(arguments: Sequence[str]) -> None:
    data, probing = Path(arguments[0]), "--probe" in arguments
    real = {name: sources.load(name, root=data / root) for name, root in ROOTS.items()}
    published = {
        folder.name: pack([folder], options=SAID.get(folder.name)).set
        for folder in sorted((data / "distilled").iterdir())
        if (folder / "about.json").is_file()
    }
    choices = {
        name: candidates(_of(published, name), dataset, default_cache())
        for name, dataset in real.items()
    }
    print("| set | " + " | ".join(SPACES) + " | first of another kind behind by | time |")
    print("|---|" + "---|" * (len(SPACES) + 2))
    for name, each in published.items():
        if each.card.dataset in real:
            print(_spaces(name, each, real[each.card.dataset], choices[each.card.dataset]))
    print("\n| set | wrong space | right order | permuted | two swapped |")
    print("|---|---|---|---|---|")
    for name, each in published.items():
        if each.card.dataset in real:
            print(_wrong_cards(name, each, real[each.card.dataset], choices[each.card.dataset]))
    print("\n| made set | space | right card | first | wrong cards: wrong / note / ok |")
    print("|---|---|---|---|---|")
    for dataset, ready in ((real[name], choices[name]) for name in real):
        for line in _made(dataset, ready):
            print(line)
    _soft(published["kip_cifar10_ipc10"])
    for name in ("dm_cifar100_ipc1", "mtt_cifar100_ipc1"):
        print(name, [(each.severity, each.subject) for each in examine(published[name], None)])
    if probing:
        _probed(published, real, choices)


SPACES = ("pixel", "standardized", "standardized:true", "standardized:imagenet", "zca", "zca-kip")


def _of(published: dict[str, DistilledSet], dataset: str) -> DistilledSet:
    return next(each for each in published.values() if each.card.dataset == dataset)


def _spaces(name: str, made: DistilledSet, dataset: Dataset, ready: list[Candidate]) -> str:
    start = time.monotonic()
    found = examine(made, dataset, choices=ready)
    spent = time.monotonic() - start
    standings = rank(made, ready)
    cosines = {each.candidate.name: f"{each.cosine:.3f}" for each in standings}
    first = standings[0].candidate.name
    cosines[first] = f"**{cosines[first]}**"
    row = [cosines.get(each, "") for each in SPACES]
    kinds = [_kind(each.candidate) for each in standings]
    other = next(each for each, kind in zip(standings, kinds, strict=True) if kind != kinds[0])
    gap = f"{other.behind:.3f} ± {other.error:.3f}"
    right = standings[0].candidate.space == made.card.space and found[0].severity == "ok"
    mark = name if right else f"{name} (MISSED)"
    return f"| {mark} | " + " | ".join(row) + f" | {gap} | {spent:.1f} s |"


def _kind(choice: Candidate) -> str:
    return choice.name.partition(":")[0]


def recarded(made: DistilledSet, choice: Candidate) -> DistilledSet:
    """The same values under another declared space."""
    images = as_float(made.images)
    return replace(made, images=images, card=made.card.model_copy(update={"space": choice.space}))


def _counts(findings: Iterator[Finding]) -> str:
    seen = [each.severity for each in findings]
    return " / ".join(str(seen.count(each)) for each in ("wrong", "note", "ok"))


def _wrong_spaces(made: DistilledSet, ready: list[Candidate]) -> Iterator[Finding]:
    standings = rank(replace(made, images=as_float(made.images)), ready)
    for choice in ready:
        if choice.space != made.card.space:
            yield space(recarded(made, choice), standings)


def _wrong_cards(name: str, made: DistilledSet, dataset: Dataset, ready: list[Candidate]) -> str:
    fitted = next(each for each in ready if each.space == made.card.space).fitted
    real, classes = real_images(dataset), np.arange(dataset.num_classes)
    rows = fitted.apply(real.pixels).reshape(len(real), -1)
    means = class_means(as_float(made.images), made.labels, classes)
    chance = np.random.default_rng(0)

    def severity(renumbered: np.ndarray) -> str:
        seen = compare(means[renumbered], rows, real.labels, made.card.ipc)
        return "wrong" if seen.permuted else "note" if seen.unrelated else "ok"

    permuted, swapped = [], []
    for _ in range(PERMUTATIONS):
        permuted.append(severity(chance.permutation(classes)))
        a, b = chance.choice(classes, 2, replace=False)
        swap = classes.copy()
        swap[[a, b]] = b, a
        swapped.append(severity(swap))
    return (
        f"| {name} | {_counts(_wrong_spaces(made, ready))} | {severity(classes)} "
        f"| {permuted.count('wrong')} / {permuted.count('note')} / {permuted.count('ok')} "
        f"| {swapped.count('wrong')} / {swapped.count('note')} / {swapped.count('ok')} |"
    )


def _made(dataset: Dataset, ready: list[Candidate]) -> Iterator[str]:
    """Real images and k-means centroids in every space, with noise of a share of their spread."""
    for method, ipc, noise in (
        ("random", 1, 0.5), ("random", 1, 2.0), ("random", 10, 0.5), ("random", 10, 2.0),
        ("kmeans", 1, 0.1), ("kmeans", 10, 0.1),
    ):  # fmt: skip
        plain = make(method, dataset, ipc, seed=1)
        pixels = np.rint(plain.images * 255).astype(np.uint8)
        for choice in ready:
            images = choice.fitted.apply(pixels)
            chance = np.random.default_rng(2)
            images = images + noise * images.std() * chance.standard_normal(images.shape)
            card = plain.card.model_copy(update={"space": choice.space})
            made = replace(plain, images=images.astype(np.float32), card=card)
            standings = rank(made, ready)
            said = space(made, standings).severity
            wrong = _counts(_wrong_spaces(made, ready))
            yield (
                f"| {dataset.name} {method} ipc {ipc}, noise {noise} | {choice.name} | {said} "
                f"| {standings[0].candidate.name} | {wrong} |"
            )


def _soft(kip: DistilledSet) -> None:
    """Declarations of soft labels that are wrong, beside the right ones."""
    chance = np.random.default_rng(0)
    logits = chance.normal(0, 3, (len(kip), 10)).astype(np.float32)
    logits[np.arange(len(kip)), kip.labels] = 9
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = np.eye(10, dtype=np.float32)[kip.labels] - 0.1
    for what, soft, kind in (
        ("KIP's labels as logits", kip.soft_labels, "logits"),
        ("logits as logits", logits, "logits"),
        ("probabilities as logits", probabilities, "logits"),
        ("probabilities as probabilities", probabilities, "probabilities"),
        ("one-hot minus 1/K as logits", targets, "logits"),
        ("logits of other images", np.roll(logits, 30, 0), "logits"),
    ):
        card = kip.card.model_copy(update={"soft_label_kind": kind})
        said = labels(replace(kip, soft_labels=soft, card=card))
        print(f"- {what}: {said.severity}. {said.text}")


def _probed(
    published: dict[str, DistilledSet],
    real: dict[str, Dataset],
    choices: dict[str, list[Candidate]],
) -> None:
    from ddranking.running.probe import probe

    for name, made in published.items():
        if made.card.dataset in real:
            ready = {each.name: each.fitted for each in choices[made.card.dataset]}
            start = time.monotonic()
            found = probe(made, real[made.card.dataset], ready)
            shown = ", ".join(
                f"{each.name} {100 * each.accuracy.mean:.1f}"
                f" ({100 * (each.accuracy.high - each.accuracy.mean):.1f})" for each in found
            )  # fmt: skip
            print(f"| {name} | {shown} | {time.monotonic() - start:.0f} s |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
