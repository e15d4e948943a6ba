"""Metrics of sets of several labels an image, against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from hqnn_jax.errors import DataError, TrainingError
from hqnn_jax.evaluation.label_metrics import average_precision, compute_label_metrics
from hqnn_jax.evaluation.metrics import compute_metrics, mean_over_seeds
from hqnn_jax.evaluation.statistics import quadratic_kappa

RNG = np.random.default_rng(0)
LABELS = (RNG.random((60, 4)) < (0.1, 0.3, 0.5, 0.0)).astype(np.int32)
# In steps, so that there are ties.
PROBABILITIES = np.round(np.clip(0.3 * LABELS + RNG.random((60, 4)) * 0.7, 0, 1), 1)
NAMES = ("a", "b", "c", "never there")


def test_every_metric_is_that_of_scikit_learn():
    found = compute_label_metrics(PROBABILITIES, LABELS, NAMES, bootstrap_samples=100)
    predicted = PROBABILITIES > 0.5
    assert found["accuracy"] == pytest.approx((predicted == LABELS).mean())
    assert found["exact_match"] == pytest.approx(metrics.accuracy_score(LABELS, predicted))
    assert found["macro_f1"] == pytest.approx(
        metrics.f1_score(LABELS, predicted, average="macro", zero_division=0)
    )
    areas = [metrics.roc_auc_score(LABELS[:, k], PROBABILITIES[:, k]) for k in range(3)]
    precisions = [
        metrics.average_precision_score(LABELS[:, k], PROBABILITIES[:, k]) for k in range(3)
    ]
    assert found["macro_roc_auc"] == pytest.approx(np.mean(areas))
    assert found["macro_average_precision"] == pytest.approx(np.mean(precisions))
    for k, entry in enumerate(found["per_class"][:3]):
        assert entry["roc_auc"] == pytest.approx(areas[k])
        assert entry["average_precision"] == pytest.approx(precisions[k])
        assert entry["support"] == LABELS[:, k].sum()
        low, high = entry["intervals"]["roc_auc"]
        assert low < entry["roc_auc"] < high
    assert found["per_class"][3]["roc_auc"] is None
    assert found["per_class"][3]["intervals"]["average_precision"] is None


def test_a_sample_that_counts_twice_is_two_samples():
    counts = RNG.integers(0, 3, (5, 60))
    found = average_precision(PROBABILITIES[:, 1], LABELS[:, 1] == 1, counts)
    for row, value in zip(counts, found, strict=True):
        expected = metrics.average_precision_score(
            np.repeat(LABELS[:, 1], row), np.repeat(PROBABILITIES[:, 1], row)
        )
        assert value == pytest.approx(expected)


def test_seeds_are_averaged_like_others():
    each = [
        compute_label_metrics(p, LABELS, NAMES, bootstrap_samples=100)
        for p in (PROBABILITIES, 1 - PROBABILITIES)
    ]
    mean = mean_over_seeds(each)
    assert mean["macro_f1"] == pytest.approx((each[0]["macro_f1"] + each[1]["macro_f1"]) / 2)
    assert mean["standard_deviation"]["macro_f1"] > 0
    assert mean["images"] == 60


def test_what_cannot_be_measured():
    with pytest.raises(DataError, match="the split is empty"):
        compute_label_metrics(PROBABILITIES[:0], LABELS[:0], NAMES)
    with pytest.raises(TrainingError, match="not finite"):
        compute_label_metrics(PROBABILITIES * np.nan, LABELS, NAMES)


def test_the_quadratic_kappa_is_that_of_scikit_learn():
    truth, guess = RNG.integers(0, 4, (2, 200))
    expected = metrics.cohen_kappa_score(truth, guess, weights="quadratic")
    confusion = metrics.confusion_matrix(truth, guess)
    assert quadratic_kappa(confusion) == pytest.approx(expected)
    assert np.isnan(quadratic_kappa(np.diag([5, 0])))


def test_classes_in_an_order_have_a_kappa_of_their_own():
    probabilities = np.eye(4)[RNG.integers(0, 4, 80)]
    labels = np.clip(probabilities.argmax(1) + RNG.integers(-1, 2, 80), 0, 3)
    names = ["0", "1", "2", "3"]
    plain = compute_metrics(probabilities, labels, names, bootstrap_samples=100)
    ordinal = compute_metrics(probabilities, labels, names, bootstrap_samples=100, task="ordinal")
    assert "quadratic_kappa" not in plain
    low, high = ordinal["intervals"].pop("quadratic_kappa")
    assert low < ordinal.pop("quadratic_kappa") < high
    assert ordinal["interval_methods"].pop("quadratic_kappa") == "bootstrap"
    assert ordinal == plain
