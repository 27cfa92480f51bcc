"""``ddranking score --all``: every packed set of a folder, trained as one work."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddranking.api import Rules, Runtime, pool, studies
from ddranking.cli.score import amount, check_writable, default_record_path
from ddranking.errors import BadInput, printable

if TYPE_CHECKING:
    from ddranking.running.studies import Prepared, Studies
    from ddranking.running.study import RealChoice, Study
    from ddranking.running.work import Shard


@dataclass(frozen=True)
class Order:
    """What is wanted: the rules, and where and how; ``out`` is a folder for the records."""

    rules: Rules
    real: RealChoice
    where: Runtime
    part: Shard
    out: Path | None
    skip_invalid: bool


def score_all(file: Path | None, folder: Path | None, order: Order, *, as_json: bool) -> None:
    """Trains what the sets of ``folder`` need, and writes each record as soon as it is whole.

    Raises:
        BadInput: no folder or a file beside it, no set in it, or sets that cannot be scored; those
            are listed first, before anything is trained.
    """
    if (file is None) == (folder is None):
        got = "neither" if file is None else "both"
        raise BadInput("score", expected="a packed set, or --all with a folder of them", got=got)
    assert folder is not None
    prepared = _prepare(folder, order)
    targets = {study.entry.digest: _target(study, order) for study in prepared.studies}
    for target in targets.values():
        check_writable(target)
    written = _train(prepared, targets, order)
    if as_json:
        print(json.dumps(written, indent=1))
        return
    for one in written:
        print(_line(one))


def _prepare(folder: Path, order: Order) -> Prepared:
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        raise BadInput(
            f"--all {folder}",
            expected="a folder of packed sets (*.safetensors)",
            got="an empty one" if folder.is_dir() else "no folder",
        )
    prepared = studies(files, order.rules, real=order.real, runtime=order.where)
    for one in prepared.refused:
        print(f"{Path(one.file).name}: {one.reason}", file=sys.stderr)
    if prepared.refused and (not order.skip_invalid or not prepared.studies):
        raise BadInput(
            f"--all {folder}",
            expected="sets that fit the track and the recipe",
            got=f"{len(prepared.refused)} of {len(files)} that do not, see above",
            hint="Leave them out with --skip-invalid; nothing was trained."
            if prepared.studies
            else "",
        )
    return prepared


def _target(study: Study, order: Order) -> Path:
    usual = default_record_path(study)
    return usual if order.out is None else order.out / usual.name


def _train(prepared: Prepared, targets: dict[str, Path], order: Order) -> list[dict[str, Any]]:
    from ddranking.cli.progress import TrainingProgress
    from ddranking.running.studies import together

    many = together(prepared.studies)
    crew = pool(many.work.workbench, order.where)  # refuses before anything is said
    known = many.work.known()
    told = dict.fromkeys(line for study in many.studies for line in study.told)
    halfway = many.work.halfway(known)
    for line in (*told, *_preamble(many, amount(many.work.plan.total, known, halfway))):
        print(printable(line), file=sys.stderr)
    written: list[dict[str, Any]] = []

    def whole(study: Study, observations: Any) -> None:
        target = targets[study.entry.digest]
        record = study.record(observations)
        record.save(target)
        scores = record.scores.model_dump(mode="json")
        written.append({"method": study.entry.method, "record": str(target), "scores": scores})

    title, work = f"{len(many.studies)} sets", many.work.outlook(known)
    with TrainingProgress(title, work, len(known), halfway=halfway) as bar, crew as workers:
        left = many.run(workers, bar, whole, order.part)
    if left:
        print(
            f"Shard {order.part} has nothing left to train now; {len(left)} of "
            f"{len(many.studies)} records need trainings of other shards. Run this command again "
            "when they are done.",
            file=sys.stderr,
        )
    return written


def _preamble(many: Studies, trainings: str) -> list[str]:
    """What a person should know before hours of training."""
    plan, data = many.work.plan, many.work.workbench.dataset
    reported = [study for study in many.studies if study.real_hard is not None]
    lines = [
        f"{len(many.studies)} sets on {plan.track.id}, recipe {plan.recipe.id}, {data.title}",
        f"{trainings}; {many.shared} more are saved, as several sets "
        f"share them; store {many.work.store.folder}",
    ]
    if reported and (real := reported[0].real_hard) is not None:
        lines.append(
            f"real_hard is not measured: {real.accuracies[0]:.1%} is {real.kind} "
            f"({real.source}). --train-real measures it."
        )
    return lines


def _line(one: dict[str, Any]) -> str:
    hlr, ior, ddrs = (one["scores"][name]["mean"] for name in ("hlr", "ior", "ddrs"))
    return f"{one['method']}: HLR {hlr:.2%}, IOR {ior:.2%}, DDRS {ddrs:.4f}: {one['record']}"
