"""The Python interface: load a distilled set, score it, build a board.

>>> import ddranking                                                          # doctest: +SKIP
>>> record = ddranking.score("dc.safetensors", track="cifar10-ipc1-convnet3", recipe="dc")
>>> record.hlr, record.ior, record.ddrs(0.5)

Names, paths or objects are accepted wherever a track, a recipe, a dataset or a set is named.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ddranking.errors import BadFile
from ddranking.files import digest_of_file
from ddranking.protocol.recipe import Recipe, RecipeFile, find_recipe, with_given_weights
from ddranking.protocol.track import Track, find_track

if TYPE_CHECKING:
    from ddranking.data.images import Dataset
    from ddranking.distilled.artifact import DistilledSet
    from ddranking.protocol.trial import Arm, Trial
    from ddranking.running.local import Engine
    from ddranking.running.studies import Prepared
    from ddranking.running.study import RealChoice, Study
    from ddranking.running.workbench import Workbench
    from ddranking.scoring.record import Record


class Silent:
    """A watcher that says nothing."""

    def running(self, trial: Trial, share: float) -> None:
        """A training has progressed."""

    def finished(self, trial: Trial) -> None:
        """A training is in the store."""


@dataclass(frozen=True)
class Runtime:
    """Where and how trainings run; nothing here changes a result.

    Args:
        store: folder of finished trainings; the user's cache by default.
        data_root: folder of the original dataset, where it was not prepared before.
        cache: folder of prepared datasets and fitted spaces.
        device: ``cpu``, ``cuda``, ``cuda:1``; every GPU, or the CPU, by default.
        workers: worker processes; one a CPU core, or one a GPU, by default. With one, trainings
            run in this process.
        trusted: whether a student ``package.module:callable`` may be imported.
        watcher: told of progress.
        engine: ``local``, or ``ray`` for the CPUs and GPUs of a cluster.
        address: of a running Ray cluster; one for this process alone by default.
    """

    store: str | Path | None = None
    data_root: str | Path | None = None
    cache: str | Path | None = None
    device: str | None = None
    workers: int | None = None
    trusted: bool = False
    watcher: Any = field(default_factory=Silent)
    engine: str = "local"
    address: str | None = None


@dataclass(frozen=True)
class Rules:
    """What a score is measured under, by name, path or object.

    Args:
        track: a track.
        recipe: the method's own recipe.
        seeds: another number of seeds than the track's; makes the track a custom one.
        changes: ``key=value`` overrides of the recipe, or with the prefix ``track.`` of the track.
        rdm_hard: also train random images under the common hard recipe.
        ars: also train without the recipe's augmentation, for the augmentation-robust score.
        unified: also score under this recipe, the same for every method.
        teacher: a file of weights for the recipe's teacher, in place of its own; makes the recipe
            a custom one.
        any_teacher: also take such a file where its network knows no more than chance.
    """

    track: str | Track
    recipe: str | Recipe
    seeds: int | None = None
    changes: Sequence[str] = ()
    rdm_hard: bool = False
    ars: bool = False
    unified: str | Recipe | None = None
    teacher: str | Path | None = None
    any_teacher: bool = False

    @property
    def extra_arms(self) -> tuple[Arm, ...]:
        """Arms beyond those of every score, but for those of ``unified``."""
        hard: tuple[Arm, ...] = ("rdm_hard",) if self.rdm_hard else ()
        return (*hard, *(("syn_noaug", "rdm_noaug") if self.ars else ()))

    def resolve(self) -> tuple[Track, Recipe]:
        """The track and the recipe, validated and resolved for each other."""
        prefix = "track."
        of_track = [c.removeprefix(prefix) for c in self.changes if c.startswith(prefix)]
        of_recipe = [change for change in self.changes if not change.startswith(prefix)]
        if self.seeds is not None:
            of_track.append(f"seeds={self.seeds}")
        track = changed(self.track, of_track)
        recipe = _resolved(self.recipe, track, of_recipe)
        for digest in self.given:
            recipe = with_given_weights(recipe, digest)
        return track, recipe

    def resolve_unified(self, track: Track) -> Recipe | None:
        """The recipe that is the same for every method, resolved for the track."""
        return None if self.unified is None else _resolved(self.unified, track, ())

    @property
    def given(self) -> dict[str, Path]:
        """Files of weights by digest, for a workbench."""
        return given_weights(self.teacher)


def given_weights(file: str | os.PathLike[str] | None) -> dict[str, Path]:
    """A person's file of weights by its digest; nothing for None.

    Raises:
        BadFile: it cannot be read.
    """
    if file is None:
        return {}
    try:
        return {digest_of_file(file): Path(file)}
    except OSError as error:
        raise BadFile(
            f"teacher {file}",
            expected="a readable file of weights",
            got=error.strerror or str(error),
        ) from None


def _resolved(recipe: str | Recipe, track: Track, changes: Sequence[str]) -> Recipe:
    if isinstance(recipe, Recipe):
        source = RecipeFile.model_validate(recipe.model_dump(mode="json"))
    else:
        source = find_recipe(recipe)
    return source.resolve(track.dataset, track.ipc, changes)


def changed(track: str | Track, changes: Sequence[str]) -> Track:
    """A track by name, path or object, with ``key=value`` changes applied."""
    from ddranking.protocol.track import override_track

    found = track if isinstance(track, Track) else find_track(track)
    return override_track(found, changes) if changes else found


def load(path: str | os.PathLike[str]) -> DistilledSet:
    """A packed distilled set (``.safetensors``), validated.

    Raises:
        BadFile, BadDistilledSet: what is wrong, in one line.
    """
    from ddranking.distilled import artifact

    return artifact.load(path)


def dataset(name: str | Dataset, runtime: Runtime | None = None) -> Dataset:
    """A real dataset by name, from the cache or from ``runtime.data_root``.

    Raises:
        UnknownName, MissingData: with what to do next.
    """
    if not isinstance(name, str):
        return name
    from ddranking.data import sources

    runtime = runtime or Runtime()
    return sources.load(name, root=runtime.data_root, cache=runtime.cache)


def study(
    distilled: str | os.PathLike[str] | DistilledSet,
    rules: Rules,
    *,
    real: RealChoice | None = None,
    data: str | Dataset | None = None,
    runtime: Runtime | None = None,
) -> Study:
    """Everything a score needs, checked; nothing is trained. See :func:`score`."""
    from ddranking.running.store import Store
    from ddranking.running.study import RealChoice, prepare
    from ddranking.running.workbench import Workbench

    runtime = runtime or Runtime()
    entry = load(distilled) if isinstance(distilled, str | os.PathLike) else distilled
    track, recipe = rules.resolve()
    unified = rules.resolve_unified(track)
    return prepare(
        entry,
        track,
        recipe,
        Workbench(
            dataset=dataset(data or track.dataset, runtime),
            distilled={entry.digest: entry},
            cache=Path(runtime.cache) if runtime.cache else None,
            trusted=runtime.trusted,
            given=rules.given,
        ),
        Store(runtime.store),
        real=real or RealChoice(),
        extra_arms=rules.extra_arms,
        unified=unified,
        any_teacher=rules.any_teacher,
    )


def studies(
    files: Sequence[str | os.PathLike[str]],
    rules: Rules,
    *,
    real: RealChoice | None = None,
    data: str | Dataset | None = None,
    runtime: Runtime | None = None,
) -> Prepared:
    """Many sets under the same rules, checked to be trained as one work; see :func:`study`.

    What is wrong with one set is told of it, and the others are prepared all the same.

    Raises:
        BadInput: rules, data or a store that fit no set; a whole-set accuracy that is missing.
    """
    from ddranking.running.store import Store
    from ddranking.running.studies import prepare_all
    from ddranking.running.study import RealChoice
    from ddranking.running.workbench import Workbench

    runtime = runtime or Runtime()
    track, recipe = rules.resolve()
    bench = Workbench(
        dataset=dataset(data or track.dataset, runtime),
        distilled={},
        cache=Path(runtime.cache) if runtime.cache else None,
        trusted=runtime.trusted,
        given=rules.given,
    )
    return prepare_all(
        [Path(file) for file in files],
        load,
        track,
        recipe,
        bench,
        Store(runtime.store),
        real=real or RealChoice(),
        extra_arms=rules.extra_arms,
        unified=rules.resolve_unified(track),
        any_teacher=rules.any_teacher,
    )


def pool(workbench: Workbench, runtime: Runtime) -> Engine:
    """The workers of one or more studies of a workbench, as a context manager.

    Raises:
        BadInput: a device that is not there, or fewer than one worker.
    """
    from ddranking.errors import BadInput
    from ddranking.running import local

    if runtime.engine == "ray":
        from ddranking.running.cluster import RayPool

        return RayPool(
            workbench,
            address=runtime.address,
            device=runtime.device,
            workers=runtime.workers,
        )
    if runtime.engine != "local":
        raise BadInput("--engine", expected="local or ray", got=repr(runtime.engine))
    if runtime.address is not None:
        raise BadInput("--address", expected="--engine ray with it", got="the local engine")
    found = local.devices(runtime.device)
    count = runtime.workers
    if count is None:
        count = local.cores() if found[0].type == "cpu" else len(found)
    if count < 1:
        raise BadInput("--workers", expected="1 or more", got=str(count))
    return local.Pool(workbench, [found[index % len(found)] for index in range(count)])


def score(
    distilled: str | os.PathLike[str] | DistilledSet,
    *,
    track: str | Track,
    recipe: str | Recipe,
    real: RealChoice | None = None,
    data: str | Dataset | None = None,
    **runtime: Any,
) -> Record:
    """Trains what a score needs and returns its record.

    Args:
        distilled: a packed set, by path or as an object.
        track: the board's rules, by name, path or object.
        recipe: the method's own recipe, by name, path or object.
        real: where the whole-set accuracy comes from; the shipped reference by default.
        data: another copy of the real dataset than the one prepared, by name or object.
        runtime: fields of :class:`Runtime` and of :class:`Rules` (``seeds``, ``changes``,
            ``rdm_hard``, ``ars``, ``unified``, ``teacher``, ``any_teacher``).

    Raises:
        BadInput: anything that is wrong, before the first training.
        DDRankingError: a worker died; run again to resume.
    """
    names = {"seeds", "changes", "rdm_hard", "ars", "unified", "teacher", "any_teacher"}
    rules = Rules(track, recipe, **{k: v for k, v in runtime.items() if k in names})
    where = Runtime(**{k: v for k, v in runtime.items() if k not in names})
    prepared = study(distilled, rules, real=real, data=data, runtime=where)
    with pool(prepared.workbench, where) as workers:
        known = prepared.run(workers, where.watcher)
    return prepared.record(known)
