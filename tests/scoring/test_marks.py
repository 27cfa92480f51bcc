"""Marks are derived values too: what they say must follow from the accuracies."""

import copy
import json

import pytest

from ddranking.errors import BadInput, BadProtocol
from ddranking.scoring.marks import Rerun, Verification, agreement, day
from ddranking.scoring.record import Record
from ddranking.scoring.recordfile import parse_record

AGAIN = {"syn_any": (0.281, 0.288, 0.283, 0.271, 0.289), "syn_hard": (0.28, 0.29, 0.27, 0.28, 0.3)}


@pytest.fixture(scope="module")
def verified(make_record) -> Record:
    record = make_record()
    arms = {}
    for arm, again in AGAIN.items():
        seen = agreement(range(5), again, record.accuracy[arm].values, 0.02)
        arms[arm] = Rerun(
            seeds=tuple(range(5)),
            accuracies=again,
            difference=seen.difference,
            p_value=seen.p_value,
        )
    mark = Verification(
        by="A maintainer",
        date="2026-02-03",
        margin=0.02,
        environments=(record.observations[0].environment,),
        arms=arms,
    )
    return record.model_copy(update={"trust": "verified", "verification": mark})


def test_a_verified_record_loads(verified, tmp_path) -> None:
    assert parse_record(json.loads(verified.to_json())) == verified


def test_a_record_without_a_mark_is_written_as_before_there_were_any(make_record) -> None:
    values = json.loads(make_record().to_json())
    assert "verification" not in values
    assert parse_record(values | {"verification": None}) == make_record()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("arms", "syn_any", "difference", "mean"), 0.0),
        (("arms", "syn_any", "accuracies"), [0.3, 0.3, 0.3, 0.3, 0.3]),
        (("arms", "syn_any", "accuracies"), [0.281, 0.288, 0.283, 0.271]),
        (("arms", "syn_any", "p_value"), 0.9),
        (("arms", "syn_any", "seeds"), [0, 1, 2, 3, 5]),
        (("arms", "syn_any", "seeds"), [0, 0, 1, 2, 3]),
        (("arms", "syn_any", "seeds"), [4, 3, 2, 1, 0]),
        (("arms", "syn_any", "seeds"), [0]),
        (("arms",), {}),
        (("margin",), 1e-9),
        (("margin",), 0),
        (("margin",), 2),
        (("environments",), []),
        (("by",), ""),
        (("date",), "today"),
    ],
)
def test_a_mark_that_does_not_follow_is_refused(verified, path, value) -> None:
    values = json.loads(verified.to_json())
    target = values["verification"]
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(BadProtocol, match="verification"):
        parse_record(values)


def test_an_arm_that_the_record_has_not_is_refused(verified) -> None:
    values = json.loads(verified.to_json())
    arms = values["verification"]["arms"]
    arms["rdm_hard"] = copy.deepcopy(arms["syn_any"])
    with pytest.raises(BadProtocol, match="no such arm"):
        parse_record(values)


def test_trust_and_its_mark_come_together(verified) -> None:
    values = json.loads(verified.to_json())
    for change in ({"trust": "self-measured"}, {"verification": None}):
        with pytest.raises(BadProtocol, match="only then"):
            parse_record(values | change)


def test_an_invalidation_is_put_on_once_and_changes_nothing_else(make_record) -> None:
    record = make_record()
    marked = record.invalidate(reason=" test images ", by="A maintainer", date="2026-02-03")
    assert marked.invalidated is not None and marked.invalidated.reason == "test images"
    assert marked.model_copy(update={"invalidated": None}) == record
    assert parse_record(json.loads(marked.to_json())) == marked
    with pytest.raises(BadInput, match="2026-02-03 by A maintainer: test images"):
        marked.invalidate(reason="again", by="B", date="2026-02-04")
    for reason, by in (("", "A"), ("wrong", " "), ("x" * 2001, "A")):
        with pytest.raises(BadInput, match="invalidation"):
            record.invalidate(reason=reason, by=by, date="2026-02-03")


def test_a_day_is_one_of_the_calendar() -> None:
    assert day("2026-02-28") == "2026-02-28"
    assert len(day(None)) == 10 and day(None) > "2026"
    for wrong in ("2026-02-30", "yesterday", "", "03.02.2026"):
        with pytest.raises(BadInput, match="--date"):
            day(wrong)
