"""The tests over seeds are those of scipy, statsmodels, textbooks and brute force."""

import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from hqnn_jax.evaluation.comparison import (
    Comparison,
    adjust,
    can_be_significant,
    compare,
    is_significant,
    seeds_needed,
    summarise,
)
from hqnn_jax.evaluation.sign_flips import smallest_p_value

# Student's sleep data (Biometrika 6, 1908): extra hours of sleep of ten patients.
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])


@pytest.fixture
def contrast():
    """Compare two sequences of metrics, with predictions that hardly matter."""

    def contrast(values, reference, **keywords) -> Comparison:
        nothing = np.zeros((len(values), 3), np.int32)
        return compare(
            np.asarray(values, np.float64),
            np.asarray(reference, np.float64),
            nothing,
            nothing,
            nothing[0],
            **keywords,
        )

    return contrast


def test_sleep_data_give_the_textbook_numbers(contrast):
    result = contrast(SLEEP_2, SLEEP_1)
    assert result.mean == pytest.approx(1.58)
    assert result.t_interval == pytest.approx((0.7001142, 2.4598858))
    assert result.t_test == pytest.approx(0.00283289)
    assert result.effect_size == pytest.approx(1.58 / 1.229995, rel=1e-5)
    # All nine non-zero differences are positive: 2 of the 2^9 equally likely sign patterns.
    assert result.permutation == result.wilcoxon == 2 / 2**9
    assert result.adjusted == result.permutation


def test_tests_agree_with_scipy_on_asymmetric_data(contrast):
    rng = np.random.default_rng(2)
    for size in (4, 9, 20):
        values, reference = rng.normal(0.9, 0.01, size), rng.normal(0.893, 0.02, size)
        result = contrast(values, reference, level=0.9)
        difference = values - reference
        student = stats.ttest_rel(values, reference)
        interval = student.confidence_interval(0.9)
        assert result.differences == pytest.approx(difference)
        assert result.deviation == pytest.approx(difference.std(ddof=1))
        assert result.t_test == pytest.approx(student.pvalue)
        assert result.t_interval == pytest.approx((interval.low, interval.high))
        assert result.wilcoxon == pytest.approx(stats.wilcoxon(values, reference).pvalue)


def _brute_force(statistic, differences):
    """Share of all 2^n sign flips at least as far from zero as the observed one."""
    observed = abs(statistic(differences))
    flips = itertools.product((1, -1), repeat=len(differences))
    found = [abs(statistic(differences * np.array(signs))) for signs in flips]
    return np.mean(np.array(found) >= observed - 1e-12)


def _signed_ranks(differences):
    return np.sum(np.sign(differences) * stats.rankdata(np.abs(differences)))


@pytest.mark.parametrize(
    "points",
    [[3, -1, 2], [5, -2, 1, 1, 0, 4, -1, 3], [0, 0, 7, -3, 3, 1], [2, 2, 2, 2], [9, -9, 0, 0, 0]],
)
def test_exact_tests_equal_brute_force_with_ties_and_zeros(contrast, points):
    reference = np.linspace(0.71, 0.83, len(points))
    # The sums are not exact in binary, so that ties would be lost without rounding.
    result = contrast(reference + np.array(points) / 100, reference)
    points = np.array(points)
    assert result.permutation == pytest.approx(_brute_force(np.mean, points))
    assert result.wilcoxon == pytest.approx(_brute_force(_signed_ranks, points))


def test_exact_wilcoxon_with_ties_is_that_of_scipy(contrast):
    points = np.array([5.0, -2, 1, 1, 0, 4, -1])
    method = stats.PermutationMethod(n_resamples=9999)
    expected = stats.wilcoxon(points, zero_method="pratt", method=method).pvalue
    assert contrast(points, 0 * points).wilcoxon == pytest.approx(expected)


N_TEST = 3421  # images; 1 / 3421 has no short decimal, unlike hundredths


@pytest.mark.parametrize("counts", [[3, -1, -2], [1, 2, -3, 4, 4], [5, -5, 5, 10, -15, 1, 0, 2]])
def test_shares_of_images_are_tested_in_whole_images(counts):
    """Ties of multiples of 1 / 3421 were lost, so p-values came out too small."""
    seeds, labels = len(counts), np.zeros(N_TEST, np.int64)
    right = np.array([2000 + 7 * seed for seed in range(seeds)])
    ours, theirs = right + np.array(counts), right
    predicted, other = ((np.arange(N_TEST) >= n[:, None]).astype(int) for n in (ours, theirs))
    found = compare(ours / N_TEST, theirs / N_TEST, predicted, other, labels, counted=True)
    assert found.counts == tuple(counts)
    assert found.differences == tuple(count / N_TEST for count in counts)
    flips = list(itertools.product((1, -1), repeat=seeds))
    sums = [abs(sum(s * c for s, c in zip(flip, counts, strict=True))) for flip in flips]
    share = Fraction(sum(total >= abs(sum(counts)) for total in sums), len(flips))
    assert found.permutation == float(share)
    # The same differences as floats, which have rounding errors, are the same ties.
    as_floats = compare(ours / N_TEST, theirs / N_TEST, predicted, other, labels)
    assert as_floats.permutation == float(share)
    assert as_floats.wilcoxon == found.wilcoxon
    assert as_floats.counts is None


def test_a_metric_that_is_no_share_of_the_images_is_refused():
    nothing = np.zeros((2, 8), int)
    with pytest.raises(ValueError, match="expected shares of 8 samples"):
        compare(np.full(2, 0.3), np.ones(2), nothing, nothing, nothing[0], counted=True)


@pytest.mark.parametrize("missed", [(3, 9), (0, 0), (16, 40), (30, 30)])
def test_mcnemar_pools_the_predictions_of_all_seeds(missed):
    labels = np.arange(60) % 3
    arm, reference = np.tile(labels, (2, 1)), np.tile(labels, (2, 1))
    arm.reshape(-1)[: missed[0]] += 1
    reference.reshape(-1)[60 : 60 + missed[1]] += 1
    # Both wrong in different ways: discordant in class, but not counted.
    arm[:, -1], reference[:, -1] = 7, 8
    result = compare(np.zeros(2), np.ones(2), arm, reference, labels)
    assert (result.only_arm_right, result.only_reference_right) == (missed[1], missed[0])
    if sum(missed) < 25:
        expected = min(1.0, 2 * stats.binom.cdf(min(missed), sum(missed), 0.5))
    elif missed[0] == missed[1]:
        expected = 1.0
    else:
        table = [[0, missed[0]], [missed[1], 0]]
        expected = mcnemar(table, exact=False, correction=True).pvalue
        by_hand = stats.chi2.sf((abs(missed[0] - missed[1]) - 1) ** 2 / sum(missed), 1)
        assert expected == pytest.approx(by_hand)
    assert result.mcnemar == pytest.approx(expected)


def _with_p_value(contrast, p_value):
    base = contrast([0.2, 0.5], [0.1, 0.3])
    return Comparison(**{**vars(base), "permutation": p_value, "adjusted": p_value})


def test_holm_by_hand(contrast):
    p_values = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    corrected = adjust({name: _with_p_value(contrast, p) for name, p in p_values.items()})
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1; never below the one before.
    expected = {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}
    assert list(corrected) == list(expected)
    assert {name: item.adjusted for name, item in corrected.items()} == pytest.approx(expected)
    assert {name: item.permutation for name, item in corrected.items()} == p_values
    assert is_significant(corrected["a"], level=0.95)
    assert not is_significant(corrected["b"], level=0.95)
    assert adjust({}) == {}


def test_an_undefined_comparison_stays_undefined_and_counts(contrast):
    corrected = adjust({"x": _with_p_value(contrast, np.nan), "y": _with_p_value(contrast, 0.02)})
    assert math.isnan(corrected["x"].adjusted)
    assert not is_significant(corrected["x"], level=0.95)
    assert corrected["y"].adjusted == pytest.approx(0.04)


def test_significance_is_strict_in_spite_of_rounding(contrast):
    # 1 - 0.95 is 0.050000000000000044 in binary.
    assert not is_significant(_with_p_value(contrast, 0.05), level=0.95)
    assert is_significant(_with_p_value(contrast, 0.0499), level=0.95)


@pytest.mark.parametrize(
    ("num_comparisons", "needed"), [(1, 6), (2, 7), (7, 9), (200, 13), (220, 14)]
)
def test_seeds_needed(contrast, num_comparisons, needed):
    assert seeds_needed(num_comparisons=num_comparisons, level=0.95) == needed
    for seeds in (needed - 1, needed):
        # Differences all of one sign are the strongest case.
        strongest = contrast(np.arange(1, seeds + 1) / 100, np.zeros(seeds))
        assert strongest.permutation == smallest_p_value(seeds)
        possible = can_be_significant(seeds, num_comparisons=num_comparisons, level=0.95)
        assert possible == (seeds == needed)


def test_no_number_of_seeds_is_enough_for_too_many_comparisons():
    assert seeds_needed(num_comparisons=250, level=0.95) == 14
    assert seeds_needed(num_comparisons=10**9, level=0.95) is None
    assert not can_be_significant(1000, num_comparisons=10**9, level=0.95)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(300):
        low, high = summarise(rng.normal(0.9, 0.02, 8), level=0.9).t_interval
        covered += low <= 0.9 <= high
    # Expected 270 with a standard deviation of 5.2.
    assert 254 <= covered <= 286


def test_summary_of_skewed_values():
    values = np.array([0.91, 0.92, 0.915, 0.93, 0.80, 0.925])
    summary = summarise(values, level=0.9)
    assert summary.mean == pytest.approx(0.9)
    assert summary.deviation == pytest.approx(np.std(values, ddof=1))
    half = 2.0150484 * summary.deviation / np.sqrt(6)  # t table, 5 degrees of freedom
    assert summary.t_interval == pytest.approx((0.9 - half, 0.9 + half))


def test_degenerate_summaries():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = summarise(np.array([0.9]))
        assert (one.mean, one.deviation, one.t_interval) == (0.9, None, None)
        # 0.1 + 0.1 + 0.1 is not 0.3 in binary; the deviation must be zero nevertheless.
        equal = summarise(np.array([0.1, 0.1, 0.1]))
        assert (equal.mean, equal.deviation) == (pytest.approx(0.1), 0.0)
        assert equal.t_interval == pytest.approx((0.1, 0.1))
        undefined = summarise(np.array([0.9, np.nan, 0.8]))
        assert math.isnan(undefined.mean)
        assert undefined.deviation is undefined.t_interval is None
    with pytest.raises(ValueError, match="no seeds; expected at least one"):
        summarise(np.zeros(0))


def test_degenerate_comparisons(contrast):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zero = contrast([0.7, 0.8, 0.9], [0.7, 0.8, 0.9])
        assert zero.t_test == zero.wilcoxon == zero.permutation == zero.mcnemar == 1.0
        assert zero.effect_size is None
        assert (zero.mean, zero.deviation) == (0.0, 0.0)
        assert zero.t_interval == (0.0, 0.0)

        # 0.9 - 0.8, 0.8 - 0.7 and 0.4 - 0.3 differ in binary.
        equal = contrast([0.9, 0.8, 0.4], [0.8, 0.7, 0.3])
        assert equal.differences == pytest.approx((0.1, 0.1, 0.1))
        assert len(set(equal.differences)) == 1
        assert (equal.t_test, equal.permutation, equal.wilcoxon) == (0.0, 0.25, 0.25)
        assert equal.effect_size is None
        assert equal.t_interval == pytest.approx((0.1, 0.1))

        two = contrast([0.9, 0.83], [0.8, 0.81])
        assert two.permutation == two.wilcoxon == 0.5
        assert two.t_interval == pytest.approx((0.06 - 12.706205 * 0.04, 0.06 + 12.706205 * 0.04))


def test_an_undefined_metric_leaves_only_the_predictions_to_compare(contrast):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = contrast([0.9, np.nan, 0.8], [0.8, 0.7, 0.7])
    assert result.differences[0] == pytest.approx(0.1)
    assert math.isnan(result.differences[1])
    assert result.effect_size is None
    names = ("mean", "deviation", "t_test", "wilcoxon", "permutation", "adjusted", "detectable")
    assert all(math.isnan(getattr(result, name)) for name in names)
    assert np.isnan(result.t_interval).all()
    assert result.mcnemar == 1.0


def test_one_seed_is_refused(contrast):
    with pytest.raises(ValueError, match="over 1 seeds; expected at least 2"):
        contrast([0.9], [0.8])


@given(
    pairs=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=16),
    level=st.sampled_from([0.8, 0.95, 0.99]),
)
@settings(max_examples=60, deadline=None)
def test_swapping_arm_and_reference_mirrors_the_comparison(pairs, level):
    rng = np.random.default_rng(len(pairs))
    values, reference = np.array(pairs, np.float64).T / 41
    labels = rng.integers(0, 3, 20)
    predicted, other = rng.integers(0, 3, (2, len(pairs), 20))
    forth = compare(values, reference, predicted, other, labels, level=level)
    back = compare(reference, values, other, predicted, labels, level=level)

    assert back.differences == tuple(-difference for difference in forth.differences)
    assert (back.mean, back.deviation) == (-forth.mean, forth.deviation)
    low, high = forth.t_interval
    assert back.t_interval == pytest.approx((-high, -low), abs=1e-9)
    assert low <= high
    same = ("t_test", "wilcoxon", "permutation", "mcnemar")
    for name in same:
        assert getattr(back, name) == pytest.approx(getattr(forth, name), abs=1e-12)
        assert math.isfinite(getattr(forth, name))
    assert (back.only_arm_right, back.only_reference_right) == (
        forth.only_reference_right,
        forth.only_arm_right,
    )
    if forth.effect_size is None:
        assert back.effect_size is None
    else:
        assert back.effect_size == pytest.approx(-forth.effect_size)
