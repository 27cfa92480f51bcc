"""What the main job calls bad input ends with exit code 2, one line, and nothing written."""

import errno
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from .conftest import RULES, SCORE, tree

REFERENCE = "--set=track.real_hard=reference"


@pytest.fixture
def refuses(run, tmp_path):
    """Checks that a command is refused, and gives its line."""

    def refuses_(*arguments: object, words: tuple[str, ...] = ()) -> str:
        before = tree(tmp_path)
        said = run(*arguments)
        assert said.code == 2, said
        assert said.line.startswith("ddranking: ")
        assert "Traceback" not in said.err + said.out
        assert said.out == ""
        assert tree(tmp_path) == before, "something was written"
        for word in words:
            assert word in said.line, said.line
        return said.line

    return refuses_


# --- Files ----------------------------------------------------------------------------------------

READERS = {
    "score": lambda path: ("score", path, *SCORE),
    "plan": lambda path: ("plan", path, *SCORE),
    "inspect": lambda path: ("inspect", path),
    "pack": lambda path: ("pack", path, "--out", "new.safetensors"),
}


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("kind", ["missing", "empty", "truncated", "text", "a folder", "long name"])
def test_a_file_that_cannot_be_read(refuses, good, tmp_path, command, kind) -> None:
    path = tmp_path / ("x" * 300 if kind == "long name" else "set.safetensors")
    content = good.read_bytes()
    if kind == "a folder":
        path.mkdir()
    elif kind not in ("missing", "long name"):
        kinds = {"empty": b"", "truncated": content[: len(content) - 99], "text": b"hello" * 99}
        path.write_bytes(kinds[kind])
    refuses(*READERS[command](path))


@pytest.mark.parametrize("name", ["x.pt", "x.npz", "x.npy", "x.png", "x.docx", "x"])
@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"\x80\x02}q"])
def test_pack_of_a_file_that_is_none(refuses, tmp_path, name, content) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    refuses("pack", tmp_path / name, "--out", "new.safetensors", "--dataset", "digits")


@pytest.mark.parametrize("name", ["x.pt", "x.npz", "x.png", "x.safetensors"])
def test_what_is_no_file_is_named(refuses, tmp_path, name) -> None:
    """And is not waited for: nobody may ever write into the pipe."""
    os.mkfifo(tmp_path / name)
    refuses("pack", tmp_path / name, "--out", "new.safetensors", words=("a named pipe",))
    refuses("inspect", tmp_path / name, words=("a named pipe",))
    refuses("pack", "/dev/zero", "--out", "new.safetensors", words=("a device",))


class Shell:
    def __reduce__(self):
        return (os.system, ("touch owned",))


@pytest.mark.parametrize("layout", ["pickle", "zip"])
def test_a_pt_file_that_runs_code(refuses, tmp_path, layout) -> None:
    path = tmp_path / "evil.pt"
    payload = pickle.dumps({"data": [[Shell(), [0]]]}, protocol=2)
    if layout == "pickle":
        path.write_bytes(payload)
    else:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("evil/data.pkl", payload)
            file.writestr("evil/version", "3")
    refuses("pack", path, "--out", "new.safetensors", "--dataset", "digits")
    assert not Path("owned").exists()


# --- Pixels, labels and card ----------------------------------------------------------------------

IMAGES = np.zeros((10, 1, 8, 8), np.float32)
LABELS = np.arange(10)
HALF = np.full((10, 10), 0.05, np.float32)
BAD_SETS = {
    "NaN pixels": ({"images": IMAGES * np.nan}, {}, "NaN"),
    "infinite pixels": ({"images": IMAGES + np.inf}, {}, "inf"),
    "three channels": ({"images": np.zeros((10, 3, 8, 8), np.float32)}, {}, "3"),
    "32 pixels": ({"images": np.zeros((10, 1, 32, 32), np.float32)}, {}, "32"),
    "three dimensions": ({"images": np.zeros((10, 8, 8), np.float32)}, {}, ""),
    "doubles": ({"images": IMAGES.astype(np.float64)}, {}, "F64"),
    "class 10 of 10": ({"labels": LABELS + 1}, {}, "10"),
    "class -1": ({"labels": LABELS - 1}, {}, "-1"),
    "one class twice": ({"labels": np.array([0, 0, *range(2, 10)])}, {}, "class"),
    "nine labels": ({"labels": LABELS[:9]}, {}, "9"),
    "float labels": ({"labels": LABELS.astype(np.float32)}, {}, ""),
    "ipc 2": ({}, {"ipc": 2}, "2"),
    "ipc 0": ({}, {"ipc": 0}, "0"),
    "another dataset": ({}, {"dataset": "mnist"}, "mnist"),
    "an unknown space": ({}, {"space": {"kind": "rgb"}}, "rgb"),
    "a percentage as rate": ({"learning_rate": np.float32([np.nan])}, {}, ""),
    "probabilities that sum to one half": (
        {"soft_labels": HALF},
        {"soft_label_kind": "probabilities"},
        "sum",
    ),
    "negative probabilities": (
        {"soft_labels": np.eye(10, dtype=np.float32) * 2 - 0.1},
        {"soft_label_kind": "probabilities"},
        "",
    ),
    "soft labels of no kind": ({"soft_labels": HALF}, {}, "soft"),
    "NaN logits": ({"soft_labels": HALF * np.nan}, {"soft_label_kind": "logits"}, "NaN"),
}


@pytest.mark.parametrize("kind", BAD_SETS)
def test_a_set_that_cannot_be_scored(refuses, altered, kind) -> None:
    tensors, card, word = BAD_SETS[kind]
    refuses("score", altered(card, **tensors), *SCORE, words=(word,))


@pytest.mark.parametrize(
    "kind",
    ["NaN pixels", "infinite pixels", "three channels", "32 pixels", "class 10 of 10", "ipc 2"],
)
def test_pack_refuses_what_score_would(refuses, tmp_path, kind) -> None:
    tensors, card, _ = BAD_SETS[kind]
    arrays = {"images": IMAGES, "labels": LABELS} | tensors
    np.savez(tmp_path / "set.npz", **arrays)
    options = ("--dataset", "digits", "--ipc", card.get("ipc", 1), "--space", "pixel")
    refuses("pack", tmp_path / "set.npz", "--out", "new.safetensors", "--method", "mine", *options)


# --- Names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["score", "plan"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--track", "digits-ipc1-convnet"), ("track", "Did you mean 'digits-ipc1-convnet2'?")),
        (("--recipe", "unifed-digits"), ("recipe", "Did you mean 'unified-digits'?")),
        (("--recipe", "unified@9"), ("recipe",)),
        (("--set", "track.dataset=digitss"), ("digits",)),
        (("--set", "track.student=convnt3"), ("Did you mean 'convnet3'?",)),
        (("--set", "track.student=os:system"), ("trust",)),
        (("--track", "none.yaml"), ("none.yaml",)),
        (("--recipe", "x/" * 3000), ("recipe",)),
        (("--set", "epochs=-3"), ("epochs",)),
        (("--set", "epochs"), ("key=value",)),
        (("--set", "augmentation=[{kind: dsaa}]"), ("augmentation",)),
        (("--set", "a=2020-13-45"), ("YAML",)),
        (("--seeds", "1"), ("seeds",)),
        (("--seeds", "0"), ("seeds",)),
        (("--set", "learning_rate=stored"), ("learning rate",)),
        (("--device", "tpu"), ("--device",)),
    ],
)
def test_rules_that_are_none(refuses, good, command, options, words) -> None:
    if command == "plan" and options[0] == "--device":
        pytest.skip("a plan looks at no device")
    values = list(SCORE)
    if options[0] in values:
        values[values.index(options[0]) + 1] = options[1]
    else:
        values += options
    refuses(command, good, *values, words=words)


def test_a_dataset_root_without_the_data(refuses, run, tmp_path) -> None:
    (tmp_path / "root").mkdir()
    for root in (tmp_path / "root", tmp_path / "none"):
        refuses("data", "prepare", "cifar10", "--root", root, words=("CIFAR-10",))
    refuses("data", "prepare", "cifar11", "--root", tmp_path / "root", words=("'cifar10'",))
    refuses("data", "prepare", "folder:" + str(tmp_path / "none"), "--image-size", "8")
    refuses("baseline", "noise", "--dataset", "mnist", "--ipc", "1", "--out", "x.safetensors")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("baseline", "kmean", "--dataset", "digits", "--ipc", 1), "kmeans"),
        (("baseline", "noise", "--dataset", "digit", "--ipc", 1), "digits"),
        (("baseline", "noise", "--dataset", "digits", "--ipc", 0), "images per class"),
        (("baseline", "noise", "--dataset", "digits", "--ipc", 9999), "class"),
    ],
)
def test_a_baseline_that_is_none(refuses, arguments, word) -> None:
    refuses(*arguments, "--out", "x.safetensors", words=(word,))


# --- Places ---------------------------------------------------------------------------------------


def test_a_store_that_cannot_be_written(refuses, good, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for store in (tmp_path / "file", tmp_path / "file" / "store", "/proc/x", "y" * 300):
        refuses("score", good, *SCORE, "--store", store, words=("store",))


@pytest.mark.parametrize("option", ["--store", "--cache", "--data-root"])
def test_an_empty_name_of_a_folder(refuses, good, option) -> None:
    """Of a variable that is not set; it is not the current folder that is meant."""
    refuses("score", good, *SCORE, option, "", words=(option, "an empty name"))


def test_a_record_that_could_not_be_written(refuses, good, tmp_path) -> None:
    """Found before the training, not after it."""
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "record.json", "/proc/x/record.json", "y" * 300):
        refuses("score", good, *SCORE, "--out", out, words=("--out",))


def test_a_full_disk(run, good, monkeypatch, tmp_path) -> None:
    """The run ends with one line after its progress; a later run goes on from what was stored."""
    real_fsync, calls = os.fsync, []

    def nearly_full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", nearly_full)
    said = run("score", good, *SCORE, "--store", tmp_path / "store", "--out", "record.json")
    assert said.code == 2
    last = said.err.splitlines()[-1]
    assert last.startswith("ddranking: store ") and "No space left on device" in last
    assert "Traceback" not in said.err
    assert not Path("record.json").exists()
    files = tree(tmp_path / "store")
    assert len(files) == 3 and not [name for name in files if "partial" in name]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    again = run("score", good, *SCORE, "--store", tmp_path / "store", "--out", "record.json")
    assert again.code == 0
    assert "8 trainings, 3 known" in again.err


# --- Numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--real-accuracy", "84.8", "--real-source", "x"), ("looks like a percentage", "0.848")),
        (("--real-accuracy", "nan", "--real-source", "x"), ("--real-accuracy",)),
        (("--real-accuracy", "-1", "--real-source", "x"), ("--real-accuracy",)),
        (("--real-accuracy", "0.848"), ("--real-source",)),
        (("--real-source", "x"), ("--real-accuracy",)),
        (("--real-accuracy", "0.8", "--real-source", "x", "--train-real"), ("--train-real",)),
        ((), ("--train-real", "--real-accuracy", "--real-source", "$DDRANKING_REFERENCES")),
    ],
)
def test_a_whole_set_accuracy_that_is_none(refuses, good, options, words) -> None:
    refuses("score", good, *SCORE, REFERENCE, *options, words=words)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "", "1/2/3"])
def test_a_shard_that_is_none(refuses, good, shard) -> None:
    refuses("score", good, *SCORE, f"--shard={shard}", words=("--shard",))


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_workers_that_are_none(refuses, good, workers) -> None:
    values = list(SCORE)
    values[values.index("--workers") + 1] = workers
    refuses("score", good, *values, words=("--workers: expected 1 or more",))


def test_a_demo_that_cannot_start_writes_nothing(refuses, tmp_path) -> None:
    refuses("demo", "--workers", "0", "--out", "demo", words=("--workers",))
    (tmp_path / "file").write_text("")
    refuses("demo", "--workers", "1", "--out", tmp_path / "file" / "demo", words=("demo",))


# --- Records --------------------------------------------------------------------------------------


@pytest.fixture
def records(make_record, tmp_path):
    first = make_record().save(tmp_path / "first.json")
    other = make_record("Other", track="cifar10-ipc10-convnet3").save(tmp_path / "other.json")
    return first, other


def test_records_that_do_not_compare(refuses, records, make_record, tmp_path) -> None:
    first, other = records
    refuses("compare", first, other, words=("track",))
    refuses("compare", first, tmp_path / "none.json", words=("none.json",))
    refuses("compare", first, first, "-w", "50", words=("looks like a percentage",))
    refuses("compare", first, first, "-w", "-0.1", words=("w:",))
    better = make_record(real_hard=0.9).save(tmp_path / "better.json")
    refuses("compare", first, better, words=("whole-set accuracy",))
    values = json.loads(first.read_text())
    values["scores"]["hlr"]["mean"] = 0.1
    (tmp_path / "tampered.json").write_text(json.dumps(values))
    refuses("compare", first, tmp_path / "tampered.json", words=("scores.hlr.mean",))


def test_a_page_that_cannot_be_built_or_served(refuses, records, tmp_path) -> None:
    first, _ = records
    (tmp_path / "bad.json").write_text("{")
    refuses("board", "build", first, tmp_path / "bad.json", "--out", "site", words=("bad.json",))
    refuses("board", "build", tmp_path / "none", "--out", "site", words=("none",))
    refuses("board", "serve", tmp_path / "none", words=("board build",))


# --- The command line itself ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("scor",), ('Did you mean "score"?',)),
        (("board", "bild"), ('Did you mean "build"?',)),
        (("--bogus",), ("--bogus",)),
        (("list",), ("list",)),
        (("list", "trackz"), ("trackz", 'Did you mean "tracks"?')),
        (("list", "tracks", "--bogus"), ("--bogus",)),
        (("list", "tracks", "extra"), ("extra",)),
        (("score",), ("--track",)),
        (("score", "x.safetensors"), ("--track",)),
        (("score", "x.safetensors", "--track", "x"), ("--recipe",)),
        (("score", "x.safetensors", *RULES[:4], "--seeds", "many"), ("--seeds", "many")),
        (("score", "x.safetensors", *RULES[:4], "--engine", "spark"), ("--engine", "spark")),
        (("compare", "a.json", "b.json", "-w", "half"), ("-w", "half")),
        (("pack",), ("--out",)),
        (("pack", "--out", "x.safetensors"), ("pack",)),
        (("pack", "x.npz", "--out"), ("--out",)),
        (("data", "prepare"), ("dataset",)),
    ],
)
def test_a_command_that_is_none_says_what_to_do(refuses, arguments, words) -> None:
    line = refuses(*arguments, words=words)
    assert len(line) < 400
    assert not line.endswith("..")
