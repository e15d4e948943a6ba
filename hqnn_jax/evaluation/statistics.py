"""Intervals: Wilson's, Student's, and the bootstrap with the weighted metrics that make it fast.

A bootstrap resample of N samples is a vector of N counts that add to N. Every metric here takes
such counts for all resamples at once, so 1000 resamples cost a few array passes and no Python
loop over resamples. With all counts equal to one they are the ordinary metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Float, Int, Integer, Num
from scipy import stats

Resampled = Callable[[np.ndarray], np.ndarray]
"""What a metric is in every resample, from their confusion matrices or the samples' counts."""
_ELEMENTS_PER_CHUNK = 2_000_000
"""Resamples are drawn in blocks of about this many counts, to bound memory (16 MB a block)."""


def _ratio(
    numerator: Float[np.ndarray, "*shape"], denominator: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Divide, with 0 where the denominator is 0 (scikit-learn's `zero_division=0`)."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def confusion_metrics(
    confusion: Num[np.ndarray, "*resamples classes classes"],
) -> dict[str, np.ndarray]:
    """Compute every metric that depends on the confusion matrix alone.

    Args:
        confusion: counts, true class along axis -2, predicted class along axis -1.

    Returns:
        `accuracy`, `macro_f1`, `weighted_f1`, `cohen_kappa` (Cohen, 1960) of shape `[*resamples]`,
        and `precision`, `recall`, `f1` of shape `[*resamples, classes]`; float64 fractions. A
        quotient 0 / 0 is 0, as in scikit-learn with `zero_division=0`; kappa is NaN where labels
        and predictions all are of one class.
    """
    counts = confusion.astype(np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1).copy()
    actual, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    total = actual.sum(axis=-1)
    f1 = _ratio(2 * hits, actual + predicted)
    # Kept in counts: equality of integers decides exactly where kappa is undefined.
    chance = (actual * predicted).sum(axis=-1)
    undefined = chance == total**2
    kappa = (total * hits.sum(axis=-1) - chance) / np.where(undefined, np.nan, total**2 - chance)
    return {
        "accuracy": np.asarray(hits.sum(axis=-1) / total),
        "macro_f1": np.asarray(f1.mean(axis=-1)),
        "weighted_f1": np.asarray((f1 * actual).sum(axis=-1) / total),
        "cohen_kappa": np.asarray(kappa),
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, actual),
        "f1": f1,
    }


def quadratic_kappa(
    confusion: Num[np.ndarray, "*resamples classes classes"],
) -> Float[np.ndarray, "*resamples"]:
    """Compute Cohen's kappa with quadratic weights (Cohen, 1968), for classes in an order.

    One minus the mean squared distance between true and predicted class, as a share of what it
    would be by chance; NaN where labels and predictions all are of one class.

    Args:
        confusion: counts, true class along axis -2, predicted class along axis -1.
    """
    counts = confusion.astype(np.float64)
    grades = np.arange(counts.shape[-1])
    squares = (grades[:, None] - grades) ** 2
    chance = counts.sum(axis=-1)[..., :, None] * counts.sum(axis=-2)[..., None, :]
    expected = (chance * squares).sum(axis=(-2, -1)) / counts.sum(axis=(-2, -1))
    found = (counts * squares).sum(axis=(-2, -1))
    return np.asarray(1 - found / np.where(expected == 0, np.nan, expected))


def roc_auc_of_class(
    scores: Float[np.ndarray, " samples"],
    positive: np.ndarray,
    counts: Num[np.ndarray, "resamples samples"],
) -> Float[np.ndarray, " resamples"]:
    """Compute the area under the ROC curve of one class for every resample.

    The area is the Mann-Whitney statistic: the share of (positive, negative) pairs in which the
    positive has the higher score, ties counting one half (Hanley and McNeil, 1982).

    Args:
        scores: score of the class for every sample.
        positive: bool[samples], whether the sample is of the class.
        counts: how often each resample contains each sample.

    Returns:
        Float64 areas; NaN where a resample has no positive or no negative.
    """
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    positives = np.flatnonzero(positive)
    below = np.searchsorted(scores[negatives], scores[positives], side="left")
    up_to = np.searchsorted(scores[negatives], scores[positives], side="right")
    cumulative = np.zeros((len(counts), len(negatives) + 1))
    np.cumsum(np.take(counts, negatives, axis=1), axis=1, out=cumulative[:, 1:])
    weights = np.take(counts, positives, axis=1).astype(np.float64)
    # Mean of "strictly below" and "below or tied": a tie counts one half.
    wins = np.take(cumulative, below, axis=1) + np.take(cumulative, up_to, axis=1)
    pairs = weights.sum(axis=1) * cumulative[:, -1]
    undefined = pairs == 0
    return np.asarray(
        np.einsum("rp,rp->r", weights, wins) / (2 * np.where(undefined, np.nan, pairs))
    )


def roc_auc(
    probabilities: Float[np.ndarray, "samples classes"],
    labels: Integer[np.ndarray, " samples"],
    counts: Num[np.ndarray, "resamples samples"],
) -> Float[np.ndarray, " resamples"]:
    """Compute the area under the ROC curve for every resample.

    Two classes: the area of class 1. More: the unweighted mean of the one-vs-rest areas over the
    classes for which it is defined, that is, those present in the resample.

    As `roc_auc_of_class`, with one column of `probabilities` per class.

    Returns:
        Float64 areas; NaN where it is defined for no class.
    """
    num_classes = probabilities.shape[1]
    classes = range(1, 2) if num_classes == 2 else range(num_classes)
    areas = np.stack([roc_auc_of_class(probabilities[:, c], labels == c, counts) for c in classes])
    defined = ~np.isnan(areas)
    sums, present = np.where(defined, areas, 0.0).sum(axis=0), defined.sum(axis=0)
    return np.asarray(sums / np.where(present == 0, np.nan, present))


def calibration_bins(
    confidence: Float[np.ndarray, " samples"], num_bins: int
) -> Int[np.ndarray, " samples"]:
    """Return the index of the equal-width bin (lower, upper] of [0, 1] of each confidence."""
    return np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)


def expected_calibration_error(
    probabilities: Float[np.ndarray, "samples classes"],
    labels: Integer[np.ndarray, " samples"],
    counts: Num[np.ndarray, "resamples samples"],
    *,
    num_bins: int,
) -> Float[np.ndarray, " resamples"]:
    """Compute the expected calibration error for every resample.

    The mean over equal-width bins of |accuracy - mean confidence|, weighted by the samples in the
    bin; the confidence is the highest probability (Guo et al., 2017, equation 3).

    Args:
        probabilities, labels: the predictions and the true classes.
        counts: how often each resample contains each sample.
        num_bins: number of bins of [0, 1].

    Returns:
        Float64 errors as fractions.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    excess = (probabilities.argmax(axis=1) == labels) - confidence
    gap_of_bin = np.zeros((len(labels), num_bins))
    gap_of_bin[np.arange(len(labels)), calibration_bins(confidence, num_bins)] = excess
    weights = counts.astype(np.float64)
    return np.abs(weights @ gap_of_bin).sum(axis=1) / weights.sum(axis=1)


def resamples(
    num_samples: int, num_resamples: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, "block samples"]]:
    """Yield blocks of bootstrap resamples, as counts of every sample."""
    block = max(1, _ELEMENTS_PER_CHUNK // num_samples)
    for start in range(0, num_resamples, block):
        rows = min(block, num_resamples - start)
        draws = rng.integers(0, num_samples, size=(rows, num_samples))
        draws += num_samples * np.arange(rows)[:, None]
        counts = np.bincount(draws.ravel(), minlength=rows * num_samples)
        yield counts.reshape(rows, num_samples)


def bootstrap(
    confusion: Integer[np.ndarray, "classes classes"],
    *,
    of_confusion: Mapping[str, Resampled],
    of_samples: Mapping[str, Resampled],
    num_resamples: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Draw the bootstrap distribution of every metric (Efron, 1979).

    Samples are drawn with replacement. A resample changes the confusion matrix by a multinomial
    draw over its cells, so metrics of the matrix are resampled there, which is exact; all others
    are computed from counts of the samples.

    Args:
        confusion: the confusion matrix, true class first.
        of_confusion: metric -> its values for confusion matrices [num_resamples, classes, classes];
            those of `confusion_metrics` are there without being named.
        of_samples: metric -> its values for counts of the samples [resamples, samples].
        num_resamples: number of resamples.
        seed: equal seeds give equal distributions.

    A class of the split that a resample happens not to contain is missing there, not badly
    recognised: its recall and F1 are NaN and `macro_f1` is the mean over the others.

    Returns:
        The keys of `confusion_metrics`, `of_confusion` and `of_samples`, each `[num_resamples]` or
        `[num_resamples, classes]`; NaN where a metric is undefined.
    """
    rng = np.random.default_rng(seed)
    total = int(confusion.sum())
    cells = rng.multinomial(total, confusion.ravel() / total, size=num_resamples)
    cells = cells.reshape(num_resamples, *confusion.shape)
    drawn = confusion_metrics(cells)
    missing = cells.sum(axis=-1) == 0
    for name in ("recall", "f1"):
        drawn[name] = np.where(missing, np.nan, drawn[name])
    # The estimate counts a class that the whole split lacks as 0, and so does its distribution.
    absent = confusion.sum(axis=-1) == 0
    drawn["macro_f1"] = np.nanmean(np.where(absent, 0.0, drawn["f1"]), axis=-1)
    drawn |= {name: of(cells) for name, of in of_confusion.items()}
    blocks: dict[str, list[np.ndarray]] = {name: [] for name in of_samples}
    for counts in resamples(total, num_resamples, rng):
        for name, of in of_samples.items():
            blocks[name].append(of(counts))
    return drawn | {name: np.concatenate(values) for name, values in blocks.items()}


def mcnemar(only_first: int, only_second: int, *, exact_below: int | None = None) -> float:
    """Return the two-sided p-value of McNemar's test of two shares of the same samples.

    Args:
        only_first, only_second: samples that count for one of the two only; no others matter.
        exact_below: from this number of them on chi-squared with correction for continuity takes
            the place of the exact binomial test; None: always exact.
    """
    total = only_first + only_second
    if exact_below is None or total < exact_below:
        return float(stats.binomtest(only_first, total).pvalue) if total else 1.0
    # Without a difference there is none to correct: (|0| - 1)² would not be 0.
    excess = max(abs(only_first - only_second) - 1.0, 0.0)
    return float(stats.chi2.sf(excess**2 / total, 1))


def wilson_interval(count: int, total: int, *, level: float = 0.95) -> list[float] | None:
    """Return Wilson's (1927) score interval `[lower, upper]` of a proportion.

    It keeps its width where a bootstrap has none: 32 of 32 are 89.3 to 100 %, not 100 to 100.
    None where there is nothing to count, `total` being 0.
    """
    if not total:
        return None
    bounds = stats.binomtest(int(count), int(total)).proportion_ci(level, method="wilson")
    return [float(bounds.low), float(bounds.high)]


def percentile_interval(
    values: Float[np.ndarray, " resamples"], *, level: float = 0.95
) -> list[float] | None:
    """Return the central percentile interval `[lower, upper]` of a bootstrap distribution.

    Undefined (NaN) resamples are left out. None where every resample is undefined, and where all
    are equal: a split without an error has only resamples without one, which says nothing about
    other images.
    """
    defined = values[~np.isnan(values)]
    if not defined.size or np.ptp(defined) == 0:
        return None
    tail = (1 - level) / 2
    lower, upper = np.quantile(defined, [tail, 1 - tail])
    return [float(lower), float(upper)]


def t_interval(
    values: Float[np.ndarray, " seeds"], *, level: float = 0.95
) -> tuple[float, float] | None:
    """Return the t interval of the mean of independent values (one per seed).

    None for a single value, whose spread is unknown.
    """
    if len(values) < 2:
        return None
    mean, error = float(np.mean(values)), float(stats.sem(values))
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * error
    return mean - half, mean + half
