"""The benchmarks run at tiny sizes in this process; the conventional loop trains as ours does."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace

import pytest
import torch
from benchmarks.conventional import Loop
from benchmarks.options import Options
from benchmarks.report import spread
from benchmarks.trials import Cost
from torch.utils.data import TensorDataset

from benchmarks import __main__ as command
from benchmarks import (
    circumstances,
    conventional,
    group,
    precision,
    scaling,
    score,
    selection,
    training,
    trials,
)
from ddranking import api
from ddranking.data.images import Dataset
from ddranking.models import table
from ddranking.protocol.augmentations import Dsa
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Task
from ddranking.training.dsa import apply_dsa, draw_dsa
from ddranking.training.fit import fit
from ddranking.training.lesson import shape_of

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

TINY = Options(
    dataset="digits",
    student="mlp",
    recipe="unified-digits",
    ipc=(1,),
    epochs=2,
    rounds=2,
    seeds=2,
    workers=1,
    precision=("fp32",),
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return api.dataset("digits")


def test_the_conventional_loop_ends_where_ours_ends(digits: Dataset) -> None:
    """Same network, images and rules in one batch: the same weights and accuracy."""
    workbench, epochs = Workbench(digits, {}), 8
    make = trials.random_images(workbench, "convnet2-w32", 10, "fp32", augmented=False)
    job = workbench.job(make(seed=3, epochs=epochs))
    [ours] = fit([job], torch.device("cpu"))
    network = table.build("convnet2-w32", shape_of(job.training), job.num_classes, seed=3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    loop = Loop(epochs=epochs, augmented=False, every=epochs, workers=0)
    [accuracy] = conventional.train(
        network,
        TensorDataset(job.training.images[:], job.training.labels),
        TensorDataset(job.evaluation.images[:], job.evaluation.labels),
        loop,
    )
    for name, value in network.state_dict().items():
        moved = (value - before[name]).norm()
        assert (value - ours.weights[name]).norm() <= 0.01 * moved + 1e-5, name
    assert accuracy == pytest.approx(ours.accuracy, abs=0.005)
    other = replace(loop, momentum=0.8)
    changed = table.build("convnet2-w32", shape_of(job.training), job.num_classes, seed=3)
    images = TensorDataset(job.training.images[:], job.training.labels)
    conventional.train(changed, images, images, other)
    weight = "classifier.weight"
    moved = (ours.weights[weight] - before[weight]).norm()
    assert (changed.state_dict()[weight] - ours.weights[weight]).norm() > 0.05 * moved


@pytest.mark.parametrize("number", range(6))
def test_its_augmentation_is_distributed_as_ours(number: int) -> None:
    """First and second moments of every pixel agree within six standard errors."""
    names = ("color", "crop", "cutout", "flip", "scale", "rotate")
    chance = torch.Generator().manual_seed(number)
    image = torch.randn(3, 16, 16, generator=chance)
    images = image.expand(3000, -1, -1, -1)
    theirs = images
    for operation in conventional.FAMILIES[number]:
        theirs = operation(theirs, chance)
    rules = Dsa(families=(names[number],))
    ours = apply_dsa(rules, images, draw_dsa(rules, images.shape, chance))
    for power in (1, 2):
        a, b = theirs**power, ours**power
        error = ((a.var(0) + b.var(0)) / len(images)).sqrt()
        assert ((a.mean(0) - b.mean(0)).abs() <= 6 * error + 1e-5).all()
    assert not torch.allclose(theirs, images)


def test_training_compares_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "QUICK_VISITS", 40)
    monkeypatch.setattr(training, "CONVENTIONAL_EPOCHS", 1)
    monkeypatch.setattr(training, "EVERY", 2)
    found = training.measure(replace(TINY, rounds=1, check=2))
    [ratios, parts, checked] = found.tables.values()
    assert [row["ipc"] for row in ratios] == [1]
    assert [row["side"] for row in parts] == ["conventional", "ours, fp32"]
    assert [row["side"] for row in checked] == ["ours, fp32", "conventional"]
    assert checked[-1]["last, times"] == 1
    assert len(found.raw["rounds"]) == 1
    json.dumps(found.raw, allow_nan=False)


def test_costs_add_up() -> None:
    assert Cost(1.0, 0.5, 2.0).total(10) == 8.0
    assert Cost(1.0, 0.5, 2.0).total(10, evaluations=3) == 12.0
    measured = training.Round({1: 0.5}, 2.0, {("fp32", 1): Cost(0.0, 0.1, 1.0)})
    assert measured.theirs(1, 45, 20) == 45 * 0.5 + 2 * 2.0
    [row] = [training._row([measured, measured], 1, "fp32", 40, 20, begun=0.0)]
    assert row["last epoch"] == spread([(40 * 0.5 + 4) / (40 * 0.1 + 1)] * 2)
    assert row["equal evaluations"] == spread([(40 * 0.5 + 4) / (40 * 0.1 + 2)] * 2)


def test_a_score_says_where_the_time_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "ESTIMATED_VISITS", 300)
    found = score.measure(replace(TINY, student="convnet2"))
    cold, shared, estimated = found.tables.values()
    parts = {row["part"]: row["trainings"] for row in cold}
    assert parts["rdm_any, search"] == parts["syn_any, search"] == 4
    assert "rdm_any, search" not in {row["part"] for row in shared}
    assert {row["recipe"] for row in estimated} == {"dsa", "unified-digits"}
    for row in estimated:
        assert int(row["second, trainings"]) < int(row["trainings"])
        assert 0 < float(row["second, minutes"]) < float(row["minutes"])
    json.dumps(found.raw, allow_nan=False)


def test_scaling_varies_one_thing_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path, digits: Dataset
) -> None:
    monkeypatch.setattr(scaling, "SIZES", (8, 16))
    monkeypatch.setattr(scaling, "CLASSES", (2, 3))
    monkeypatch.setattr(scaling, "TEST", 20)
    monkeypatch.setattr(scaling, "QUICK_VISITS", 30)
    found = scaling.measure(replace(TINY, out=tmp_path))
    [rows] = found.tables.values()
    assert [row["images"] for row in rows] == [10, 10, 10, 2, 3, 10]
    assert (tmp_path / "scaling.png").stat().st_size > 1000
    json.dumps(found.raw, allow_nan=False)


def test_the_study_goes_on_where_it_was_stopped(tmp_path) -> None:
    options = replace(TINY, student="convnet1-w32", store=tmp_path, only=("random+hard",))
    first = precision.measure(options)
    [rows] = first.tables.values()
    assert [row["student"] for row in rows] == ["convnet1-w32", "convnet1-w32-bn"]
    assert "8 of 8 trainings were run now" in first.notes[0]
    more = precision.measure(replace(options, seeds=3))
    assert "4 of 12 trainings were run now" in more.notes[0]
    for name, cell in first.raw["cells"].items():
        again = more.raw["cells"][name]
        for kind in ("fp32", "bf16"):
            assert again[kind]["accuracies"][:2] == cell[kind]["accuracies"]
    json.dumps(more.raw, allow_nan=False)


def test_selection_replays_searches_in_every_order_of_their_seeds() -> None:
    """Two rates that swap places with the first seed: halving drops one of them or the other."""
    rates, lead = (0.1, 0.2, 0.3, 0.4, 0.5), (0.9, 0.2, 0.2)
    table = {(0.1, seed): value for seed, value in enumerate(lead)}
    table |= {(rate, seed): 0.5 - rate / 10 for rate in rates[1:] for seed in range(3)}
    search = selection.Search("made up", rates, 3, table, {})
    found = selection.replay(search)
    halved = found["halving"]  # 5 rates with a seed, 3 with two, 2 with three
    assert len(halved.selected) == 6 and halved.best == 0.2
    assert halved.same == 1.0 and found["full"].lost == [0.0] * 6
    few = found["every rate, 2 seeds"]  # with seed 0 among the two, 0.1 looks best
    assert few.same == pytest.approx(1 / 3)
    assert max(few.lost) == pytest.approx(search.mean(0.2) - search.mean(0.1))
    assert few.lost_test == []
    tested = replace(search, test={place: 0.1 + place[0] for place in table})
    assert max(selection.replay(tested)["every rate, 2 seeds"].lost_test) == pytest.approx(0.1)
    row = selection.compared([found])[1]
    assert (row["rule"], row["rates x seeds"]) == ("halving", "5 x 1, 3 x 2, 2 x 3")
    assert (row["trainings"], row["same"]) == ("10 of 15", "100.0%")


def test_selection_on_records_and_on_searches_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.setattr(selection, "BASELINES", ("random",))
    options = replace(TINY, full=True, store=tmp_path, student="convnet2", seeds=2, epochs=1)
    found = selection.measure(options)
    assert len(found.raw["records"]) >= 5
    own = found.raw["trained"]
    assert len(own) == 4  # distilled and random images, hard labels and the recipe
    for one in own:
        assert all(None not in values for values in one["test"].values())
        for shares in one["selected"].values():
            assert sum(shares.values()) == pytest.approx(1)
    assert [row["trainings"] for row in found.tables["selection: 4 searches, trained"]][:2] == [
        "10 of 10",
        "8 of 10",
    ]
    split = selection.sides([selection.replay(one) for one in selection.trained(options, tmp_path)])
    assert [(row["images"], row["in order"].split()[-1]) for row in split] == [
        ("distilled", "2"),
        ("random", "2"),
    ]
    before = sorted(path.name for path in tmp_path.rglob("*.json"))
    again = selection.measure(options)
    assert again.raw == found.raw and before == sorted(p.name for p in tmp_path.rglob("*.json"))
    json.dumps(found.raw, allow_nan=False)


def test_answers_come_in_the_order_of_their_tasks(digits: Dataset) -> None:
    """Trainings are paired by seed; the longest is done first here, and the order is another."""
    workbench = Workbench(digits, {})
    make = trials.random_images(workbench, "mlp", 1, "fp32")
    tasks = [Task(make(seed, epochs)) for seed, epochs in enumerate((1, 3, 2))]
    with trials.pool(workbench, TINY) as workers:
        _, done = trials.timed(workers, tasks)
    assert [answer.steps for answer in done] == [1, 3, 2]


def test_circumstances_leave_the_weights_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circumstances.Conventional, "epoch", lambda self, ipc: 2.0)
    before = dict(os.environ)
    found = circumstances.measure(replace(TINY, rounds=1, only=("compiler", "many", "programs")))
    [rows] = found.tables.values()
    ours = [row for row in rows if row["side"] == "ours, fp32"]
    assert [row["circumstance"] for row in ours] == [
        "as it is",
        "without a compiler",
        "beside programs",
        "many workers",
    ]
    assert {row["same weights"] for row in ours} == {"2 of 2"}  # an MLP has no fused form
    assert [row["times as long"] for row in rows if "conventional" in row["side"]] == [1, 1]
    assert dict(os.environ) == before
    json.dumps(found.raw, allow_nan=False)


def test_groups_are_compared_with_one_at_a_time() -> None:
    found = group.measure(replace(TINY, rounds=1))
    [rows] = found.tables.values()
    assert [row["at once"] for row in rows] == [1, 2, 4]
    assert {row["steps"] for row in rows} == {"as they are"}
    assert rows[0]["times one"] == 1


def test_tables_for_a_page() -> None:
    rows = [{"what": "one", "ms": 1.2345}, {"what": "two", "ms": 123.45}]
    assert command.markdown(rows).splitlines() == [
        "| what | ms |",
        "| --- | --- |",
        "| one | 1.23 |",
        "| two | 123.5 |",
    ]


def test_the_command_prints_tables_and_keeps_what_they_rest_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "found.json"
    words = (
        f"precision --dataset digits --student mlp --seeds 2 --epochs 1 --workers 1 --json {file}"
    )
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words.split(), "--store", str(tmp_path)])
    command.main()
    assert "random" in capsys.readouterr().out
    kept = json.loads(file.read_text())["precision"]
    assert {"commit", "torch", "device", "cores", "amx"} <= set(kept["where"])
    assert kept["raw"]["cells"]["random ipc1 hard mlp"]["fp32"]["keys"]
