"""Texts of records on the terminal: no control character, in any command that shows one."""

from __future__ import annotations

import pytest

from ddranking.cli.score import print_record

HOSTILE = "A\x1b]0;owned\x07\x1b[31m\u202eB"
FIVE = (0.01, -0.01, 0.0, 0.02, 0.0)


@pytest.fixture
def make(make_record, tmp_path):
    """A record's file whose texts hold control characters wherever they may be."""

    def make_(name: str = "record.json", **more):
        arms = {
            arm: tuple(mean + each for each in FIVE)
            for arm, mean in (("rdm_hard", 0.14), ("syn_noaug", 0.31), ("rdm_noaug", 0.2))
        }
        record = make_record(HOSTILE, recipe="dsa", **(arms | more))
        track = record.track.model_copy(update={"title": HOSTILE})
        source = record.real_hard.model_copy(update={"source": HOSTILE})
        record = record.model_copy(
            update={"track": track, "real_hard": source, "created": HOSTILE, "notes": (HOSTILE,)}
        )
        return record.save(tmp_path / name)

    return make_


def is_clean(said) -> None:
    text = said.out + said.err
    assert "owned" in text, "the text is shown"
    assert all(each.isprintable() or each == "\n" for each in text)


def test_compare(run, make) -> None:
    better = tuple(0.35 + each for each in FIVE)
    is_clean(run("compare", make("a.json"), make("b.json", syn_any=better)))


def test_explain(run, make) -> None:
    is_clean(run("explain", make()))


def test_board_check_and_the_table_of_changes(run, make, tmp_path) -> None:
    make("board/a.json")
    said = run("board", "check", make("new/b.json"), "--base", tmp_path / "board")
    is_clean(said)
    said = run("board", "check", make("alone.json"))
    assert "Changes on the board" in said.out
    is_clean(said)


def test_board_invalidate(run, make) -> None:
    mark = ("--reason", f"wrong {HOSTILE}", "--by", HOSTILE)
    path = make()
    is_clean(run("board", "invalidate", path, *mark))
    is_clean(run("board", "invalidate", path, *mark))


def test_a_record_that_was_scored_or_handed_over(make, capsys) -> None:
    from rich.console import Console
    from tests.cli.conftest import Said

    from ddranking.board.ranking import rank
    from ddranking.board.site import text_table
    from ddranking.scoring.recordfile import load_record

    record = load_record(make())
    print_record(record)
    is_clean(Said(0, *capsys.readouterr()))
    [board] = rank([record])
    Console().print(text_table(board))
    is_clean(Said(0, *capsys.readouterr()))
