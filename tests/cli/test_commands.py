import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from safetensors.torch import save_file

import ddranking
import ddranking.errors
from ddranking import api
from ddranking.cli import _GROUPS, app, main
from ddranking.cli.tables import Kind
from ddranking.distilled.artifact import load
from ddranking.models import build
from ddranking.scoring.recordfile import load_record

from .conftest import SCORE, tree

COMMANDS = [[name] for name in _GROUPS]
COMMANDS += [["board"], ["board", "build"], ["board", "serve"], ["data"], ["data", "prepare"]]
KINDS = get_args(Kind)


# --- Help and lists -------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_its_options(run, command) -> None:
    said = run(*command, "--help")
    assert said.code == 0
    assert f"Usage: ddranking {' '.join(command)}" in said.out
    words = [line.strip() for line in said.out.splitlines()]
    assert len(words[2]) > 20, "a sentence on what the command does"
    for line in re.findall(r"^.*--[a-z-]+.*$", said.out, re.MULTILINE):
        if "Usage" not in line:
            assert len(re.sub(r"[│╭╰─]|--?[a-z-]+|\[.*?\]", "", line).split()) >= 2, line


def test_the_command_line_names_every_command(run) -> None:
    said = run("--help")
    assert said.code == 0
    for name in ("demo", "pack", "inspect", "plan", "score", "compare", "board", "list", "data"):
        assert re.search(rf"\b{name}\b", said.out)
    assert run().code == 0
    assert run("--version").out.strip() == ddranking.__version__


@pytest.mark.parametrize("kind", KINDS)
def test_lists_name_each_thing_with_a_line_on_it(run, kind) -> None:
    rows = json.loads(run("list", kind, "--json").out)
    assert rows and all(text.strip() for text in rows.values())
    said = run("list", kind)
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()] == list(rows)


def test_lists_name_what_the_issue_promises(run) -> None:
    wanted = {
        "recipes": {"dc@1", "dsa@1", "dm@1", "mtt@1", "unified@1"},
        "tracks": {f"cifar{n}-ipc{k}-convnet3@1" for n in (10, 100) for k in (1, 10, 50)},
        "datasets": {"digits", "mnist", "fashion-mnist", "svhn", "cifar10", "cifar100"},
        "methods": {"random", "kmeans", "herding", "kcenter", "noise"},
        "augmentations": {"dsa"},
        "losses": {"cross_entropy"},
    }
    for kind, names in wanted.items():
        assert names <= json.loads(run("list", kind, "--json").out).keys(), kind


JUDGING = """
import importlib, pkgutil, sys
import ddranking
import ddranking.errors
rooms = ["errors", "seeds"]
for room in ("protocol", "scoring", "board"):
    package = importlib.import_module(f"ddranking.{room}")
    rooms += [f"{room}.{module.name}" for module in pkgutil.iter_modules(package.__path__)]
for room in rooms:
    importlib.import_module(f"ddranking.{room}")
from ddranking.cli import main
for command in (["--help"], ["score", "--help"], ["list", "recipes"], ["list", "tracks"],
                ["compare", sys.argv[1], sys.argv[2]],
                ["board", "build", sys.argv[1], sys.argv[2], "--out", sys.argv[3]]):
    assert main(command) in (0, 1), command
heavy = {name.partition(".")[0] for name in sys.modules} & {"torch", "torchvision", "timm"}
assert not heavy, heavy
"""


def test_judging_runs_without_torch(make_record, tmp_path) -> None:
    """Import, help, lists, compare and the page, in an interpreter of its own."""
    paths = [make_record(name).save(tmp_path / f"{name}.json") for name in ("A", "B")]
    done = subprocess.run(
        [sys.executable, "-c", JUDGING, *map(str, paths), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()


# --- plan and score -------------------------------------------------------------------------------


def test_plan_and_score_agree_on_what_there_is_to_do(run, good) -> None:
    options = (*SCORE, "--set=track.hard.learning_rate=[0.05, 0.1]", "--store", "store")
    before = json.loads(run("plan", good, *options, "--json").out)
    assert (before["total"], before["known"], len(before["trials"])) == (12, 0, 12)
    open_ = [trial for trial in before["trials"] if trial["key"] is None]
    assert [(trial["arm"], trial["rate"]) for trial in open_] == [("syn_hard", None)] * 2

    said = run("score", good, *options, "--out", "a/b/record.json", "--json")
    assert said.code == 0
    assert "12 trainings, 0 known" in said.err
    assert "custom" in said.err
    record = load_record("a/b/record.json")
    assert json.loads(said.out) == record.scores.model_dump(mode="json")

    after = json.loads(run("plan", good, *options, "--json").out)
    assert (after["known"], {trial["known"] for trial in after["trials"]}) == (12, {True})
    keys = {trial["key"] for trial in after["trials"]}
    assert keys == {seen.key for seen in record.observations}
    assert {t["key"] for t in before["trials"]} - {None} < keys
    assert not [name for name in tree(Path()) if "partial" in name or "safetensors" in name]

    table = run("plan", good, *options)
    assert table.code == 0
    assert "12 of 12 trainings are known" in table.out
    assert table.out.count("4/4") + table.out.count("2/2") >= 5


def test_a_score_says_what_an_earlier_one_left_halfway(run, good, monkeypatch) -> None:
    monkeypatch.setattr("ddranking.running.work.Work.halfway", lambda *_: {"key": 0.5})
    said = run("score", good, *SCORE, "--store", "store", "--out", "out.json")
    assert said.code == 0
    assert "8 trainings, 0 known, 1 halfway; store " in said.err
    said = run("plan", good, *SCORE, "--store", "empty")
    assert "0 of 8 trainings are known, 1 are halfway; store" in " ".join(said.out.split())
    said = run("plan", good, *SCORE, "--store", "empty", "--json")
    assert json.loads(said.out)["halfway"] == {"key": 0.5}


def test_plan_and_score_by_successive_halving(run, good) -> None:
    options = (
        *SCORE,
        "--set=track.hard.learning_rate=[0.02, 0.05, 0.1, 0.2]",
        "--set=track.selection=halving",
        "--store",
        "store",
    )
    before = json.loads(run("plan", good, *options, "--json").out)
    assert (before["total"], before["known"], len(before["trials"])) == (14, 0, 14)
    open_ = [(t["reads"], t["seed"]) for t in before["trials"] if t["key"] is None]
    assert open_ == [("validation", 1), ("validation", 1), ("test", 0), ("test", 1)]
    table = run("plan", good, *options).out
    assert re.search(r"syn_hard .* best 2 .* 2 .* validation .* 0/2 ", table)

    assert run("score", good, *options, "--out", "record.json").code == 0
    record = load_record("record.json")
    assert (record.track.selection, len(record.observations)) == ("halving", 14)
    after = json.loads(run("plan", good, *options, "--json").out)
    assert {trial["known"] for trial in after["trials"]} == {True}
    assert {trial["key"] for trial in after["trials"]} == {s.key for s in record.observations}
    table = run("plan", good, *options).out
    assert "14 of 14 trainings are known" in table and "best" not in table
    assert table.count("1/1") == 2
    said = run("board", "check", "record.json", "--json")
    assert said.code == 1  # a board of its own
    assert "its rules differ from the released track's" in said.out and "halving" not in said.out
    assert run("score", good, *SCORE, "--set=track.selection=best", "--store", "s").code == 2


def test_score_says_where_the_record_is_and_what_it_holds(run, good) -> None:
    said = run("score", good, *SCORE, "--store", "store")
    assert said.code == 0
    name = re.search(r"^Record: (\S+)$", said.out, re.MULTILINE)
    assert name is not None
    record = load_record(name[1])
    assert name[1].startswith("records/digits-ipc1-convnet2")
    assert "/k-means-centroids-" in name[1]
    assert f"{record.ddrs().mean:.4f}" in said.out
    for word in ("syn_hard", "syn_any", "rdm_any", "real_hard", "HLR", "IOR", "DDRS", "95 %"):
        assert word in said.out
    assert len([line for line in said.err.splitlines() if re.match(r"\d/8 ", line)]) == 8


def test_a_reported_accuracy_is_said_to_be_one(run, good) -> None:
    options = ("--set=track.real_hard=reference", "--real-accuracy", "0.97", "--store", "store")
    said = run("score", good, *SCORE, *options, "--real-source", "a paper", "--out", "r.json")
    assert "real_hard is not measured: 97.0% is reported (a paper)" in said.err
    assert "real_hard 97.0% is reported: a paper" in said.out
    assert load_record("r.json").real_hard.kind == "reported"


def test_a_score_says_where_a_compiler_would_help(run, good, monkeypatch) -> None:
    from ddranking.training import arithmetic
    from ddranking.training.native import NO_COMPILER

    told = f"Trainings are not fused: {NO_COMPILER}."
    assert told not in run("score", good, *SCORE, "--out", "a.json").err
    monkeypatch.setattr(arithmetic, "acceleration", lambda *_: f"not fused: {NO_COMPILER}")
    assert told in run("score", good, *SCORE, "--out", "b.json").err


def test_shards_say_what_is_missing(run, good) -> None:
    parts = []
    for part in ("1/2", "2/2"):
        parts.append(run("score", good, *SCORE, "--store", "s", "--shard", part, "--out", "r.json"))
    assert all(part.code == 0 for part in parts)
    assert "trainings of other shards are missing" in parts[0].out
    assert Path("r.json").exists(), "the last shard finds everything known and writes the record"
    assert "8 trainings, 0 known" not in parts[1].err


def test_rdm_hard_is_an_extra_arm(run, good) -> None:
    plan = json.loads(run("plan", good, *SCORE, "--rdm-hard", "--store", "s", "--json").out)
    assert "rdm_hard" in {trial["arm"] for trial in plan["trials"]}
    assert plan["total"] == 10


# --- pack, inspect, baseline ----------------------------------------------------------------------


def test_a_baseline_can_be_made_packed_again_and_looked_at(run) -> None:
    options = ("--dataset", "digits", "--ipc", "2", "--out", "x.safetensors")
    assert "Herding: 20 images 1x8x8" in run("baseline", "herding", *options).out
    facts = json.loads(run("inspect", "x.safetensors", "--json", "--png", "x.png").out)
    assert (facts["dataset"], facts["ipc"], facts["method"]) == ("digits", 2, "Herding")
    assert Path("x.png").read_bytes().startswith(b"\x89PNG")
    text = run("inspect", "x.safetensors").out
    assert facts["digest"] in text
    again = run("pack", "x.safetensors", "--out", "y.safetensors")
    assert (again.code, "Wrote y.safetensors" in again.out) == (0, True)
    assert json.loads(run("inspect", "y.safetensors", "--json").out)["digest"] == facts["digest"]


def test_inspect_says_no_where_the_set_is_for_another_dataset(run, good) -> None:
    assert run("inspect", good, "--dataset", "digits").code == 0
    said = run("inspect", good, "--dataset", "mnist")
    assert said.code == 1
    assert "is for digits, not for mnist" in said.out


# --- compare --------------------------------------------------------------------------------------


@pytest.fixture
def records(make_record, tmp_path):
    better = make_record("Better", syn_any=(0.48, 0.49, 0.48, 0.47, 0.49))
    worse, other = (
        make_record("Worse"),
        make_record("Other", syn_any=(0.29, 0.28, 0.28, 0.28, 0.28)),
    )
    return [r.save(tmp_path / f"{r.entry.method}.json") for r in (better, worse, other)]


def test_compare_answers_with_its_exit_code(run, records) -> None:
    better, worse, other = records
    won = run("compare", better, worse)
    assert (won.code, "Better (dc) is better" in won.out) == (0, True)
    lost = run("compare", worse, better)
    assert (lost.code, "Better (dc) is better" in lost.out) == (0, True)
    tie = run("compare", worse, other)
    assert (tie.code, "cannot be told apart" in tie.out) == (1, True)
    assert run("compare", worse, worse).code == 1


def test_compare_as_json_holds_the_paired_difference(run, records) -> None:
    better, worse, _ = records
    for w in (0, 0.25, 1):
        said = json.loads(run("compare", better, worse, "-w", w, "--json").out)
        assert said["weight"] == w
        wanted = [0.2 * w] * 5  # only syn_any differs, by 0.2 in every seed
        assert said["alpha_difference"]["values"] == pytest.approx(wanted, abs=1e-12)
    assert run("compare", better, worse, "-w", "0").code == 1


# --- Exit codes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (ddranking.errors.BadInput("--x", expected="y"), 2, "ddranking: --x: expected y"),
        (ddranking.errors.DDRankingError("a worker process died"), 1, "ddranking: a worker"),
        (OSError(28, "No space left on device"), 2, "ddranking: No space left on device"),
        (OSError(36, "File name too long", "x"), 2, "ddranking: x: File name too long"),
        (
            KeyboardInterrupt(),
            130,
            "Interrupted. What is finished is kept: run the same command again to go on.",
        ),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_what_is_raised_becomes_a_line_and_a_code(monkeypatch, capsys, raised, code, line) -> None:
    def fails():
        raise raised

    monkeypatch.setattr("ddranking.cli.tables._LISTS", {"tracks": fails})
    assert main(["list", "tracks"]) == code
    assert capsys.readouterr().err.strip().startswith(line)
    assert app.name[0] == "ddranking"


def test_a_fault_of_our_own_is_not_hidden(monkeypatch) -> None:
    def fails():
        raise ZeroDivisionError

    monkeypatch.setattr("ddranking.cli.tables._LISTS", {"tracks": fails})
    with pytest.raises(ZeroDivisionError):
        main(["list", "tracks"])


def test_a_reference_is_found_by_sets_of_its_space(run, good, monkeypatch) -> None:
    space = load(good).card.space.kind
    for each in {"pixel", "standardized"}:
        said = run("reference", *SCORE, "--space", each, "--store", each, "--out", f"{each}/r.json")
        assert said.code == 0, said.err
        monkeypatch.setenv("DDRANKING_REFERENCES", each)
        told = json.loads(run("plan", good, *SCORE, "--store", "empty", "--json").out)
        known = {row["arm"] for row in told["trials"] if row["known"]}
        assert known == ({"rdm_any"} if each == space else set())


def test_a_record_with_weights_of_a_file_is_verified_with_that_file(run, good) -> None:
    dataset = api.dataset("digits")
    network = build("mlp", dataset.train.shape, 10, seed=3)
    save_file(network.state_dict(), "mine.safetensors")
    weights = "{kind: trained, training: {epochs: 1, batch_size: 64, learning_rate: 0.1}}"
    taught = (
        f"--set=labels={{kind: teacher, networks: [{{model: mlp, weights: {weights}}}]}}",
        "--set=loss={kind: kl}",
        "--teacher=mine.safetensors",
    )
    refused = run("score", good, *SCORE, *taught, "--out", "r.json")
    assert refused.code == 2 and "pass --any-teacher" in refused.line
    said = run("score", good, *SCORE, *taught, "--any-teacher", "--out", "r.json")
    assert said.code == 0 and "real training images rightly" in said.err
    again = ("verify", "r.json", "--artifact", good, "--workers", "1", "--device", "cpu")
    assert "--teacher FILE" in run(*again).line
    assert run(*again, "--teacher", "mine.safetensors").code == 0
