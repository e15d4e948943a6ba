"""Conformal sets: the threshold by hand, and the coverage that is promised, by simulation."""

import numpy as np
import pytest

from hqnn_jax.evaluation.answers import answered
from hqnn_jax.evaluation.conformal import least_probability, prediction_sets


def test_the_threshold_by_hand():
    true = np.array([0.9, 0.2, 0.8, 0.5, 0.7, 0.6, 0.95, 0.3, 0.85], np.float32)
    # ceil(10 · 0.8) = 8 of 9 are to be at least as probable; ceil(10 · 0.95) = 10 are too many.
    assert least_probability(true, 0.8) == pytest.approx(0.3)
    assert least_probability(true, 0.3) == pytest.approx(0.85)
    assert least_probability(true, 0.95) == 0.0
    assert least_probability(np.linspace(0.01, 0.29, 29), 0.1) == pytest.approx(0.27)


def test_sets_hold_what_is_probable_and_what_is_predicted():
    probabilities = np.array([[0.5, 0.4, 0.1], [0.36, 0.34, 0.3], [0.1, 0.1, 0.8]])
    answers = answered(probabilities, "multiclass")
    sets = prediction_sets(probabilities, answers, 0.4)
    assert sets.tolist() == [[True, True, False], [True, False, False], [False, False, True]]
    assert prediction_sets(probabilities, answers, 0.0).all()


@pytest.mark.parametrize("coverage", [0.5, 0.9, 0.99])
def test_as_many_sets_as_promised_hold_the_true_class(coverage):
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        # A bad model: the true class is no more probable than it says, whatever it says.
        probabilities = rng.dirichlet(np.full(4, 0.5), 150)
        labels = np.array([rng.choice(4, p=p) for p in 0.3 / 4 + 0.7 * probabilities])
        true = probabilities[np.arange(150), labels]
        least = least_probability(true[:100], coverage)
        # Without the predicted class, so that the promise is kept and not exceeded.
        held.append((true[100:] >= least).mean())
        answers = answered(probabilities[100:], "multiclass")
        sets = prediction_sets(probabilities[100:], answers, least)
        assert sets[np.arange(50), labels[100:]].mean() >= held[-1]
    # Exact: ceil(101 · coverage) / 101; four standard errors of the mean.
    exact = np.ceil(101 * coverage) / 101
    assert np.mean(held) == pytest.approx(exact, abs=4 * np.std(held) / np.sqrt(len(held)))
