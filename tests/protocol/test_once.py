"""Values that many files repeat."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from ddranking.protocol.frozen import Frozen
from ddranking.protocol.once import LONGEST, once


class Rule(Frozen):
    epochs: int
    rates: tuple[float, ...] = ()
    more: dict[str, Any] = Field(default_factory=dict)


class File(Frozen):
    rule: Annotated[Rule, once(Rule)]


def read(rule: object) -> Rule:
    return File.model_validate_json(json.dumps({"rule": rule})).rule


def test_equal_json_is_one_object_and_other_json_another() -> None:
    first = read({"epochs": 3, "rates": [0.1]})
    assert read({"epochs": 3, "rates": [0.1]}) is first
    assert read({"epochs": 3, "rates": [0.2]}) != first
    assert read({"rates": [0.1], "epochs": 3}) == first


@pytest.mark.parametrize("other", [1, 1.0, True, "1", -0.0, 0.0, None])
def test_values_that_python_calls_equal_stay_apart(other) -> None:
    for each in (1, 1.0, True, "1", -0.0, 0.0, None):
        read({"epochs": 3, "more": {"a": each}})
    assert repr(read({"epochs": 3, "more": {"a": other}}).more) == repr({"a": other})


@pytest.mark.parametrize("epochs", ["3", 3.0, True, None, 1e400])
def test_what_was_read_before_makes_nothing_valid(epochs) -> None:
    """JSON is read strictly, whatever is known."""
    read({"epochs": 3})
    with pytest.raises(ValidationError) as caught:
        read({"epochs": epochs})
    assert caught.value.errors()[0]["loc"] == ("rule", "epochs")


def test_unknown_fields_and_other_kinds_are_refused() -> None:
    for value in ({"epochs": 3, "x": 1}, [], "rule", 3, None):
        with pytest.raises(ValidationError):
            read(value)


def test_python_values_are_validated_as_usual() -> None:
    assert File(rule={"epochs": 3, "rates": [1]}) == File(rule=Rule(epochs=3, rates=(1.0,)))


def test_long_values_are_read_and_not_kept() -> None:
    long = {"epochs": 3, "more": {"a": "x" * LONGEST}}
    assert read(long) == read(long)
    assert read(long) is not read(long)


def test_a_copy_derives_its_own() -> None:
    rule = read({"epochs": 3})
    assert rule.canonical == b'{"epochs":3,"more":{},"rates":[]}'
    assert rule.model_copy(update={"epochs": 4}).canonical == b'{"epochs":4,"more":{},"rates":[]}'
