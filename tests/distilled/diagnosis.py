"""What the doctor says of published sets, of wrong cards for them, and of sets made on the spot.

    python tests/distilled/diagnosis.py DATA [SECTION ...]

DATA holds ``cifar10-jpeg/``, ``MNIST/`` and ``distilled/*/about.json`` with the released files.
Prints the tables of ``docs/doctor.md`` as Markdown; sections are
``SECTIONS``, all but the probe by default.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ddranking.data import sources
from ddranking.data.cache import default_cache
from ddranking.data.catalog import facts
from ddranking.data.images import Dataset
from ddranking.data.space import Pixel, Zca, parse_space
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.distilled.candidates import Candidate, candidates, class_means, rank, real_images
from ddranking.distilled.classorder import compare
from ddranking.distilled.doctor import Finding, examine, examine_values, labels, space
from ddranking.distilled.importers import PackOptions, pack
from ddranking.distilled.layout import compare as compare_layouts
from ddranking.distilled.mistakes import BYTES, COLOUR, LAYOUTS, TWICE, standardize, undo
from ddranking.distilled.mistakes import make as spoil
from ddranking.methods.baselines import make

SAID = {
    "kip_cifar10_ipc10": PackOptions(space="zca-kip", soft_label_kind="logits", balanced=False),
    "mtt-rerun-zca_cifar10_ipc1": PackOptions(space="zca"),
}
ROOTS = {"cifar10": "cifar10-jpeg", "mnist": "."}
PERMUTATIONS = 20


@dataclass(frozen=True)
class Bench:
    """The published sets by name, real datasets, and candidate spaces by dataset."""

    published: dict[str, DistilledSet]
    real: dict[str, Dataset]
    choices: dict[str, list[Candidate]]

    def comparable(self) -> Iterator[tuple[str, DistilledSet, Dataset, list[Candidate]]]:
        """Published sets whose real images are at hand."""
        for name, each in self.published.items():
            dataset = each.card.dataset
            if dataset in self.real:
                yield name, each, self.real[dataset], self.choices[dataset]


def main(arguments: Sequence[str]) -> None:
    data, asked = (
        Path(arguments[0]),
        arguments[1:] or [each for each in SECTIONS if each != "probe"],
    )
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
    for name in asked:
        print(f"\n### {name}\n")
        for line in SECTIONS[name](Bench(published, real, choices)):
            print(line, flush=True)


def _space_rows(bench: Bench) -> Iterator[str]:
    yield "| set | " + " | ".join(SPACES) + " | first of another kind behind by | time |"
    yield "|---|" + "---|" * (len(SPACES) + 2)
    for each in bench.comparable():
        yield _spaces(*each)


def _card_rows(bench: Bench) -> Iterator[str]:
    yield "| set | wrong space | right order | permuted | two swapped |"
    yield "|---|---|---|---|---|"
    for each in bench.comparable():
        yield _wrong_cards(*each)


def _fault_rows(bench: Bench) -> Iterator[str]:
    yield "| set | as given | " + " | ".join(FAULTS) + " |"
    yield "|---|---|" + "---|" * len(FAULTS)
    for each in bench.comparable():
        yield _faulty(*each)


def _made_fault_rows(bench: Bench) -> Iterator[str]:
    yield "| made set | as given | " + " | ".join(FAULTS) + " |"
    yield "|---|---|" + "---|" * len(FAULTS)
    for name, dataset in bench.real.items():
        for method in ("random", "kmeans"):
            plain = make(method, dataset, 10, seed=1)
            for made in _in_every_space(plain, bench.choices[name]):
                title = f"{method}, {name}, {made.card.note}"
                yield _faulty(title, made, dataset, bench.choices[name])


def _made_rows(bench: Bench) -> Iterator[str]:
    yield "| made set | right kind first | right card | wrong cards |"
    yield "|---|---|---|---|"
    for name, dataset in bench.real.items():
        yield from _made(dataset, bench.choices[name])


def _label_lines(bench: Bench) -> Iterator[str]:
    yield from _soft(bench.published["kip_cifar10_ipc10"])
    zca = bench.published["mtt-rerun-zca_cifar10_ipc1"]
    yield from _like_datm(zca, bench.real["cifar10"], bench.choices["cifar10"])


def _alone_rows(bench: Bench) -> Iterator[str]:
    yield "| set | declared | said of the space | fix |"
    yield "|---|---|---|---|"
    for name in ("dm_cifar100_ipc1", "mtt_cifar100_ipc1"):
        yield from _alone(name, bench.published[name])


SPACES = (
    "pixel", "standardized", "standardized:true", "standardized:imagenet", "standardized:half",
    "zca", "zca-kip",
)  # fmt: skip


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


TURNS = ("transposed", "upside-down", "half-turn", "left-turn", "right-turn", "anti-transposed")
FAULTS = ("bgr", "turned", "mirrored", "reshaped", "x 255", "/ 255", "twice", "bytes", "clipped")
GROUPS = {
    "bgr": ("bgr",), "turned": TURNS, "mirrored": ("mirrored",), "reshaped": ("reshaped",),
    "x 255": ("times-255",), "/ 255": ("over-255",), "twice": (TWICE,), "bytes": (BYTES,),
}  # fmt: skip


def _faulty(name: str, made: DistilledSet, dataset: Dataset, ready: list[Candidate]) -> str:
    """What is said of a set as it is, and with every mistake of the table made with it."""
    said = examine_values(made, ready, dataset).findings
    given = [each.subject for each in said if each.severity == "wrong"]
    given += [f"({each.subject})" for each in said if each.severity == "note"]
    cells = []
    for group in GROUPS.values():
        seen = [_named(each, made, dataset, ready) for each in group]
        seen = [each for each in seen if each]
        if len(group) == 1:
            cells.append(seen[0] if seen else "")
        else:
            kinds = ("wrong", "note", "missed")
            cells.append(" / ".join(str(seen.count(each)) for each in kinds))
    cells.append(_cut(made, dataset, ready))
    return f"| {name} | {', '.join(given) or 'ok'} | " + " | ".join(cells) + " |"


def _named(name: str, made: DistilledSet, dataset: Dataset, ready: list[Candidate]) -> str:
    """``wrong`` or ``note`` where the flag that undoes ``name`` is named; else ``missed``.

    Pixels are standardised before a mistake that standardised images alone can have. Of layouts
    that look alike (mirror images) either will do.
    """
    space, images = made.card.space, as_float(made.images)
    grey = images.shape[1] == 1
    standard = next(each.space for each in ready if each.name == "standardized")
    scaled = name in (TWICE, BYTES)
    if (grey and name in COLOUR) or (scaled and isinstance(space, Zca)):
        return ""
    constants = (dataset.mean, dataset.std)
    if isinstance(space, Pixel) and (scaled or name == "times-255"):
        # The card cannot say pixel of such values: validation refuses it.
        images = standardize(images, constants).astype(np.float32) if scaled else images
        made = replace(made, card=made.card.model_copy(update={"space": standard}))
    spoilt = replace(made, images=spoil(name, images, constants))
    said = examine_values(spoilt, ready, dataset).findings
    for each in said:
        flag = each.fix.partition("--undo ")[2].replace(",", " ").split()
        if not flag:
            continue
        if flag[0] == name:
            return each.severity
        if name in LAYOUTS and flag[0] in LAYOUTS:
            back = replace(spoilt, images=undo(flag[0], spoilt.images, constants))
            return "missed" if compare_layouts(back, ready).mistake else each.severity
    return "missed"


def _cut(made: DistilledSet, dataset: Dataset, ready: list[Candidate]) -> str:
    """Saved as 8-bit pixels, clipped, where that loses anything."""
    fitted = next(each for each in ready if each.space == made.card.space).fitted
    if made.images.dtype == np.uint8 or isinstance(made.card.space, Zca):
        return ""
    pixels = fitted.invert_to_pixels(as_float(made.images))
    if ((pixels < -0.5 / 255) | (pixels > 1 + 0.5 / 255)).mean() < 0.001:
        return ""
    images = np.rint(pixels.clip(0, 1) * 255).astype(np.uint8)
    card = made.card.model_copy(update={"space": Pixel()})
    saved = replace(made, images=images, card=card)
    said = examine_values(saved, ready, dataset).findings
    return next((each.severity for each in said if each.subject == "clipped"), "missed")


def _in_every_space(plain: DistilledSet, ready: list[Candidate]) -> Iterator[DistilledSet]:
    """Real images or centroids in the space of each kind; the card's note has its name."""
    pixels = np.rint(plain.images * 255).astype(np.uint8)
    for choice in ready:
        if choice.name in ("pixel", "standardized", "zca", "zca-kip"):
            update = {"space": choice.space, "note": choice.name}
            card = plain.card.model_copy(update=update)
            yield replace(plain, images=choice.fitted.apply(pixels), card=card)


def _made(dataset: Dataset, ready: list[Candidate]) -> Iterator[str]:
    """Real images and centroids in every space, with noise of a share of their spread."""
    for method, ipc, noise in (
        ("random", 1, 0.5), ("random", 10, 0.5), ("random", 10, 2.0),
        ("kmeans", 1, 0.1), ("kmeans", 10, 0.1),
    ):  # fmt: skip
        plain = make(method, dataset, ipc, seed=1)
        pixels = np.rint(plain.images * 255).astype(np.uint8)
        first, right, wrong = 0, list[Finding](), list[Finding]()
        for choice in ready:
            images = choice.fitted.apply(pixels)
            chance = np.random.default_rng(2)
            images = images + noise * images.std() * chance.standard_normal(images.shape)
            card = plain.card.model_copy(update={"space": choice.space})
            made = replace(plain, images=images.astype(np.float32), card=card)
            standings = rank(made, ready)
            first += _kind(standings[0].candidate) == _kind(choice)
            right.append(space(made, standings))
            wrong += _wrong_spaces(made, ready)
        yield (
            f"| {method}, {dataset.title}, ipc {ipc}, noise {noise} | {first} of {len(ready)} "
            f"| {_counts(iter(right))} | {_counts(iter(wrong))} |"
        )


def _alone(name: str, made: DistilledSet) -> Iterator[str]:
    """Without real images: the card as packed, and every other space."""
    known = facts(made.card.dataset)
    names = ["standardized", *(f"standardized:{each}" for each in known.lineages), "zca", "zca-kip"]
    for declared in names:
        space = parse_space(declared, known)
        right = " (packed)" if space == made.card.space else ""
        card = made.card.model_copy(update={"space": space})
        said = examine(replace(made, card=card), None)
        fixes = [each.fix for each in said if each.subject in ("space", "habit") and each.fix]
        first = said[0]
        words = first.text.partition(":")[0].partition(";")[0]
        yield f"| {name} | {declared}{right} | {first.severity}: {words} | {'; '.join(fixes)} |"


def _like_datm(zca: DistilledSet, dataset: Dataset, ready: list[Candidate]) -> Iterator[str]:
    """Whitened images with the logits of a network trained a little: as DATM releases them."""
    import torch

    from ddranking.running.probe import trained

    fitted = next(each for each in ready if each.space == zca.card.space).fitted
    chance = np.random.default_rng(0)
    chosen = np.sort(chance.permutation(len(dataset.train))[:5_000])
    some = dataset.train.take(chosen)
    classes = np.asarray(some.labels).astype(np.int64)
    network = trained(replace(zca, images=fitted.apply(some.pixels), labels=classes), seed=0)
    network.eval()
    with torch.no_grad():
        raw = network(torch.from_numpy(as_float(zca.images).copy())).numpy().astype(np.float32)
    print(
        f"- the network's largest logit is the class of {(raw.argmax(1) == zca.labels).sum()} of 10"
    )
    # DATM only takes images that its teacher names rightly, so that the largest is the class's.
    logits = raw.copy()
    rows, best = np.arange(len(raw)), raw.argmax(1)
    logits[rows, best], logits[rows, zca.labels] = raw[rows, zca.labels], raw[rows, best]
    exp = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = exp / exp.sum(1, keepdims=True)
    order = np.roll(np.arange(10), 3)
    for what, soft, kind, declared in (
        ("right card", logits, "logits", "zca"),
        ("probabilities as logits", probabilities, "logits", "zca"),
        ("columns in another class order", logits[:, order], "logits", "zca"),
        ("labels of other images", logits[chance.permutation(10)], "logits", "zca"),
        ("declared standardized", logits, "logits", "standardized"),
        ("declared zca-kip", logits, "logits", "zca-kip"),
    ):
        chosen_space = next(each.space for each in ready if each.name == declared)
        card = zca.card.model_copy(
            update={"space": chosen_space, "soft_label_kind": kind, "method": "datm"}
        )
        made = replace(zca, soft_labels=soft, card=card)
        said = [*examine_values(made, ready, dataset).findings, labels(made)]
        bad = [f"{each.subject}: {each.fix}" for each in said if each.severity == "wrong"]
        yield f"- as DATM, {what}: {'; '.join(bad) or 'nothing wrong'}"


def _soft(kip: DistilledSet) -> Iterator[str]:
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
        yield f"- {what}: {said.severity}. {said.text}"


def _probe_rows(bench: Bench) -> Iterator[str]:
    from ddranking.running.probe import probe

    yield "| set | accuracy by space | s |"
    yield "|---|---|---|"
    for name, made, dataset, ready in bench.comparable():
        start = time.monotonic()
        found = probe(made, dataset, {each.name: each.fitted for each in ready})
        shown = ", ".join(
            f"{each.name} {100 * each.accuracy.mean:.1f}"
            f" ({100 * (each.accuracy.high - each.accuracy.mean):.1f})"
            for each in found
        )
        yield f"| {name} | {shown}, n = {found[0].accuracy.n} | {time.monotonic() - start:.0f} |"


SECTIONS = {
    "spaces": _space_rows,
    "cards": _card_rows,
    "faults": _fault_rows,
    "made-faults": _made_fault_rows,
    "made": _made_rows,
    "labels": _label_lines,
    "alone": _alone_rows,
    "probe": _probe_rows,
}


if __name__ == "__main__":
    main(sys.argv[1:])
