import copy
import errno
import json
import os
from pathlib import Path

import pytest

from ddranking.errors import BadInput, BadProtocol, StoreUnusable
from ddranking.scoring import metrics
from ddranking.scoring.record import Record
from ddranking.scoring.recordfile import load_record, parse_record
from ddranking.scoring.statistics import estimate

OLD_RECORDS = sorted((Path(__file__).parent / "records").glob("*.json"))


def changed(values: dict, path: str, value) -> dict:
    """A copy of ``values`` with one dotted path set (``observations.3.seconds``)."""
    result = copy.deepcopy(values)
    *outer, last = (int(step) if step.isdigit() else step for step in path.split("."))
    target = result
    for step in outer:
        target = target[step]
    target[last] = value
    return result


# --- Round trip -----------------------------------------------------------------------------------


def test_a_saved_record_loads_and_is_written_with_the_same_bytes(record, tmp_path) -> None:
    path = record.save(tmp_path / "new" / "folder" / "record.json")
    again = load_record(path)
    assert again == record
    assert again.save(tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize("path", OLD_RECORDS, ids=lambda path: path.stem)
def test_records_of_earlier_versions_load_and_keep_their_bytes(path) -> None:
    seen = load_record(path)
    assert seen.to_json() == path.read_text()
    finals = [each.outcome.test_accuracy for each in seen.observations]
    assert sum(each is not None for each in finals) == len(seen.accuracy) * seen.track.seeds


def test_there_is_a_record_of_an_earlier_version() -> None:
    assert OLD_RECORDS


def test_numbers_are_numbers_and_accuracies_fractions(values) -> None:
    """DESIGN, section 4: no percent and no number as text anywhere in a record."""

    def walk(value, where):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{where}.{key}")
        elif isinstance(value, list):
            for inner in value:
                walk(inner, where)
        elif "accurac" in where:
            assert value is None or (isinstance(value, float | int) and -1 <= value <= 5), where
        elif isinstance(value, str):
            assert not value.replace(".", "").isdigit() or where.endswith("python"), where

    walk(values, "record")


# --- The score ------------------------------------------------------------------------------------


def test_estimates_follow_from_the_accuracies_seed_by_seed(record) -> None:
    syn_hard, syn_any = (0.28, 0.29, 0.27, 0.28, 0.30), (0.28, 0.29, 0.28, 0.27, 0.29)
    rdm_any = (0.15, 0.16, 0.14, 0.15, 0.15)
    lost = [0.848 - each for each in syn_hard]
    gained = [a - b for a, b in zip(syn_any, rdm_any, strict=True)]
    assert record.accuracy["syn_hard"].values == syn_hard
    assert record.hlr.values == pytest.approx(lost)
    assert record.ior.values == pytest.approx(gained)
    for w in (0, 0.3, 0.5, 1):
        wanted = estimate([w * i - (1 - w) * h for h, i in zip(lost, gained, strict=True)])
        seen = record.alpha(w)
        assert (seen.mean, seen.low, seen.high) == pytest.approx(
            (wanted.mean, wanted.low, wanted.high)
        )
        score = record.ddrs(w)
        assert score.mean == metrics.ddrs(seen.mean)
        assert 0 <= score.low <= score.mean <= score.high <= 1
    assert record.alpha() == record.scores.alpha
    assert record.ddrs() == record.scores.ddrs


def test_the_interval_of_a_score_stays_in_range(make_record) -> None:
    wild = make_record(syn_any=(0.0, 1.0, 0.0, 1.0, 0.5), rdm_any=(1.0, 0.0, 1.0, 0.0, 0.5))
    score = wild.ddrs(1.0)
    assert (score.low, score.high) == (0.0, 1.0)


@pytest.mark.parametrize("w", [-0.1, 1.1, 50, float("nan")])
def test_a_weight_is_a_fraction(record, w) -> None:
    with pytest.raises(BadInput, match="w: expected a fraction"):
        record.alpha(w)


# --- Tampering ------------------------------------------------------------------------------------


def numbers(value, where: str = "") -> list[str]:
    """Dotted paths of all numbers in a parsed record's part."""
    if isinstance(value, dict):
        return [path for key, inner in value.items() for path in numbers(inner, f"{where}.{key}")]
    if isinstance(value, list):
        return [path for i, inner in enumerate(value) for path in numbers(inner, f"{where}.{i}")]
    return [where.removeprefix(".")] if isinstance(value, float | int) else []


def test_every_derived_number_is_recomputed(values) -> None:
    derived = [
        f"{part}.{path}" for part in ("scores", "selection") for path in numbers(values[part])
    ]
    assert len(derived) > 60
    for path in derived[:: len(derived) // 40]:
        old = values
        for step in path.split("."):
            old = old[int(step) if step.isdigit() else step]
        new = old + 1 if path.endswith(".n") else old + 1e-6
        with pytest.raises(BadProtocol) as caught:
            parse_record(changed(values, path, new))
        assert path in str(caught.value), str(caught.value)
        assert "recomputed" in str(caught.value)


def test_an_accuracy_that_was_changed_does_not_fit_the_score(values) -> None:
    for i in (0, 10, 25, 28, 35, len(values["observations"]) - 1):
        outcome = values["observations"][i]["outcome"]
        read = next(field for field in outcome if field.endswith("accuracy") and outcome[field])
        tampered = changed(values, f"observations.{i}.outcome.{read}", outcome[read] + 0.001)
        with pytest.raises(BadProtocol, match=r"(scores|selection)\.\S+ is "):
            parse_record(tampered)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("observations.0.trial.seed", 99),
        ("observations.0.trial.student", "resnet18"),
        ("observations.0.trial.dataset", "sha256:" + "2" * 64),
        ("observations.0.trial.implementation", 2),
        ("observations.0.trial.training.epochs", 5000),
        ("entry.digest", "sha256:" + "2" * 64),
        ("entry.space", {"kind": "pixel"}),
        ("dataset.digest", "sha256:" + "2" * 64),
        ("track.student", "resnet18"),
        ("track.hard.epochs", 5000),
        ("recipe.training.epochs", 5000),
        ("track.seeds", 4),
        ("track.seeds", 6),
        ("implementation", 2),
    ],
)
def test_observations_of_other_rules_or_data_are_refused(values, path, value) -> None:
    with pytest.raises(BadProtocol, match=r"record, (arm \w+|observations): expected"):
        parse_record(changed(values, path, value))


def test_a_missing_double_or_foreign_observation_is_refused(values, make_record) -> None:
    seen = values["observations"]
    for index in range(0, len(seen), 7):
        rest = seen[:index] + seen[index + 1 :]
        with pytest.raises(BadProtocol, match=r"arm (syn_hard|syn_any|rdm_any): expected"):
            parse_record(changed(values, "observations", rest))
    with pytest.raises(BadProtocol, match="each trial once"):
        parse_record(changed(values, "observations", [*seen, seen[0]]))
    foreign = json.loads(make_record("Other").to_json())["observations"][0]
    with pytest.raises(BadProtocol, match="only trials of the track and recipe, got 1 others"):
        parse_record(changed(values, "observations", [*seen, foreign]))
    with pytest.raises(BadProtocol, match="arm syn_hard: expected 30 trainings, got fewer"):
        parse_record(changed(values, "observations", []))


def test_the_order_of_observations_means_nothing(values, record) -> None:
    assert parse_record(changed(values, "observations", values["observations"][::-1])).scores == (
        record.scores
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "measured"},
        {"kind": "measured", "accuracies": [0.848] * 5},
        {"accuracies": [0.848, 0.848]},
        {"accuracies": [84.8]},
        {"accuracies": []},
        {"accuracies": [0.9]},
    ],
)
def test_a_whole_set_accuracy_is_measured_or_reported_and_nothing_between(values, changes) -> None:
    with pytest.raises(BadProtocol):
        parse_record(changed(values, "real_hard", {**values["real_hard"], **changes}))


def test_measured_whole_set_accuracies_are_those_of_the_observations() -> None:
    values = json.loads(OLD_RECORDS[0].read_text())
    assert values["real_hard"]["kind"] == "measured"
    for changes, told in (
        ({"kind": "reported"}, "observations: expected only trials of the track and recipe"),
        ({"accuracies": [0.9, 0.9]}, "real_hard: expected"),
    ):
        with pytest.raises(BadProtocol, match=told):
            parse_record(changed(values, "real_hard", {**values["real_hard"], **changes}))


# --- Successive halving ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halved(make_record) -> Record:
    return make_record(selection="halving")


def test_a_record_of_halving_holds_what_its_search_asked_for(halved, record, tmp_path) -> None:
    chosen, whole = halved.selection["syn_hard"], record.selection["syn_hard"]
    assert len(halved.observations) == len(record.observations) - 11
    assert halved.to_values()["track"]["selection"] == "halving"
    assert halved.track.hash != record.track.hash
    assert chosen.selected == whole.selected
    assert chosen.rates == whole.rates
    assert chosen.seeds == (5, 2, 5, 1, 1)
    assert chosen.mean_validation is not None and whole.mean_validation is not None
    assert chosen.mean_validation[2] == whole.mean_validation[2]
    assert chosen.mean_validation[3] == pytest.approx(0.9 * 0.28)  # seed 0 alone
    path = halved.save(tmp_path / "record.json")
    assert load_record(path) == halved
    assert load_record(path).save(tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_a_full_search_is_written_as_before_there_was_another(values) -> None:
    assert "selection" not in values["track"]
    assert all("seeds" not in chosen for chosen in values["selection"].values())


def test_a_halving_that_lacks_or_exceeds_its_rule_is_refused_in_one_line(halved, record) -> None:
    values = json.loads(halved.to_json())
    seen = values["observations"]
    searched = [i for i, each in enumerate(seen) if each["trial"]["evaluate"] == "validation"]
    assert len(searched) == 14
    for index in searched:
        rest = seen[:index] + seen[index + 1 :]
        with pytest.raises(BadProtocol) as caught:
            parse_record(changed(values, "observations", rest))
        line = "arm syn_hard: expected 19 trainings, got fewer in its search"
        assert str(caught.value) == f"record, {line}"
    more = [
        json.loads(each.model_dump_json())
        for each in record.observations
        if each.key not in {own.key for own in halved.observations}
    ]
    with pytest.raises(BadProtocol, match="only trials of the track and recipe, got 11 others"):
        parse_record(changed(values, "observations", [*seen, *more]))
    with pytest.raises(BadProtocol, match="only trials of the track and recipe, got 1 others"):
        parse_record(changed(values, "observations", [*seen, more[0]]))


def test_a_wrong_winner_or_another_rule_is_refused(halved, record) -> None:
    values = json.loads(halved.to_json())
    for i, one in enumerate(values["observations"]):
        # The other rate of the last rung is raised above the one whose finals are here.
        if one["trial"]["evaluate"] == "validation" and one["trial"]["training"][
            "learning_rate"
        ] == pytest.approx(0.001):
            values = changed(values, f"observations.{i}.outcome.validation_accuracy", 0.9)
    with pytest.raises(BadProtocol, match=r"syn_hard: .* got fewer at the selected rate 0\.001"):
        parse_record(values)
    with pytest.raises(BadProtocol, match="arm syn_hard: expected 30 trainings, got fewer"):
        parse_record(changed(json.loads(halved.to_json()), "track.selection", "full"))
    with pytest.raises(BadProtocol, match="got 11 others"):
        parse_record(changed(json.loads(record.to_json()), "track.selection", "halving"))
    with pytest.raises(BadProtocol, match="seeds"):
        path = "selection.syn_hard.seeds"
        parse_record(changed(json.loads(halved.to_json()), path, [5, 5, 5, 5, 5]))


# --- Malformed files ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema", "ddranking.record/2"),
        ("bogus", 1),
        ("entry.bogus", 1),
        ("observations.0.outcome.bogus", 1),
        ("track.hard.schedule", {"kind": "step", "milestones": [0.5], "factor": 2}),
        ("scores.hlr.mean", "0.5"),
        ("track.seeds", "5"),
        ("track.seeds", True),
        ("observations.0.seconds", -1),
        ("observations.0.seconds", 10**400),
        ("track.hard.learning_rate", 1e300),
        ("entry.method", ""),
        ("entry.method", "x" * 201),
        ("entry.paper", "javascript:alert(1)"),
        ("entry.paper", "http://example.org"),
        ("entry.code", 'https://x"><script>'),
        ("entry.digest", "sha256:xyz"),
        ("trust", "trusted"),
        ("picture", "<svg>"),
        ("picture", "A" * 400_001),
        ("invalidated", {"reason": "x", "date": "yesterday", "by": "me"}),
        ("notes", ["x" * 2001]),
        ("observations", None),
        ("observations", [[]]),
        ("observations.0.trial", []),
        ("track", "cifar10-ipc1-convnet3"),
    ],
)
def test_a_field_that_does_not_validate_is_named(values, path, value) -> None:
    with pytest.raises(BadProtocol) as caught:
        parse_record(changed(values, path, value), "record mine.json")
    line = str(caught.value)
    assert path in line
    assert line.startswith("record mine.json, field ")
    assert len(line) < 400


# --- Writing --------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_old_record(record, tmp_path, monkeypatch) -> None:
    path = tmp_path / "record.json"
    path.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreUnusable, match="No space left on device"):
        record.save(path)
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir()] == ["record.json"]
    assert path.read_text() == "old"


def test_a_place_that_is_none_is_bad_input(record, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "record.json", tmp_path):
        with pytest.raises(StoreUnusable, match="a place to write to"):
            record.save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
