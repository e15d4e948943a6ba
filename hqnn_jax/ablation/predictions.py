"""The predicted classes of a study in one small file, and its statistics computed anew from them.

`predictions.npz` stands beside `study.json` and holds arrays of small integers: `seeds`, `labels`
(the true class of every test image) and, for every arm, `NAME.predicted`: the predicted classes
[seeds, images]. Arms that were tested on other images have true classes of their own,
`NAME.labels`. So anyone can recompute what a study says, with `recompute` or by hand:

    arrays = numpy.load("predictions.npz")
    correct = (arrays["quantum.predicted"] == arrays["labels"]).sum(axis=1)  # of every seed
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int
from sklearn.metrics import confusion_matrix

from hqnn_jax.ablation.comparing import ComparedArm, compare_arms, verdicts
from hqnn_jax.ablation.results import AblationResults
from hqnn_jax.evaluation.comparison import Comparison, Summary, summarise
from hqnn_jax.evaluation.statistics import confusion_metrics

FILE_NAME = "predictions.npz"


class Recomputed(NamedTuple):
    """What follows from the predicted classes of a study.

    Attributes:
        test: name of an arm -> metric -> its value of every seed; those that need probabilities are
            the stored ones.
        summaries: name of an arm -> the compared metric over seeds.
        comparisons, verdicts: as in `AblationResults`.
    """

    test: Mapping[str, Mapping[str, Sequence[float]]]
    summaries: Mapping[str, Summary]
    comparisons: Mapping[str, Comparison]
    verdicts: tuple[str, ...]


def prediction_arrays(results: AblationResults) -> dict[str, np.ndarray]:
    """Return what `predictions.npz` holds, in the smallest type of integer that fits."""
    first = results.arms[0]
    arrays = {"seeds": np.asarray(first.seeds), "labels": small_integers(first.labels)}
    for arm in results.arms:
        arrays[f"{arm.name}.predicted"] = small_integers(arm.predicted)
        if not np.array_equal(arm.labels, first.labels):
            arrays[f"{arm.name}.labels"] = small_integers(arm.labels)
    return arrays


def small_integers(classes: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
    """Return class numbers in one byte each, in two where there are more than 128 classes."""
    return classes.astype(np.int8 if classes.max(initial=0) <= 127 else np.int16)


def recompute(folder: Path) -> Recomputed:
    """Compute the statistics of a study from its predicted classes.

    Only what is compared with what, and values of a compared metric that needs probabilities
    (roc_auc), are read from `study.json`.

    Args:
        folder: with `study.json` and `predictions.npz`.
    """
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    metric, level = study["metric"], study["level"]
    with np.load(folder / FILE_NAME, allow_pickle=False) as arrays:
        arms = [
            _arm(entry, arrays, len(study["dataset"]["class_names"])) for entry in study["arms"]
        ]
    summaries = {
        arm.name: summarise(np.asarray(arm.test[metric], np.float64), level=level) for arm in arms
    }
    comparisons: dict[str, Comparison] = {}
    if study["comparisons"]:
        comparisons = compare_arms(arms, study["reference"], metric=metric, level=level)
    sentences = verdicts(
        arms,
        study["reference"],
        comparisons,
        metric=metric,
        level=level,
    )
    return Recomputed({arm.name: arm.test for arm in arms}, summaries, comparisons, sentences)


def _arm(
    entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray], num_classes: int
) -> ComparedArm:
    name = entry["name"]
    predicted, own = arrays[f"{name}.predicted"], f"{name}.labels"
    labels = arrays[own if own in arrays else "labels"]
    counts = [confusion_matrix(labels, row, labels=range(num_classes)) for row in predicted]
    found = confusion_metrics(np.stack(counts))
    stored = {
        metric: [np.nan if value is None else value for value in values]
        for metric, values in entry["test"].items()
    }
    computed = {metric: found[metric].tolist() for metric in stored if metric in found}
    return ComparedArm(name, entry["label"], {**stored, **computed}, predicted, labels)
