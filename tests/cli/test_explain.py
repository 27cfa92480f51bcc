"""``ddranking explain``: a table, JSON and a plot of where an accuracy comes from."""

import json

import numpy as np
import pytest
from PIL import Image

from ddranking.cli import main
from ddranking.scoring.decomposition import decompose

FIVE = (0.01, -0.01, 0.0, 0.02, 0.0)


def around(mean: float) -> tuple[float, ...]:
    return tuple(mean + each for each in FIVE)


@pytest.fixture
def file(make_record, tmp_path):
    arms = {"rdm_hard": around(0.14), "syn_noaug": around(0.31), "rdm_noaug": around(0.2)}
    return make_record(recipe="dsa", **arms).save(tmp_path / "record.json")


def test_it_says_what_each_step_gave(file, capsys) -> None:
    assert main(["explain", str(file)]) == 0
    said = capsys.readouterr().out
    for word in ("+ images", "+ labels", "+ augmentation", "= own recipe", "14.40%", "5 seeds"):
        assert word in said


def test_json_is_the_decomposition(file, capsys) -> None:
    from ddranking.scoring.recordfile import load_record

    assert main(["explain", str(file), "--json"]) == 0
    made = decompose(load_record(file).accuracy)
    seen = json.loads(capsys.readouterr().out)
    assert seen["gap"]["values"] == list(made.gap.values)
    assert [step["name"] for step in seen["distilled"]] == ["images", "labels", "augmentation"]
    assert seen["random"][0]["effect"]["mean"] == made.random[0].effect.mean


def test_the_plot_is_drawn_without_a_screen(file, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    target = tmp_path / "new" / "plot.png"
    assert main(["explain", str(file), "--png", str(target)]) == 0
    with Image.open(target) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 400
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_a_record_without_the_arm_says_how_to_get_it(make_record, tmp_path, capsys) -> None:
    plain = make_record().save(tmp_path / "plain.json")
    assert main(["explain", str(plain)]) == 2
    said = capsys.readouterr().err
    assert "--rdm-hard" in said
    assert len(said.splitlines()) == 1
    assert str(plain) in said


@pytest.mark.parametrize("name", ["/dev/null/plot.png", "plot.jpg", "plot"])
def test_a_plot_that_cannot_be_is_refused(file, tmp_path, monkeypatch, capsys, name) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(file), "--png", name]) == 2
    assert "--png" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == [file.name]
