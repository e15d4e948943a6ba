"""Classification metrics of one split, with their intervals, ready for JSON.

`METRICS` is the one table of them: whoever stores, compares or shows metrics goes by it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from jaxtyping import Float, Integer
from sklearn import metrics as sklearn_metrics

from hqnn_jax.config.names import TaskName
from hqnn_jax.errors import DataError, TrainingError
from hqnn_jax.evaluation import statistics

WILSON, BOOTSTRAP = "Wilson", "bootstrap"


@dataclass(frozen=True, eq=False)
class SplitPredictions:
    """What every metric of a split is computed from.

    Attributes:
        probabilities, labels: the predictions and the true classes.
        confusion: their counts, true class first.
        num_bins: number of bins of the calibration error.
    """

    probabilities: Float[np.ndarray, "samples classes"]
    labels: Integer[np.ndarray, " samples"]
    confusion: Integer[np.ndarray, "classes classes"]
    num_bins: int

    @functools.cached_property
    def predicted(self) -> Integer[np.ndarray, " samples"]:
        """The class of highest probability."""
        return self.probabilities.argmax(axis=1)

    @functools.cached_property
    def areas(self) -> list[float | None]:
        """The area under the ROC curve of each class against all others."""
        classes = range(self.probabilities.shape[1])
        return [_roc_auc(self.probabilities[:, c], self.labels == c) for c in classes]


@dataclass(frozen=True)
class Metric:
    """A metric that is one number per split, a fraction.

    It is computed for many bootstrap resamples at once: of their confusion matrices, or of how
    often each contains each sample. Its value is that of all samples once, or `estimate`.

    Attributes:
        label: how pages and tables call it.
        of_confusion: values of confusion matrices [resamples, classes, classes].
        of_samples: values of counts of the samples [resamples, samples].
        estimate: the value of a split, where scikit-learn's is reported; None where undefined.
        higher_is_better: its direction.
        counted: whether it is a number of images out of all; it has Wilson's interval then, and
            differences are tested as counts.
        always: whether it is defined for every split.
        recorded: whether the cells of an ablation hold it.
        compared: whether it can be what an ablation compares; it is `recorded` then.
    """

    label: str
    of_confusion: statistics.Resampled | None = None
    of_samples: Callable[[SplitPredictions, np.ndarray], np.ndarray] | None = None
    estimate: Callable[[SplitPredictions], float | None] | None = None
    higher_is_better: bool = True
    counted: bool = False
    always: bool = True
    recorded: bool = False
    compared: bool = False

    def value(self, split: SplitPredictions) -> float | None:
        """Return the metric of a split; None where it is undefined."""
        if self.estimate is not None:
            return self.estimate(split)
        if self.of_samples is not None:
            found = self.of_samples(split, np.ones((1, len(split.labels))))
        else:
            assert self.of_confusion is not None, f"{self.label}: nothing says what it is"
            found = self.of_confusion(split.confusion[None])
        return None if np.isnan(found[0]) else float(found[0])


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


def _cohen_kappa(split: SplitPredictions) -> float | None:
    if len(np.union1d(split.labels, split.predicted)) == 1:
        return None
    return float(sklearn_metrics.cohen_kappa_score(split.labels, split.predicted))


def _macro_roc_auc(areas: Sequence[float | None]) -> float | None:
    if len(areas) == 2:
        return areas[1]
    defined = [area for area in areas if area is not None]
    return float(np.mean(defined)) if defined else None


def _averaged_classes(areas: Sequence[float | None]) -> int:
    """Count the one-vs-rest areas that `_macro_roc_auc` is the mean of."""
    used = areas[1:] if len(areas) == 2 else areas
    return sum(area is not None for area in used)


def _per_class(split: SplitPredictions, class_names: Sequence[str]) -> list[dict[str, Any]]:
    confusion = split.confusion
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        split.labels, split.predicted, labels=range(len(class_names)), zero_division=0
    )
    wrong = confusion.sum(axis=0) + confusion.sum(axis=1) - 2 * np.diagonal(confusion)
    return [
        {
            "class": name,
            "precision": float(precision[c]),
            "recall": float(recall[c]),
            "f1": float(f1[c]),
            "accuracy": float(1 - wrong[c] / confusion.sum()),
            "roc_auc": split.areas[c],
            "support": int(support[c]),
        }
        for c, name in enumerate(class_names)
    ]


def _f1(average: str) -> Callable[[SplitPredictions], float]:
    def f1(split: SplitPredictions) -> float:
        score = sklearn_metrics.f1_score(
            split.labels,
            split.predicted,
            labels=range(len(split.confusion)),
            average=average,
            zero_division=0,
        )
        return float(score)

    return f1


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(
        "Accuracy",
        estimate=lambda split: float(sklearn_metrics.accuracy_score(split.labels, split.predicted)),
        counted=True,
        recorded=True,
        compared=True,
    ),
    "macro_f1": Metric("Macro F1", estimate=_f1("macro"), recorded=True, compared=True),
    "weighted_f1": Metric("Weighted F1", estimate=_f1("weighted"), recorded=True, compared=True),
    "cohen_kappa": Metric("Cohen’s kappa", estimate=_cohen_kappa, always=False),
    "roc_auc": Metric(
        "ROC-AUC",
        of_samples=lambda split, counts: statistics.roc_auc(
            split.probabilities, split.labels, counts
        ),
        estimate=lambda split: _macro_roc_auc(split.areas),
        always=False,
        recorded=True,
        compared=True,
    ),
    "expected_calibration_error": Metric(
        "Calibration error",
        of_samples=lambda split, counts: statistics.expected_calibration_error(
            split.probabilities, split.labels, counts, num_bins=split.num_bins
        ),
        higher_is_better=False,
        recorded=True,
    ),
}
"""Every metric that is one number per split, in the order pages show them.

Those without `of_confusion` and `of_samples` are resampled by `statistics.confusion_metrics`.
"""
ORDINAL_METRICS: Mapping[str, Metric] = {
    "quadratic_kappa": Metric(
        "Quadratic kappa", of_confusion=statistics.quadratic_kappa, always=False
    ),
}
"""What sets of classes in an order have beside `METRICS`."""
RECORDED_METRICS = tuple(name for name, metric in METRICS.items() if metric.recorded)
COMPARED_METRICS = tuple(name for name, metric in METRICS.items() if metric.compared)
CLASS_METRICS: Mapping[str, str] = {"precision": "Precision", "recall": "Recall", "f1": "F1"}
"""Every metric that each class has, and how pages call it."""
LABELS = {
    **{name: metric.label for name, metric in {**METRICS, **ORDINAL_METRICS}.items()},
    **CLASS_METRICS,
}
INTERVAL_METHODS = {
    **{name: WILSON if metric.counted else BOOTSTRAP for name, metric in METRICS.items()},
    **{name: BOOTSTRAP if name == "f1" else WILSON for name in CLASS_METRICS},
}
"""Metric -> how its interval is made: Wilson's for proportions, else the percentile bootstrap."""


def metrics_of(task: TaskName) -> Mapping[str, Metric]:
    """Return the metrics of one number per split of a set of one class an image."""
    return {**METRICS, **ORDINAL_METRICS} if task == "ordinal" else METRICS


def point_estimates(
    probabilities: Float[np.ndarray, "samples classes"],
    labels: Integer[np.ndarray, " samples"],
    class_names: Sequence[str],
    num_bins: int,
) -> dict[str, Any]:
    """Return every metric of one split, without intervals; undefined ones are None."""
    return _estimates(_split(probabilities, labels, num_bins), class_names, METRICS)


def _split(probabilities: np.ndarray, labels: np.ndarray, num_bins: int) -> SplitPredictions:
    classes = range(probabilities.shape[1])
    confusion = sklearn_metrics.confusion_matrix(
        labels, probabilities.argmax(axis=1), labels=classes
    )
    return SplitPredictions(probabilities, labels, confusion, num_bins)


def _estimates(
    split: SplitPredictions, class_names: Sequence[str], metrics: Mapping[str, Metric]
) -> dict[str, Any]:
    return {
        **{name: metric.value(split) for name, metric in metrics.items()},
        "roc_auc_classes": _averaged_classes(split.areas),
        "per_class": _per_class(split, class_names),
        "confusion_matrix": split.confusion.tolist(),
    }


def compute_metrics(
    probabilities: Float[np.ndarray, "samples classes"],
    labels: Integer[np.ndarray, " samples"],
    class_names: Sequence[str],
    *,
    calibration_bins: int = 15,
    bootstrap_samples: int = 1000,
    seed: int = 0,
    task: TaskName = "multiclass",
    own: Mapping[str, Metric] | None = None,
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
        task: `ordinal` for classes in an order.
        own: further metrics by name, see `hqnn_jax.evaluation.own_metrics`.

    Returns:
        A dictionary of JSON types: all of `metrics_of(task)` and of `own`; `intervals` (the same
        keys, each `[lower, upper]` or None); `interval_methods` (`INTERVAL_METHODS`);
        `roc_auc_classes`;
        `per_class` (a list of `class`, `precision`, `recall`, `f1`, one-vs-rest `accuracy` and
        `roc_auc`, `support`, and `intervals` of precision, recall and F1); `confusion_matrix`
        (counts, true class first).

    Raises:
        DataError: for an empty split or a label outside the classes.
        TrainingError: for probabilities that are not finite.
        ValueError: for probabilities of another shape or that do not add to 1.
    """
    _check(probabilities, labels, class_names)
    split = _split(probabilities, labels, calibration_bins)
    metrics = {**metrics_of(task), **(own or {})}
    result, confusion = _estimates(split, class_names, metrics), split.confusion
    drawn = statistics.bootstrap(
        confusion,
        of_confusion={name: m.of_confusion for name, m in metrics.items() if m.of_confusion},
        of_samples={
            name: functools.partial(metric.of_samples, split)
            for name, metric in metrics.items()
            if metric.of_samples
        },
        num_resamples=bootstrap_samples,
        seed=seed,
    )
    hits, actual, guessed = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    result["intervals"] = {
        name: statistics.wilson_interval(round(result[name] * len(labels)), len(labels))
        if metric.counted
        else statistics.percentile_interval(drawn[name])
        for name, metric in metrics.items()
    }
    for c, entry in enumerate(result["per_class"]):
        entry["intervals"] = {
            "precision": statistics.wilson_interval(int(hits[c]), int(guessed[c])),
            "recall": statistics.wilson_interval(int(hits[c]), int(actual[c])),
            "f1": statistics.percentile_interval(drawn["f1"][:, c]),
        }
    further = {name: BOOTSTRAP for name in metrics if name not in METRICS}
    result["interval_methods"] = {**INTERVAL_METHODS, **further}
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
            for name in mean["intervals"]
        }
    return mean
