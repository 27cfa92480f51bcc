"""``ddranking verify``: does somebody else's machine get what a record says?"""

from __future__ import annotations

import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ddranking.api import Runtime, dataset, given_weights, load, pool
from ddranking.cli.options import PLACE, WHOLE
from ddranking.cli.score import RuntimeOptions, check_writable
from ddranking.errors import BadInput, ValueOutOfRange, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddranking.running.verify import Repeat
    from ddranking.scoring.statistics import Equivalence

ArmName = Literal["syn_any", "syn_hard", "rdm_any", "rdm_hard", "real_hard"]


@Parameter(name="*")
@dataclass(frozen=True)
class RepeatOptions(RuntimeOptions):
    """Where and how trainings run; the user's own store takes no part in it."""

    store: Annotated[Path | None, PLACE] = None
    "Folder to keep the trainings in, so that the command can be resumed; none by default."


NO_RUNTIME = RepeatOptions()


def verify(
    record: Path,
    runtime: RepeatOptions = NO_RUNTIME,
    *,
    artifact: Path,
    arms: Annotated[tuple[ArmName, ...], Parameter(name="--arm", negative="")] = (
        "syn_any",
        "syn_hard",
    ),
    trials: Annotated[int | None, WHOLE] = None,
    teacher: Annotated[Path | None, PLACE] = None,
    margin: float = 0.02,
    by: str | None = None,
    date: str | None = None,
    out: Path | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Train some of a record's finals again and test whether the results agree.

    Args:
        record: the record.
        runtime: data and device.
        artifact: the packed set that was scored.
        arms: syn_any, syn_hard, rdm_any, rdm_hard, real_hard; may be repeated.
        trials: seeds an arm, at least 2; all of the record's by default.
        teacher: the file of weights that the record was scored with, where it was (--teacher).
        margin: difference of mean accuracies that counts as none, as a fraction.
        by: your name, for the verified mark; without it nothing is written.
        date: YYYY-MM-DD of the mark; today by default.
        out: the verified record; NAME-verified.json in this folder by default.
        json_: print JSON.

    Returns:
        exit code 0 where every arm agrees, 1 where one differs or cannot be told.
    """
    from ddranking.scoring.marks import day

    mark = {"by": _name(by, out), "date": day(date)}
    if not 0 < margin < 1:
        percentage = "It looks like a percentage: 2 % is 0.02." if margin >= 1 else ""
        raise ValueOutOfRange(
            "--margin", expected="a fraction between 0 and 1", got=f"{margin:g}", hint=percentage
        )
    target = out or Path(f"{record.stem}-verified.json")
    if by is not None:
        check_writable(target)
    with ExitStack() as stack:
        where = runtime.runtime()
        folder = where.store or stack.enter_context(tempfile.TemporaryDirectory())
        given = given_weights(teacher)
        work = _prepare(record, artifact, Path(folder), where, arms, trials, given)
        known = _train(work, where)
        tests = work.verdicts(known, margin)
        agrees = all(test.verdict == "agrees" for test in tests.values())
        if agrees and by is not None:
            work.verified(known, margin, **mark).save(target)
    written = str(target) if agrees and by is not None else None
    if json_:
        print(json.dumps(_answer(work, tests, agrees, written), indent=1))
    else:
        _print(work, tests)
        print("The record agrees." if agrees else "No agreement: nothing is marked.")
        if written:
            print(f"Verified record: {written}")
        elif agrees:
            print("Nothing is written: --by NAME writes a verified record.")
    return 0 if agrees else 1


def _name(by: str | None, out: Path | None) -> str:
    if by is None and out is not None:
        raise BadInput("--out", expected="--by NAME with it", got="none")
    if by is not None and not 1 <= len(by.strip()) <= 2000:
        raise BadInput("--by", expected="a name of 1 to 2000 letters", got=repr(by[:40]))
    return (by or "").strip()


def _prepare(
    record: Path,
    artifact: Path,
    folder: Path,
    where: Runtime,
    arms: tuple[ArmName, ...],
    trials: Annotated[int | None, WHOLE],
    given: Mapping[str, Path],
) -> Repeat:
    from ddranking.running.store import Store
    from ddranking.running.verify import prepare_repeat
    from ddranking.running.workbench import Workbench
    from ddranking.scoring.recordfile import load_record

    seen, distilled = load_record(record), load(artifact)
    bench = Workbench(
        dataset=dataset(seen.track.dataset, where),
        distilled={distilled.digest: distilled},
        cache=Path(where.cache) if where.cache else None,
        trusted=where.trusted,
        given=given,
    )
    return prepare_repeat(seen, distilled, bench, Store(folder), arms=arms, trials=trials)


def _train(work: Repeat, where: Runtime):
    from ddranking.cli.progress import TrainingProgress

    method, known = printable(work.record.entry.method), work.known()
    crew = pool(work.workbench, where)
    left = work.outlook(known)
    total = len(work.trials)
    arms = ", ".join(arm.arm for arm in work.plan.arms)
    print(f"{method} on {work.record.track.id}, again: {arms}", file=sys.stderr)
    halfway = work.halfway(known)
    bar = TrainingProgress(f"{method}, again", left, total - len(left), work.plan.roles, halfway)
    with bar, crew as workers:
        return work.run(workers, bar)


def _print(work: Repeat, tests: Mapping[str, Equivalence]) -> None:
    """One line an arm, in percent and points."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for column in ("arm", "record", "again", "difference, points", "90 % interval", "verdict"):
        table.add_column(column, justify="left" if column in ("arm", "verdict") else "right")
    for arm, test in tests.items():
        values = work.record.accuracy[arm].values
        recorded = sum(values[seed] for seed in work.seeds) / len(work.seeds)
        table.add_row(
            arm,
            f"{recorded:.2%}",
            f"{recorded + test.difference.mean:.2%}",
            f"{100 * test.difference.mean:+.2f}",
            f"{100 * test.low:+.2f} to {100 * test.high:+.2f}",
            test.verdict,
        )
    Console().print(table)
    margin = next(iter(tests.values())).margin
    print(f"Seeds {', '.join(map(str, work.seeds))}; margin {100 * margin:g} points, at 5 %.")


def _answer(
    work: Repeat, tests: Mapping[str, Equivalence], agrees: bool, written: str | None
) -> dict[str, object]:
    return {
        "agrees": agrees,
        "seeds": list(work.seeds),
        "margin": next(iter(tests.values())).margin,
        "arms": {
            arm: {
                "difference": test.difference.model_dump(mode="json"),
                "interval_90": [test.low, test.high],
                "p_value": test.p_value,
                "verdict": test.verdict,
            }
            for arm, test in tests.items()
        },
        "record": written,
    }
