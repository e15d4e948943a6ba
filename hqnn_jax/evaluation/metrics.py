"""Classification metrics of one split, with their intervals, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from sklearn import metrics as sklearn_metrics

from hqnn_jax.errors import DataError, TrainingError
from hqnn_jax.evaluation import statistics

SCALAR_METRICS = (*statistics.CONFUSION_METRICS, "roc_auc", "expected_calibration_error")
"""Every metric that is one number per split, in the order the report shows them."""
WILSON, BOOTSTRAP = "Wilson", "bootstrap"
INTERVAL_METHODS = {
    **dict.fromkeys((*SCALAR_METRICS, *statistics.CLASS_METRICS), BOOTSTRAP),
    **dict.fromkeys(("accuracy", "precision", "recall"), WILSON),
}
"""Metric -> how its interval is made: Wilson's for proportions, else the percentile bootstrap."""


def _check(
    probabilities: Float[np.ndarray, "samples classes"],
    labels: Integer[np.ndarray, " samples"],
    class_names: Sequence[str],
) -> None:
    num_classes = len(class_names)
    if num_classes < 2 or probabilities.shape != (len(labels), num_classes):
        raise ValueError(
            f"probabilities: expected shape ({len(labels)}, {num_classes}) with at least two "
            f"classes, got {probabilities.shape}"
        )
    if not len(labels):
        raise DataError("labels: the split is empty; expected at least one sample")
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if outside.size:
        raise DataError(
            f"labels: {outside[0]} is outside 0..{num_classes - 1} ({outside.size} such labels); "
            "check dataset.name and dataset.positive_labels"
        )
    if not np.isfinite(probabilities).all():
        raise TrainingError(
            "probabilities: the model predicts values that are not finite; training has diverged, "
            "lower training.learning_rate or set training.clip_norm"
        )
    if probabilities.min() < 0 or np.abs(probabilities.sum(axis=1) - 1).max() > 1e-2:
        raise ValueError("probabilities: expected rows that add to 1; apply a softmax to logits")


def _roc_auc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    if positive.all() or not positive.any():
        return None
    return float(sklearn_metrics.roc_auc_score(positive, scores))


def _cohen_kappa(labels: np.ndarray, predicted: np.ndarray) -> float | None:
    if len(np.union1d(labels, predicted)) == 1:
        return None
    return float(sklearn_metrics.cohen_kappa_score(labels, predicted))


def _macro_roc_auc(areas: Sequence[float | None]) -> float | None:
    if len(areas) == 2:
        return areas[1]
    defined = [area for area in areas if area is not None]
    return float(np.mean(defined)) if defined else None


def _averaged_classes(areas: Sequence[float | None]) -> int:
    """Count the one-vs-rest areas that `_macro_roc_auc` is the mean of."""
    used = areas[1:] if len(areas) == 2 else areas
    return sum(area is not None for area in used)


def _per_class(
    confusion: np.ndarray,
    areas: Sequence[float | None],
    class_names: Sequence[str],
    labels: np.ndarray,
    predicted: np.ndarray,
) -> list[dict[str, Any]]:
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(len(class_names)), zero_division=0
    )
    wrong = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * np.diagonal(confusion)
    return [
        {
            "class": name,
            "precision": float(precision[c]),
            "recall": float(recall[c]),
            "f1": float(f1[c]),
            "accuracy": float(1 - wrong[c] / confusion.sum()),
            "roc_auc": areas[c],
            "support": int(support[c]),
        }
        for c, name in enumerate(class_names)
    ]


def point_estimates(
    probabilities: Float[np.ndarray, "samples classes"],
    labels: Integer[np.ndarray, " samples"],
    class_names: Sequence[str],
    num_bins: int,
) -> dict[str, Any]:
    """Return every metric of one split, without intervals; undefined ones are None."""
    classes = range(len(class_names))
    predicted = probabilities.argmax(axis=1)
    confusion = sklearn_metrics.confusion_matrix(labels, predicted, labels=classes)
    areas = [_roc_auc(probabilities[:, c], labels == c) for c in classes]

    def f1(average: str) -> float:
        score = sklearn_metrics.f1_score(
            labels, predicted, labels=classes, average=average, zero_division=0
        )
        return float(score)

    once = np.ones((1, len(labels)))
    error = statistics.expected_calibration_error(probabilities, labels, once, num_bins=num_bins)
    return {
        "accuracy": float(sklearn_metrics.accuracy_score(labels, predicted)),
        "macro_f1": f1("macro"),
        "weighted_f1": f1("weighted"),
        "cohen_kappa": _cohen_kappa(labels, predicted),
        "roc_auc": _macro_roc_auc(areas),
        "roc_auc_classes": _averaged_classes(areas),
        "expected_calibration_error": float(error[0]),
        "per_class": _per_class(confusion, areas, class_names, labels, predicted),
        "confusion_matrix": confusion.tolist(),
    }


def compute_metrics(
    probabilities: Float[np.ndarray, "samples classes"],
    labels: Integer[np.ndarray, " samples"],
    class_names: Sequence[str],
    *,
    calibration_bins: int = 15,
    bootstrap_samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the metrics of one split with 95 % intervals.

    The predicted class is the one of highest probability (the first of equals). All metrics are
    fractions and, but for the calibration error, those of scikit-learn. Defined behaviour where
    a class is absent:

    - precision, recall and F1 are 0 where their denominator is 0, and `macro_f1` is the mean over
      all classes of `class_names`;
    - `roc_auc` is the one-vs-rest mean over the classes that are present, `roc_auc_classes` of
      them; for two classes it is the area of class 1. It is None where the labels are all of one
      class;
    - `cohen_kappa` is None where labels and predictions all are of one class.

    The intervals describe the sampling of the images for this trained model, not the spread over
    seeds. Those of proportions (accuracy, precision, recall) are Wilson's, None where nothing is
    counted (precision of a class that is never predicted). All others are percentile bootstraps,
    in which a class that a resample lacks is left out of it; None where all resamples are equal,
    as those of a split without an error. The calibration error of a resample is biased upwards
    (it is a mean of absolute values), so for a nearly calibrated model its interval can lie above
    the estimate.

    Args:
        probabilities: class probabilities, rows adding to 1.
        labels: true class, 0 to classes - 1.
        class_names: one name per class.
        calibration_bins: number of equal-width bins of the expected calibration error.
        bootstrap_samples: number of resamples.
        seed: seed of the resamples.

    Returns:
        A dictionary of JSON types: `accuracy`, `macro_f1`, `weighted_f1`, `cohen_kappa`, `roc_auc`,
        `expected_calibration_error`; `intervals` (the same keys, each `[lower, upper]` or None);
        `interval_methods` (`INTERVAL_METHODS`); `roc_auc_classes`; `per_class` (a list of `class`,
        `precision`, `recall`, `f1`, one-vs-rest `accuracy` and `roc_auc`, `support`, and
        `intervals` of precision, recall and F1); `confusion_matrix` (counts, true class first).

    Raises:
        DataError: for an empty split or a label outside the classes.
        TrainingError: for probabilities that are not finite.
        ValueError: for probabilities of another shape or that do not add to 1.
    """
    _check(probabilities, labels, class_names)
    result = point_estimates(probabilities, labels, class_names, calibration_bins)
    confusion = np.asarray(result["confusion_matrix"])
    drawn = statistics.bootstrap(
        probabilities,
        labels,
        confusion,
        num_resamples=bootstrap_samples,
        num_bins=calibration_bins,
        seed=seed,
    )
    hits, actual, guessed = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    result["intervals"] = {
        name: statistics.percentile_interval(drawn[name]) for name in SCALAR_METRICS
    } | {"accuracy": statistics.wilson_interval(int(hits.sum()), len(labels))}
    for c, entry in enumerate(result["per_class"]):
        entry["intervals"] = {
            "precision": statistics.wilson_interval(int(hits[c]), int(guessed[c])),
            "recall": statistics.wilson_interval(int(hits[c]), int(actual[c])),
            "f1": statistics.percentile_interval(drawn["f1"][:, c]),
        }
    result["interval_methods"] = dict(INTERVAL_METHODS)
    return result


def _mean(values: Sequence[Any], key: str) -> Any:
    first = values[0]
    if all(value == first for value in values):
        # Keeps integers (supports, counts) integers, and equal figures free of rounding.
        return first
    if any(value is None for value in values):
        return None
    if isinstance(first, Mapping):
        return {name: _mean([value[name] for value in values], name) for name in first}
    if isinstance(first, list) and len({len(value) for value in values}) == 1:
        return [_mean(list(items), key) for items in zip(*values, strict=True)]
    if isinstance(first, Real):
        return float(np.mean(values))
    raise ValueError(f"{key}: expected the same entry for every seed, got {first!r:.60} and others")


def mean_over_seeds(per_seed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Average the metrics of several seeds of one run.

    Args:
        per_seed: what `compute_metrics` returned for each seed, on the same split.

    Returns:
        The same keys with every number replaced by its mean (per class by class; the bounds of the
        intervals too, Wilson's as well as the bootstrap's, so they remain the uncertainty of one
        trained model). A figure that is None for any seed is None. With more than one seed,
        `standard_deviation` has the sample standard deviation (n - 1) over seeds of every scalar
        metric.

    Raises:
        ValueError: without seeds, or when the seeds differ in more than numbers.
    """
    if not per_seed:
        raise ValueError("per_seed: expected the metrics of at least one seed")
    mean = {key: _mean([metrics[key] for metrics in per_seed], key) for key in per_seed[0]}
    if len(per_seed) > 1:
        mean["standard_deviation"] = {
            name: None
            if mean[name] is None
            else float(np.std([metrics[name] for metrics in per_seed], ddof=1))
            for name in SCALAR_METRICS
        }
    return mean
