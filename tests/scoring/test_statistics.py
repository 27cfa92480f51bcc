import itertools
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ddranking.errors import ValueOutOfRange
from ddranking.scoring.statistics import compare_paired, equivalent_paired, estimate, holm

FRACTIONS = st.floats(0, 1)
PAIRS = st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=2, max_size=12)


@given(st.lists(FRACTIONS, min_size=2, max_size=12))
def test_an_estimate_is_that_of_scipy(values) -> None:
    seen = estimate(values)
    mean, std = np.mean(values), np.std(values, ddof=1)
    half = stats.t.ppf(0.975, len(values) - 1) * std / np.sqrt(len(values))
    assert seen.mean == pytest.approx(mean, abs=1e-12)
    assert seen.std == pytest.approx(std, abs=1e-12)
    assert seen.low == pytest.approx(mean - half, abs=1e-9)
    assert seen.high == pytest.approx(mean + half, abs=1e-9)
    assert seen.n == len(values)
    assert seen.values == tuple(values)


@given(st.lists(FRACTIONS | st.floats(1e-12, 1e-9), min_size=2, max_size=12))
def test_the_deviation_is_exact_but_for_rounding(values) -> None:
    wanted = statistics.stdev(values)
    assert estimate(values).std == pytest.approx(wanted, rel=1e-15, abs=1e-150)
    assert estimate(values[:1] * 5).std == 0


def test_five_seeds_use_the_quantile_of_the_tables() -> None:
    seen = estimate([1.0, 2.0, 3.0, 4.0, 5.0])
    assert seen.std == pytest.approx(1.58113883)  # n-1, not n: 1.41421
    assert seen.high - seen.mean == pytest.approx(2.776445 * 1.58113883 / 5**0.5)


def test_the_interval_of_five_seeds_covers_the_truth_19_times_in_20() -> None:
    """4,000 experiments: 95 % within three standard errors (0.0034); a bootstrap covers 83 %."""
    draws = np.random.default_rng(20260101).normal(0.3, 0.02, size=(4000, 5))
    covered = sum(seen.low <= 0.3 <= seen.high for seen in map(estimate, draws.tolist()))
    assert covered / 4000 == pytest.approx(0.95, abs=0.0105)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_seed_has_no_interval(values) -> None:
    with pytest.raises(ValueOutOfRange, match="at least 2"):
        estimate(values)


@given(PAIRS)
def test_a_paired_comparison_is_scipys_paired_t_test(pairs) -> None:
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    seen = compare_paired(a, b)
    differences = np.subtract(a, b)
    if np.std(differences) > 1e-9:
        assert seen.p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=1e-9)
    assert seen.difference.mean == pytest.approx(np.mean(differences), abs=1e-12)
    assert compare_paired(b, a).p_value == seen.p_value
    assert compare_paired(b, a).verdict == -seen.verdict


def test_the_verdict_and_the_p_value_agree() -> None:
    source = np.random.default_rng(5)
    verdicts = set()
    for shift in np.linspace(-0.06, 0.06, 60):
        a, b = source.normal(0.3 + shift, 0.02, 5), source.normal(0.3, 0.02, 5)
        seen = compare_paired(a.tolist(), b.tolist())
        assert (seen.verdict != 0) == (seen.p_value < 0.05)
        assert seen.verdict in (0, np.sign(seen.difference.mean))
        verdicts.add(seen.verdict)
    assert verdicts == {-1, 0, 1}


def test_what_two_entries_share_cancels() -> None:
    shared = np.random.default_rng(1).normal(0, 0.2, 5)
    a, b = (shared + 0.02).tolist(), shared.tolist()
    assert estimate(a).low < estimate(b).mean < estimate(a).high  # two intervals say nothing
    seen = compare_paired(a, b)
    assert seen.verdict == 1
    assert seen.p_value < 1e-6


@pytest.mark.parametrize(
    ("a", "b", "p_value", "verdict"),
    [([0.5, 0.5], [0.5, 0.5], 1.0, 0), ([1.0, 1.0], [0.5, 0.5], 0.0, 1)],
)
def test_seeds_without_spread(a, b, p_value, verdict) -> None:
    seen = compare_paired(a, b)
    assert (seen.p_value, seen.verdict) == (p_value, verdict)


def test_entries_with_different_numbers_of_seeds_do_not_pair() -> None:
    with pytest.raises(ValueOutOfRange, match="3 and 2"):
        compare_paired([0.1, 0.2, 0.3], [0.1, 0.2])


def rejected_at(p_values: list[float], level: float) -> set[int]:
    """Holm's procedure itself: test the smallest against level/m, the next against level/(m-1)."""
    rejected: set[int] = set()
    left = list(range(len(p_values)))
    while left:
        smallest = min(left, key=lambda i: p_values[i])
        if p_values[smallest] * len(left) > level:
            break
        rejected.add(smallest)
        left.remove(smallest)
    return rejected


@given(
    st.lists(st.integers(0, 400).map(lambda n: n / 400), min_size=1, max_size=8),
    st.integers(1, 399).map(lambda n: n / 400 + 1 / 1700),
)
def test_adjusted_p_values_reject_what_the_procedure_rejects(p_values, level) -> None:
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= level} == rejected_at(p_values, level)
    assert all(raw <= p <= 1 for raw, p in zip(p_values, adjusted, strict=True))


def test_adjustment_does_not_depend_on_the_order() -> None:
    p_values = [0.2, 0.01, 0.04, 0.03]
    wanted = dict(zip(p_values, holm(p_values), strict=True))
    for order in itertools.permutations(p_values):
        assert holm(order) == [wanted[p] for p in order]


def test_no_comparison_needs_no_adjustment() -> None:
    assert holm([]) == []


# --- Equivalence ----------------------------------------------------------------------------------


@given(PAIRS, st.floats(0.001, 0.5))
def test_equivalence_is_scipys_two_one_sided_tests(pairs, margin) -> None:
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    differences = np.subtract(a, b)
    if np.std(differences) < 1e-6:
        return
    seen = equivalent_paired(a, b, margin)
    above, below = (
        stats.ttest_1samp(differences, end, alternative=side).pvalue
        for end, side in ((-margin, "greater"), (margin, "less"))
    )
    assert seen.p_value == pytest.approx(max(above, below), abs=1e-9)
    beyond = min(
        stats.ttest_1samp(differences, margin, alternative="greater").pvalue,
        stats.ttest_1samp(differences, -margin, alternative="less").pvalue,
    )
    assert seen.p_differs == pytest.approx(beyond, abs=1e-9)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    assert (seen.low, seen.high) == pytest.approx((low, high), abs=1e-9)


@given(PAIRS, st.floats(0.001, 0.5))
def test_the_verdict_is_where_the_90_percent_interval_lies(pairs, margin) -> None:
    a, b = ([pair[i] for pair in pairs] for i in (0, 1))
    seen = equivalent_paired(a, b, margin)
    if min(abs(abs(end) - margin) for end in (seen.low, seen.high)) < 1e-9:
        return
    inside = -margin < seen.low and seen.high < margin
    outside = seen.low > margin or seen.high < -margin
    assert seen.verdict == ("agrees" if inside else "differs" if outside else "cannot tell")
    other = equivalent_paired(b, a, margin)
    assert other.verdict == seen.verdict
    assert other.p_value == pytest.approx(seen.p_value, abs=1e-12)


def test_what_is_at_the_margin_is_taken_for_equal_once_in_twenty() -> None:
    """10,000 experiments with a true difference of the margin: the test keeps its 5 %."""
    draws = np.random.default_rng(20260102).normal(0.02, 0.008, size=(10_000, 5))
    mean, error = draws.mean(1), draws.std(1, ddof=1) / 5**0.5
    t = stats.t.ppf(0.95, 4)
    slow = (mean + t * error < 0.02) & (mean - t * error > -0.02)
    seen = [equivalent_paired(row, [0.0] * 5, 0.02).verdict for row in draws.tolist()]
    assert [each == "agrees" for each in seen] == slow.tolist()
    assert slow.mean() == pytest.approx(0.05, abs=0.0066)


@pytest.mark.parametrize(
    ("shift", "verdict"),
    [(0.0, "agrees"), (0.25, "cannot tell"), (0.5, "differs"), (-0.5, "differs")],
)
def test_equivalence_without_spread(shift, verdict) -> None:
    assert equivalent_paired([0.5 + shift] * 3, [0.5] * 3, 0.25).verdict == verdict


@pytest.mark.parametrize("margin", [0.0, -0.1, float("nan"), float("inf")])
def test_a_margin_is_a_positive_number(margin) -> None:
    with pytest.raises(ValueOutOfRange, match="margin"):
        equivalent_paired([0.1, 0.2], [0.1, 0.2], margin)
