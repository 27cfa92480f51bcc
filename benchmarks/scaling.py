"""How the cost of a training grows with images per class, image size, classes and workers.

Images per class on the real dataset, sizes and classes on invented images, which cost as much as
real ones. Trainings are not grouped on a CPU: group size is one. ``--out DIR`` also draws a plot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import trials
from benchmarks.options import Options
from benchmarks.report import Report, quick_precisions
from ddranking import api, seeds
from ddranking.data.images import Dataset
from ddranking.protocol.rules import Precision
from ddranking.running.local import cores, devices
from ddranking.running.workbench import Workbench

IPCS, SIZES, CLASSES = (1, 10, 50), (16, 32, 64, 128), (10, 50, 200)
TEST = 1000
"""Invented test images."""

QUICK_VISITS, FULL_VISITS = 1500, 8000
"""Images of 32 pixels that the longer of two runs visits on each worker; fewer of larger ones."""

Row = dict[str, float | int | str]


def measure(options: Options) -> Report:
    """A row for each value of what is varied, all else as in the first row."""
    precision = (options.precision or quick_precisions(options.device)[-1:])[0]
    visits = FULL_VISITS if options.full else QUICK_VISITS
    real = api.dataset(options.dataset)
    how: tuple[str, Precision] = options.student, precision
    count = options.workers or (cores() if devices(options.device)[0].type == "cpu" else 1)

    def row(varied: str, value: int, dataset: Dataset, ipc: int, busy: int = count) -> Row:
        return measured(varied, value, dataset, ipc, how, visits, options, busy)

    ipcs = options.ipc or IPCS
    rows = [row("images per class", ipc, real, ipc) for ipc in ipcs]
    rows += [row("image size", size, invented(size, 10), 1) for size in _sizes(options)]
    rows += [row("classes", classes, invented(32, classes), 1) for classes in CLASSES]
    middle = ipcs[len(ipcs) // 2]
    rows += [row("workers", busy, real, middle, busy) for busy in range(1, count + 1)]
    notes = [
        f"{options.student}, {precision}, batches of 256, DSA, {count} one-thread workers where "
        f"they are not varied; images per class and workers on {real.title}, the others on "
        f"invented images ({TEST:,} of them to evaluate). One measurement each.",
        "Images/s are of the whole machine, forward, backward and augmentation; `GB` is the most "
        "that a worker held resident after it trained and read both splits; `start` is until every "
        "worker had done so for one epoch.",
    ]
    if options.out is not None:
        notes.append(f"Wrote {plot(rows, options.out)}")
    return Report({"scaling": rows}, notes, {"precision": precision, "student": options.student})


def _sizes(options: Options) -> Sequence[int]:
    return SIZES if options.full else SIZES[:3]


def measured(
    varied: str,
    value: int,
    dataset: Dataset,
    ipc: int,
    how: tuple[str, Precision],
    visits: int,
    options: Options,
    busy: int,
) -> Row:
    """The cost of one setting, with ``busy`` trainings at once on workers of its own."""
    workbench = Workbench(dataset, {})
    make = trials.random_images(workbench, how[0], ipc, how[1])
    images = ipc * dataset.num_classes
    area = (dataset.image_size / 32) ** 2
    epochs = max(2, round(visits / area / images))
    # A single place would be served in this process, so a worker alone is one of several.
    with trials.pool(workbench, options) as workers:
        begun = trials.start(workers, make, busy)
        found = trials.cost(workers, make, epochs, busy=busy)
        memory = trials.resident(workers)
    return {
        "varied": varied,
        "value": value,
        "images": images,
        "epoch s": found.epoch,
        "images/s": images / max(found.epoch, 1e-9),
        "evaluated/s": len(dataset.test) / found.evaluation,
        "start s": begun,
        "GB": "" if memory is None else memory,
    }


def invented(size: int, classes: int) -> Dataset:
    """Noise of three channels: enough images for a validation split and one image a class."""
    chance = seeds.generator(0, "benchmark", size, classes)

    def half(count: int) -> tuple[np.ndarray, np.ndarray]:
        pixels = chance.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
        return pixels, np.arange(count) % classes

    train, test = half(classes * (trials.FEW + 5)), half(max(TEST, classes))
    return Dataset.from_arrays(f"noise{size}", *train, *test)


def plot(rows: Sequence[Row], folder: Path) -> Path:
    """Images a second against each thing that was varied, as ``scaling.png``."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(str(row["varied"]) for row in rows))
    figure, panels = pyplot.subplots(1, len(names), figsize=(3.2 * len(names), 3), squeeze=False)
    for panel, name in zip(panels[0], names, strict=True):
        mine = [row for row in rows if row["varied"] == name]
        values = [row["value"] for row in mine]
        for what, mark in (("images/s", "o-"), ("evaluated/s", "s--")):
            panel.plot(values, [row[what] for row in mine], mark, label=what)
        panel.set(xlabel=name, xscale="log", xticks=values, xticklabels=values, ylim=(0, None))
        panel.minorticks_off()
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].set_ylabel("of the whole machine")
    panels[0][0].legend(frameon=False)
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scaling.png"
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path
