"""Metrics of sets in which an image has any number of labels, with their intervals.

Each label has a probability of its own, and is predicted where that is above a half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer, Num

from hqnn_jax.errors import DataError, TrainingError
from hqnn_jax.evaluation import statistics
from hqnn_jax.evaluation.metrics import BOOTSTRAP, WILSON

LABEL_METRICS: Mapping[str, str] = {
    "macro_roc_auc": "Macro ROC-AUC",
    "macro_average_precision": "Macro average precision",
    "macro_f1": "Macro F1",
    "accuracy": "Accuracy of labels",
    "exact_match": "All labels right",
}
"""Every metric that is one number per split, and how pages call it."""
EACH_LABEL: Mapping[str, str] = {
    "roc_auc": "ROC-AUC",
    "average_precision": "Average precision",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
}
"""Every metric that each label has."""
INTERVAL_METHODS = {
    **dict.fromkeys(LABEL_METRICS, BOOTSTRAP),
    **dict.fromkeys(EACH_LABEL, BOOTSTRAP),
    **dict.fromkeys(("exact_match", "precision", "recall"), WILSON),
}


def compute_label_metrics(
    probabilities: Float[np.ndarray, "samples labels"],
    labels: Integer[np.ndarray, "samples labels"],
    label_names: Sequence[str],
    *,
    bootstrap_samples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the metrics of one split with 95 % intervals.

    Macro averages are means over the labels for which they are defined: an area needs images with
    and without the label. Precision, recall and F1 are 0 where their denominator is 0. Average
    precision is scikit-learn's, the step-wise area under precision and recall. The accuracy is that
    of single labels; `exact_match` is the share of images all of whose labels are right.

    Args:
        probabilities: of each label, from 0 to 1.
        labels: 1 or 0.
        label_names: one name per label.
        bootstrap_samples: number of resamples of the images.
        seed: seed of the resamples.

    Returns:
        A dictionary of JSON types: `LABEL_METRICS`, `intervals` of them (`[lower, upper]` or None),
        `interval_methods`, `images`, and `per_class`: a list of `class`, `support` (images with the
        label), `EACH_LABEL` and `intervals` of them.

    Raises:
        DataError: for an empty split.
        TrainingError: for probabilities that are not finite.
    """
    if not len(labels):
        raise DataError("labels: the split is empty; expected at least one sample")
    if not np.isfinite(probabilities).all():
        raise TrainingError(
            "probabilities: the model predicts values that are not finite; training has diverged, "
            "lower training.learning_rate or set training.clip_norm"
        )
    everything = _of_counts(probabilities, labels, np.ones((1, len(labels))))
    drawn = _bootstrap(
        lambda counts: _of_counts(probabilities, labels, counts),
        len(labels), bootstrap_samples, seed,
    )  # fmt: skip
    exact = int(((probabilities > 0.5) == labels).all(axis=1).sum())
    result: dict[str, Any] = {name: _number(everything[name][0]) for name in LABEL_METRICS}
    result["intervals"] = {
        name: statistics.wilson_interval(exact, len(labels))
        if name == "exact_match"
        else statistics.percentile_interval(drawn[name])
        for name in LABEL_METRICS
    }
    result["images"] = len(labels)
    result["per_class"] = [
        _of_label(name, k, everything, drawn, probabilities, labels)
        for k, name in enumerate(label_names)
    ]
    result["interval_methods"] = dict(INTERVAL_METHODS)
    return result


def _of_label(
    name: str,
    k: int,
    everything: Mapping[str, np.ndarray],
    drawn: Mapping[str, np.ndarray],
    probabilities: np.ndarray,
    labels: np.ndarray,
) -> dict[str, Any]:
    guessed, there = probabilities[:, k] > 0.5, labels[:, k] == 1
    hits = int((guessed & there).sum())
    wilson = {
        "precision": statistics.wilson_interval(hits, int(guessed.sum())),
        "recall": statistics.wilson_interval(hits, int(there.sum())),
    }
    return {
        "class": name,
        "support": int(there.sum()),
        **{metric: _number(everything[metric][0, k]) for metric in EACH_LABEL},
        "intervals": {
            metric: wilson[metric]
            if metric in wilson
            else statistics.percentile_interval(drawn[metric][:, k])
            for metric in EACH_LABEL
        },
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _bootstrap(
    of_counts: Callable[[np.ndarray], dict[str, np.ndarray]], number: int, samples: int, seed: int
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    blocks = [of_counts(counts) for counts in statistics.resamples(number, samples, rng)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _of_counts(
    probabilities: Float[np.ndarray, "samples labels"],
    labels: Integer[np.ndarray, "samples labels"],
    counts: Num[np.ndarray, "resamples samples"],
) -> dict[str, np.ndarray]:
    """Return every metric of every resample: `[resamples]`, or `[resamples, labels]` of each label.

    NaN where it is undefined.
    """
    weights = counts.astype(np.float64)
    right, guessed, there = (probabilities > 0.5) == labels, probabilities > 0.5, labels == 1
    hits = weights @ (guessed & there)
    predicted, actual = weights @ guessed, weights @ there
    total = weights.sum(axis=1)
    each = {
        "roc_auc": _each_label(statistics.roc_auc_of_class, probabilities, there, counts),
        "average_precision": _each_label(average_precision, probabilities, there, counts),
        "f1": _ratio(2 * hits, predicted + actual),
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, actual),
    }
    return {
        **each,
        "macro_roc_auc": _mean_of_defined(each["roc_auc"]),
        "macro_average_precision": _mean_of_defined(each["average_precision"]),
        "macro_f1": each["f1"].mean(axis=1),
        "accuracy": (weights @ right).mean(axis=1) / total,
        "exact_match": weights @ right.all(axis=1) / total,
    }


def _each_label(
    of_label: Callable[..., np.ndarray],
    probabilities: np.ndarray,
    there: np.ndarray,
    counts: np.ndarray,
) -> np.ndarray:
    columns = range(probabilities.shape[1])
    return np.stack([of_label(probabilities[:, k], there[:, k], counts) for k in columns], axis=1)


def average_precision(
    scores: Float[np.ndarray, " samples"],
    positive: np.ndarray,
    counts: Num[np.ndarray, "resamples samples"],
) -> Float[np.ndarray, " resamples"]:
    """Compute the average precision of one label for every resample.

    The mean over the positives, by how often each is in the resample, of the precision among all
    samples whose score is at least as high.

    Args:
        scores: of the label for every sample.
        positive: bool[samples], whether the sample has the label.
        counts: how often each resample contains each sample.

    Returns:
        Float64 values; NaN where a resample has no positive.
    """
    order = np.argsort(-scores, kind="stable")
    weights = counts[:, order].astype(np.float64)
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    found = np.cumsum(weights * positive[order], axis=1)[:, ends]
    taken = np.cumsum(weights, axis=1)[:, ends]
    gained = np.diff(found, axis=1, prepend=0.0)
    total = found[:, -1]
    sums = (gained * _ratio(found, taken)).sum(axis=1)
    return np.asarray(sums / np.where(total == 0, np.nan, total))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def _mean_of_defined(values: Float[np.ndarray, "resamples labels"]) -> np.ndarray:
    defined: Int[np.ndarray, "resamples"] = (~np.isnan(values)).sum(axis=1)
    return np.asarray(np.nansum(values, axis=1) / np.where(defined == 0, np.nan, defined))
