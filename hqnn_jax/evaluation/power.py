"""How large a difference has to be for a study to find it: the power of the rule that decides.

The rule is the permutation test of `sign_flips` and Holm's correction over all comparisons of the
study. A repetition of the study is simulated as follows. The differences of a seed are normal,
independent of those of other seeds, with the observed covariance over the comparisons (arms with
one reference share its luck). The comparison in question has the true difference that is asked
for, all others the means that were observed. It counts as found where the rule rejects it and the
difference has the right sign.

So the observed deviations and means are taken for the true ones; with few seeds they are rough.
Where all choices of signs are too many to simulate (41 comparisons of 15 seeds), the t test stands
for the permutation test: its detectable difference is a few per cent smaller, and up to a fifth
where the corrected level is close to the smallest p-value that is possible.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Float32
from scipy import stats

from hqnn_jax.evaluation.sign_flips import smallest_p_value

POWER = 0.8
"""The share of studies that would find the difference called detectable."""
_MOST_STUDIES = 1000
"""Simulated studies: a share of 0.8 of them has a standard error of 0.013."""
_FEWEST_STUDIES = 200
_MOST_SUMS = 120_000_000
"""Sums over seeds that are worth about a second: choices of signs x comparisons x studies."""
_SUMS_AT_ONCE = 100_000


def detectable_differences(
    differences: Float[np.ndarray, "comparisons seeds"],
    *,
    num_comparisons: int,
    alpha: float,
) -> Float[np.ndarray, " comparisons"]:
    """Return for each comparison the smallest true difference that 80 % of such studies find.

    All comparisons see the same random numbers, and the same call gives the same figures. See the
    module for what is simulated.

    Args:
        differences: of every seed, at least two; no NaN.
        num_comparisons: what Holm's correction is over: these, and any that are undefined.
        alpha: level of the rule.

    Returns:
        Sizes, not negative; infinite where no difference is large enough, because the seeds are too
        few for the level.
    """
    num_seeds = differences.shape[1]
    if num_comparisons * smallest_p_value(num_seeds) >= alpha:
        return np.full(len(differences), np.inf)
    means = differences.mean(axis=1)
    residuals = (differences - means[:, None]) / np.sqrt(num_seeds - 1)
    each = len(differences) * 2 ** (num_seeds - 1)
    studies = min(_MOST_STUDIES, _MOST_SUMS // each)
    find = _needed_by_sign_flips
    if studies < _FEWEST_STUDIES:
        each, studies, find = len(differences) * num_seeds, _MOST_STUDIES, _needed_by_t
    rng = np.random.default_rng(0)
    needed = []
    block = max(1, _SUMS_AT_ONCE // each)
    for start in range(0, studies, block):
        shape = (min(block, studies - start), num_seeds, num_seeds)
        noise = residuals @ rng.standard_normal(shape)
        needed.append(find(noise, means, num_comparisons, alpha))
    ordered = np.sort(np.concatenate(needed), axis=0)
    return np.maximum(ordered[math.ceil(POWER * studies) - 1], 0.0).astype(np.float64)


def _needed_by_sign_flips(
    noise: Float[np.ndarray, "studies comparisons seeds"],
    means: Float[np.ndarray, " comparisons"],
    num_comparisons: int,
    alpha: float,
) -> Float[np.ndarray, "studies comparisons"]:
    """Return the true difference above which each simulated study finds each comparison.

    A choice of signs that flips the seeds F, of differences δ + e, gives a sum that is nearer to
    zero than the observed one if the mean over F and the mean over all others are positive, that
    is, for every δ above both means of -e. So each choice has a critical δ, the number of those
    above δ is the p-value, and which one decides follows from the level.
    """
    shape, num_seeds = noise.shape[:-1], noise.shape[-1]
    choices = 2 ** (num_seeds - 1)
    # Nothing here is a tie, so half the memory suffices.
    rows = noise.reshape(-1, num_seeds).astype(np.float32)
    centre = np.broadcast_to(means.astype(np.float32), shape).reshape(-1, 1)
    sums, total = _flipped_sums(rows), rows.sum(axis=1, keepdims=True)
    excess = _flipped_sums(np.ones((1, num_seeds), np.float32))
    as_far = np.abs(sums + centre * excess) >= np.abs(total + num_seeds * centre)
    p_values = (1 + np.count_nonzero(as_far, axis=1)) / choices
    levels = _levels(p_values.reshape(shape), num_comparisons, alpha).reshape(-1)
    # How many of the other choices may be as far from zero: strictly below the level, and not
    # negative, since the level can be reached.
    allowed = np.ceil(levels * choices - 1).astype(np.int64) - 1
    direction = np.where(centre < 0, np.float32(-1), np.float32(1))
    sums, total = direction * sums, direction * total
    smaller = np.minimum(
        (total + sums) / (num_seeds + excess), (total - sums) / (num_seeds - excess)
    )  # of the two means; the critical difference is its negative
    most = min(int(allowed.max()), choices - 2)
    smaller = np.sort(np.partition(smaller, most, axis=1)[:, : most + 1], axis=1)
    needed = -smaller[np.arange(len(rows)), np.minimum(allowed, most)]
    return np.where(allowed > choices - 2, 0.0, needed).reshape(shape)


def _needed_by_t(
    noise: Float[np.ndarray, "studies comparisons seeds"],
    means: Float[np.ndarray, " comparisons"],
    num_comparisons: int,
    alpha: float,
) -> Float[np.ndarray, "studies comparisons"]:
    """Return what `_needed_by_sign_flips` does, with the t test in the place of sign flips."""
    num_seeds = noise.shape[-1]
    mean, error = noise.mean(axis=-1), stats.sem(noise, axis=-1)
    statistic = np.abs(mean + means) / np.where(error > 0, error, 1e-300)
    p_values = 2 * stats.t.sf(statistic, num_seeds - 1)
    levels = _levels(np.asarray(p_values), num_comparisons, alpha)
    return stats.t.isf(levels / 2, num_seeds - 1) * error - np.where(means < 0, -mean, mean)


def _flipped_sums(
    rows: Float32[np.ndarray, "rows seeds"],
) -> Float32[np.ndarray, "rows choices"]:
    """Return the sums of all choices of signs whose first is +, but for the one without a flip."""
    sums = rows[:, :1]
    for seed in range(1, rows.shape[1]):
        value = rows[:, seed : seed + 1]
        sums = np.concatenate([sums + value, sums - value], axis=1)
    return sums[:, 1:]


def _levels(
    p_values: Float[np.ndarray, "studies comparisons"], num_comparisons: int, alpha: float
) -> Float[np.ndarray, "studies comparisons"]:
    """Return below which p-value Holm's correction rejects each comparison, the others as given.

    With K the comparisons that are rejected among the others alone, one after another at
    alpha / m, alpha / (m - 1), …, this one is rejected exactly if its p-value is below
    alpha / (m - K): if it is smaller than one of theirs, it only takes an earlier place.
    """
    order = np.argsort(p_values, axis=1, kind="stable")
    ordered = np.take_along_axis(p_values, order, axis=1)
    place = np.arange(p_values.shape[1])
    count = p_values.shape[1]
    # The first of the others that is not rejected, before and after a comparison's own place.
    kept = ordered * (num_comparisons - place) >= alpha
    kept_one_up = ordered * (num_comparisons - place + 1) >= alpha
    first = np.where(kept.any(axis=1), kept.argmax(axis=1), count)[:, None]
    later = np.where(kept_one_up, place, count)
    later = np.minimum.accumulate(later[:, ::-1], axis=1)[:, ::-1]
    later = np.concatenate([later[:, 1:], np.full((len(later), 1), count)], axis=1) - 1
    rejected = np.where(first < place, first, later)
    levels = np.empty_like(p_values)
    np.put_along_axis(levels, order, alpha / (num_comparisons - rejected), axis=1)
    return levels
