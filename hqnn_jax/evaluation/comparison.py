"""Paired comparison of two arms over seeds, and what it allows to be said.

The seeds are the independent observations: arm and reference share a seed's data order,
augmentation and common initial values, so each seed gives one difference, and every test asks
whether the differences are centred on zero.

The permutation test flips the signs of the differences (see `sign_flips`). It assumes nothing but
their symmetry about zero, and it is what decides, after Holm's correction over all comparisons of a
study. With n seeds its p-value cannot be below 2 / 2^n: 5 seeds give 0.0625, so a study of 5 seeds
cannot find anything at 5 %, and with m comparisons 2 m / 2^n has to be below it (see
`seeds_needed`).

An undefined metric (NaN in any seed) makes everything that depends on it undefined (NaN or None);
leaving the seed out would change what is estimated without saying so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, Integer
from scipy import stats

from hqnn_jax.evaluation.power import detectable_differences
from hqnn_jax.evaluation.sign_flips import (
    EXACT_UP_TO,
    TIE,
    sign_flip_p_value,
    signed_ranks,
    smallest_p_value,
    with_ties,
)
from hqnn_jax.evaluation.statistics import mcnemar, t_interval

_EXACT_BELOW = 25
"""McNemar's test is exact below this number of discordant predictions."""


@dataclass(frozen=True)
class Summary:
    """One arm's metric over seeds; fractions, not per cent.

    Attributes:
        mean, deviation: over seeds; the standard deviation has ddof=1, None for one seed.
        t_interval: of the mean; None for one seed. There is no bootstrap interval: over 5 or 10
            seeds even the BCa interval covers the mean in 84 to 89 studies of 100 instead of 95.
    """

    mean: float
    deviation: float | None
    t_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Comparison:
    """An arm minus its reference, seed by seed; fractions, not per cent.

    Attributes:
        differences: of each seed.
        counts: the same in images, where the metric is `Metric.counted`, else None.
        mean, deviation: of the differences (ddof=1).
        t_interval: of the mean difference.
        t_test, wilcoxon, permutation: two-sided p-values of no difference.
        adjusted: the permutation test's p-value after Holm's correction over all comparisons.
        effect_size: Cohen's d of paired samples, mean / deviation; None where all differences are
            equal.
        mcnemar: p-value of McNemar's test on the predictions of all seeds together.
        only_arm_right, only_reference_right: the predictions it counts.
        detectable: smallest true difference that such a study finds with 80 % power, that of the
            permutation test after Holm's correction (see `power`); infinite where no difference is
            large enough, and NaN until `adjust` knows the study.
    """

    differences: tuple[float, ...]
    counts: tuple[int, ...] | None
    mean: float
    deviation: float
    t_interval: tuple[float, float]
    t_test: float
    wilcoxon: float
    permutation: float
    adjusted: float
    effect_size: float | None
    mcnemar: float
    only_arm_right: int
    only_reference_right: int
    detectable: float


def summarise(values: Float[np.ndarray, " seeds"], *, level: float = 0.95) -> Summary:
    """Describe one arm's metric over seeds.

    Args:
        values: the metric of each seed, fractions.
        level: confidence level of the interval.

    Returns:
        Mean, deviation and t interval. Where all values are equal the interval is that value; where
        one is NaN the mean is NaN and the rest None.

    Raises:
        ValueError: without a value.
    """
    if not len(values):
        raise ValueError("cannot summarise a metric of no seeds; expected at least one value")
    values = values.astype(np.float64)
    if np.isnan(values).any():
        return Summary(float("nan"), None, None)
    values = with_ties(values, TIE * float(np.abs(values).max()))
    mean, deviation = _mean_and_deviation(values)
    if len(values) == 1:
        return Summary(mean, None, None)
    return Summary(mean, deviation, _interval(values, level))


def compare(
    values: Float[np.ndarray, " seeds"],
    reference: Float[np.ndarray, " seeds"],
    predicted: Integer[np.ndarray, "seeds samples"],
    reference_predicted: Integer[np.ndarray, "seeds samples"],
    labels: Integer[np.ndarray, " samples"],
    *,
    counted: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare an arm with its reference, seed by seed.

    Args:
        values, reference: the metric of each seed, fractions, in the same order of seeds.
        predicted, reference_predicted: predicted classes of the same samples.
        labels: the true classes.
        counted: whether the metric is a share of the samples (`Metric.counted`). Differences
            are then whole numbers of samples, and are tested as such.
        level: confidence level of the interval.
        seed: of the sign flips that are drawn for more than `EXACT_UP_TO` seeds if not `counted`.

    Returns:
        The comparison, `adjusted` being `permutation` and `detectable` NaN until `adjust` knows the
        other comparisons. All tests are two-sided:

    - `t_test`: Student's paired test; its limit 0 where all differences are equal and not zero.
    - `wilcoxon`: the signed-rank test with Pratt's (1959) zeros, which keep their ranks; exact.
    - `permutation`: sign flips of the mean difference (see `sign_flips`).
    - `mcnemar`: exact below 25 discordant predictions, else chi-squared with continuity
      correction. It counts one image once per seed, as if those were independent, so it speaks of
      these trained models, not of the arms.

    1 is the p-value of differences that all are zero.

    Raises:
        ValueError: for fewer than 2 seeds, or where `values` that are `counted` are no shares of
            the samples.
    """
    right, reference_right = predicted == labels, reference_predicted == labels
    return compare_paired(
        values,
        reference,
        only_arm_right=int(np.sum(right & ~reference_right)),
        only_reference_right=int(np.sum(~right & reference_right)),
        num_samples=len(labels) if counted else None,
        level=level,
        seed=seed,
    )


def compare_paired(
    values: Float[np.ndarray, " seeds"],
    reference: Float[np.ndarray, " seeds"],
    *,
    only_arm_right: int,
    only_reference_right: int,
    num_samples: int | None,
    level: float,
    seed: int = 0,
) -> Comparison:
    """Do what `compare` does from the predictions' counts alone.

    Args:
        num_samples: of how many samples the metric is a share; None where it is none. The others
            are those of `compare`.

    Raises:
        As `compare`.
    """
    if len(values) < 2:
        raise ValueError(f"cannot test differences over {len(values)} seeds; expected at least 2")
    largest = np.abs(np.concatenate([values, reference])).max()
    counts, tie = None, TIE * float(largest)
    if num_samples is None or np.isnan(largest):
        differences = np.subtract(values, reference, dtype=np.float64)
        if not np.isnan(largest):
            differences = with_ties(differences, tie)
    else:
        counts = as_counts(values, num_samples) - as_counts(reference, num_samples)
        differences = counts / num_samples
    return Comparison(
        differences=tuple(differences.tolist()),
        counts=None if counts is None else tuple(counts.tolist()),
        **_paired_statistics(differences, counts, tie, level, seed),
        mcnemar=mcnemar(only_arm_right, only_reference_right, exact_below=_EXACT_BELOW),
        only_arm_right=only_arm_right,
        only_reference_right=only_reference_right,
    )


def as_counts(shares: Float[np.ndarray, " seeds"], num_samples: int) -> Int64[np.ndarray, " seeds"]:
    """Return how many samples each share is: 0.25 of 8 are 2.

    Raises:
        ValueError: for a number that is no such share.
    """
    counts = np.rint(shares * num_samples).astype(np.int64)
    if np.abs(counts / num_samples - shares).max() > TIE:
        raise ValueError(f"expected shares of {num_samples} samples, got {shares}")
    return counts


def adjust(comparisons: Mapping[str, Comparison], *, level: float = 0.95) -> dict[str, Comparison]:
    """Correct the permutation tests of all comparisons of a study for their number (Holm, 1979).

    An undefined p-value counts as one test that finds nothing and stays undefined, so the number
    of comparisons is the planned one.

    Args:
        comparisons: all of a study, over the same seeds.
        level: confidence level of the study; what is `detectable` is so at 1 - level.

    Returns:
        The comparisons with `adjusted` and `detectable` set, in the same order.
    """
    from statsmodels.stats.multitest import multipletests

    if not comparisons:
        return {}
    p_values = np.array([comparison.permutation for comparison in comparisons.values()])
    undefined = np.isnan(p_values)
    corrected = multipletests(np.where(undefined, 1.0, p_values), method="holm")[1]
    adjusted = np.where(undefined, np.nan, corrected)
    detectable = np.full(len(p_values), np.nan)
    if not undefined.all():
        defined = [c.differences for c in comparisons.values() if not np.isnan(c.permutation)]
        detectable[~undefined] = detectable_differences(
            np.asarray(defined, np.float64),
            num_comparisons=len(comparisons),
            alpha=significance_level(level),
        )
    found = zip(comparisons.items(), adjusted.tolist(), detectable.tolist(), strict=True)
    return {
        name: replace(comparison, adjusted=p_value, detectable=difference)
        for (name, comparison), p_value, difference in found
    }


def significance_level(level: float) -> float:
    """Return the level of the tests that belongs to a confidence level: 0.95 -> 0.05."""
    return round(1 - level, 12)


def is_significant(comparison: Comparison, *, level: float) -> bool:
    """Return whether a difference is significant after Holm's correction; False if undefined."""
    return comparison.adjusted < significance_level(level)


def can_be_significant(num_seeds: int, *, num_comparisons: int, level: float) -> bool:
    """Return whether any difference could be significant after Holm's correction."""
    return num_comparisons * smallest_p_value(num_seeds) < significance_level(level)


def seeds_needed(*, num_comparisons: int, level: float) -> int | None:
    """Return the smallest number of seeds with which a difference can be significant.

    None where the comparisons are too many for any number of seeds.
    """
    for num_seeds in range(2, EXACT_UP_TO + 1):
        if can_be_significant(num_seeds, num_comparisons=num_comparisons, level=level):
            return num_seeds
    return None


def _mean_and_deviation(values: Float[np.ndarray, " seeds"]) -> tuple[float, float]:
    """Return mean and deviation (ddof=1), exact where all are equal; 0 for a single value."""
    if np.ptp(values) == 0:
        return float(values[0]), 0.0
    return float(np.mean(values)), float(np.std(values, ddof=1))


def _interval(values: Float[np.ndarray, " seeds"], level: float) -> tuple[float, float]:
    """Return the t interval of the mean of at least two defined values."""
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    bounds = t_interval(values, level=level)
    assert bounds is not None, "there are at least two values"
    return bounds


def _paired_statistics(
    differences: Float[np.ndarray, " seeds"],
    counts: Int64[np.ndarray, " seeds"] | None,
    tie: float,
    level: float,
    seed: int,
) -> dict[str, Any]:
    """Return every field of `Comparison` that the differences alone determine."""
    if np.isnan(differences).any():
        names = ("mean", "deviation", "t_test", "wilcoxon", "permutation", "adjusted", "detectable")
        return {
            **dict.fromkeys(names, np.nan),
            "t_interval": (np.nan, np.nan),
            "effect_size": None,
        }
    mean, deviation = _mean_and_deviation(differences)
    exact = differences if counts is None else counts
    permutation = sign_flip_p_value(exact, tie=tie, seed=seed)
    return {
        "mean": mean,
        "deviation": deviation,
        "t_interval": _interval(differences, level),
        "t_test": _t_test(differences),
        "wilcoxon": sign_flip_p_value(signed_ranks(exact)),
        "permutation": permutation,
        "adjusted": permutation,
        "effect_size": mean / deviation if deviation else None,
        "detectable": np.nan,
    }


def _t_test(differences: Float[np.ndarray, " seeds"]) -> float:
    if np.ptp(differences) == 0:
        return 0.0 if differences[0] else 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)
