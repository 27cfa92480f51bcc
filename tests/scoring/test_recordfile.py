import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ddranking.errors import BadFile, BadInput
from ddranking.scoring.record import Record
from ddranking.scoring.recordfile import load_record, parse_record


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "1",
        '"x"',
        "{}",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"schema": NaN}',
        '{"schema": ' + "9" * 5000 + "}",
        "\ud800".encode("utf-8", "surrogatepass"),
        b"\xff\xfe{}",
        b"\x00",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_a_file_that_is_no_record_is_one_line(tmp_path, text) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput) as caught:
        load_record(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500 + len(str(path))


def test_missing_files_folders_and_huge_files(tmp_path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        load_record(tmp_path / "none.json")
    with pytest.raises(BadFile, match="readable file"):
        load_record(tmp_path)
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate((32 << 20) + 1)
    with pytest.raises(BadFile, match="at most 32 MiB"):
        load_record(huge)


@pytest.mark.parametrize(
    "space", [{"a": float("nan")}, {"a": 10**400}, {"a": "\ud800"}, {"": {"": {"": []}}}]
)
def test_odd_values_where_anything_may_stand(values, space) -> None:
    with pytest.raises(BadInput):
        parse_record({**values, "entry": {**values["entry"], "space": space}})


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("part", ["entry", "dataset"])
def test_a_number_without_an_end_is_refused_where_anything_may_stand(
    record, tmp_path, part, number
) -> None:
    before, found, after = record.to_json().partition(f'"{part}": {{')
    path = tmp_path / "record.json"
    path.write_text(before + found + after.replace("0.4914", number, 1))
    with pytest.raises(BadInput):
        load_record(path)


def test_words_for_numbers_are_words_in_a_text(make_record, tmp_path) -> None:
    record = make_record("NaN and Infinity")
    assert load_record(record.save(tmp_path / "record.json")) == record


def test_of_a_key_that_stands_twice_the_last_counts(record, tmp_path) -> None:
    """As in Python's own reader: what is checked is what is shown."""
    path = tmp_path / "record.json"
    text = record.to_json()
    path.write_text(text.replace('"epochs": 1000', '"epochs": 999, "epochs": 1000'))
    assert load_record(path) == record
    path.write_text(text.replace('"epochs": 1000', '"epochs": 1000, "epochs": 999', 1))
    with pytest.raises(BadInput):
        load_record(path)


def test_the_mark_of_utf8_at_the_beginning_is_no_fault(record, tmp_path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"\xef\xbb\xbf" + record.to_json().encode())
    assert load_record(path) == record


def test_deep_nesting_is_refused_at_any_depth(values) -> None:
    deep = {}
    for depth in range(1500):
        deep = {"a": deep}
        if depth in (50, 190, 210, 300, 900, 1499):
            with pytest.raises(BadInput):
                parse_record({**values, "entry": {**values["entry"], "space": deep}})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(ANYTHING)
def test_any_value_is_bad_input(value) -> None:
    with pytest.raises(BadInput):
        parse_record(value)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=80, deadline=None)
@given(st.data())
def test_a_mutated_record_is_refused_or_says_the_same(values, record, data) -> None:
    """One value anywhere replaced by anything: bad input, or a record with the same score."""
    result = copy.deepcopy(values)
    target = result
    for _ in range(data.draw(st.integers(0, 6))):
        inner = target.values() if isinstance(target, dict) else target
        inner = [each for each in inner if isinstance(each, dict | list) and each]
        if not inner:
            break
        target = data.draw(st.sampled_from(inner))
    keys = list(target) if isinstance(target, dict) else range(len(target))
    target[data.draw(st.sampled_from(list(keys)))] = data.draw(ANYTHING)
    try:
        seen = parse_record(result)
    except BadInput as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert seen.scores == record.scores
        assert Record.model_validate_json(seen.to_json()) == seen
