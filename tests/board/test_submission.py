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


OTHER_BYTES = {
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "escaped": lambda text: text.replace("ddranking.record", r"\u0064dranking.record").encode(),
}


@pytest.mark.parametrize("how", OTHER_BYTES)
def test_a_record_by_other_bytes_is_not_passed_by(make_record, tmp_path, how):
    save(make_record("A"), tmp_path / "a.json")
    (tmp_path / "b.json").write_bytes(OTHER_BYTES[how](make_record("B").to_json()))
    reading = read_records([tmp_path], skip_invalid=True)
    assert len(reading.files) + len(reading.skipped) == 2
    if how != "escaped":
        with pytest.raises(BadFile, match=r"b\.json: expected JSON in UTF-8"):
            load_records([tmp_path])
        assert not check([tmp_path]).ok


def test_other_json_of_many_values_is_not_read(tmp_path):
    (tmp_path / "other.json").write_text("[" + "{}," * 1_000_000 + "{}]")
    with pytest.raises(BadFile, match="at most 1,000,000 values"):
        load_records([tmp_path])


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


@pytest.fixture
def board(make_record, records, tmp_path):
    """A board of two files, and a copy of its folder to hand in from."""
    for root in ("base", "head"):
        for name in ("Old", "Other"):
            made = make_record(name).model_copy(update={"picture": records[0].picture})
            save(made, tmp_path / root / "records" / "cifar10" / f"{name.lower()}.json")
    return tmp_path


def errors_of(board, *files, head: str | None = "head/records"):
    report = check(files, base=board / "base/records", head=head and board / head)
    return messages(report)


@pytest.mark.parametrize("head", ["head/records", None])
def test_a_file_in_the_place_of_another_record_is_an_error(board, good, head):
    there = save(good, board / "head/records/cifar10/old.json")
    [told] = errors_of(board, there, head=head)
    assert told.startswith("would replace Old (dc) in cifar10/old.json by another record")
    report = check([there], base=board / "base/records")
    assert [(one.entry, one.after) for one in report.changes if one.before] == [("Old (dc)", None)]
    (board / "base/records/cifar10/list.json").write_text("{}")
    [told] = errors_of(board, save(good, board / "head/records/cifar10/list.json"), head=head)
    assert "no record" in told
    assert not errors_of(board, save(good, board / "head/records/cifar10/new.json"), head=head)
    assert not errors_of(board, save(good, board / "head/records/old.json"), head=head)


def test_no_record_is_missing_from_the_whole_folder(board):
    head = board / "head/records"
    assert errors_of(board, head) == []
    (head / "cifar10/old.json").unlink()
    [finding] = check([head], base=board / "base/records", head=head).findings
    assert (finding.file, finding.severity) == ("cifar10/old.json", "error")
    with pytest.raises(BadInput, match="--head"):
        check([board / "base/records"], base=board / "base/records", head=head)


@pytest.mark.parametrize("place", ["head/records/cifar10/mine.json", "mine.json"])
def test_a_record_of_the_board_under_another_name_is_an_error(board, place, make_record):
    old = load_records([board / "base/records/cifar10/old.json"])[0]
    card = old.entry.model_copy(update={"method": "Mine", "authors": "Me"})
    stolen = old.model_copy(update={"entry": card, "created": "2027-01-01T00:00:00Z"})
    later = stolen.observations[0].model_copy(update={"seconds": 2.0})
    stolen = stolen.model_copy(update={"observations": (later, *stolen.observations[1:])})
    [told] = errors_of(board, save(stolen, board / place), head=None)
    assert "the same observations as cifar10/old.json" in told
    assert "method" in told and "authors" in told
    plain = errors_of(board, save(old, board / place), head=None)
    assert bool(plain) == place.startswith("head"), "a file that is nowhere yet is no copy"
    anew = make_record("Old", syn_any=(0.31, 0.30, 0.31, 0.30, 0.32))
    report = check([save(anew, board / "head/records/n.json")], base=board / "base/records")
    assert report.ok and any("measures anew" in told for told in messages(report, "warning"))


def test_a_card_that_changes_in_place_is_named(board):
    path = board / "head/records/cifar10/old.json"
    old = load_records([path])[0]
    card = {"method": "New name", "authors": "Me", "paper": "https://a.org", "licence": "MIT"}
    changed = old.model_copy(
        update={"entry": old.entry.model_copy(update=card), "notes": ("n",), "picture": None}
    )
    report = check([save(changed, path)], base=board / "base/records")
    [told] = [told for told in messages(report, "warning") if "changes" in told]
    assert report.ok and told.endswith("of cifar10/old.json on the board")
    assert all(field in told for field in (*card, "notes", "picture"))
    assert not check([save(old, path)], base=board / "base/records").findings


def test_the_mark_of_an_invalidated_record_stays(board):
    path, here = board / "base/records/cifar10/old.json", board / "head/records/cifar10/old.json"
    old = load_records([path])[0]
    save(old.invalidate(reason="made of test images", by="Ada", date="2026-02-03"), path)
    [told] = errors_of(board, save(old, here))
    assert "was invalidated" in told
    other = old.invalidate(reason="a detail", by="Me", date="2026-02-04")
    [told] = errors_of(board, save(other, here))
    assert told == "changes the mark by Ada that invalidates it"


def renamed(record, title="Another board"):
    """The record with every text that no hash covers changed."""
    return record.model_copy(
        update={
            "track": record.track.model_copy(update={"title": title}),
            "recipe": record.recipe.model_copy(update={"title": title, "source": title}),
            "dataset": record.dataset.model_copy(update={"title": title}),
        }
    )


def test_texts_that_are_not_the_released_ones_are_named(board, good):
    path = save(renamed(good), board / "head/records/cifar10/new.json")
    told = " ".join(messages(check([path], base=board / "base/records"), "warning"))
    for words in ("convnet3@1: title", "dc@1: title", "dc@1: source", "dataset title 'Another"):
        assert words in told


def test_a_method_that_is_not_what_is_seen_is_named(good, tmp_path):
    card = good.entry.model_copy(update={"method": "M\u200bTT "})
    hidden = good.model_copy(update={"entry": card})
    [told] = messages(check([save(hidden, tmp_path / "a.json")]), "warning")
    assert told.endswith("shown as 'MTT'")


def test_one_file_is_no_files_and_nothing_is_no_success(good, tmp_path, capsys):
    from ddranking.cli import main

    save(good, tmp_path / "new.json")
    assert main(["board", "check", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "1 file: nothing is wrong" in said and "1–1" not in said
    (tmp_path / "new.json").unlink()
    assert main(["board", "check", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "at least one record" in said.err and len(said.err.splitlines()) == 1
