"""Paired comparison of two arms over seeds, and what it allows to be said.

The seeds are the independent observations: arm and reference share a seed's data order,
augmentation and common initial values, so each seed gives one difference, and every test asks
whether the differences are centred on zero.

The permutation test flips the signs of the differences. It assumes nothing but their symmetry
about zero, and it is what decides, after Holm's correction over all comparisons of a study. With n
seeds its p-value cannot be below 2 / 2^n: 5 seeds give 0.0625, so a study of 5 seeds cannot find
anything at 5 %, and with m comparisons 2 m / 2^n has to be below it (see `seeds_needed`).

An undefined metric (NaN in any seed) makes everything that depends on it undefined (NaN or None);
leaving the seed out would change what is estimated without saying so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from scipy import optimize, special, stats

from hqnn_jax.evaluation.statistics import t_interval

NUM_RESAMPLES = 9_999
"""Bootstrap resamples, and sign flips where all 2^n are more than that."""
POWER = 0.8
"""The share of studies that would find the difference called detectable."""
_DECIMALS = 12
"""Fractions are rounded to these: 0.9 - 0.8 and 0.8 - 0.7 are ties, not two values."""
_EXACT_BELOW = 25
"""McNemar's test is exact below this number of discordant predictions."""


@dataclass(frozen=True)
class Summary:
    """One arm's metric over seeds; fractions, not per cent.

    **Attributes:**

    - `mean`, `deviation`: over seeds; the standard deviation has ddof=1, None for one seed.
    - `t_interval`, `bootstrap_interval`: of the mean; None for one seed.
    """

    mean: float
    deviation: float | None
    t_interval: tuple[float, float] | None
    bootstrap_interval: tuple[float, float] | None


@dataclass(frozen=True)
class Comparison:
    """An arm minus its reference, seed by seed; fractions, not per cent.

    **Attributes:**

    - `differences`: of each seed.
    - `mean`, `deviation`: of the differences (ddof=1).
    - `t_interval`, `bootstrap_interval`: of the mean difference.
    - `t_test`, `wilcoxon`, `permutation`: two-sided p-values of no difference.
    - `adjusted`: the permutation test's p-value after Holm's correction over all comparisons.
    - `effect_size`: Cohen's d of paired samples, mean / deviation; None where all differences are
      equal.
    - `mcnemar`: p-value of McNemar's test on the predictions of all seeds together.
    - `only_arm_right`, `only_reference_right`: the predictions it counts.
    - `detectable`: smallest true difference that such a study finds with 80 % power.
    """

    differences: tuple[float, ...]
    mean: float
    deviation: float
    t_interval: tuple[float, float]
    bootstrap_interval: tuple[float, float]
    t_test: float
    wilcoxon: float
    permutation: float
    adjusted: float
    effect_size: float | None
    mcnemar: float
    only_arm_right: int
    only_reference_right: int
    detectable: float


def summarise(
    values: Float[np.ndarray, " seeds"], *, level: float = 0.95, seed: int = 0
) -> Summary:
    """Describe one arm's metric over seeds.

    **Arguments:**

    - `values`: the metric of each seed, fractions.
    - `level`: confidence level of both intervals.
    - `seed`: of the bootstrap's generator; equal seeds give equal intervals.

    **Returns:** mean, deviation, t interval, and the BCa bootstrap interval (Efron, 1987; it is
    too narrow for few seeds, where the t interval is the one to trust). Where all values are equal
    both intervals are that value; where one is NaN the mean is NaN and the rest None.

    **Raises:** `ValueError` without a value.
    """
    if not len(values):
        raise ValueError("cannot summarise a metric of no seeds; expected at least one value")
    rounded = _rounded(values)
    mean, deviation = _mean_and_deviation(rounded)
    if len(rounded) == 1 or np.isnan(mean):
        return Summary(mean, None, None, None)
    return Summary(mean, deviation, *_intervals(rounded, level, seed))


def compare(
    values: Float[np.ndarray, " seeds"],
    reference: Float[np.ndarray, " seeds"],
    predicted: Integer[np.ndarray, "seeds samples"],
    reference_predicted: Integer[np.ndarray, "seeds samples"],
    labels: Integer[np.ndarray, " samples"],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare an arm with its reference, seed by seed.

    **Arguments:**

    - `values`, `reference`: the metric of each seed, fractions, in the same order of seeds.
    - `predicted`, `reference_predicted`: predicted classes of the same samples.
    - `labels`: the true classes.
    - `level`: confidence level of the intervals and of `detectable`.
    - `seed`: of the generators of the bootstrap and, from 14 seeds on, of the sign flips.

    **Returns:** the comparison, `adjusted` being `permutation` until `adjust` corrects it. All
    tests are two-sided:

    - `t_test`: Student's paired test; its limit 0 where all differences are equal and not zero.
    - `wilcoxon`: the signed-rank test with Pratt's (1959) zeros, which keep their ranks. Exact up
      to 13 seeds and up to 50 without ties or zeros, else the normal approximation.
    - `permutation`: sign flips of the mean difference, exact up to 13 seeds, else `NUM_RESAMPLES`
      draws with the observed signs counted among them.
    - `mcnemar`: exact below 25 discordant predictions, else chi-squared with continuity
      correction. It counts one image once per seed, as if those were independent, so it speaks of
      these trained models, not of the arms.
    - `detectable`: from the power of the t test at 1 - level, without Holm's correction and with
      the observed deviation taken for the true one.

    1 is the p-value of differences that all are zero.

    **Raises:** `ValueError` for fewer than 2 seeds.
    """
    if len(values) < 2:
        raise ValueError(f"cannot test differences over {len(values)} seeds; expected at least 2")
    right, reference_right = predicted == labels, reference_predicted == labels
    only_arm = int(np.sum(right & ~reference_right))
    only_reference = int(np.sum(~right & reference_right))
    differences = _rounded(np.subtract(values, reference, dtype=np.float64))
    return Comparison(
        differences=tuple(differences.tolist()),
        **_paired_statistics(differences, level, seed),
        mcnemar=_mcnemar(only_arm, only_reference),
        only_arm_right=only_arm,
        only_reference_right=only_reference,
    )


def adjust(comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
    """Correct the permutation tests of all comparisons of a study for their number (Holm, 1979).

    An undefined p-value counts as one test that finds nothing and stays undefined, so the number
    of comparisons is the planned one.

    **Returns:** the comparisons with `adjusted` set, in the same order.
    """
    from statsmodels.stats.multitest import multipletests

    if not comparisons:
        return {}
    p_values = np.array([comparison.permutation for comparison in comparisons.values()])
    undefined = np.isnan(p_values)
    corrected = multipletests(np.where(undefined, 1.0, p_values), method="holm")[1]
    adjusted = np.where(undefined, np.nan, corrected)
    return {
        name: replace(comparison, adjusted=float(p_value))
        for (name, comparison), p_value in zip(comparisons.items(), adjusted, strict=True)
    }


def significance_level(level: float) -> float:
    """Return the level of the tests that belongs to a confidence level: 0.95 -> 0.05."""
    return round(1 - level, _DECIMALS)


def is_significant(comparison: Comparison, *, level: float) -> bool:
    """Return whether a difference is significant after Holm's correction; False if undefined."""
    return comparison.adjusted < significance_level(level)


def smallest_p_value(num_seeds: int) -> float:
    """Return the smallest p-value the permutation test can give with a number of seeds."""
    return 2 / min(2**num_seeds, NUM_RESAMPLES + 1)


def can_be_significant(num_seeds: int, *, num_comparisons: int, level: float) -> bool:
    """Return whether any difference could be significant after Holm's correction."""
    return num_comparisons * smallest_p_value(num_seeds) < significance_level(level)


def seeds_needed(*, num_comparisons: int, level: float) -> int | None:
    """Return the smallest number of seeds with which a difference can be significant.

    None where the comparisons are too many for any number of seeds: `NUM_RESAMPLES` draws bound
    the p-value from below.
    """
    # From here on the p-value's bound no longer falls with the number of seeds.
    most = (NUM_RESAMPLES + 1).bit_length()
    for num_seeds in range(2, most + 1):
        if can_be_significant(num_seeds, num_comparisons=num_comparisons, level=level):
            return num_seeds
    return None


def detectable_effect(num_seeds: int, *, level: float) -> float:
    """Return the smallest Cohen's d that a paired t test finds with 80 % power.

    The t statistic is (Z + δ) / S with δ = d √n, a standard normal Z, and (n - 1) S² chi-squared,
    so its power is the mean over Z of P(S < |Z + δ| / critical value), an integral that behaves for
    any δ. statsmodels' solver stops at d = 10 without a word for 2 or 3 seeds, and the noncentral t
    distributions it and scipy have are NaN in places.

    **Returns:** d = mean / deviation of the differences; 0 where chance alone reaches the power.
    """
    freedom, tests_at = num_seeds - 1, significance_level(level)
    if tests_at >= POWER:
        return 0.0
    critical = float(stats.t.isf(tests_at / 2, freedom))
    z = np.linspace(-9.0, 9.0, 4001)
    density = stats.norm.pdf(z)

    def missing_power(shift: float) -> float:
        found = special.chdtr(freedom, freedom * ((z + shift) / critical) ** 2)
        return float(np.trapezoid(density * found, z)) - POWER

    # At this shift Z > -2 and S < 3, together likelier than 0.97 for any n, suffice.
    shift = optimize.brentq(missing_power, 0.0, 3 * critical + 2)
    return float(shift) / num_seeds**0.5


def _rounded(values: Float[np.ndarray, " seeds"]) -> Float[np.ndarray, " seeds"]:
    """Round to `_DECIMALS` in float64; adding zero turns -0 into 0."""
    return np.round(values.astype(np.float64), _DECIMALS) + 0.0


def _mean_and_deviation(values: Float[np.ndarray, " seeds"]) -> tuple[float, float]:
    """Return mean and deviation (ddof=1), exact where all are equal; 0 for a single value."""
    if np.ptp(values) == 0:
        return float(values[0]), 0.0
    return float(np.mean(values)), float(np.std(values, ddof=1))


def _intervals(
    values: Float[np.ndarray, " seeds"], level: float, seed: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return t and BCa bootstrap interval of the mean of at least two defined values."""
    if np.ptp(values) == 0:
        # Every resample is the same, so BCa is undefined; the percentile interval is this one.
        point = (float(values[0]), float(values[0]))
        return point, point
    student = t_interval(values, level=level)
    assert student is not None, "there are at least two values"
    drawn = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=NUM_RESAMPLES,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return student, (float(drawn.low), float(drawn.high))


def _paired_statistics(
    differences: Float[np.ndarray, " seeds"], level: float, seed: int
) -> dict[str, Any]:
    """Return every field of `Comparison` that the differences alone determine."""
    mean, deviation = _mean_and_deviation(differences)
    if np.isnan(mean):
        names = ("mean", "deviation", "t_test", "wilcoxon", "permutation", "adjusted", "detectable")
        undefined = (np.nan, np.nan)
        return {
            **dict.fromkeys(names, np.nan),
            "t_interval": undefined,
            "bootstrap_interval": undefined,
            "effect_size": None,
        }
    student, drawn = _intervals(differences, level, seed)
    permutation = _permutation(differences, seed)
    effect = detectable_effect(len(differences), level=level)
    return {
        "mean": mean,
        "deviation": deviation,
        "t_interval": student,
        "bootstrap_interval": drawn,
        "t_test": _t_test(differences),
        "wilcoxon": _wilcoxon(differences, seed),
        "permutation": permutation,
        "adjusted": permutation,
        "effect_size": mean / deviation if deviation else None,
        "detectable": effect * deviation,
    }


def _t_test(differences: Float[np.ndarray, " seeds"]) -> float:
    if np.ptp(differences) == 0:
        return 0.0 if differences[0] else 1.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def _wilcoxon(differences: Float[np.ndarray, " seeds"], seed: int) -> float:
    if not differences.any():
        return 1.0
    if 2 ** len(differences) <= NUM_RESAMPLES:
        # scipy's exact test with ties is the same one, at seconds for 13 seeds.
        ranks = np.sign(differences) * stats.rankdata(np.abs(differences))
        return _permutation(ranks, seed)
    return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def _permutation(differences: Float[np.ndarray, " seeds"], seed: int) -> float:
    result = stats.permutation_test(
        (differences,),
        np.mean,
        permutation_type="samples",
        n_resamples=NUM_RESAMPLES,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _mcnemar(only_arm: int, only_reference: int) -> float:
    from statsmodels.stats.contingency_tables import mcnemar

    # The test does not depend on the concordant cells.
    table = np.array([[0, only_arm], [only_reference, 0]])
    exact = only_arm + only_reference < _EXACT_BELOW
    # statsmodels would correct a difference of 0 to one of -1, whose square is not 0.
    correction = only_arm != only_reference
    return float(mcnemar(table, exact=exact, correction=correction).pvalue)
