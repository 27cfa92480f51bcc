"""What SECURITY.md promises, beyond the readers (``tests/fuzz``) and their limits."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from ddranking.cli import main
from ddranking.scoring.recordfile import load_record

SOURCE = Path(__file__).resolve().parents[1] / "src" / "ddranking"

# --- Nothing is pickled to a file -----------------------------------------------------------------

SERIALISERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
READS_PICKLE = {"unpickle.py", "checkpoint.py"}
"""Modules that name pickle to catch its errors: ``torch.load`` with ``weights_only``, no other."""


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Every call with the dotted name of what is called, as far as it is one."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.stem)
def test_no_module_writes_or_runs_a_pickle(path) -> None:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [(node.module or "").partition(".")[0]]
        assert not SERIALISERS & set(names) or path.name in READS_PICKLE, f"{path}: {names}"
    for name, call in calls(tree):
        given = {word.arg: ast.unparse(word.value) for word in call.keywords}
        assert name not in {"torch.save", "pickle.dump", "pickle.dumps", "pickle.load"}, path
        assert name not in {"pickle.loads", "pickle.Unpickler", "eval", "exec", "os.system"}, path
        assert name not in {"yaml.load_all", "yaml.unsafe_load", "yaml.full_load"}, path
        assert given.get("allow_pickle", "False") == "False", path
        assert given.get("shell", "False") == "False", path
        if name == "torch.load":
            assert given.get("weights_only") == "True", path
        if name == "yaml.load":
            assert ast.unparse(call.args[1]) in {"_Loader", "_SHIPPED"}, path


def test_what_a_score_leaves_on_the_disk_needs_no_unpickling(tmp_path, monkeypatch, capsys) -> None:
    """Every file of a whole small use: set, store with weights, record, page, prepared dataset."""
    from PIL import Image

    for half in ("train", "test"):
        for index in range(20):
            place = tmp_path / "real" / half / str(index % 2)
            place.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(index).integers(0, 255, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{index}.png")
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.chdir(made)
    monkeypatch.setenv("XDG_CACHE_HOME", str(made / "cache"))
    for name in ("DDRANKING_STORE", "DDRANKING_CACHE"):
        monkeypatch.delenv(name, raising=False)
    assert main(["data", "prepare", f"folder:{tmp_path / 'real'}", "--image-size", "8"]) == 0
    digits = ["--dataset", "digits", "--ipc", "1"]
    assert main(["baseline", "kmeans", *digits, "--out", "a.safetensors"]) == 0
    monkeypatch.setattr("ddranking.running.store.Store.drop_weights", lambda *_: None)
    rates = "learning_rate=[0.05, 0.1]"
    changes = ("epochs=1", "track.hard.epochs=1", "track.whole.epochs=1", "track.student=mlp")
    score = ["score", "a.safetensors", "--track", "digits-ipc1-convnet2", "--seeds", "2"]
    score += ["--recipe", "unified-digits", "--workers", "1", "--device", "cpu", "--out", "a.json"]
    score += [f"--set={each}" for each in (*changes, rates, f"track.hard.{rates}")]
    assert main(score) == 0
    assert main(["board", "build", "a.json", "--out", "site"]) == 0
    capsys.readouterr()
    found = [path for path in made.rglob("*") if path.is_file()]
    assert {path.suffix for path in found} >= {".json", ".safetensors", ".npy", ".html"}
    for path in found:
        start = path.read_bytes()[:4]
        assert start[:1] != b"\x80", f"{path} is a pickle"
        assert start[:2] != b"PK" or path.suffix == ".npz", f"{path} is an archive"
        if path.suffix == ".npy":
            np.load(path, allow_pickle=False)


# --- Names of code in files -----------------------------------------------------------------------

TRAP = """
import pathlib
pathlib.Path(__file__).with_name("ran").write_text("")

def build(num_classes, shape):
    import torch
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, num_classes))
"""


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that can be imported and leaves a mark when it is; gives the mark."""
    (tmp_path / "trapped_module.py").write_text(TRAP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DDRANKING_STORE", str(tmp_path / "store"))
    yield tmp_path / "ran"
    sys.modules.pop("trapped_module", None)


NAME = "trapped_module:build"
TRACK = {
    "name": "mine-ipc{ipc}",
    "dataset": "digits",
    "ipc": [1],
    "student": NAME,
    "validation_size": 200,
    "hard": {"epochs": 1, "batch_size": 10, "learning_rate": 0.1},
    "whole": "whole@1",
}
TEACHER = {
    "kind": "teacher",
    "networks": [
        {
            "model": NAME,
            "weights": {
                "kind": "trained",
                "training": {"epochs": 1, "batch_size": 10, "learning_rate": 0.1},
            },
        }
    ],
}
RECIPE = {
    "name": "mine",
    "source": "invented",
    "training": {
        "epochs": 1,
        "batch_size": 10,
        "learning_rate": 0.1,
        "labels": TEACHER,
        "loss": {"kind": "kl"},
    },
}


@pytest.fixture
def arguments(trap, tmp_path):
    """Ways for a file to name code: the track's student, a teacher's model."""
    main(["baseline", "kmeans", "--dataset", "digits", "--ipc", "1", "--out", "set.safetensors"])
    (tmp_path / "track.yaml").write_text(yaml.safe_dump(TRACK))
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    real = ["--real-accuracy", "0.9", "--real-source", "invented"]
    ways = {
        "student": ["--track", "track.yaml", "--recipe", "unified-digits"],
        "teacher": ["--track", "digits-ipc1-convnet2", "--recipe", "recipe.yaml"],
        "override": [
            *("--track", "digits-ipc1-convnet2", "--recipe", "unified-digits"),
            f"--set=track.student={NAME}",
        ],
    }
    return {name: ["set.safetensors", *way, "--seeds", "2", *real] for name, way in ways.items()}


@pytest.mark.parametrize("command", ["plan", "score"])
@pytest.mark.parametrize("way", ["student", "teacher", "override"])
def test_a_file_cannot_have_code_imported(trap, arguments, capsys, command, way) -> None:
    capsys.readouterr()
    more = ["--workers", "1", "--out", "out.json"] if command == "score" else []
    code = main([command, *arguments[way], *more])
    said = capsys.readouterr()
    assert not trap.exists(), f"{way}: code ran"
    assert code == 2 and "--trust-code" in said.err, said.err


def test_the_trap_works(trap, arguments) -> None:
    """With the word of the person at the keyboard it is imported."""
    assert main(["plan", *arguments["student"], "--trust-code"]) == 0
    assert trap.exists()


def test_a_record_that_names_code_is_read_and_ranked_without_it(trap, make_record, capsys) -> None:
    """Judging builds no networks."""
    record = make_record()
    values = record.to_values()
    for holder in (values["track"], *(seen["trial"] for seen in values["observations"])):
        holder["student"] = NAME
    Path("handed-in.json").write_text(json.dumps(values))
    assert load_record("handed-in.json").track.student == NAME
    main(["board", "check", "handed-in.json"])
    main(["board", "build", "handed-in.json", "--out", "site"])
    main(["compare", "handed-in.json", "handed-in.json"])
    code = main(["verify", "handed-in.json", "--artifact", "none.safetensors"])
    capsys.readouterr()
    assert code == 2
    assert not trap.exists()
