"""``ddranking store``: the folder of finished trainings."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from ddranking.errors import BadInput, ValueOutOfRange

if TYPE_CHECKING:
    from ddranking.running.merge import Examined, Merged

store = App(name="store", help="Merge and check folders of finished trainings.")


@store.command
def merge(
    *stores: Path,
    into: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Bring the trainings of several stores together, as shards on several machines leave them.

    Every observation is read and checked before it is copied; nothing is changed in a source. Where
    two stores hold one training with different accuracies, the target's stays and both are shown.

    Args:
        stores: folders; without --into, the others are merged into the first.
        into: the folder to merge into; made where it is not there.
        json_: print JSON.

    Returns:
        exit code 0 where everything could be merged, 1 where a file is damaged or two disagree.
    """
    from ddranking.running.merge import merge as bring
    from ddranking.running.store import Store

    sources = stores if into is not None else stores[1:]
    if not sources:
        raise BadInput(
            "store merge", expected="two stores, or one and --into", got=str(len(stores))
        )
    for source in stores:
        if not source.is_dir():  # before the target is made
            raise BadInput(f"store {source}", expected="a folder of a store", got="none")
    target = into or stores[0]
    found = bring(Store(target), sources)
    if json_:
        print(json.dumps(_merged(target, found), indent=1))
    else:
        _print_merged(target, found)
    return 1 if found.corrupt or found.conflicts else 0


@store.command
def check(
    folder: Path | None = None,
    *,
    clean: Annotated[bool, Parameter(negative="")] = False,
    drop_weights: float | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Read the trainings and weights of a store: how many there are, what is damaged or left over.

    Args:
        folder: the store; the user's own by default.
        clean: remove files that a killed writer left unfinished more than a day ago.
        drop_weights: remove weights that a search kept for more than so many days, and trainings
            that have been halfway for as long, as a score leaves them that nobody resumes. Finished
            trainings stay, and so do the weights of teachers; of such a search, the finals of the
            selected rate are trained from the beginning.
        json_: print JSON.

    Returns:
        exit code 0 where every training reads back, 1 where one is damaged.
    """
    from ddranking.running.merge import examine
    from ddranking.running.store import DAY, default_folder, sweep

    if drop_weights is not None and not drop_weights >= 0:  # nor is NaN
        raise ValueOutOfRange("--drop-weights", expected="a number of days", got=f"{drop_weights}")
    place = folder or default_folder()
    found = examine(place)
    now = time.time()
    removed = sweep(found.unfinished, now) if clean else []
    left = (*found.searched, *found.halfway)
    dropped = [] if drop_weights is None else sweep(left, now, drop_weights * DAY)
    if json_:
        print(json.dumps(_examined(place, found, removed, dropped), indent=1))
    else:
        _print_examined(place, found, removed, dropped)
    return 1 if found.corrupt else 0


def _merged(target: Path, found: Merged) -> dict[str, object]:
    return {
        "store": str(target),
        "copied": found.copied,
        "present": found.present,
        "weights": found.weights,
        "corrupt": [str(path) for path in found.corrupt],
        "conflicts": [
            {
                "file": str(one.file),
                "arm": one.arm,
                "seed": one.seed,
                "kept": one.kept,
                "other": one.other,
            }
            for one in found.conflicts
        ],
    }


def _print_merged(target: Path, found: Merged) -> None:
    print(
        f"{found.copied} trainings copied into {target}, {found.present} were there already, "
        f"{found.weights} files of weights copied"
    )
    for path in found.corrupt:
        print(f"damaged, not copied: {path}")
    for one in found.conflicts:
        print(
            f"not the same: {one.arm}, seed {one.seed}: {one.kept:.2%} is kept, {one.other:.2%} "
            f"in {one.file}"
        )


def _examined(
    place: Path, found: Examined, removed: list[Path], dropped: list[Path]
) -> dict[str, object]:
    return {
        "store": str(place),
        "observations": found.observations,
        "weights": sum(path not in dropped for path in found.weights),
        "halfway": sum(path not in dropped for path in found.halfway),
        "corrupt": [str(path) for path in found.corrupt],
        "set_aside": [str(path) for path in found.set_aside],
        "unfinished": [str(path) for path in found.unfinished if path not in removed],
        "removed": [str(path) for path in (*removed, *dropped)],
    }


def _print_examined(place: Path, found: Examined, removed: list[Path], dropped: list[Path]) -> None:
    size = f" ({found.weight_bytes / 1e6:.1f} MB)" if found.weights else ""
    print(
        f"{found.observations} trainings and {len(found.weights)} files of weights{size} in {place}"
    )
    if halfway := [path for path in found.halfway if path not in dropped]:
        print(f"{len(halfway)} trainings kept halfway: the command that began them goes on there")
    for path in found.corrupt:
        print(f"damaged, is trained again when it is needed: {path}")
    for path in found.set_aside:
        print(f"set aside earlier as damaged: {path}")
    left = [path for path in found.unfinished if path not in removed]
    if left:
        print(f"{len(left)} unfinished files; --clean removes those older than a day")
    if removed:
        print(f"{len(removed)} unfinished files removed")
    if dropped:
        print(f"{len(dropped)} files of weights and of trainings halfway removed")
