"""What a verdict says is what its numbers say, in every case and for every rounding."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hqnn_jax.evaluation import power
from hqnn_jax.evaluation.comparison import Comparison, adjust, compare
from hqnn_jax.reporting.verdict import overall, verdict


@pytest.fixture(scope="module", autouse=True)
def _few_simulated_studies():
    """Texts are tested here, not the figure of what is detectable; see `test_power`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(power, "_MOST_STUDIES", 10)
        patch.setattr(power, "_FEWEST_STUDIES", 1)
        yield


def _comparison(points, level=0.95) -> Comparison:
    """Compare arms whose accuracies differ by these percentage points."""
    differences = np.asarray(points, np.float64) / 100
    nothing = np.zeros((len(differences), 1), np.int32)
    alone = compare(differences, 0 * differences, nothing, nothing, nothing[0], level=level)
    return adjust({"arm": alone}, level=level)["arm"]


def _say(comparison, *, num_comparisons=1, level=0.95, metric_name="Accuracy") -> str:
    return verdict(
        "quantum",
        "matched",
        comparison,
        metric_name=metric_name,
        level=level,
        num_comparisons=num_comparisons,
    )


def test_significant():
    higher = _comparison([0.4, 0.5, 0.6, 0.5, 0.3, 0.7])
    assert _say(higher) == (
        "At the 5 % level, quantum has a significantly higher accuracy than matched: "
        "+0.50 percentage points (95 % t interval +0.35 to +0.65); permutation test p = 0.031; "
        "6 seeds."
    )
    lower = _comparison([-0.4, -0.5, -0.6, -0.5, -0.3, -0.7])
    assert _say(lower, metric_name="ROC-AUC") == (
        "At the 5 % level, quantum has a significantly lower ROC-AUC than matched: "
        "−0.50 percentage points (95 % t interval −0.65 to −0.35); permutation test p = 0.031; "
        "6 seeds."
    )


def test_not_significant_says_what_is_excluded_and_what_was_detectable():
    comparison = _comparison([0.3, -0.2, 0.1, -0.4, 0.2, 0.1, -0.3])
    text = _say(comparison, metric_name="Macro F1")
    # Mean -0.02857, deviation 0.26904, t(6) = 2.44691: half-width 0.24882, end -0.27739.
    # Of 128 sign flips, 14 give a mean nearer to zero, that is, zero.
    assert text.startswith(
        "At the 5 % level, quantum and matched are not significantly different in macro F1: "
        "−0.03 percentage points (95 % t interval −0.28 to +0.22); permutation test p = 0.89; "
        "7 seeds. This does not show equality: only differences larger than 0.28 points in either "
        "direction are excluded at 95 %. The study could have detected "
    )
    shown = re.search(r"detected ([\d.]+) points \(80 % power of the permutation test, sim", text)
    assert 0 <= float(shown[1]) - 100 * comparison.detectable < 0.01
    corrected = _say(replace(comparison, adjusted=1.0), num_comparisons=2)
    assert corrected.endswith(
        "(80 % power of the permutation test after Holm's correction over 2 comparisons, "
        "simulated)."
    )


def test_too_few_seeds():
    strong = _comparison([0.4, 0.5, 0.6, 0.5, 0.3])
    assert _say(strong) == (
        "With 5 seeds the permutation test cannot reach the 5 % level: at least 6 seeds are "
        "needed. Observed: quantum minus matched, accuracy, +0.46 percentage points (95 % t "
        "interval +0.32 to +0.60)."
    )
    assert "over 7 comparisons cannot reach the 5 % level: at least 9 seeds are needed" in _say(
        strong, num_comparisons=7
    )
    many = _say(strong, num_comparisons=300, level=0.9)
    assert "at least 13 seeds" in many
    assert "10 % level" in many
    assert "compare fewer arms" in _say(strong, num_comparisons=10**9)


def test_correction_and_interval_disagree():
    strong = _comparison([0.4, 0.5, 0.6, 0.5, 0.3, 0.7, 0.4])
    corrected = adjust({"a": strong, "b": strong, "c": replace(strong, permutation=0.9)})["a"]
    assert "significantly higher" in _say(corrected, num_comparisons=3)
    failed = replace(strong, adjusted=0.0781)
    text = _say(failed, num_comparisons=3)
    assert "p = 0.078 after Holm's correction over 3 comparisons" in text
    assert text.endswith(
        "The 95 % t interval of this comparison alone excludes zero, but it does not survive "
        "Holm's correction: neither a difference nor its absence is shown."
    )
    assert "detected" not in text
    unconfirmed = replace(strong, permutation=0.0781, adjusted=0.0781)
    assert "excludes zero, but the permutation test does not confirm it" in _say(unconfirmed)


def test_significant_with_an_interval_that_includes_zero():
    uneven = _comparison([0.01, 0.02, 0.01, 0.03, 0.01, 0.02, 0.01, 5.0])
    text = _say(uneven)
    assert "significantly higher" in text
    assert text.endswith(
        "includes zero: the differences are so uneven over the seeds that "
        "their size stays uncertain."
    )


def test_equal_and_undefined():
    assert _say(_comparison([0.0] * 8)) == (
        "quantum and matched have the same accuracy in each of 8 seeds."
    )
    assert _say(_comparison([0.1, np.nan, 0.3, np.nan])) == (
        "Accuracy of quantum minus matched is undefined in 2 of 4 seeds, so nothing can be said "
        "about the difference."
    )


def test_small_differences_are_not_written_as_zero():
    text = _say(_comparison([0.001, 0.0011, 0.0009, 0.001, 0.001, 0.0012]))
    assert "+0.001 percentage points (95 % t interval +0.001 to +0.001)" in text


def test_p_values_are_written_on_their_side_of_the_level():
    strong = _comparison([0.4, 0.5, 0.6, 0.5, 0.3, 0.7])
    assert "p = 0.04997" in _say(replace(strong, adjusted=0.04997), num_comparisons=1)
    assert "p = 0.05;" in _say(replace(strong, adjusted=0.0502), num_comparisons=1)


LABELS = {"quantum": "Quantum", "linear": "Linear <b>", "none": "No layer"}


def _all(level=0.95, **points) -> str:
    alone = {name: _comparison(values, level) for name, values in points.items()}
    comparisons = adjust(alone, level=level)
    return overall(comparisons, labels=LABELS, metric_name="Accuracy", level=level)


UP = [0.4, 0.5, 0.6, 0.5, 0.3, 0.7, 0.4, 0.5]
DOWN = [-2.0 * x for x in UP]
MIXED = [0.3, -0.2, 0.1, -0.4, 0.2, 0.1, -0.3, 0.1]


def test_overall_counts_and_names_what_differs():
    # MIXED: mean -0.0125, deviation 0.2532, t(7) = 2.36462: from -0.2242 to 0.1992.
    rest = (
        " Equality is not shown for one other. The largest difference that the 95 % t intervals, "
        "each taken alone, do not exclude is 0.23 points lower (No layer)."
    )
    assert _all(quantum=UP, linear=DOWN, none=MIXED) == (
        "At the 5 % level after Holm's correction over 3 comparisons, 2 of 3 arms differ "
        "significantly from the reference in accuracy: higher for Quantum; lower for Linear <b>."
        + rest
    )
    assert _all(none=MIXED, linear=DOWN) == (
        "At the 5 % level after Holm's correction over 2 comparisons, 1 of 2 arms differs "
        "significantly from the reference in accuracy: lower for Linear <b>." + rest
    )
    assert _all(quantum=UP) == (
        "At the 5 % level, the arm differs significantly from the reference in accuracy: "
        "higher for Quantum."
    )


def test_overall_without_a_finding_names_the_largest_difference_not_excluded():
    wider = [-2 * x - 0.1 for x in MIXED]
    end = max(_comparison(wider).t_interval, key=abs) * 100
    text = _all(quantum=MIXED, linear=wider)
    assert text.startswith(
        "At the 5 % level after Holm's correction over 2 comparisons, none of 2 arms differs "
        "significantly from its reference in accuracy, which does not show equality. The largest "
        "difference that the 95 % t intervals, each taken alone, do not exclude is "
    )
    shown, direction = re.search(r"is ([\d.]+) points (\w+) \(Linear <b>\)\.$", text).groups()
    assert 0 <= float(shown) - abs(end) < 0.01
    assert direction == ("higher" if end > 0 else "lower")


def test_overall_of_few_seeds_equal_arms_and_undefined_metrics():
    few = _all(quantum=UP[:6], linear=DOWN[:6])
    assert few.startswith(
        "With 6 seeds the permutation test over 2 comparisons cannot reach the 5 % level: at "
        "least 7 seeds are needed. The largest difference that"
    )
    assert "significant" not in few
    assert _all(quantum=[0.0] * 6, none=[0.0] * 6) == (
        "No arm differs from its reference in accuracy in any seed."
    )
    gap = [np.nan, *UP[1:]]
    assert _all(quantum=UP, none=gap).endswith(
        "higher for Quantum. Undefined, and not judged: No layer."
    )
    assert _all(none=gap) == "Accuracy is undefined in every comparison, so nothing can be said."
    with pytest.raises(ValueError, match="expected at least one"):
        overall({}, labels={}, metric_name="Accuracy", level=0.95)


def _number(text: str) -> float:
    return float(text.replace("−", "-"))


def _mirrored(text: str) -> str:
    """Swap the direction, the signs and the ends of the interval of a verdict."""
    swap = {"higher": "lower", "lower": "higher", "+": "−", "−": "+"}
    pattern = "|".join(map(re.escape, swap))
    text = re.sub(pattern, lambda match: swap[match[0]], text)
    return re.sub(r"interval (\S+) to ([^\s)]+)\)", r"interval \2 to \1)", text)


@given(
    points=st.lists(
        st.one_of(
            st.integers(-3, 9),
            st.floats(-5, 5, allow_nan=False).map(lambda x: round(x, 4)),
            st.sampled_from([1e-4, -1e-4, 3e-4, 40.0]),
        ),
        min_size=2,
        max_size=12,
    ),
    num_comparisons=st.sampled_from([1, 2, 7, 40, 300]),
    level=st.sampled_from([0.8, 0.95, 0.99]),
)
@example(points=[1.0] * 7, num_comparisons=2, level=0.95)
@example(points=[0.01] * 7 + [5.0], num_comparisons=1, level=0.95)
@settings(max_examples=60, deadline=None)
def test_no_text_contradicts_its_numbers_or_its_mirror_image(points, num_comparisons, level):
    result = _comparison(points, level)
    # The others find nothing, so Holm multiplies this p-value by the number of comparisons.
    permutation = min(1.0, num_comparisons * result.permutation)
    result = replace(result, adjusted=permutation)
    text = _say(result, num_comparisons=num_comparisons, level=level)

    back = _comparison([-x for x in points], level)
    back = replace(back, adjusted=result.adjusted)
    mirrored = _say(back, num_comparisons=num_comparisons, level=level)
    assert mirrored == _mirrored(text)

    same = "have the same" in text
    too_few = "cannot reach" in text
    nothing = "not significantly different" in text
    significant = "significantly" in text and not nothing
    assert same + too_few + significant + nothing == 1
    assert same == (not any(points))
    if same:
        return
    low, high = map(_number, re.search(r"interval (\S+) to ([^\s)]+)\)", text).groups())
    mean = _number(re.search(r"(\S+) percentage points", text)[1])
    assert low <= mean <= high
    includes_zero = low <= 0 <= high
    if too_few:
        assert num_comparisons * 2 / 2 ** len(points) >= (1 - level) * 0.99
        assert not any(word in text for word in ("excluded", "detected", "significant"))
    if significant:
        assert result.adjusted < 1 - level
        assert ("higher" in text) == (mean > 0)
        assert ("lower" in text) == (mean < 0)
        assert ("includes zero" in text) == includes_zero
    if nothing:
        assert result.adjusted >= 1 - level - 1e-12
        assert ("excludes zero" in text) == (not includes_zero)
        assert ("detected" in text) == ("excluded at" in text) == includes_zero
    if nothing and includes_zero:
        excluded = float(re.search(r"larger than ([\d.]+) points", text)[1])
        detected = float(re.search(r"detected ([\d.]+) points", text)[1])
        assert excluded >= max(abs(low), abs(high)) - 1e-9
        # Else the study should have found what it observed.
        assert detected >= abs(100 * result.mean) - 1e-9 or num_comparisons > 1
        assert "does not show equality" in text
    if not too_few:
        p_value = float(re.search(r"p = (\d\.?[\de-]*)", text)[1])
        assert (p_value < round(1 - level, 12)) == significant
