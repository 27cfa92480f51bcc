"""``ddranking pack``, ``inspect`` and ``baseline``: distilled sets as files."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ddranking.errors import BadInput

if TYPE_CHECKING:
    from ddranking.data.catalog import DatasetFacts
    from ddranking.distilled.artifact import DistilledSet


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


def pack(
    *source: Path,
    out: Path,
    dataset: str | None = None,
    ipc: int | None = None,
    method: str | None = None,
    space: str | None = None,
    soft_label_kind: Literal["logits", "probabilities"] | None = None,
    drop_soft_labels: Annotated[bool, Parameter(negative="")] = False,
    learning_rate: float | None = None,
    experiment: int = -1,
    unbalanced: Annotated[bool, Parameter(negative="")] = False,
    card: CardOptions = NO_CARD,
    cache: Path | None = None,
) -> None:
    """Turn what authors release into one checked file. Nothing in the source is executed.

    Reads .pt dictionaries of the DC family, images/labels/rate .pt files of MTT and DATM, .npz,
    pairs of .npy, PNG grids, image folders by class, and packed sets. Says what it understood.

    Args:
        source: the files, or one folder.
        out: the file to write (.safetensors).
        dataset: what the images stand in for (see: ddranking list datasets).
        ipc: images per class.
        method: short name of the method.
        space: pixel, standardized, standardized:LINEAGE, zca or zca-kip: where the values live.
        soft_label_kind: what float labels are.
        drop_soft_labels: keep only the class of each soft label.
        learning_rate: the rate learned with the images, where its file does not hold it.
        experiment: which experiment of a DC-family file; -1 is the last.
        unbalanced: classes have different numbers of images.
        card: who made the set.
        cache: folder of prepared datasets, to look up a folder:PATH of one's own.
    """
    from ddranking.distilled.artifact import save
    from ddranking.distilled.importers import PackOptions
    from ddranking.distilled.importers import pack as read

    if not source:
        raise BadInput("pack", expected="one or more files, or a folder", got="none")
    options = PackOptions(
        method=method,
        space=space,
        soft_label_kind=soft_label_kind,
        drop_soft_labels=drop_soft_labels,
        experiment=experiment,
        balanced=False if unbalanced else None,
        learning_rate=learning_rate,
        card=card.fields(),
    )
    result = read(list(source), dataset=_own(dataset, cache), ipc=ipc, options=options)
    save(result.set, out)
    for note in result.notes:
        print(f"- {note}")
    print(f"Packed {_summary(result.set)}")
    print(f"Wrote {out}")


def inspect(
    file: Path,
    *,
    dataset: str | None = None,
    png: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show a packed set: card, digest, labels and pixel statistics, and its picture grid.

    Args:
        file: a packed distilled set (.safetensors).
        dataset: the dataset that it should be for; exit code 1 where it is for another.
        png: write the images as a grid, a row a class.
        json_: print JSON.
    """
    from ddranking.distilled.artifact import load
    from ddranking.distilled.picture import grid

    distilled = load(file)
    facts = _facts(distilled)
    if png is not None:
        try:
            grid(distilled).save(png)
        except (OSError, ValueError) as error:
            raise BadInput(
                f"--png {png}", expected="a PNG file that can be written", got=str(error)
            ) from None
    if json_:
        print(json.dumps(facts, indent=1))
    else:
        for name, value in facts.items():
            print(f"{name:16} {value}")
        if png is not None:
            print(f"{'picture':16} {png}")
    if dataset is not None and dataset != distilled.card.dataset:
        print(f"This set is for {distilled.card.dataset}, not for {dataset}.")
        return 1
    return 0


def baseline(
    name: str,
    *,
    dataset: str,
    ipc: int,
    out: Path,
    seed: int = 0,
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
