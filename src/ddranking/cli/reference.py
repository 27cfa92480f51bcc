"""``ddranking reference``: arms that every entry shares, measured once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ddranking.api import Runtime, dataset, pool
from ddranking.cli.score import NO_RUNTIME, RulesOptions, RuntimeOptions


def reference(
    rules: RulesOptions,
    arms: Annotated[
        tuple[Literal["real_hard", "rdm_hard", "rdm_any"], ...],
        Parameter(name="--arm", negative=""),
    ] = ("rdm_any",),
    runtime: RuntimeOptions = NO_RUNTIME,
    *,
    out: Path,
    space: str | None = None,
) -> None:
    """Train arms that do not depend on an entry, and write them as a reference record.

    Put the file into records/reference, or into the folder that $DDRANKING_REFERENCES names: every
    later score of the same track, recipe and copy of the data finds it there. Random images are
    trained on in the image space of the sets that they stand beside.

    Args:
        rules: track and recipe (the recipe matters to rdm_any alone).
        arms: real_hard (the whole real set), rdm_hard, rdm_any; may be repeated.
        runtime: store, data and device.
        out: the reference record.
        space: of random images, as of ddranking pack; the dataset's usual one by default.
    """
    from ddranking.cli.progress import ARM_NAMES, TrainingProgress
    from ddranking.cli.score import check_writable
    from ddranking.data.space import parse_space
    from ddranking.running.shared import prepare_shared
    from ddranking.running.shared import reference as made_of
    from ddranking.running.store import Store
    from ddranking.running.workbench import Workbench
    from ddranking.scoring.statistics import estimate

    where: Runtime = runtime.runtime()
    wanted = rules.rules()
    track, recipe = wanted.resolve()
    check_writable(out)
    cache = Path(where.cache) if where.cache else None
    data = dataset(track.dataset, where)
    bench = Workbench(data, {}, cache, where.trusted, wanted.given)
    own = None if space is None else parse_space(space, data).model_dump(mode="json")
    work = prepare_shared(
        track,
        recipe,
        bench,
        Store(where.store),
        arms=arms,
        space=own,
        any_teacher=rules.any_teacher,
    )
    known = work.known()
    halfway, effort = work.halfway(known), work.outlook(known)
    bar = TrainingProgress("Shared arms", effort, len(known), work.plan.roles, halfway)
    with bar, pool(bench, where) as workers:
        known = work.run(workers, bar)
    made_of(work, known).save(out)
    for arm in work.plan.arms:
        finals = {
            one.trial.seed: one.outcome.test_accuracy
            for one in known.values()
            if one.trial.arm == arm.arm and one.outcome.test_accuracy is not None
        }
        values = estimate([finals[seed] for seed in sorted(finals)])
        print(
            f"{ARM_NAMES[arm.arm]}: {values.mean:.2%} "
            f"[{values.low:.2%}, {values.high:.2%}], n = {values.n}"
        )
    print(f"Wrote {out}")
