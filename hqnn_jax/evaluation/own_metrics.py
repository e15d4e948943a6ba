"""Metrics of the user's own: functions of labels and probabilities."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Integer

from hqnn_jax.errors import ConfigurationError
from hqnn_jax.evaluation.metrics import Metric, SplitPredictions
from hqnn_jax.own_parts import blamed_on, import_function

Function = Callable[[np.ndarray, np.ndarray], float]
_KEY = "evaluation.metrics"
_EXPECTED = "a function (labels[images], probabilities[images, classes]) -> float"
_CHECKED_IMAGES = 4
"""Of each class, when a metric is tried before a run."""


def own_metrics(names: Sequence[str]) -> dict[str, Metric]:
    """Return the metrics of these import paths, `package.module:function`, by them.

    Their intervals are percentile bootstraps; resamples for which a function raises, as for one
    that lacks a class, or for which it is not finite, are left out.

    Raises:
        ConfigurationError: if one cannot be imported or called so.
    """
    return {name: _metric(name) for name in names}


def check_own_metrics(names: Sequence[str], num_classes: int) -> None:
    """Try each metric on a few drawn predictions.

    Raises:
        ConfigurationError: if one cannot be imported, raises, or returns no number.
    """
    labels = np.repeat(np.arange(num_classes, dtype=np.int32), _CHECKED_IMAGES)
    drawn = np.random.default_rng(0).dirichlet(np.ones(num_classes), len(labels))
    for name in names:
        _value(_function(name), name, labels, drawn.astype(np.float32))


def _function(name: str) -> Function:
    function: Function = import_function(_KEY, name, "labels", "probabilities")
    return function


def _metric(name: str) -> Metric:
    function = _function(name)
    return Metric(
        name,
        of_samples=functools.partial(_of_resamples, function),
        estimate=lambda split: _value(function, name, split.labels, split.probabilities),
        always=False,
    )


def _value(
    function: Function,
    name: str,
    labels: Integer[np.ndarray, " samples"],
    probabilities: Float[np.ndarray, "samples classes"],
) -> float | None:
    """Return the metric, None where it is not finite."""
    with blamed_on(_KEY, name, _EXPECTED):
        found = function(labels, probabilities)
    try:
        value = float(found)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{_KEY}: {name!r} returned {type(found).__name__}; expected {_EXPECTED}"
        ) from error
    return value if math.isfinite(value) else None


def _of_resamples(
    function: Function, split: SplitPredictions, counts: np.ndarray
) -> Float[np.ndarray, " resamples"]:
    found = np.full(len(counts), np.nan)
    for index, row in enumerate(counts):
        chosen = np.repeat(np.arange(len(row)), row.astype(int))
        # What a function does not define is left out; that it works at all has been seen.
        try:
            found[index] = float(function(split.labels[chosen], split.probabilities[chosen]))
        except Exception:  # somebody else's code
            continue
    found[~np.isfinite(found)] = np.nan
    return found
