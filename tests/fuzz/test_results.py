"""What fuzzing says of itself: results, their file, and the table of ``SECURITY.md``."""

from __future__ import annotations

import importlib.util
import json

import pytest
from tests.fuzz import results
from tests.fuzz.__main__ import DONE, READING, judge, main
from tests.fuzz.readers import READERS
from tests.fuzz.results import Fuzzed, Run

RUN = Run("2026-01-02", "0123456789ab", {"python": "3.11.2"})


@pytest.mark.parametrize(
    ("returncode", "said", "result", "inputs"),
    [
        (0, f"{READING}\n{DONE} 12\n", "ok", 12),
        (77, f"{READING}\nUncaught Python exception\n", "FOUND", None),
        (-9, f"INFO: x\n{READING}\n", "FOUND", None),
        (1, "ModuleNotFoundError: No module named 'atheris'\n", "did not run", None),
        (0, "", "did not run", None),
        (0, f"{READING}\n", "FOUND", None),  # a reader that ends the process
    ],
)
def test_a_child_that_read_nothing_found_nothing(returncode, said, result, inputs) -> None:
    assert judge(returncode, said, 1.6) == Fuzzed(2, inputs, result)


def test_without_atheris_one_line_names_the_group(monkeypatch, capsys) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["1", "recipe"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "uv run --group fuzz python -m tests.fuzz 1 recipe" in said.err


@pytest.mark.parametrize("arguments", [[], ["soon"], ["1", "recipes"]])
def test_wrong_words_end_with_two(arguments, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage" in capsys.readouterr().err


def test_lines_are_read_back() -> None:
    made = {"recipe": Fuzzed(601, 123456, "ok"), "set": Fuzzed(3, None, "FOUND")}
    lines = [each.line(name) + ", see /tmp/x" for name, each in made.items()]
    assert lines[0].startswith("recipe: 601 s of processor time, 123456 inputs, ok")
    assert results.read_lines(["noise", *lines]) == made


def test_results_join_those_of_other_readers(tmp_path) -> None:
    file = tmp_path / "results.json"
    results.save(file, {"set": Fuzzed(1, 2, "ok"), "idx": Fuzzed(1, 2, "ok")}, RUN)
    results.save(file, {"set": Fuzzed(600, 5000, "ok")}, RUN)
    read = json.loads(file.read_text())
    assert list(read) == ["idx", "set"] and read["set"]["seconds"] == 600
    assert read["set"] == {
        "seconds": 600,
        "inputs": 5000,
        "result": "ok",
        "date": "2026-01-02",
        "commit": "0123456789ab",
        "versions": {"python": "3.11.2"},
    }
    rows = results.table(read, ["set", "recipe"]).splitlines()
    assert rows[2:] == ["| set | 2026-01-02 | 600 s | 5,000 | ok |", "| recipe | not yet | | | |"]


def test_a_run_names_commit_and_versions() -> None:
    run = results.this_run(day="2026-01-02")
    assert run.date == "2026-01-02" and {"python", "ddranking", "torch"} <= run.versions.keys()


def test_logs_become_file_and_table(tmp_path, monkeypatch, capsys) -> None:
    page = tmp_path / "PAGE.md"
    page.write_text(f"a\n{results.BEGIN}old\n{results.END}\nb\n")
    (tmp_path / "log").write_text("recipe: 601 s of processor time, 123456 inputs, ok\n")
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    monkeypatch.setattr(results, "PAGE", page)
    assert results.main([str(tmp_path / "log"), "--commit", "abc", "--date", "2026-01-02"]) == 0
    assert page.read_text().startswith(f"a\n{results.BEGIN}| reader |")
    assert page.read_text().endswith(f"{results.END}\nb\n")
    assert "| recipe | 2026-01-02 | 601 s | 123,456 | ok |" in page.read_text()
    assert results.load(tmp_path / "results.json")["recipe"]["commit"] == "abc"
    (tmp_path / "log").write_text("nothing\n")
    assert results.main([str(tmp_path / "log")]) == 2
    assert "no such line" in capsys.readouterr().out


def test_the_page_has_the_table_of_the_file() -> None:
    """Mended by ``python -m tests.fuzz.results``."""
    page = results.PAGE.read_text()
    assert page == results.with_table(page, results.table(results.load(results.FILE), READERS))


def test_a_release_waits_for_every_reader(tmp_path, monkeypatch, capsys) -> None:
    ready = dict.fromkeys(READERS, Fuzzed(results.SECONDS, 12, "ok"))
    first, second, third, *_ = READERS
    late = {first: Fuzzed(599, 12, "ok"), second: Fuzzed(700, 12, "FOUND")}
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    results.save(results.FILE, {n: r for n, r in (ready | late).items() if n != third}, RUN)
    assert results.main(["--check"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{first}: 599 of 600 s, ok",
        f"{second}: 700 of 600 s, FOUND",
        f"{third}: 0 of 600 s, did not run",
    ]
    results.save(results.FILE, ready, RUN)
    assert results.main(["--check"]) == 0
    assert "nothing was found" in capsys.readouterr().out
