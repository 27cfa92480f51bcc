"""``ddranking plan`` and ``ddranking score``."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Sized
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from ddranking.api import Rules, Runtime, pool, study
from ddranking.cli.options import PLACE, WHOLE
from ddranking.errors import BadInput, printable
from ddranking.protocol.recipe import is_released

if TYPE_CHECKING:
    from ddranking.protocol.track import Track
    from ddranking.protocol.trial import Trial
    from ddranking.running.local import Engine
    from ddranking.running.study import Study
    from ddranking.running.work import Shard
    from ddranking.running.workbench import Workbench
    from ddranking.scoring.record import Record


@Parameter(name="*")
@dataclass(frozen=True)
class RulesOptions:
    """The rules a score is measured under."""

    track: str
    "Name of the track (see: ddranking list tracks), or a YAML file."
    recipe: str
    "Name of the method's recipe (see: ddranking list recipes), or a YAML file."
    seeds: Annotated[int | None, WHOLE] = None
    "Another number of seeds than the track's; makes it a custom track."
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = ()
    "key=value override of the recipe, or track.key=value of the track; may be repeated."
    teacher: Path | None = None
    "File of weights for the recipe's teacher, in place of its own; makes it a custom recipe."
    any_teacher: Annotated[bool, Parameter(negative="")] = False
    "Take it even where it names real images no better than chance."

    def rules(self, more: ArmOptions | None = None) -> Rules:
        return Rules(
            self.track,
            self.recipe,
            self.seeds,
            self.set_,
            teacher=self.teacher,
            any_teacher=self.any_teacher,
            **({} if more is None else asdict(more)),
        )


@Parameter(name="*")
@dataclass(frozen=True)
class ArmOptions:
    """What to train beyond the score."""

    rdm_hard: Annotated[bool, Parameter(negative="")] = False
    "Also train random images under the common hard recipe, to explain where a gap comes from."
    ars: Annotated[bool, Parameter(negative="")] = False
    "Also train without the recipe's augmentation, for the augmentation-robust score."
    unified: str | None = None
    "Also score under this recipe, the same for every method (as: unified)."


@Parameter(name="*")
@dataclass(frozen=True)
class RealOptions:
    """Where the whole-set accuracy comes from."""

    real_accuracy: float | None = None
    "Whole-set accuracy as a fraction, where it was published; marked as reported."
    real_source: str | None = None
    "Where that accuracy was published."
    train_real: Annotated[bool, Parameter(negative="")] = False
    "Train the whole real set here."

    def choice(self):
        from ddranking.running.study import RealChoice

        return RealChoice(self.real_accuracy, self.real_source, self.train_real)


@Parameter(name="*")
@dataclass(frozen=True)
class RuntimeOptions:
    """Where and how trainings run; nothing here changes a result."""

    store: Annotated[Path | None, PLACE] = None
    "Folder of finished trainings; the user's cache by default."
    data_root: Annotated[Path | None, PLACE] = None
    "Folder of the original dataset, where it was not prepared with 'ddranking data prepare'."
    cache: Annotated[Path | None, PLACE] = None
    "Folder of prepared datasets."
    device: str | None = None
    "cpu, cuda or cuda:N; every GPU, or the CPU, by default."
    workers: Annotated[int | None, WHOLE] = None
    "Worker processes; one a CPU core, or one a GPU, by default."
    engine: Literal["local", "ray"] = "local"
    "What runs the trainings: worker processes of this machine, or a Ray cluster."
    address: str | None = None
    "Address of a running Ray cluster, as auto or HOST:PORT; one for this command by default."
    trust_code: Annotated[bool, Parameter(negative="")] = False
    "Import the code of a student named 'package.module:callable'."

    def runtime(self) -> Runtime:
        return Runtime(
            store=self.store,
            data_root=self.data_root,
            cache=self.cache,
            device=self.device,
            workers=self.workers,
            trusted=self.trust_code,
            engine=self.engine,
            address=self.address,
        )


NO_ARMS = ArmOptions()
NO_REAL = RealOptions()
NO_RUNTIME = RuntimeOptions()


def plan(
    file: Path,
    rules: RulesOptions,
    arms: ArmOptions = NO_ARMS,
    real: RealOptions = NO_REAL,
    runtime: RuntimeOptions = NO_RUNTIME,
    *,
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Print every training that a score needs, and which of them the store already holds.

    Args:
        file: a packed distilled set (.safetensors).
        rules: track and recipe.
        arms: what to train beyond the score.
        real: where the whole-set accuracy comes from.
        runtime: store and data.
        json_: print JSON instead of a table.
    """
    made = study(file, rules.rules(arms), real=real.choice(), runtime=runtime.runtime())
    known = made.known()
    rows, halfway = _plan_rows(made, known), made.halfway(known)
    if json_:
        counts = {"total": made.plan.total, "known": len(known), "halfway": halfway}
        print(json.dumps(counts | {"trials": rows}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    from ddranking.scoring.observation import validation_accuracies

    track, recipe = made.plan.track, made.plan.recipe
    print(f"{track.id}, recipe {recipe.id}")
    table = Table()
    for column in ("arm", "rate", "seeds", "reads", "known", "epochs", "batch"):
        table.add_column(column)
    for trial in made.plan.only_teachers:
        rules_ = (str(trial.training.epochs), str(trial.training.batch_size))
        seen, name = "yes" if trial.key in known else "no", f"{trial.arm} ({trial.student})"
        table.add_row(name, f"{trial.rate:g}", "1", "test", seen, *rules_)
    validation = validation_accuracies(known)
    for arm in made.plan.arms:
        rules_ = (str(arm.training.epochs), str(arm.training.batch_size))
        asked = arm.asked(validation)
        for rate in arm.rates if asked else ():
            keys = [trial.key for trial in asked if trial.rate == rate]
            seen = f"{sum(key in known for key in keys)}/{len(keys)}"
            table.add_row(arm.arm, f"{rate:g}", str(len(keys)), "validation", seen, *rules_)
        so_far = max(arm.standing(validation).asked.values(), default=0)
        for before, rung in pairwise(arm.rungs):
            if rung.seeds > so_far:
                seen = f"0/{rung.rates * (rung.seeds - before.seeds)}"
                best, seeds = f"best {rung.rates}", str(rung.seeds)
                table.add_row(arm.arm, best, seeds, "validation", seen, *rules_)
        finals = [row for row in rows if row["arm"] == arm.arm and row["reads"] == "test"]
        rate_text = f"{arm.rates[0]:g}" if len(arm.rates) == 1 else "selected"
        seen = f"{sum(bool(row['known']) for row in finals)}/{arm.seeds}"
        table.add_row(arm.arm, rate_text, str(arm.seeds), "test", seen, *rules_)
    Console().print(table)
    if made.real_hard is not None:
        value = made.real_hard.accuracies[0]
        source = printable(made.real_hard.source)
        print(f"real_hard: {value:.1%}, {made.real_hard.kind} ({source})")
    for line in made.told:
        print(line)
    begun = f", {len(halfway)} are halfway" if halfway else ""
    print(
        f"{len(known)} of {made.plan.total} trainings are known{begun}; store: {made.store.folder}"
    )


def _plan_rows(made: Study, known) -> list[dict[str, object]]:
    """One row a trial; those whose rate is not selected yet have no key."""
    from ddranking.scoring.observation import validation_accuracies

    validation = validation_accuracies(known)
    rows: list[dict[str, object]] = [_row(trial, known) for trial in made.plan.only_teachers]
    for arm in made.plan.arms:
        rate = arm.selected(validation)
        finals = arm.finals(rate) if rate is not None else []
        asked = arm.asked(validation)
        rows += [_row(trial, known) | {"arm": arm.arm} for trial in (*asked, *finals)]
        if rate is None:
            open_ = {"arm": arm.arm, "rate": None, "key": None, "known": False}
            later = arm.standing(validation).later
            rows += [{**open_, "reads": "validation", "seed": seed} for seed in later]
            rows += [{**open_, "reads": "test", "seed": seed} for seed in range(arm.seeds)]
    return rows


def _row(trial: Trial, known) -> dict[str, object]:
    return {
        "arm": trial.arm,
        "rate": trial.rate,
        "seed": trial.seed,
        "reads": trial.evaluate,
        "key": trial.key,
        "known": trial.key in known,
    }


def score(
    file: Path | None = None,
    *,
    rules: RulesOptions,
    arms: ArmOptions = NO_ARMS,
    real: RealOptions = NO_REAL,
    runtime: RuntimeOptions = NO_RUNTIME,
    all_: Annotated[Path | None, Parameter(name="--all")] = None,
    skip_invalid: Annotated[bool, Parameter(negative="")] = False,
    out: Path | None = None,
    shard: str = "1/1",
    json_: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Train what a score needs, and write its record. Run it again to resume.

    Args:
        file: a packed distilled set (.safetensors).
        rules: track and recipe.
        arms: what to train beyond the score.
        real: where the whole-set accuracy comes from.
        runtime: store, data and device.
        all_: score every packed set of this folder as one work; what they share is trained once.
        skip_invalid: with --all, leave out sets that cannot be scored instead of stopping.
        out: the record; records/TRACK/METHOD-DIGEST-RECIPE.json by default. With --all, a folder.
        shard: I/N trains the I-th of N parts of what is pending, for several runs on one store.
        json_: print the scores as JSON.
    """
    where = runtime.runtime()
    part = _shard(shard)
    if all_ is not None or file is None:
        from ddranking.cli.many import Order, score_all

        order = Order(rules.rules(arms), real.choice(), where, part, out, skip_invalid)
        score_all(file, all_, order, as_json=json_)
        return
    if skip_invalid:
        raise BadInput("--skip-invalid", expected="--all with it", got="one file")
    made = study(file, rules.rules(arms), real=real.choice(), runtime=where)
    target = out or default_record_path(made)
    check_writable(target)
    record = run_study(made, where, part)
    if record is None:
        return
    record.save(target)
    if json_:
        print(json.dumps(record.scores.model_dump(mode="json"), indent=1))
    else:
        print_record(record)
        print(f"Record: {target}")


def run_study(made: Study, where: Runtime, part: Shard | None = None) -> Record | None:
    """Trains with a progress bar; None where other shards still have to do their part."""
    from ddranking.cli.progress import TrainingProgress
    from ddranking.running.work import Shard

    part = part or Shard()
    crew = pool(made.workbench, where)  # refuses before anything is said
    known = made.known()
    slow = unfused(made.workbench, made.plan.track, crew)
    halfway = made.halfway(known)
    for line in (*made.told, *_preamble(made, amount(made.plan.total, known, halfway)), *slow):
        print(printable(line), file=sys.stderr)
    work, roles = made.outlook(known), made.plan.roles
    bar = TrainingProgress(made.entry.method, work, len(known), roles, halfway)
    with bar, crew as workers:
        known = made.run(workers, bar, part)
    if made.pending(known):
        print(
            f"Shard {part} has nothing left to train now; {made.plan.total - len(known)} trainings "
            "of other shards are missing. Run this command again when they are done."
        )
        return None
    return made.record(known)


def unfused(workbench: Workbench, track: Track, crew: Engine) -> list[str]:
    """A line where trainings on this machine's CPU could be faster, and why they are not."""
    from ddranking.running.local import Pool
    from ddranking.training.arithmetic import acceleration
    from ddranking.training.native import NO_COMPILER

    if not isinstance(crew, Pool) or crew.places[0].type != "cpu" or ":" in track.student:
        return []
    line = acceleration(track.student, workbench.dataset.train.shape, track.hard.precision)
    return [f"Trainings are {line}."] if line.endswith(NO_COMPILER) else []


def amount(total: int, known: Sized, halfway: Sized) -> str:
    """How many trainings there are, and how many of them are done or begun."""
    begun = f", {len(halfway)} halfway" if halfway else ""
    return f"{total} trainings, {len(known)} known{begun}"


def _preamble(made: Study, trainings: str) -> list[str]:
    """What a person should know before hours of training."""
    track, recipe, data = made.plan.track, made.plan.recipe, made.workbench.dataset
    lines = [
        f"{made.entry.method} on {track.id}, recipe {recipe.id}, {data.title}",
        f"{trainings}; store {made.store.folder}",
    ]
    if made.real_hard is not None:
        value, source = made.real_hard.accuracies[0], made.real_hard.source
        lines.append(
            f"real_hard is not measured: {value:.1%} is {made.real_hard.kind} ({source}). "
            "--train-real measures it."
        )
    if track.custom:
        lines.append("The track is a custom one: this record ranks only with its own kind.")
    if not is_released(recipe, track.dataset, track.ipc):
        lines.append("The recipe is a custom one, and is shown as such.")
    return lines


def print_record(record: Record) -> None:
    """The arms' accuracies and the score as a table, in percent and points."""
    from rich.console import Console
    from rich.table import Table

    print(printable(f"{record.entry.method}: {record.track.id}, recipe {record.recipe.id}"))
    table = Table()
    for column in ("", "mean", "95 % interval", "n"):
        table.add_column(column, justify="left" if not column else "right")
    rows = [(f"{arm} accuracy", seen) for arm, seen in record.accuracy.items()]
    for name, seen in (
        *rows,
        ("HLR (lower is better)", record.hlr),
        ("IOR (higher is better)", record.ior),
        *([("IOR, unified recipe", unified)] if (unified := record.scores.ior_unified) else []),
    ):
        table.add_row(name, f"{seen.mean:.2%}", f"{seen.low:.2%} to {seen.high:.2%}", str(seen.n))
    ddrs = record.ddrs()
    interval = f"{ddrs.low:.4f} to {ddrs.high:.4f}"
    table.add_row("DDRS at w = 0.5 (0 to 1)", f"{ddrs.mean:.4f}", interval, str(ddrs.n))
    if (ars := record.scores.ars) is not None:
        interval = f"{ars.low:.4f} to {ars.high:.4f}"
        table.add_row("ARS at g = 0.5 (0 to 1)", f"{ars.mean:.4f}", interval, str(ars.n))
    Console().print(table)
    if record.real_hard.kind == "reported":
        value = record.real_hard.accuracies[0]
        print(f"real_hard {value:.1%} is reported: {printable(record.real_hard.source)}")


def default_record_path(made: Study) -> Path:
    """``records/TRACK/METHOD-DIGEST-RECIPE.json`` here; custom rules add their hash to the name."""
    method = re.sub(r"[^a-z0-9]+", "-", made.entry.method.lower()).strip("-") or "unnamed"
    digest = made.entry.digest.removeprefix("sha256:")[:8]
    track, recipe = made.plan.track, made.plan.recipe
    released = is_released(recipe, track.dataset, track.ipc)
    mark = "" if released else f"-custom-{recipe.hash.removeprefix('sha256:')[:8]}"
    folder = track.name + (
        f"-custom-{track.hash.removeprefix('sha256:')[:8]}" if track.custom else ""
    )
    return Path("records") / folder / f"{method[:60]}-{digest}-{recipe.name}{mark}.json"


def check_writable(target: Path, option: str = "--out") -> None:
    """Finds out before the training, not after it, that a file cannot be written."""
    target = target.resolve()
    folder = target.parent
    try:
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):  # asks the file system, leaves nothing behind
            fits = not target.exists() or target.is_file()
    except OSError:  # a name too long for the file system, a folder that may not be read
        fits = False
    if not fits:
        raise BadInput(option, expected="a file in a folder that can be written", got=str(target))


def _shard(text: str) -> Shard:
    from ddranking.running.work import Shard

    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match:
        raise BadInput("--shard", expected="I/N, such as 1/4", got=repr(text))
    return Shard(int(match[1]), int(match[2]))
