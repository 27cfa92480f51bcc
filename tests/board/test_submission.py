"""Reading and checking what is handed in."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from ddranking.board.reading import load_records, read_records
from ddranking.board.submission import check
from ddranking.errors import BadFile, BadInput, BadProtocol
from ddranking.scoring.record import Invalidation, Record


@pytest.fixture
def good(make_record, records) -> Record:
    """A record without anything to say about it."""
    return make_record("New").model_copy(update={"picture": records[0].picture})


def save(record: Record, path):
    return record.save(path)


def messages(report, severity="error"):
    return [finding.message for finding in report.findings if finding.severity == severity]


def test_folders_are_searched_and_other_json_is_passed_by(make_record, tmp_path):
    save(make_record("A"), tmp_path / "a.json")
    save(make_record("B"), tmp_path / "deep" / "er" / "b.json")
    save(make_record("Ref"), tmp_path / "reference" / "r.json")
    save(make_record("Hidden"), tmp_path / ".cache" / "h.json")
    (tmp_path / "package.json").write_text('{"name": "not a record"}')
    found = load_records([tmp_path, tmp_path / "a.json"])
    assert [record.entry.method for record in found] == ["A", "B"]
    (tmp_path / "a" / "loop").parent.mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert len(load_records([tmp_path])) == 2


BROKEN = {
    "cut short": lambda text: text[: len(text) // 2],
    "not a number": lambda text: text.replace('"mean": ', '"mean": NaN, "was": ', 1),
    "deep": lambda text: "[" * 200_000,
    "other derived value": lambda text: text.replace('"trust"', '"extra": 1, "trust"', 1),
    "empty": lambda text: "",
    "next schema": lambda text: text.replace("ddranking.record/1", "ddranking.record/9"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_record_stops_or_is_listed_with_file_and_reason(make_record, tmp_path, how):
    save(make_record("A"), tmp_path / "a.json")
    bad = tmp_path / "bad.json"
    bad.write_text(BROKEN[how](make_record("B").to_json()))
    with pytest.raises(BadInput, match=r"bad\.json"):
        load_records([tmp_path])
    reading = read_records([tmp_path], skip_invalid=True)
    assert [record.entry.method for record in reading.records] == ["A"]
    assert [skipped.file for skipped in reading.skipped] == [str(bad)]
    assert "\n" not in reading.skipped[0].reason
    report = check([tmp_path])
    assert not report.ok and report.findings[0].file


def test_a_hundred_megabytes_are_refused_without_being_read(tmp_path):
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(BadFile, match="MiB"):
        load_records([tmp_path])


def test_missing_paths_are_named(tmp_path):
    with pytest.raises(BadFile, match="nothing there"):
        load_records([tmp_path / "nowhere"])
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises((BadFile, BadProtocol)):
        load_records([tmp_path / "other.json"])


def test_a_good_record_has_nothing_to_fix(good, tmp_path):
    report = check([save(good, tmp_path / "new.json")])
    assert report.ok, report.findings
    assert [(change.entry, change.before, change.after) for change in report.changes] == [
        ("New (dc)", None, 1)
    ]
    assert json.loads(json.dumps(report.to_dict()))["ok"] is True


def test_a_changed_track_is_an_error_and_a_changed_recipe_a_warning(make_record, good, tmp_path):
    from ddranking.board.submission import _recipe, _track

    short = good.track.hard.model_copy(update={"epochs": 1})
    track = good.track.model_copy(update={"hard": short})
    [(severity, words)] = _track(good.model_copy(update={"track": track}), [])
    assert severity == "error" and "differ" in words
    own = track.model_copy(update={"name": "mine"})
    [(severity, words)] = _track(good.model_copy(update={"track": own}), [])
    assert severity == "error" and "not a released track" in words
    recipe = good.recipe.model_copy(update={"training": short})
    [(severity, words)] = _recipe(good.model_copy(update={"recipe": recipe}), [])
    assert severity == "warning" and "custom" in words


def test_verified_is_not_for_authors_to_write(good, verified, tmp_path):
    marked = verified(good)
    new, base = save(marked, tmp_path / "new" / "a.json"), tmp_path / "base"
    assert any("verify" in message for message in messages(check([new])))
    save(marked, base / "a.json")
    report = check([new], base=base)
    assert report.ok and not report.findings


def test_a_new_mark_waits_for_a_maintainer(make_record, good, verified, tmp_path):
    base = save(good, tmp_path / "base" / "a.json")
    for mark in (
        verified(good),
        good.invalidate(reason="made of test images", by="Ada", date="2026-02-03"),
    ):
        report = check([save(mark, tmp_path / "new.json")], base=base)
        assert report.ok
        [told] = messages(report, "warning")
        assert "newly" in told and "Ada" in told
    save(verified(good), base)
    [told] = messages(check([save(good, tmp_path / "new.json")], base=base), "warning")
    assert "without the mark" in told
    other = make_record("New", syn_any=(0.31, 0.30, 0.31, 0.30, 0.32))
    renewed = verified(other.model_copy(update={"picture": good.picture}))
    assert not check([save(renewed, tmp_path / "new.json")], base=base).ok


def test_an_invalidated_record_cannot_come_back(good, tmp_path):
    mark = Invalidation(reason="trained on test images", date="2026-01-02", by="a maintainer")
    save(good.model_copy(update={"invalidated": mark}), tmp_path / "base" / "a.json")
    report = check([save(good, tmp_path / "new.json")], base=tmp_path / "base")
    assert any("was invalidated" in message for message in messages(report))


def test_the_same_entry_twice_is_an_error(good, tmp_path):
    files = [save(good, tmp_path / name) for name in ("a.json", "b.json")]
    report = check(files)
    assert messages(report) == [f"the same set, recipe, track and dataset as in {files[0]}"]


def test_a_weakened_random_arm_shows_against_the_board(make_record, good, tmp_path):
    base = save(make_record("Old"), tmp_path / "base.json")
    weak = make_record("Weak", rdm_any=(0.05, 0.06, 0.04, 0.05, 0.06))
    report = check([save(weak, tmp_path / "weak.json")], base=base)
    assert any(message.startswith("rdm_any") for message in messages(report, "warning"))
    honest = check([save(good, tmp_path / "good.json")], base=base)
    assert not any("rdm_any" in message for message in messages(honest, "warning"))


def test_what_honest_trainings_rarely_give_is_warned_of(make_record, tmp_path):
    odd = make_record("Odd", syn_hard=(0.9,) * 5)
    told = messages(check([save(odd, tmp_path / "odd.json")]), "warning")
    assert "arm syn_hard: all seeds have the same accuracy" in told
    assert "arm syn_hard is above the whole real set" in told
    assert "no picture of the images" in told


@pytest.mark.parametrize("picture", ["AAAA", "/9j/4AAQ", "A"])
def test_a_picture_that_is_none_is_an_error(good, tmp_path, picture):
    bad = good.model_copy(update={"picture": picture})
    assert "the picture is no PNG" in messages(check([save(bad, tmp_path / "a.json")]))


def test_changes_tell_who_moves(make_record, tmp_path):
    for k, method in enumerate(("A", "B", "C")):
        hard = tuple(0.30 - 0.05 * k + 0.001 * s for s in range(5))
        save(make_record(method, syn_hard=hard), tmp_path / "base" / f"{method}.json")
    new = make_record("N", syn_hard=tuple(0.27 + 0.001 * s for s in range(5)))
    report = check([save(new, tmp_path / "n.json")], base=tmp_path / "base")
    moved = [(change.entry, change.before, change.after) for change in report.changes]
    assert moved == [("N (dc)", None, 2), ("B (dc)", 2, 3), ("C (dc)", 3, 4)]
    console = Console(width=120, record=True, quiet=False)
    with console.capture() as caught:
        console.print(report.changes_table(), report.findings_table())
    assert "N (dc)" in caught.get() and "new" in caught.get()
