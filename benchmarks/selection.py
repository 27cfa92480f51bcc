"""How often successive halving finds the learning rate of the full search, and what it saves.

Full searches that are known (those of ``records/``) answer without any training: the rungs of
halving are followed over the accuracies that are there. Which seeds come first is a matter of
chance, so each search is replayed in every order of its seeds. ``--full`` also trains searches, of
baselines and of random images, on the test set too, so that what a wrong choice costs is known;
they are ordinary trials in ``--store``, where the run goes on when it was stopped.

The other rules are for comparison: what another schedule, or simply fewer seeds, would give.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory

from benchmarks import trials
from benchmarks.options import Options
from benchmarks.report import Report, Row, quick_precisions
from benchmarks.score import WHOLE_SET
from ddranking import api
from ddranking.board.reading import read_records
from ddranking.methods.baselines import make
from ddranking.protocol.plan import ArmPlan
from ddranking.protocol.recipe import find_recipe
from ddranking.protocol.search import Rung, full, halving, places, standing
from ddranking.protocol.trial import Trial
from ddranking.running.work import Work
from ddranking.scoring.observation import Observation
from ddranking.scoring.record import Record

RECORDS = Path(__file__).resolve().parents[1] / "records"
BASELINES = ("random", "kcenter", "kmeans", "herding")
RULE = "halving"
"""The rule that a track may declare; the others stand beside it."""

Place = tuple[float, int]


def rules(rates: int, seeds: int) -> dict[str, tuple[Rung, ...]]:
    """The rules that are compared, by name; the first is what they are compared with."""
    fewer = {f"every rate, {few} seeds": (Rung(rates, few),) for few in (3, 2) if few < seeds}
    later = {"halving from 2 seeds": halving(rates, seeds, first=2)} if seeds > 2 else {}
    return {"full": full(rates, seeds), RULE: halving(rates, seeds), **later, **fewer}


@dataclass(frozen=True)
class Search:
    """One full search: accuracies by rate and seed; on the test set where they are known."""

    name: str
    rates: tuple[float, ...]
    seeds: int
    validation: Mapping[Place, float]
    test: Mapping[Place, float]

    def mean(self, rate: float) -> float:
        """Mean validation accuracy over all seeds."""
        return fmean(self.validation[rate, seed] for seed in range(self.seeds))

    def mean_test(self, rate: float) -> float | None:
        """Mean test accuracy over all seeds; None where one is not known."""
        seen = [self.test.get((rate, seed)) for seed in range(self.seeds)]
        known = [value for value in seen if value is not None]
        return fmean(known) if len(known) == self.seeds else None

    def selected(self, rungs: Sequence[Rung], order: Sequence[int]) -> float:
        """The rate that a rule selects where the seeds come in this order."""
        seen = {
            (rate, place): self.validation[rate, seed]
            for rate in self.rates
            for place, seed in enumerate(order)
        }
        rate = standing(rungs, self.rates, seen).selected
        assert rate is not None, "a full search knows all that a rule asks for"
        return rate


@dataclass(frozen=True)
class Replayed:
    """What a rule selects in every order of the seeds; the first order is 0, 1, 2, ..."""

    search: Search
    rule: str
    selected: tuple[float, ...]
    best: float

    @property
    def same(self) -> float:
        """The share of orders in which it is the rate of the full search."""
        return fmean(rate == self.best for rate in self.selected)

    @property
    def lost(self) -> list[float]:
        """Mean validation accuracy over all seeds, the full search's less this rule's, by order."""
        return [self.search.mean(self.best) - self.search.mean(rate) for rate in self.selected]

    @property
    def lost_test(self) -> list[float]:
        """The same of the test set, where it was read at every rate; else empty."""
        best = self.search.mean_test(self.best)
        seen = {rate: self.search.mean_test(rate) for rate in set(self.selected)}
        if best is None or any(self.search.mean_test(rate) is None for rate in self.search.rates):
            return []
        return [best - value for rate in self.selected if (value := seen[rate]) is not None]


def replay(search: Search) -> dict[str, Replayed]:
    """Every rule over every order of the seeds."""
    orders = list(permutations(range(search.seeds)))
    found = {}
    named = rules(len(search.rates), search.seeds)
    best = search.selected(named["full"], orders[0])
    for name, rungs in named.items():
        selected = tuple(search.selected(rungs, order) for order in orders)
        found[name] = Replayed(search, name, selected, best)
    return found


def searches(named: Iterable[tuple[str, Observation]]) -> list[Search]:
    """The full searches among observations, each once; a search is known by all but rate and seed.

    Args:
        named: what to call the search that an observation is of, and the observation.
    """
    names: dict[str, str] = {}
    seen: dict[str, dict[str, dict[Place, float]]] = {}
    for name, one in named:
        key = _search_of(one.trial)
        names.setdefault(key, name)
        splits = seen.setdefault(key, {"validation": {}, "test": {}})
        read = one.outcome.test_accuracy, one.outcome.validation_accuracy
        value = next(accuracy for accuracy in read if accuracy is not None)
        splits[one.trial.evaluate][one.trial.rate, one.trial.seed] = value
    found = []
    for key, splits in seen.items():
        validation = splits["validation"]
        rates = tuple(sorted({rate for rate, _ in validation}))
        seeds = len({seed for _, seed in validation})
        if len(rates) > 2 and len(validation) == len(rates) * seeds:
            found.append(Search(names[key], rates, seeds, validation, splits["test"]))
    return sorted(found, key=lambda search: search.name)


def _search_of(trial: Trial) -> str:
    values = trial.model_dump(mode="json", exclude={"seed", "evaluate"})
    del values["training"]["learning_rate"]
    return json.dumps(values, sort_keys=True)


def recorded(records: Sequence[Record]) -> list[Search]:
    """The full searches of records."""
    return searches(
        (f"{record.track.name}, {_method(one.trial, record.entry.method)}", one)
        for record in records
        for one in record.observations
    )


def _method(trial: Trial, method: str) -> str:
    return f"{'random' if trial.arm.startswith('rdm') else method}, {trial.arm}"


def trained(options: Options, store: Path) -> list[Search]:
    """Searches that are trained now, of baselines and random images; each rate on both splits."""
    listed = find_recipe("hard@1").resolve("cifar10", 1).training.learning_rate
    assert isinstance(listed, tuple), "the released tracks search a list"
    rates = f"[{', '.join(f'{rate:g}' for rate in listed)}]"
    precision = (options.precision or quick_precisions(options.device)[-1:])[0]
    names = ("precision", "track.hard.precision", "track.whole.precision")
    changes = [f"{name}={precision}" for name in names]
    changes += [f"{name}={rates}" for name in ("learning_rate", "track.hard.learning_rate")]
    if options.epochs is not None:
        changes += [f"{name}={options.epochs}" for name in ("epochs", "track.hard.epochs")]
    dataset, named = api.dataset(options.dataset), []
    for ipc in options.ipc or (1, 10):
        track = f"{options.dataset}-ipc{ipc}-{options.student}"
        asked = api.Rules(
            track, options.recipe, seeds=options.seeds, changes=changes, rdm_hard=True
        )
        for method in BASELINES:
            entry = make(method, dataset, ipc)
            runtime = api.Runtime(store=store)
            made = api.study(entry, asked, real=WHOLE_SET, data=dataset, runtime=runtime)
            plan = replace(made.plan, arms=tuple(_on_both_splits(made.plan.arms)))
            work = Work(plan=plan, workbench=made.workbench, store=made.store, shared=made.shared)
            with trials.pool(made.workbench, options) as pool:
                known = work.run(pool, api.Silent())
            for one in known.values():
                named.append((f"{track}, {_method(one.trial, entry.card.method)}", one))
    return searches(named)


def _on_both_splits(arms: Sequence[ArmPlan]) -> Iterable[ArmPlan]:
    """Arms that search, and each of their rates as an arm of its own, which reads the test set."""
    for arm in arms:
        if arm.search:
            yield arm
            yield from (replace(arm, rates=(rate,)) for rate in arm.rates)


def measure(options: Options) -> Report:
    """Replays what is known, and with ``--full`` what is trained for it."""
    records = read_records([RECORDS], skip_invalid=True).records
    groups = {"records": recorded(records)}
    if options.full:
        with TemporaryDirectory() as folder:
            groups["trained"] = trained(options, options.store or Path(folder))
    tables, raw = {}, {}
    every: list[Mapping[str, Replayed]] = []
    for group, found in groups.items():
        replayed = [replay(search) for search in found]
        tables[f"selection: {len(found)} searches, {group}"] = compared(replayed)
        tables[f"selection: each search, {group}"] = [single(one) for one in replayed]
        raw[group] = [_plain(one) for one in replayed]
        every += replayed
    tables[f"selection: halving by images, all {len(every)} searches"] = sides(every)
    tables["selection: whole scores"] = [saved(record) for record in records]
    notes = [
        "Every search is replayed in all orders of its seeds (120 of five); orders overlap, so the "
        "independent cases are the searches. `same` is the mean share of orders with the rate of "
        "the full search; `in order` counts searches whose seeds come as 0, 1, 2, ... Losses are "
        "points of accuracy, means over all orders, 0 where the rate is the same. Trainings are "
        "those of an arm until the selected rate has all its seeds.",
    ]
    return Report(tables, notes, raw)


def compared(replayed: Sequence[Mapping[str, Replayed]]) -> list[Row]:
    """One row a rule, over all searches of as many rates and seeds as the first."""
    first = next(iter(replayed[0].values())).search
    rows: list[Row] = []
    for name, rungs in rules(len(first.rates), first.seeds).items():
        seen = [one[name] for one in replayed if name in one]
        count, whole = trainings(rungs, first.seeds), len(first.rates) * first.seeds
        rows.append(
            {
                "rule": name,
                "rates x seeds": ", ".join(f"{rung.rates} x {rung.seeds}" for rung in rungs),
                "trainings": f"{count} of {whole}",
                "saved": f"{1 - count / whole:.0%}",
                **_agreement(seen),
            }
        )
    return rows


def sides(replayed: Sequence[Mapping[str, Replayed]]) -> list[Row]:
    """Halving on distilled and on random images: an improvement over random compares the two."""
    seen = [one[RULE] for one in replayed]
    random = [one for one in seen if ", random, " in one.search.name]
    named = {"distilled": [one for one in seen if one not in random], "random": random}
    return [{"images": name, **_agreement(found)} for name, found in named.items() if found]


def _agreement(seen: Sequence[Replayed]) -> Row:
    """How often a rule selects the rate of the full search, and the points that it loses."""
    tested = [fmean(one.lost_test) for one in seen if one.lost_test]
    return {
        "same": f"{fmean(one.same for one in seen):.1%}",
        "in order": f"{sum(one.selected[0] == one.best for one in seen)} of {len(seen)}",
        "validation lost": f"{100 * fmean(fmean(one.lost) for one in seen):.3f}",
        "at most": f"{100 * max(max(one.lost) for one in seen):.2f}",
        "test lost": f"{100 * fmean(tested):.3f} (n={len(tested)})" if tested else "not known",
    }


def trainings(rungs: Sequence[Rung], seeds: int) -> int:
    """Trainings of an arm: the search, and the selected rate's seeds that it has not trained."""
    return len(places(rungs)) + seeds - rungs[-1].seeds


def single(replayed: Mapping[str, Replayed]) -> Row:
    """One search: how close its rates are, and what halving makes of it."""
    one = replayed[RULE]
    means = sorted((one.search.mean(rate) for rate in one.search.rates), reverse=True)
    return {
        "search": one.search.name,
        "full search": f"{one.best:g}",
        "ahead of the next": f"{100 * (means[0] - means[1]):.2f}",
        "same": f"{one.same:.0%}",
        "other rates": ", ".join(f"{rate:g}" for rate in sorted({*one.selected} - {one.best})),
        "at most lost": f"{100 * max(one.lost):.2f}",
        "of test": f"{100 * max(one.lost_test):.2f}" if one.lost_test else "not known",
    }


def saved(record: Record) -> Row:
    """Trainings and image visits of a record's own and random arms, by full search and halving."""
    arms = [arm for arm in record.plan.arms if arm.arm != "real_hard"]
    count = {"full": 0, RULE: 0}
    visits = dict(count)
    for arm in arms:
        named = rules(len(arm.rates), arm.seeds) if arm.search else {}
        for rule in count:
            each = trainings(named[rule], arm.seeds) if named else arm.seeds
            count[rule] += each
            visits[rule] += each * arm.training.epochs  # all arms have as many images
    return {
        "record": f"{record.track.name}, {record.entry.method}, {record.recipe.id}",
        "trainings, full": count["full"],
        "halving": count[RULE],
        "trainings saved": f"{1 - count[RULE] / count['full']:.0%}",
        "image visits saved": f"{1 - visits[RULE] / visits['full']:.0%}",
    }


def _plain(replayed: Mapping[str, Replayed]) -> dict[str, object]:
    """A search with all its accuracies, and the share of orders for each rule and rate."""
    search = replayed[RULE].search

    def table(values: Mapping[Place, float]) -> dict[str, list[float | None]]:
        return {
            f"{rate:g}": [values.get((rate, seed)) for seed in range(search.seeds)]
            for rate in search.rates
        }

    return {
        "search": search.name,
        "validation": table(search.validation),
        "test": table(search.test),
        "selected": {
            name: {
                f"{rate:g}": fmean(each == rate for each in one.selected)
                for rate in sorted(set(one.selected))
            }
            for name, one in replayed.items()
        },
    }
