"""Paired comparison of two arms over seeds, and what it allows to be said."""

from __future__ import annotations

from dataclasses import dataclass


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
