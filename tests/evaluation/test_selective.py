"""Rejection: the bound against SciPy's, and the risk that is promised, by simulation."""

import numpy as np
import pytest
from scipy import stats

from hqnn_jax.evaluation.selective import DELTA, confidence_threshold, risk_bound


@pytest.mark.parametrize(("errors", "total"), [(0, 1), (0, 59), (1, 20), (7, 300), (19, 20)])
def test_the_bound_is_that_of_clopper_and_pearson(errors, total):
    # One side of a two-sided interval.
    interval = stats.binomtest(errors, total).proportion_ci(1 - 2 * 0.03, method="exact")
    assert risk_bound(errors, total, 0.03) == pytest.approx(interval.high)


def test_the_bound_of_nothing_is_one():
    assert risk_bound(0, 0, 0.05) == risk_bound(3, 3, 0.05) == 1.0


def test_too_few_images_support_no_risk():
    confidence, correct = np.linspace(0.5, 1, 20), np.ones(20, bool)
    assert confidence_threshold(confidence, correct, 0.05) is None
    assert confidence_threshold(confidence, correct, 0.5) == 0.5


def test_all_is_kept_where_the_risk_is_low_enough_and_errors_are_rejected():
    confidence = np.linspace(0.5, 1, 1000)
    correct = np.arange(1000) >= 200
    threshold = confidence_threshold(confidence, correct, 0.02)
    assert threshold is not None
    kept = confidence >= threshold
    assert 750 < kept.sum() < 830
    assert confidence_threshold(confidence, correct, 0.25) == 0.5


def test_the_promised_risk_is_exceeded_as_seldom_as_promised():
    rng = np.random.default_rng(0)
    exceeded, kept = [], []
    for _ in range(300):
        confidence = rng.uniform(0.5, 1, 2000)
        # The true risk of all predictions with a confidence of c or more is (1 - c) / 2.
        correct = rng.random(2000) < confidence
        threshold = confidence_threshold(confidence, correct, 0.12)
        kept.append(threshold is not None)
        exceeded.append(threshold is not None and (1 - threshold) / 2 > 0.12)
    assert np.mean(kept) > 0.9
    assert np.mean(exceeded) <= DELTA
