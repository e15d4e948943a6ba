"""What a comparison allows to be said, in words that follow from its numbers alone.

Significance is decided by the permutation test after Holm's correction; the t interval says how
large a difference can be. Where the two disagree the text says so. What is not significant is not
called equal: the text says which differences are excluded. Bounds are rounded up, and what
is not zero is not written as zero, so that a text cannot contradict its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from hqnn_jax.evaluation.comparison import (
    Comparison,
    can_be_significant,
    is_significant,
    seeds_needed,
    significance_level,
)
from hqnn_jax.evaluation.power import POWER
from hqnn_jax.reporting import formatting

_ZERO = 6e-9
"""Fractions up to this count as zero; larger ones have a digit at 6 decimals of a point."""


def verdict(
    label: str,
    reference_label: str,
    comparison: Comparison,
    *,
    metric_name: str,
    level: float,
    num_comparisons: int,
) -> str:
    """Say what one comparison shows.

    Args:
        label, reference_label: how tables call the arm and its reference.
        comparison: the arm minus its reference, after `adjust`.
        metric_name: for example `Accuracy`.
        level: confidence level of the intervals; the tests are at 1 - level.
        num_comparisons: over how many comparisons `adjust` corrected.

    Returns:
        One to three sentences of plain text.
    """
    seeds, metric = len(comparison.differences), inside_a_sentence(metric_name)
    alpha = formatting.level(significance_level(level))
    undefined = sum(math.isnan(difference) for difference in comparison.differences)
    if undefined:
        return (
            f"{metric_name} of {label} minus {reference_label} is undefined in {undefined} of "
            f"{seeds} seeds, so nothing can be said about the difference."
        )
    if not any(comparison.differences):
        return f"{label} and {reference_label} have the same {metric} in each of {seeds} seeds."
    if not can_be_significant(seeds, num_comparisons=num_comparisons, level=level):
        return (
            f"{_too_few(seeds, num_comparisons, level)} Observed: "
            f"{label} minus {reference_label}, {metric}, {_size(comparison, level)}."
        )
    p_value = _adjusted_p_value(comparison, level, num_comparisons)
    if is_significant(comparison, level=level):
        direction = "higher" if comparison.mean > 0 else "lower"
        text = (
            f"At the {alpha} level, {label} has a significantly {direction} {metric} than "
            f"{reference_label}: {_size(comparison, level)}; {p_value}; {seeds} seeds."
        )
        return text if _excludes_zero(comparison) else f"{text} {_UNEVEN}"
    text = (
        f"At the {alpha} level, {label} and {reference_label} are not significantly different in "
        f"{metric}: {_size(comparison, level)}; {p_value}; {seeds} seeds."
    )
    return f"{text} {_what_that_leaves_open(comparison, level, num_comparisons)}"


def overall(
    comparisons: Mapping[str, Comparison],
    *,
    labels: Mapping[str, str],
    metric_name: str,
    level: float,
) -> str:
    """Say what all comparisons of a study show together.

    Args:
        comparisons: name of an arm -> the arm minus its reference, after `adjust` over these.
        labels: name of an arm -> how tables call it.
        metric_name, level: as in `verdict`.

    Raises:
        ValueError: without a comparison.
    """
    if not comparisons:
        raise ValueError("no verdict follows from no comparisons; expected at least one")
    metric, count = inside_a_sentence(metric_name), len(comparisons)
    defined = {name: item for name, item in comparisons.items() if not math.isnan(item.mean)}
    if not defined:
        return f"{metric_name} is undefined in every comparison, so nothing can be said."
    undefined = [labels[name] for name in comparisons if name not in defined]
    parts = [_findings(defined, labels, metric, level, count)]
    if undefined:
        parts.append(f"Undefined, and not judged: {_listing(undefined)}.")
    return " ".join(parts)


_UNEVEN = (
    "The t interval nevertheless includes zero: the differences are so uneven over the seeds that "
    "their size stays uncertain."
)


def _findings(
    comparisons: Mapping[str, Comparison],
    labels: Mapping[str, str],
    metric: str,
    level: float,
    count: int,
) -> str:
    """Say which of the defined comparisons are significant, else what is not excluded."""
    seeds = max(len(comparison.differences) for comparison in comparisons.values())
    if not any(any(comparison.differences) for comparison in comparisons.values()):
        return f"No arm differs from its reference in {metric} in any seed."
    if not can_be_significant(seeds, num_comparisons=count, level=level):
        return f"{_too_few(seeds, count, level)} {_not_excluded(comparisons, labels, level)}"
    found = {n: c.mean for n, c in comparisons.items() if is_significant(c, level=level)}
    test = f"At the {formatting.level(significance_level(level))} level{_after_correction(count)}, "
    if not found:
        who = "the arm does not differ" if count == 1 else f"none of {count} arms differs"
        return (
            f"{test}{who} significantly from its reference in {metric}, which does not show "
            f"equality. {_not_excluded(comparisons, labels, level)}"
        )
    directions = (
        ("higher", [labels[name] for name, mean in found.items() if mean > 0]),
        ("lower", [labels[name] for name, mean in found.items() if mean < 0]),
    )
    listed = "; ".join(f"{word} for {_listing(arms)}" for word, arms in directions if arms)
    verb = "differs" if len(found) == 1 else "differ"
    who = "the arm differs" if count == 1 else f"{len(found)} of {count} arms {verb}"
    text = f"{test}{who} significantly from the reference in {metric}: {listed}."
    # Arms that are equal in every seed are no more in doubt than those that differ.
    others = {n: c for n, c in comparisons.items() if n not in found and any(c.differences)}
    if not others:
        return text
    rest = "one other" if len(others) == 1 else f"{len(others)} others"
    return f"{text} Equality is not shown for {rest}. {_not_excluded(others, labels, level)}"


def _too_few(seeds: int, num_comparisons: int, level: float) -> str:
    """Say that nothing can be significant, and what would change it."""
    needed = seeds_needed(num_comparisons=num_comparisons, level=level)
    remedy = "compare fewer arms" if needed is None else f"at least {needed} seeds are needed"
    number = f" over {num_comparisons} comparisons" if num_comparisons > 1 else ""
    return (
        f"With {seeds} seeds the permutation test{number} cannot reach the "
        f"{formatting.level(significance_level(level))} level: {remedy}."
    )


def _what_that_leaves_open(comparison: Comparison, level: float, num_comparisons: int) -> str:
    """Say what follows from a difference that is not significant."""
    alpha = significance_level(level)
    if _excludes_zero(comparison):
        reason = (
            "the permutation test does not confirm it"
            if comparison.permutation >= alpha
            else "it does not survive Holm's correction"
        )
        return (
            f"The {formatting.level(level)} t interval of this comparison alone excludes zero, but "
            f"{reason}: neither a difference nor its absence is shown."
        )
    bound = max(-comparison.t_interval[0], comparison.t_interval[1])
    decimals = _decimals(bound, comparison.detectable)
    return (
        f"This does not show equality: only differences larger than {_at_most(bound, decimals)} "
        f"points in either direction are excluded at {formatting.level(level)}. The study could "
        f"have detected {_at_most(comparison.detectable, decimals)} points "
        f"({formatting.level(POWER)} power of the permutation "
        f"test{_after_correction(num_comparisons)}, simulated)."
    )


def _not_excluded(
    comparisons: Mapping[str, Comparison], labels: Mapping[str, str], level: float
) -> str:
    """Name the largest difference inside any interval."""
    ends = {name: max(comparison.t_interval, key=abs) for name, comparison in comparisons.items()}
    name = max(ends, key=lambda key: abs(ends[key]))
    bound, direction = abs(ends[name]), "higher" if ends[name] > 0 else "lower"
    return (
        f"The largest difference that the {formatting.level(level)} t intervals, each taken alone, "
        f"do not exclude is {_at_most(bound, _decimals(bound))} points {direction} "
        f"({labels[name]})."
    )


def _size(comparison: Comparison, level: float) -> str:
    """Write the mean difference with its t interval."""
    low, high = comparison.t_interval
    decimals = _decimals(comparison.mean, low, high)
    return (
        f"{formatting.points(comparison.mean, decimals)} percentage points "
        f"({formatting.level(level)} t interval "
        f"{formatting.points_interval((low, high), decimals)})"
    )


def _excludes_zero(comparison: Comparison) -> bool:
    low, high = comparison.t_interval
    return low > _ZERO or high < -_ZERO


def _adjusted_p_value(comparison: Comparison, level: float, num_comparisons: int) -> str:
    """Write the p-value, with enough digits to be on its own side of the tests' level."""
    p_value, alpha = comparison.adjusted, significance_level(level)
    texts = (formatting.short(p_value, digits) for digits in range(2, 18))
    text = next(text for text in texts if (float(text) < alpha) == (p_value < alpha))
    return f"permutation test p = {text}{_after_correction(num_comparisons)}"


def _after_correction(count: int) -> str:
    return f" after Holm's correction over {count} comparisons" if count > 1 else ""


def _decimals(*fractions: float) -> int:
    """Return how many decimals of a point, at least 2, show every fraction but zero."""
    smallest = min((abs(x) for x in fractions if abs(x) > _ZERO), default=1.0)
    return next(n for n in range(2, 7) if n == 6 or round(100 * smallest, n) > 0)


def _at_most(fraction: float, decimals: int) -> str:
    """Write a fraction in percentage points, rounded up: nothing beyond it is claimed."""
    scale = 10**decimals
    return formatting.fixed(math.ceil(100 * fraction * scale - 1e-6) / scale, decimals)


def inside_a_sentence(name: str) -> str:
    """Write `Accuracy` small, and leave `ROC-AUC` and `F1` alone."""
    return name[:1].lower() + name[1:] if name[1:2].islower() else name


def _listing(names: list[str]) -> str:
    """Join names; labels of arms on several axes hold commas themselves."""
    return ("; " if any("," in name for name in names) else ", ").join(names)
