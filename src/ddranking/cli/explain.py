"""``ddranking explain``: where a record's accuracy comes from. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ddranking.errors import BadInput, printable

if TYPE_CHECKING:
    from ddranking.scoring.decomposition import Decomposition
    from ddranking.scoring.record import Record


def explain(
    record: Path,
    *,
    png: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Say how much of a record's accuracy is due to images, labels and augmentation.

    Needs a record scored with --rdm-hard; with --ars too, labels and augmentation are told apart.

    Args:
        record: a record.
        png: also draw it into this file.
        json_: print JSON instead of a table.
    """
    from ddranking.cli.score import check_writable
    from ddranking.scoring.decomposition import decompose
    from ddranking.scoring.recordfile import load_record

    loaded = load_record(record)
    made = decompose(loaded.accuracy, f"record {record}")
    if png is not None:
        if png.suffix.lower() != ".png":
            raise BadInput("--png", expected="a name that ends in .png", got=str(png))
        check_writable(png, "--png")
        draw(loaded, made, png)
    if json_:
        print(json.dumps(made.to_dict(), indent=1))
        return
    _print(loaded, made)
    if png is not None:
        print(f"Wrote {png}")


def _print(record: Record, made: Decomposition) -> None:
    from rich.console import Console
    from rich.table import Table

    print(printable(f"{record.entry.method}: {record.track.id}, recipe {record.recipe.id}"))
    table = Table()
    for column in ("", "distilled images", "random images"):
        table.add_column(column, justify="left" if not column else "right")
    start = f"{made.start.mean:.2%}"
    table.add_row("random images, hard labels", start, start, end_section=True)
    random = {step.name: step.effect for step in made.random}
    for step in made.distilled:
        other = random.get(step.name)
        table.add_row(f"+ {step.name}", _points(step.effect), _points(other) if other else "")
    ends = [record.accuracy[arm].mean for arm in ("syn_any", "rdm_any")]
    table.add_section()
    table.add_row("= own recipe", *(f"{end:.2%}" for end in ends))
    Console().print(table)
    print(f"Points of accuracy with 95 % intervals over {made.gap.n} seeds.")


def _points(effect) -> str:
    return f"{100 * effect.mean:+.2f} [{100 * effect.low:+.2f}, {100 * effect.high:+.2f}]"


def draw(record: Record, made: Decomposition, path: Path) -> None:
    """A waterfall of the steps, distilled and random images side by side, as a PNG.

    Raises:
        StoreUnusable: the file cannot be written.
    """
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ddranking.errors import StoreUnusable
    from ddranking.files import write_whole

    figure = Figure(figsize=(9, 4.2), dpi=150, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    start = made.start
    for axes, title, steps in (
        (left, "distilled images", made.distilled),
        (right, "random images", made.random),
    ):
        level = 100 * start.mean
        bars = [("random,\nhard\nlabels", 0.0, level, start)]
        for step in steps:
            bars.append(
                (step.name.replace(" and ", "\nand "), level, 100 * step.effect.mean, step.effect)
            )
            level += 100 * step.effect.mean
        arm = "syn_any" if axes is left else "rdm_any"
        bars.append(("own\nrecipe", 0.0, level, record.accuracy[arm]))
        for place, (_, bottom, height, seen) in enumerate(bars):
            whole = place in (0, len(bars) - 1)
            colour = "#6b7280" if whole else "#0f766e" if height >= 0 else "#b91c1c"
            half = 100 * (seen.high - seen.low) / 2
            axes.bar(place, height, bottom=bottom, width=0.6, color=colour)
            axes.errorbar(place, bottom + height, yerr=half, color="black", capsize=3, lw=1)
            text = f"{height:.1f}" if whole else f"{height:+.1f}"
            axes.annotate(
                text,
                (place, max(bottom + height, bottom) + half),
                textcoords="offset points",
                xytext=(0, 3),
                ha="center",
                fontsize=8,
            )
        axes.set_xticks(range(len(bars)), [name for name, *_ in bars], fontsize=8)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("test accuracy, %")
    n = made.gap.n
    figure.suptitle(
        f"{record.entry.method}, {record.track.id}, recipe {record.recipe.id} "
        f"(95 % intervals, n = {n})",
        fontsize=10,
    )
    stream = io.BytesIO()
    canvas.print_png(stream)
    try:
        write_whole(path, stream.getvalue())
    except OSError as error:
        raise StoreUnusable(
            f"plot {path}", expected="a place to write to", got=error.strerror or str(error)
        ) from None
