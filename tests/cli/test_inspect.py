"""``ddranking inspect FILE --dataset D``: findings as lines and as JSON, and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

STANDARDIZED = {"kind": "standardized", "mean": [0.3052], "std": [0.3757]}


def test_a_good_card_is_not_wrong(run, good) -> None:
    said = run("inspect", good, "--dataset", "digits")
    assert said.code == 0
    lines = [line for line in said.out.splitlines() if line[:5].strip() in ("ok", "note", "wrong")]
    assert lines[0].startswith("ok    space: pixel fits best")
    assert any(line.startswith("note  learning rate:") and "Fix: --l" in line for line in lines)
    assert "probe" not in said.out


def test_a_wrong_card_ends_with_1_and_the_flag_that_fixes_it(run, altered) -> None:
    path = altered(card={"space": STANDARDIZED})
    said = run("inspect", path, "--dataset", "digits", "--no-probe")
    assert said.code == 1
    [line] = [line for line in said.out.splitlines() if line.startswith("wrong")]
    assert line.startswith("wrong space:") and line.endswith("Fix: --space pixel")
    # ... and the flag does fix it.
    assert run("pack", path, "--out", "fixed.safetensors", "--space", "pixel").code == 0
    assert run("inspect", "fixed.safetensors", "--dataset", "digits").code == 0


def test_findings_in_json(run, altered) -> None:
    order = np.roll(np.arange(10), 3)
    path = altered(card={"sorted": False}, labels=order)
    said = run("inspect", path, "--dataset", "digits", "--json")
    assert said.code == 1
    found = {each["subject"]: each for each in json.loads(said.out)["findings"]}
    assert found["class order"]["severity"] == "wrong"
    assert found["class order"]["evidence"]["likely"]["0"] == 3
    assert set(found["space"]) == {"severity", "subject", "text", "evidence", "fix"}


def test_a_probe_is_shown_where_it_is_asked_for(run, good) -> None:
    said = run("inspect", good, "--dataset", "digits", "--probe")
    assert said.code == 0
    [line] = [line for line in said.out.splitlines() if " probe: " in line]
    assert "n = 3" in line and "zca-kip" in line
    assert "--dataset NAME" in run("inspect", good, "--probe").line


def test_real_images_that_are_not_at_hand(run, good, tmp_path) -> None:
    plain = run("inspect", good)
    assert plain.code == 0 and "learning rate:" not in plain.out
    pixels = np.random.default_rng(0).random((10, 3, 32, 32)).astype(np.float32)
    np.savez("x.npz", images=pixels, labels=np.arange(10))
    made = ("pack", "x.npz", "--out", "x.safetensors", "--dataset", "cifar10", "--ipc", "1")
    assert run(*made, "--method", "m", "--space", "pixel").code == 0
    ask = ("inspect", "x.safetensors", "--dataset", "cifar10", "--cache", tmp_path / "none")
    said = run(*ask)
    assert said.code == 0
    assert "note  real data: not at hand" in said.out and "data prepare cifar10" in said.out
    assert run(*ask, "--data-root", "no").code == 2
    assert run(*ask, "--probe").code == 2


def test_a_dataset_that_nothing_is_called_is_a_mistake(run, good) -> None:
    said = run("inspect", good, "--dataset", "digit", "--png", "grid.png")
    assert said.code == 2
    assert "Did you mean 'digits'?" in said.err
    assert not Path("grid.png").exists()
