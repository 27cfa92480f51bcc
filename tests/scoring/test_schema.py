"""The JSON Schema that is shipped for readers in other languages.

Written again with: python -m ddranking.scoring.schema
"""

import copy
import json

import jsonschema
import pytest

from ddranking.scoring import schema


@pytest.fixture(scope="module")
def validator():
    shipped = schema.shipped()
    jsonschema.Draft202012Validator.check_schema(shipped)
    return jsonschema.Draft202012Validator(shipped)


def test_the_shipped_schema_is_up_to_date() -> None:
    assert schema.PATH.read_text(encoding="utf-8") == schema.text(), (
        "run: python -m ddranking.scoring.schema"
    )


def test_a_record_fits_the_schema(validator, make_record) -> None:
    validator.validate(json.loads(make_record().to_json()))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "ddranking.record/2"),
        ("observations", "none"),
        ("trust", "trusted"),
        ("bogus", 1),
        ("scores", {}),
        ("created", None),
    ],
)
def test_what_is_no_record_does_not_fit(validator, make_record, field, value) -> None:
    values = copy.deepcopy(json.loads(make_record().to_json()))
    values[field] = value
    assert not validator.is_valid(values)
