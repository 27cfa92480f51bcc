"""Values that many files repeat."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Annotated

import pytest
from pydantic import Field, ValidationError

from ddranking.protocol.frozen import Frozen, FrozenDict, FrozenList, Plain
from ddranking.protocol.once import LONGEST, once


class Rule(Frozen):
    epochs: int
    rates: tuple[float, ...] = ()
    more: Plain = Field(default_factory=FrozenDict)


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


CHANGES = {
    "set": lambda found: found["a"].__setitem__("b", 2),
    "delete": lambda found: found.__delitem__("a"),
    "or": lambda found: found.__ior__({"a": 1}),
    "update": lambda found: found.update(a=1),
    "setdefault": lambda found: found.setdefault("c", 1),
    "pop": lambda found: found.pop("a"),
    "popitem": lambda found: found.popitem(),
    "clear": lambda found: found.clear(),
    "append": lambda found: found["a"]["b"].append(3),
    "extend": lambda found: found["a"]["b"].extend([3]),
    "item": lambda found: found["a"]["b"].__setitem__(0, 3),
    "slice": lambda found: found["a"]["b"].__delitem__(slice(None)),
    "sort": lambda found: found["a"]["b"].sort(),
    "add": lambda found: found["a"]["b"].__iadd__([3]),
    "times": lambda found: found["a"]["b"].__imul__(2),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_shared_does_not_change(change) -> None:
    value = {"epochs": 3, "more": {"a": {"b": [2, 1]}}}
    with pytest.raises(TypeError, match="make a copy"):
        CHANGES[change](read(value).more)
    assert read(value).more == value["more"]


def test_frozen_values_are_written_copied_and_sent_as_plain_ones() -> None:
    rule = read({"epochs": 3, "more": {"a": [{"b": 1}]}})
    assert rule.model_dump_json() == '{"epochs":3,"rates":[],"more":{"a":[{"b":1}]}}'
    assert rule.canonical == b'{"epochs":3,"more":{"a":[{"b":1}]},"rates":[]}'
    for other in (pickle.loads(pickle.dumps(rule)), copy.deepcopy(rule)):
        assert other == rule and other is not rule
        assert isinstance(other.more, FrozenDict) and isinstance(other.more["a"], FrozenList)


def unchanging(value: object) -> bool:
    """Whether nothing in a value can be changed."""
    if isinstance(value, Frozen):
        return all(unchanging(getattr(value, name)) for name in type(value).model_fields)
    if isinstance(value, FrozenDict):
        return all(map(unchanging, value.values()))
    if isinstance(value, FrozenList | tuple):
        return all(map(unchanging, value))
    return value is None or isinstance(value, str | int | float)


def test_what_records_share_is_unchanging(make_record) -> None:
    from ddranking.protocol.rules import Network, PublishedWeights, Teacher
    from ddranking.scoring.recordfile import record_of

    content = make_record(recipe="dsa").to_json().encode()
    first, second = record_of(content), record_of(content)
    assert first.dataset is second.dataset and first.track is second.track
    for shared in (first.dataset, first.track, first.recipe):
        assert unchanging(shared)
    for one in first.observations:
        assert all(map(unchanging, (one.trial.training, one.trial.training_set, one.environment)))
    space = {"kind": "standardized", "mean": [0.5], "std": [0.5]}
    network = Network(model="resnet18", weights=PublishedWeights(), space=space)
    assert unchanging(Teacher(networks=(network,)))
    assert not unchanging({"mean": [0.5]})


def test_a_record_cannot_change_another(make_record) -> None:
    from ddranking.scoring.recordfile import record_of

    content = make_record().to_json().encode()
    space = record_of(content).dataset.space
    with pytest.raises(TypeError):
        space["kind"] = "other"
    with pytest.raises(TypeError):
        space["mean"][0] = 9.0
    assert record_of(content).dataset.space["kind"] == "standardized"
