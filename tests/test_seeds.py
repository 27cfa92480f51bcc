import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddranking.seeds import derive, generator


@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        ((0,), 3456079177858693020),
        ((3, "order"), 4004221479398028008),
        ((3, "baseline", 7), 1873136907004130767),
    ],
)
def test_derived_seeds_never_change(arguments, seed) -> None:
    """Every published record rests on these streams."""
    assert derive(*arguments) == seed


@given(st.integers(0, 2**31), st.lists(st.text(max_size=8) | st.integers(), max_size=4))
def test_a_seed_is_a_63_bit_number_and_repeats(seed, purpose) -> None:
    assert 0 <= derive(seed, *purpose) < 2**63
    assert derive(seed, *purpose) == derive(seed, *purpose)


def test_purposes_and_seeds_give_streams_of_their_own() -> None:
    streams = {derive(seed, purpose) for seed in range(50) for purpose in ("order", "draw", "")}
    assert len(streams) == 150


def test_a_generator_depends_on_its_purpose_and_touches_no_global_state() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what is checked
    first, again, other = (generator(1, purpose).random(4) for purpose in ("a", "a", "b"))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
