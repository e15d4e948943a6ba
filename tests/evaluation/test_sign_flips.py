"""The sign-flip test against brute force in fractions, scipy, and what must hold for any test."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hqnn_jax.evaluation import sign_flips
from hqnn_jax.evaluation.sign_flips import (
    sign_flip_p_value,
    signed_ranks,
    smallest_p_value,
    with_ties,
)


def _brute_force(differences) -> Fraction:
    """Share of all 2^n choices of signs, in exact arithmetic."""
    exact = [Fraction(value) for value in differences]
    observed = abs(sum(exact))
    flips = itertools.product((1, -1), repeat=len(exact))
    far = [abs(sum(s * d for s, d in zip(f, exact, strict=True))) >= observed for f in flips]
    return Fraction(sum(far), len(far))


COUNTS = st.lists(st.integers(-9, 40), min_size=2, max_size=9)


@given(counts=COUNTS, total=st.sampled_from([7, 100, 3421]))
@settings(max_examples=80, deadline=None)
def test_counts_and_their_shares_give_the_brute_force_p_value(counts, total):
    expected = float(_brute_force(counts))
    assert sign_flip_p_value(np.array(counts)) == expected
    # A difference of two rounded shares, as a metric of floats is one.
    start = np.arange(len(counts)) + 50
    shares = (start + counts) / total - start / total
    assert sign_flip_p_value(with_ties(shares, 1e-12), tie=1e-12) == expected


@given(counts=COUNTS, seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_order_sign_and_scale_do_not_matter_and_the_bound_holds(counts, seed):
    values = np.array(counts)
    p_value = sign_flip_p_value(values)
    shuffled = np.random.default_rng(seed).permutation(values)
    assert sign_flip_p_value(shuffled) == sign_flip_p_value(-values) == p_value
    assert sign_flip_p_value(3 * values) == p_value
    assert smallest_p_value(len(values)) <= p_value <= 1
    # A zero can be flipped at no cost.
    assert sign_flip_p_value(np.append(values, 0)) == p_value


@pytest.mark.parametrize("size", [16, 23, 32])
def test_floats_are_exact_beyond_what_is_tried_one_by_one(size):
    counts = np.random.default_rng(size).integers(-20, 45, size)
    # The two ways of counting share no code; both are exact.
    assert sign_flip_p_value(counts / 8.0, tie=1e-9) == sign_flip_p_value(counts)


def test_counts_of_many_seeds_are_exact():
    # Equal sizes make the sum binomial: 60 seeds, of which 40 are positive.
    counts = np.array([3] * 40 + [-3] * 20)
    expected = stats.binomtest(40, 60).pvalue
    assert sign_flip_p_value(counts) == pytest.approx(expected, rel=1e-12)


def test_floats_of_very_many_seeds_are_drawn_and_count_the_observed_signs():
    rng = np.random.default_rng(0)
    counts = rng.integers(-20, 30, 40)
    drawn = sign_flip_p_value(counts / 7, tie=1e-9, seed=1)
    assert drawn == sign_flip_p_value(counts / 7, tie=1e-9, seed=1)
    exact = sign_flip_p_value(counts)
    assert drawn == pytest.approx(exact, abs=4 * np.sqrt(exact / sign_flips.NUM_FLIPS))
    strongest = sign_flip_p_value(np.arange(1, 61) / 7)
    assert strongest == smallest_p_value(60) == 1 / (sign_flips.NUM_FLIPS + 1)


def test_signed_ranks_are_those_of_scipy():
    values = np.array([5.0, -2, 1, 1, 0, 4, -1, 7, 3, -6])
    method = stats.PermutationMethod(n_resamples=9999)
    expected = stats.wilcoxon(values, zero_method="pratt", method=method).pvalue
    assert sign_flip_p_value(signed_ranks(values)) == pytest.approx(expected)
    without_ties = np.random.default_rng(1).normal(0.4, 1, 30)
    expected = stats.wilcoxon(without_ties, method="exact").pvalue
    assert sign_flip_p_value(signed_ranks(without_ties)) == pytest.approx(expected)


def test_values_computed_in_two_ways_are_one():
    found = with_ties(np.array([0.9 - 0.8, 0.7 - 0.8, 0.3, 1e-17, 0.4 - 0.3]), 1e-12)
    assert found[0] == -found[1] == found[4]
    assert found.tolist()[2:4] == [0.3, 0.0]
    assert with_ties(np.array([0.1, 0.1001]), 1e-12).tolist() == [0.1, 0.1001]
