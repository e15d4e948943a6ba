"""How numbers are written."""

import math

import pytest

from hqnn_jax.reporting import formatting


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(-0.0117, 1, "−1.2"), (0.0, 1, "0.0"), (-1e-5, 1, "0.0"), (0.00254, 2, "+0.25")],
)
def test_differences_have_a_sign_unless_they_round_to_zero(value, decimals, text):
    assert formatting.points(value, decimals) == text


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, -math.inf])
def test_what_is_undefined_is_a_dash(nothing):
    assert formatting.percent(nothing) == "—"
    assert formatting.points(nothing) == "—"
    assert formatting.fixed(nothing, 3) == "—"
    assert formatting.p_value(nothing) == "—"
    assert formatting.interval(None if nothing is None else (0.1, nothing)) == "—"
    assert formatting.points_interval(None if nothing is None else (nothing, 0.1)) == "—"
    assert formatting.with_deviation(nothing, 0.1) == "—"
    assert formatting.with_deviation(0.5, nothing) == "50.00"


def test_fractions_and_their_intervals_are_written_in_per_cent():
    assert formatting.with_interval(0.926, (0.887, 0.953), 1) == "92.6 (88.7–95.3)"
    assert formatting.points_with_interval(0.0026, (-0.001, 0.0061)) == "+0.26 (−0.10 to +0.61)"
    assert formatting.with_deviation(0.9743, 0.0018) == "97.43 ± 0.18"


def test_p_values_have_three_decimals_or_a_bound():
    assert [formatting.p_value(p) for p in (1.0, 0.0314, 0.001, 0.00099)] == [
        "1.000",
        "0.031",
        "0.001",
        "<0.001",
    ]
    assert formatting.p_equals(0.0314) == "p = 0.031"
    assert formatting.p_equals(1e-9) == "p <0.001"


@pytest.mark.parametrize(
    ("bounds", "decimals"), [((0.90, 0.92), 1), ((0.9, 0.9004), 3), ((0.5, 0.5), 2), (None, 2)]
)
def test_decimals_follow_from_the_width_of_an_interval(bounds, decimals):
    assert formatting.decimals_for(bounds) == decimals


def test_levels_have_the_digits_they_need():
    assert [formatting.level(x) for x in (0.95, 0.995, 0.05)] == ["95 %", "99.5 %", "5 %"]
