"""``ddranking demo``: the whole way on real data that is already here, within a minute."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from ddranking.cli.options import WHOLE

CANDIDATES = ("kmeans", "herding", "noise")
TRACK = "digits-ipc10-convnet2"
RECIPE = "unified-digits"


def demo(*, out: Path = Path("demo"), workers: Annotated[int | None, WHOLE] = None) -> None:
    """Score three candidate sets of handwritten digits against random selection, and rank them.

    Trains for real on scikit-learn's 1,797 images of 8x8 pixels. Writes the packed candidates,
    their pictures, their records and the ranking page.

    Args:
        out: the folder for everything that is written.
        workers: worker processes; one a CPU core by default.
    """
    from rich.console import Console

    from ddranking.api import Rules, Runtime, dataset, pool
    from ddranking.board import ranking, site
    from ddranking.cli.progress import TrainingProgress
    from ddranking.cli.score import default_record_path
    from ddranking.distilled.artifact import save
    from ddranking.distilled.picture import grid
    from ddranking.errors import StoreUnusable
    from ddranking.methods.baselines import make
    from ddranking.running.store import Store
    from ddranking.running.study import prepare
    from ddranking.running.workbench import Workbench

    real = dataset("digits")
    track, recipe = Rules(TRACK, RECIPE).resolve()
    sets = {name: make(name, real, track.ipc) for name in CANDIDATES}
    bench = Workbench(real, {made.digest: made for made in sets.values()})
    crew = pool(bench, Runtime(device="cpu", workers=workers))  # refuses before anything is written
    store = Store(out / "store")
    try:
        (out / "pictures").mkdir(parents=True, exist_ok=True)
        for name, made in sets.items():
            save(made, out / f"{name}.safetensors")
            grid(made).save(out / "pictures" / f"{name}.png")
    except OSError as error:
        raise StoreUnusable(
            f"folder {out}", expected="a place to write to", got=error.strerror or str(error)
        ) from None

    print(f"{track.title}: {real.title}, {len(real.train)} training images", file=sys.stderr)
    studies = [prepare(made, track, recipe, bench, store) for made in sets.values()]
    work = {
        key: effort for study in studies for key, effort in study.outlook(study.known()).items()
    }
    bar = TrainingProgress("Demo", work)
    records = []
    with bar, crew as workers_:
        for study in studies:
            record = study.record(study.run(workers_, bar))
            record.save(out / default_record_path(study))
            records.append(record)
    page = site.build(records, out / "site")
    for board in ranking.rank(records):
        Console().print(site.text_table(board))
    print(f"Pictures: {out / 'pictures'}   Records: {out / 'records'}")
    print(f"Ranking page: {page}")
