import inspect
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddranking import errors
from ddranking.errors import BadInput, DDRankingError, MissingExtra, UnknownName, ValueOutOfRange

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, DDRankingError)
]
LINES = st.text(max_size=40)


def test_the_tree_at_the_top_of_the_file_is_the_real_one() -> None:
    drawn = re.findall(r"^ {4,}(\w+)", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(kind.__name__ for kind in KINDS)
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^( {4,})(\w+)", line):
            depth = (len(match[1]) - 4) // 2
            kind = getattr(errors, match[2])
            ours = [base for base in kind.__mro__ if issubclass(base, DDRankingError)]
            assert len(ours) - 1 == depth, kind


@given(LINES, LINES, LINES, LINES)
def test_a_message_is_one_line_and_survives_a_process_border(what, expected, got, hint) -> None:
    error = ValueOutOfRange(what, expected=expected, got=got, hint=hint)
    assert len(str(error).splitlines()) <= 1
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ValueOutOfRange
    assert str(again) == str(error)
    assert (again.what, again.expected, again.got, again.hint) == (what, expected, got, hint)


def test_a_message_says_what_expected_got_and_what_to_do() -> None:
    error = BadInput("--port", expected="a free port", got="80", hint="Try 8000.")
    assert str(error) == "--port: expected a free port, got 80. Try 8000."
    assert str(BadInput("--port")) == "--port"
    assert str(BadInput("--port", got="80")) == "--port: got 80"


@pytest.mark.parametrize(
    ("name", "offered"), [("dcc", "dc"), ("DSA", "dsa"), ("unifed", "unified"), ("zzzz", None)]
)
def test_an_unknown_name_offers_the_closest(name, offered) -> None:
    error = UnknownName("recipe", name, ["unified", "dc", "dsa"])
    assert isinstance(error, LookupError)
    assert "one of dc, dsa, unified" in str(error)
    assert repr(name) in str(error)
    assert (f"Did you mean {offered!r}?" in str(error)) == (offered is not None)


def test_special_errors_survive_a_process_border() -> None:
    for error in (
        UnknownName("recipe", "dcc", ["dc"]),
        MissingExtra("timm", "timm", "model timm/resnet18"),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
    assert "pip install 'ddranking[timm]'" in str(error)
