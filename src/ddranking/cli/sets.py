"""``ddranking pack``, ``inspect`` and ``baseline``: distilled sets as files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ddranking.cli.options import WHOLE
from ddranking.errors import BadInput

if TYPE_CHECKING:
    from ddranking.data.catalog import DatasetFacts
    from ddranking.distilled.artifact import DistilledSet
    from ddranking.distilled.doctor import Finding


@Parameter(name="*")
@dataclass(frozen=True)
class CardOptions:
    """Who made the set; descriptive only."""

    authors: str | None = None
    "Who distilled the images."
    paper: str | None = None
    "Address of the paper (https)."
    code: str | None = None
    "Address of the code (https)."
    licence: str | None = None
    "Licence of the images, such as MIT."

    def fields(self) -> dict[str, str]:
        return {key: value for key, value in vars(self).items() if value is not None}


NO_CARD = CardOptions()


@Parameter(name="*")
@dataclass(frozen=True)
class LimitOptions:
    """What reading may cost; larger than published sets need, smaller than a machine has."""

    max_gb: float = 4.0
    "Largest source, decoded images, and memory of the reading process, in GB of 2^30 bytes."
    max_seconds: Annotated[int, WHOLE] = 120
    "Longest time for reading."


NO_LIMITS = LimitOptions()


def pack(
    *source: Path,
    out: Path,
    dataset: str | None = None,
    ipc: Annotated[int | None, WHOLE] = None,
    method: str | None = None,
    space: str | None = None,
    soft_label_kind: Literal["logits", "probabilities"] | None = None,
    drop_soft_labels: Annotated[bool, Parameter(negative="")] = False,
    learning_rate: float | None = None,
    experiment: Annotated[int, WHOLE] = -1,
    partition: Annotated[int | None, WHOLE] = None,
    unbalanced: Annotated[bool, Parameter(negative="")] = False,
    undo: Annotated[list[str] | None, Parameter(negative="")] = None,
    classes: str | None = None,
    soft_classes: str | None = None,
    card: CardOptions = NO_CARD,
    limits: LimitOptions = NO_LIMITS,
    cache: Path | None = None,
) -> None:
    """Turn what authors release into one checked file. Nothing in the source is executed.

    Reads .pt dictionaries of the DC family, images/labels/rate .pt files of MTT and DATM, .npz,
    pairs of .npy, Parquet files, repositories of the Hub, PNG grids, folders of images by class or
    with the class in each name, and packed sets. Says what it understood. A configuration of
    DD-Ranking 0.1 or 0.2 (.yaml) becomes a recipe file, with a line for every key that has no
    meaning in one.

    Args:
        source: the files, one folder, or hub:OWNER/NAME[@REVISION][:SPLIT].
        out: the file to write (.safetensors; .yaml for a recipe).
        dataset: what the images stand in for (see: ddranking list datasets).
        ipc: images per class.
        method: short name of the method.
        space: where the values live: pixel, standardized, standardized:LINEAGE,
            standardized:half for [-1, 1], standardized:MEAN/STD in numbers, zca or zca-kip.
        soft_label_kind: what float labels are.
        drop_soft_labels: keep only the class of each soft label.
        learning_rate: the rate learned with the images, where its file does not hold it.
        experiment: which experiment of a DC-family file; -1 is the last.
        partition: cut each image into this many parts a side (IDC, DREAM: their factor).
        unbalanced: classes have different numbers of images.
        undo: a mistake that inspect --dataset found in the values, such as bgr, transposed or
            times-255; may be given more than once.
        classes: the true class of each label in turn, as 2,0,1, where the set numbers its classes
            otherwise; inspect --dataset prints it. Columns of soft labels move along.
        soft_classes: the true class of each column of soft labels, where only these are in another
            order; inspect --dataset prints it.
        card: who made the set.
        limits: what reading may cost.
        cache: folder of prepared datasets, to look up a folder:PATH of one's own.
    """
    from ddranking.distilled.artifact import save
    from ddranking.distilled.guarded import Limits
    from ddranking.distilled.importers import PackOptions
    from ddranking.distilled.importers import pack as read

    if not source:
        raise BadInput("pack", expected="one or more files, or a folder", got="none")
    if len(source) == 1 and source[0].suffix.lower() in RECIPES:
        _translate(source[0], out)
        return
    if not 0 < limits.max_gb <= 1e6 or limits.max_seconds < 1:
        raise BadInput("--max-gb", expected="a size and a time above 0", got=f"{limits.max_gb:g}")
    options = PackOptions(
        method=method,
        space=space,
        soft_label_kind=soft_label_kind,
        drop_soft_labels=drop_soft_labels,
        experiment=experiment,
        balanced=False if unbalanced else None,
        learning_rate=learning_rate,
        partition=partition,
        undo=undo or (),
        classes=_class_numbers("--classes", classes),
        soft_classes=_class_numbers("--soft-classes", soft_classes),
        card=card.fields(),
        limits=Limits(int(limits.max_gb * (1 << 30)), limits.max_seconds),
    )
    result = read(list(source), dataset=_own(dataset, cache), ipc=ipc, options=options)
    save(result.set, out)
    for note in result.notes:
        print(f"- {note}")
    print(f"Packed {_summary(result.set)}")
    print(f"Wrote {out}")


def _class_numbers(flag: str, text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(",")) if text is not None else ()
    except ValueError:
        raise BadInput(
            flag, expected="whole numbers with commas, as 2,0,1", got=str(text)
        ) from None


RECIPES = (".yaml", ".yml")


def _translate(source: Path, out: Path) -> None:
    """A configuration of the old tool as a recipe file, with a line for what is not in it."""
    import yaml

    from ddranking.files import write_whole
    from ddranking.protocol import upstream

    if out.suffix.lower() not in RECIPES:
        raise BadInput(
            f"--out {out}",
            expected="a .yaml file, as a configuration becomes a recipe",
            got=out.suffix,
        )
    values, warnings = upstream.read(source)
    made = upstream.translate(values, out.stem, f"{source.parent.name}/{source.name}".lstrip("/"))
    write_whole(out, yaml.safe_dump(made.recipe, sort_keys=False, width=100).encode())
    for line in (*warnings, *made.warnings):
        print(f"- {line}")
    for line in made.recipe["differs_from_source"]:
        print(f"differs: {line}")
    print(f"Wrote {out}, a recipe: ddranking score SET --track TRACK --recipe ./{out.name}")
    if made.tracks:
        print(f"Tracks that it fits: {', '.join(made.tracks)}")


def inspect(
    file: Path,
    *,
    dataset: str | None = None,
    probe: bool | None = None,
    png: Path | None = None,
    data_root: Path | None = None,
    cache: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show a packed set: card, digest, labels and pixel statistics, and its picture grid.

    With --dataset it is also examined: image space, labels, class order, real images among it.
    Each finding says ok, note or wrong, why, and what fixes it. Exit code 1 where one is wrong.

    Args:
        file: a packed distilled set (.safetensors).
        dataset: the dataset that it should be for; its training images are compared with the set.
        probe: a minute of training that compares image spaces; where statistics leave them open
            by default.
        png: write the images as a grid, a row a class.
        data_root: folder of the original dataset, where it was not prepared before.
        cache: folder of prepared datasets and fitted whitenings.
        json_: print JSON.
    """
    from ddranking.data.catalog import facts as facts_of
    from ddranking.distilled.artifact import load
    from ddranking.distilled.picture import grid

    if probe and dataset is None:
        raise BadInput("--probe", expected="--dataset NAME beside it", got="none")
    distilled = load(file)
    other = dataset is not None and dataset != distilled.card.dataset
    if dataset is not None and other and not dataset.startswith("folder:"):
        facts_of(dataset)  # a name that nothing has is a mistake, not an answer
    facts = _facts(distilled)
    if png is not None:
        try:
            grid(distilled).save(png)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"--png {png}", expected="a PNG file that can be written", got=str(error)
            ) from None
    findings: list[Finding] = []
    if dataset is not None and not other:
        findings = _examined(distilled, (data_root, cache), probe)
        facts["findings"] = [vars(each) for each in findings]
    if json_:
        print(json.dumps(facts, indent=1))
    else:
        for name, value in facts.items():
            if name != "findings":
                print(f"{name:16} {value}")
        if png is not None:
            print(f"{'picture':16} {png}")
        for each in findings:
            fix = f". Fix: {each.fix}" if each.fix else ""
            print(f"{each.severity:5} {each.subject}: {each.text}{fix}")
    if other:
        print(f"This set is for {distilled.card.dataset}, not for {dataset}.")
    return int(other or any(each.severity == "wrong" for each in findings))


def _examined(
    distilled: DistilledSet, where: tuple[Path | None, Path | None], probe: bool | None
) -> list[Finding]:
    """The doctor's findings, and those of a probe where it is asked for or needed."""
    from ddranking.api import Runtime
    from ddranking.api import dataset as find
    from ddranking.data.cache import default_cache
    from ddranking.distilled import doctor
    from ddranking.distilled.candidates import candidates, open_question, rank
    from ddranking.errors import MissingData

    data_root, cache = where
    try:
        real = find(distilled.card.dataset, Runtime(data_root=data_root, cache=cache))
    except MissingData as error:
        if data_root is not None or probe:
            raise
        text = f"not at hand, so that nothing is compared with them ({error.what})"
        fix = f"ddranking data prepare {distilled.card.dataset} --root DIR, or --data-root DIR"
        missing = doctor.Finding("note", "real data", text, {}, fix)
        return [missing, *doctor.examine(distilled, None)]
    choices = candidates(distilled, real, cache or default_cache())
    findings = doctor.examine(distilled, real, choices=choices)
    distilled = doctor.upright(distilled, choices).set
    standings = rank(distilled, choices)
    if probe or (probe is None and open_question(standings)):
        from ddranking.running import probe as training

        spaces = {each.candidate.name: each.candidate.fitted for each in standings}
        declared = doctor.declared_standing(distilled, standings).candidate.name
        excluded = {each.candidate.name for each in standings if each.apart}
        probed = training.probe(distilled, real, spaces)
        findings.insert(1, training.finding(probed, declared, excluded))
    return findings


def baseline(
    name: str,
    *,
    dataset: str,
    ipc: Annotated[int, WHOLE],
    out: Path,
    seed: Annotated[int, WHOLE] = 0,
    data_root: Path | None = None,
    cache: Path | None = None,
) -> None:
    """Make a baseline set to score beside a method: random, kmeans, herding, kcenter or noise.

    Args:
        name: the baseline (see: ddranking list methods).
        dataset: the real dataset.
        ipc: images per class.
        out: the file to write (.safetensors).
        seed: of those baselines that draw.
        data_root: folder of the original dataset, where it was not prepared before.
        cache: folder of prepared datasets.
    """
    from ddranking.api import Runtime
    from ddranking.api import dataset as find
    from ddranking.distilled.artifact import save
    from ddranking.methods.baselines import make

    made = make(name, find(dataset, Runtime(data_root=data_root, cache=cache)), ipc, seed=seed)
    save(made, out)
    print(f"Made {_summary(made)}")
    print(f"Wrote {out}")


def _own(dataset: str | None, cache: Path | None) -> str | DatasetFacts | None:
    """A catalogue name as it is; for ``folder:PATH``, what its prepared copy tells."""
    from ddranking.api import Runtime
    from ddranking.api import dataset as find
    from ddranking.data.catalog import describe

    if dataset is None or not dataset.startswith("folder:"):
        return dataset
    return describe(find(dataset, Runtime(cache=cache)))


def _summary(distilled: DistilledSet) -> str:
    card, images = distilled.card, distilled.images
    count, channels, height, width = images.shape
    soft = f", {card.soft_label_kind} as soft labels" if card.soft_label_kind else ""
    return (
        f"{card.method}: {count} images {channels}x{height}x{width} ({images.dtype}) for "
        f"{card.dataset}, {card.ipc} per class, {card.space.kind} space{soft}; {distilled.digest}"
    )


def _facts(distilled: DistilledSet) -> dict[str, Any]:
    """Card, digest and statistics in the order a reader wants them; unknown fields left out."""
    images = distilled.images
    counts = Counter(int(label) for label in distilled.labels)
    card = distilled.card.model_dump(mode="json", by_alias=True)
    soft = distilled.soft_labels
    return {
        **{key: value for key, value in card.items() if value is not None},
        "digest": distilled.digest,
        "images": f"{list(images.shape)} {images.dtype}",
        "per class": f"{min(counts.values())} to {max(counts.values())}, {len(counts)} classes",
        "range": f"{images.min():.4g} to {images.max():.4g}",
        "mean": [round(float(value), 4) for value in images.mean((0, 2, 3), dtype="float64")],
        "std": [round(float(value), 4) for value in images.std((0, 2, 3), dtype="float64")],
        "soft labels": "none" if soft is None else f"{list(soft.shape)} {card['soft_label_kind']}",
        "learning rate": distilled.learning_rate or "none stored",
    }
