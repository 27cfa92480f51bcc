"""``ddranking verify`` and ``ddranking board invalidate``, as a maintainer types them."""

import json
from pathlib import Path

import pytest

from ddranking.board.site import build
from ddranking.scoring.recordfile import load_record

from .conftest import SCORE, tree

HERE = ("--workers", "1", "--device", "cpu")


@pytest.fixture
def scored(run, good):
    """A record in this folder, and how to run commands here."""
    assert run("score", good, *SCORE, "--store", "store", "--out", "r.json").code == 0
    return run


def test_a_verified_record_says_who_when_and_where(scored, good) -> None:
    said = scored("verify", "r.json", "--artifact", good, *HERE, "--by", "Ada", "--date=2026-02-03")
    assert (said.code, said.out.splitlines()[-1]) == (0, "Verified record: r-verified.json")
    assert said.out.count("agrees") == 3
    assert len([line for line in said.err.splitlines() if "/4 distilled" in line]) == 4
    record = load_record("r-verified.json")
    mark = record.verification
    assert mark is not None and record.trust == "verified"
    assert (mark.by, mark.date, mark.margin) == ("Ada", "2026-02-03", 0.02)
    assert mark.environments[0].device
    assert set(mark.arms) == {"syn_any", "syn_hard"}
    assert load_record("r.json").verification is None
    assert "user-cache" not in " ".join(tree(Path("..")))  # nothing in the user's own store


def test_without_a_name_nothing_is_written(scored, good) -> None:
    before = tree(Path())
    arms = ("--arm", "rdm_any", "--trials", "2")
    said = scored("verify", "r.json", "--artifact", good, *HERE, *arms, "--json")
    answer = json.loads(said.out)
    assert (said.code, answer["agrees"], answer["record"]) == (0, True, None)
    assert answer["arms"]["rdm_any"]["difference"]["values"] == [0.0, 0.0]
    assert answer["seeds"] == [0, 1]
    assert tree(Path()) == before


def test_what_does_not_agree_is_exit_code_1_and_no_mark(scored, good, monkeypatch) -> None:
    """Another machine, whose trainings come out four points lower."""
    from ddranking.running import local

    monkeypatch.setattr(local, "perform", _lower(local.perform))
    said = scored("verify", "r.json", "--artifact", good, *HERE, "--by", "Ada", "--out", "v.json")
    assert said.code == 1
    assert "differs" in said.out and "nothing is marked" in said.out
    assert not Path("v.json").exists()


def _lower(perform):
    from dataclasses import replace

    def lower(*arguments):
        for index, done in perform(*arguments):
            yield index, replace(done, accuracy=max(0.0, done.accuracy - 0.04))

    return lower


BAD = (
    (("--out", "v.json"), "--by"),
    (("--by", " "), "--by"),
    (("--by", "Ada", "--date", "soon"), "--date"),
    (("--margin", "2"), "looks like a percentage"),
    (("--margin", "0"), "--margin"),
    (("--trials", "1"), "--trials"),
    (("--arm", "rdm_hard"), "--arm"),
    (("--store", "store"), "the record's own"),
    (("--device", "cuda:77"), "--device"),
)


def test_bad_input_is_one_line_before_any_training(scored, good) -> None:
    for options, word in BAD:
        said = scored("verify", "r.json", "--artifact", good, *options)
        assert said.code == 2, options
        assert word.lower() in said.line.lower()


def test_a_record_or_a_set_that_is_none(run, good, make_record, tmp_path) -> None:
    path = make_record().save(tmp_path / "r.json")
    for record, artifact in (("none.json", good), (path, "none.safetensors"), (path, path)):
        said = run("verify", record, "--artifact", artifact)
        assert said.code == 2 and said.line


def test_an_invalidated_record_stays_and_is_out_of_the_ranking(run, make_record, tmp_path) -> None:
    path = make_record("Leaky").save(tmp_path / "records" / "a.json")
    make_record("Honest").save(tmp_path / "records" / "b.json")
    mark = ("--reason", "trained on test images", "--by", "Ada")
    said = run("board", "invalidate", path, *mark, "--date", "2026-02-03")
    assert (said.code, "out of the ranking" in said.out) == (0, True)
    record = load_record(path)
    assert record.invalidated is not None
    assert record.invalidated.model_dump() == {
        "reason": "trained on test images",
        "by": "Ada",
        "date": "2026-02-03",
    }
    assert record.model_copy(update={"invalidated": None}) == make_record("Leaky")
    bytes_ = path.read_bytes()
    again = run("board", "invalidate", path, *mark)
    assert again.code == 2 and "2026-02-03 by Ada: trained on test images" in again.line
    assert path.read_bytes() == bytes_
    assert run("board", "build", tmp_path / "records", "--out", "site").code == 0
    page = Path("site/index.html").read_text()
    assert '"reason":"trained on test images"' in page
    assert build([load_record(path)], tmp_path / "alone").is_file()


@pytest.mark.parametrize(
    "options",
    [
        ("--reason", "", "--by", "Ada"),
        ("--reason", "wrong", "--by", ""),
        ("--reason", "wrong", "--by", "Ada", "--date", "2026-13-01"),
        ("--reason", "wrong"),
        ("--by", "Ada"),
    ],
)
def test_an_invalidation_needs_reason_name_and_day(run, make_record, tmp_path, options) -> None:
    path = make_record().save(tmp_path / "r.json")
    before = path.read_bytes()
    said = run("board", "invalidate", path, *options)
    assert said.code == 2 and said.line
    assert path.read_bytes() == before
