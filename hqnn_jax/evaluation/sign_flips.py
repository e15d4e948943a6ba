"""The test that flips the signs of paired differences, exact wherever that is feasible.

If arm and reference do not differ, every seed's difference is as likely as its negative. The
p-value is the share of the 2^n choices of signs whose sum is at least as far from zero as the
observed one.

Integers are tested as integers, so that a tie is a tie: multiples of 1/n are not multiples in
binary, and a share of all choices that misses its ties is too small a p-value.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer, Num
from scipy import stats

NUM_FLIPS = 99_999
"""Choices of signs that are drawn where 2^n are too many to look at."""
EXACT_UP_TO = 32
"""Seeds up to which the test of numbers that are not integers looks at every choice of signs."""
TIE = 1e-12
"""Numbers closer than this share of the size of what they were computed from are equal."""
_DRAWN_AT_ONCE = 10_000


def sign_flip_p_value(
    differences: Num[np.ndarray, " seeds"], *, tie: float = 0.0, seed: int = 0
) -> float:
    """Return the two-sided p-value of differences centred on zero.

    Args:
        differences: of every seed; integers of any size, or finite floats.
        tie: floats closer than this are equal, and so are sums of n closer than n times this.
        seed: of the choices that are drawn for floats of more than `EXACT_UP_TO` seeds.

    Returns:
        The share of the choices of signs, exact (for integers of more than 53 seeds up to the
        rounding of float64) but where choices are drawn: then `(found + 1) / (NUM_FLIPS + 1)`, the
        observed signs counted among them.
    """
    if np.issubdtype(differences.dtype, np.integer):
        return _of_integers(differences)
    # The rounding of the sums themselves is far smaller.
    least = abs(float(differences.sum())) - len(differences) * tie
    if least <= 0:
        return 1.0
    if len(differences) <= EXACT_UP_TO:
        return _of_all(differences, least)
    return _of_drawn(differences, least, seed)


def smallest_p_value(num_seeds: int) -> float:
    """Return the smallest p-value that a number of seeds can give."""
    return 2.0 ** (1 - num_seeds) if num_seeds <= EXACT_UP_TO else 1 / (NUM_FLIPS + 1)


def signed_ranks(differences: Num[np.ndarray, " seeds"]) -> Integer[np.ndarray, " seeds"]:
    """Return twice Wilcoxon's signed ranks, which are integers even where ranks are shared.

    Zeros keep their rank but count nothing (Pratt, 1959); equal sizes share the mean of theirs.
    """
    ranks = np.rint(2 * stats.rankdata(np.abs(differences))).astype(np.int64)
    return np.sign(differences).astype(np.int64) * ranks


def with_ties(differences: Float[np.ndarray, " seeds"], tie: float) -> Float[np.ndarray, " seeds"]:
    """Return differences of which those of sizes closer than `tie` have exactly the same size.

    0.9 - 0.8 and 0.8 - 0.7 are one value that was computed in two ways; what is closer to zero
    than `tie` is zero.
    """
    sizes = np.abs(differences)
    order = np.argsort(sizes)
    # Group 0 starts at zero, so it holds the zeros.
    group = np.empty(len(sizes), np.int64)
    group[order] = np.cumsum(np.diff(sizes[order], prepend=0.0) > tie)
    count = np.maximum(np.bincount(group), 1)
    means = np.bincount(group, sizes) / count
    means[0] = 0.0
    return np.copysign(means[group], differences) + 0.0


def _of_integers(differences: Integer[np.ndarray, " seeds"]) -> float:
    """Count sums instead of choices: the distribution of the sum, one seed after another.

    Each probability is a multiple of 2^-n below one, which float64 holds exactly up to 53 seeds.
    """
    sizes = np.abs(differences.astype(np.int64))
    observed, reach = abs(int(differences.sum(dtype=np.int64))), int(sizes.sum())
    chance = np.zeros(2 * reach + 1)
    chance[reach] = 1.0
    for size in sizes[sizes > 0].tolist():
        flipped = np.zeros_like(chance)
        flipped[size:] += 0.5 * chance[:-size]
        flipped[:-size] += 0.5 * chance[size:]
        chance = flipped
    far = np.abs(np.arange(-reach, reach + 1)) >= observed
    return min(1.0, float(chance[far].sum()))


def _of_all(differences: Float[np.ndarray, " seeds"], least: float) -> float:
    """Look at all choices: each sum is one of the first half's plus one of the second half's."""
    half = len(differences) // 2
    first, second = _all_sums(differences[:half]), np.sort(_all_sums(differences[half:]))
    above = len(second) - np.searchsorted(second, least - first, side="left")
    below = np.searchsorted(second, -least - first, side="right")
    return float(above.sum() + below.sum()) / 2.0 ** len(differences)


def _all_sums(differences: Float[np.ndarray, " seeds"]) -> Float[np.ndarray, " choices"]:
    """Return the sums of all choices of signs."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def _of_drawn(differences: Float[np.ndarray, " seeds"], least: float, seed: int) -> float:
    rng = np.random.default_rng(seed)
    found = 0
    for start in range(0, NUM_FLIPS, _DRAWN_AT_ONCE):
        shape = (min(_DRAWN_AT_ONCE, NUM_FLIPS - start), len(differences))
        sums = (2.0 * rng.integers(0, 2, shape) - 1) @ differences
        found += int(np.sum(np.abs(sums) >= least))
    return (found + 1) / (NUM_FLIPS + 1)
