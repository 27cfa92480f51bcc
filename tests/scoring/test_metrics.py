import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddranking.errors import BadInput, ValueOutOfRange
from ddranking.scoring import metrics
from ddranking.scoring.metrics import alpha, ars, ddrs, fraction, hlr, ior

FRACTIONS = st.floats(0, 1)

# Published DD-Ranking leaderboard, CIFAR-10, of 2025-02-08: HLR, IOR and DDRS at w = 0.5, percent.
LEADERBOARD = [
    ("DC", 1, 52.66, 12.40, 19.14),
    ("DSA", 1, 58.93, 13.16, 18.19),
    ("DM", 1, 61.37, 8.73, 17.05),
    ("MTT", 1, 42.21, 27.62, 23.90),
    ("SRe2L", 1, 69.86, -0.27, 14.31),
    ("RDED", 1, 60.58, 2.38, 16.15),
    ("D4M", 1, 51.06, 6.68, 18.43),
    ("DC", 10, 36.70, 18.54, 23.20),
    ("DSA", 10, 35.14, 19.62, 23.72),
    ("DM", 10, 39.37, 16.12, 22.22),
    ("MTT", 10, 23.73, 30.90, 28.45),
    ("DATM", 10, 26.84, 35.05, 28.68),
    ("SRe2L", 10, 67.82, -5.77, 13.80),
    ("RDED", 10, 50.65, 1.11, 17.56),
    ("D4M", 10, 39.88, 9.12, 20.83),
    ("DC", 50, 26.31, 12.34, 24.02),
    ("DSA", 50, 27.41, 10.96, 23.53),
    ("DM", 50, 25.06, 12.66, 24.34),
    ("MTT", 50, 16.52, 20.52, 27.75),
    ("DATM", 50, 18.89, 23.89, 27.97),
]


@pytest.mark.parametrize(("value", "score"), [(0, 0.268941), (1, 1.0), (-1, 0.0)])
def test_golden_values_of_the_map(value, score) -> None:
    assert ddrs(value) == pytest.approx(score, abs=5e-7)


@pytest.mark.parametrize(
    ("lost", "gained", "score"),
    [(0.3670, 0.1854, 0.2320), (0.2373, 0.3090, 0.2845), (0.20, 0.10, 0.24819)],
)
def test_golden_scores(lost, gained, score) -> None:
    assert ddrs(alpha(lost, gained, 0.5)) == pytest.approx(score, abs=5e-5)
    assert ddrs(alpha(lost, gained)) == ddrs(alpha(lost, gained, 0.5))


@pytest.mark.parametrize(("method", "ipc", "lost", "gained", "score"), LEADERBOARD)
def test_the_published_leaderboard(method, ipc, lost, gained, score) -> None:
    seen = ddrs(alpha(lost / 100, gained / 100)) * 100
    assert seen == pytest.approx(score, abs=0.0051)


def test_arms_to_hlr_and_ior() -> None:
    assert hlr(0.848, 0.481) == pytest.approx(0.3670)
    assert ior(0.449, 0.2636) == pytest.approx(0.1854)


@given(FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS)
def test_every_score_of_fractions_is_in_range(real, syn, any_, rdm, w) -> None:
    value = alpha(hlr(real, syn), ior(any_, rdm), w)
    assert -1 <= value <= 1
    assert 0 <= ddrs(value) <= 1
    assert 0 <= ars(real, syn, any_, rdm, w) <= 1


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_map_keeps_order(one, other) -> None:
    low, high = sorted((one, other))
    assert ddrs(low) <= ddrs(high)
    if high - low > 1e-9:
        assert ddrs(low) < ddrs(high)


@given(st.floats(-1, 1), st.floats(-1, 1), FRACTIONS)
def test_alpha_is_linear_in_w(lost, gained, w) -> None:
    ends = alpha(lost, gained, 0), alpha(lost, gained, 1)
    assert alpha(lost, gained, w) == pytest.approx((1 - w) * ends[0] + w * ends[1], abs=1e-12)
    assert ends == (-lost, gained)


def test_two_entries_swap_only_at_w_star() -> None:
    a, b = (0.30, 0.25), (0.20, 0.10)  # (HLR, IOR): a gains more, b loses less
    swap = (a[0] - b[0]) / ((a[1] - b[1]) + (a[0] - b[0]))
    assert swap == pytest.approx(0.4)
    assert alpha(*a, swap) == pytest.approx(alpha(*b, swap))
    assert alpha(*a, swap - 0.01) < alpha(*b, swap - 0.01)
    assert alpha(*a, swap + 0.01) > alpha(*b, swap + 0.01)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: hlr(84.8, 0.481), "real_hard"),
        (lambda: hlr(0.848, 48.1), "syn_hard"),
        (lambda: ior(44.9, 0.26), "syn_any"),
        (lambda: ior(0.449, 26.0), "rdm_any"),
        (lambda: alpha(36.7, 0.1), "hlr"),
        (lambda: alpha(0.3, -18.5), "ior"),
        (lambda: alpha(0.3, 0.1, 50), "w"),
        (lambda: ddrs(23.2), "alpha"),
        (lambda: ars(44.9, 0.26, 0.4, 0.2), "syn_any"),
        (lambda: ars(0.4, 0.26, 0.4, 0.2, g=50), "g"),
    ],
)
def test_a_percentage_is_refused_with_a_hint(call, name) -> None:
    with pytest.raises(ValueOutOfRange, match="looks like a percentage") as caught:
        call()
    assert caught.value.what == name
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -0.01, 1.5, None, "x", []])
def test_what_is_no_fraction_is_refused(value) -> None:
    with pytest.raises(ValueOutOfRange):
        fraction(value, "accuracy")


@given(st.one_of(st.none(), st.text(), st.floats(), st.integers(), st.lists(st.floats())))
def test_a_fraction_is_in_range_or_bad_input(value) -> None:
    try:
        assert 0 <= fraction(value, "accuracy") <= 1
    except BadInput as error:
        assert "accuracy" in str(error)


def test_ars_weighs_both_differences() -> None:
    assert ars(0.5, 0.3, 0.4, 0.3) == pytest.approx(ddrs(0.15))
    assert ars(0.5, 0.3, 0.4, 0.3, g=1) == pytest.approx(ddrs(0.2))
    assert ars(0.5, 0.3, 0.4, 0.3, g=0) == pytest.approx(ddrs(0.1))
    assert metrics.ars(0, 1, 0, 1) == 0
