import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddranking.protocol.canonical import canonical_json, content_hash

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def reordered(value):
    """An equal value whose dictionaries were filled in the opposite order."""
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(each) for each in value] if isinstance(value, list) else value


@given(VALUES)
def test_equal_values_have_equal_bytes_and_read_back(value) -> None:
    assert canonical_json(value) == canonical_json(reordered(value))
    assert json.loads(canonical_json(value)) == value


def test_the_form_is_pinned() -> None:
    text = b'{"a":[1,0.1,1e-05,null,true],"\xc3\xa9":{}}'
    value = {"é": {}, "a": [1, 0.1, 0.00001, None, True]}
    assert canonical_json(value) == text
    assert content_hash(value) == "sha256:" + hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_has_no_hash(value) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        content_hash({"a": value})
