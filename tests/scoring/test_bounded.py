"""Parts of a large file are bounded, and what a good one says is not changed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ddranking.errors import BadFile, BadProtocol
from ddranking.scoring.bounded import MAX_PART_BYTES, MAX_PART_VALUES, MAX_VALUES, bounded
from ddranking.scoring.record import Record
from ddranking.scoring.recordfile import record_of


@pytest.fixture
def values(make_record) -> dict[str, Any]:
    return make_record().to_values()


def large(values: object) -> bytes:
    """JSON of more than a part may have, most of it blanks."""
    return json.dumps(values).encode() + b" " * MAX_PART_BYTES


def test_a_small_file_comes_back_as_it_is(values) -> None:
    content = json.dumps(values).encode()
    assert bounded(content, Record, "record") is content


def test_a_large_good_record_is_read(make_record) -> None:
    made = make_record()
    assert record_of(large(made.to_values())) == made


def test_a_record_of_many_observations_is_within_the_limits(values) -> None:
    values["observations"] *= 12_000 // len(values["observations"])
    content = bounded(json.dumps(values).encode(), Record, "record")
    assert json.loads(content) == values


@pytest.mark.parametrize("field", ["entry", "track", "scores", "notes"])
def test_a_part_has_a_limit(values, field) -> None:
    values[field] = [0] * MAX_PART_VALUES
    with pytest.raises(BadFile, match=f"field {field}: expected at most 1 MiB and 50,000 values"):
        record_of(json.dumps(values).encode())
    values[field] = "x" * MAX_PART_BYTES
    with pytest.raises(BadFile, match=f"field {field}: expected at most 1 MiB and 50,000 values"):
        record_of(json.dumps(values).encode())


def test_an_observation_is_a_part(values) -> None:
    values["observations"][1]["seconds"] = [0] * MAX_PART_VALUES
    with pytest.raises(BadFile, match="field observations: expected at most 1 MiB"):
        record_of(json.dumps(values).encode())


def test_all_values_together_have_a_limit() -> None:
    with pytest.raises(BadFile, match="at most 1,000,000 values"):
        record_of(b"[" + b"0," * MAX_VALUES + b"0]")


def test_fields_of_a_large_file_are_those_of_its_kind(values) -> None:
    with pytest.raises(BadProtocol, match="record, field more: expected no such field"):
        record_of(large(values | {"more": 1}))
    del values["dataset"]
    with pytest.raises(BadProtocol, match="record, field dataset: expected field required"):
        record_of(large(values))


@pytest.mark.parametrize("content", [b"[]", b"1", b"{", b'"\xff"', b"\xff\xfe", b"[" * 5000])
def test_a_large_file_that_is_no_object_is_refused(content) -> None:
    with pytest.raises(BadFile, match="expected"):
        record_of(content + b" " * MAX_PART_BYTES)
