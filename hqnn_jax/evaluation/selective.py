"""Which predictions to withhold so that the rest are wrong at most so often."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy import stats

DELTA = 0.05
"""Probability, over the held-out images, with which a chosen risk may be exceeded after all."""


def risk_bound(errors: int, total: int, delta: float) -> float:
    """Return the upper bound of Clopper and Pearson (1934) of an error rate, at level 1 - delta."""
    if errors >= total:
        return 1.0
    return float(stats.beta.ppf(1 - delta, errors + 1, total - errors))


def confidence_threshold(
    confidence: Float[np.ndarray, " samples"],
    correct: Bool[np.ndarray, " samples"],
    risk: float,
    *,
    delta: float = DELTA,
) -> float | None:
    """Return the least confidence from which on predictions are kept: selection with guaranteed
    risk (SGR; Geifman and El-Yaniv, 2017, algorithm 1).

    A bisection looks for the lowest threshold for which the error rate of what is kept is bounded
    by `risk`; the bounds of all its steps hold at once with probability 1 - `delta`.

    Args:
        confidence: of each held-out image.
        correct: whether what was predicted is true.
        risk: largest share of errors among kept predictions.
        delta: see `DELTA`.

    Returns:
        None where the held-out images do not support any threshold; then nothing is to be kept.
    """
    ordered = np.sort(confidence)
    low, high = 0, len(ordered)
    most_steps = max(1, high.bit_length())
    found = None
    while low < high:
        middle = (low + high) // 2
        kept = confidence >= ordered[middle]
        errors = int((kept & ~correct).sum())
        if risk_bound(errors, int(kept.sum()), delta / most_steps) <= risk:
            found, high = float(ordered[middle]), middle
        else:
            low = middle + 1
    return found
