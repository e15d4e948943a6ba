"""Temperature: found again where it is known, and nothing else is changed."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from hqnn_jax.evaluation.calibration import fit_temperature, negative_log_likelihood, tempered


def drawn(temperature, count=4000, classes=5):
    """Return softmax(logits) of labels that were drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(count, classes)) * 3
    truth = special.softmax(logits / temperature, axis=1)
    labels = (truth.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return special.softmax(logits, axis=1), np.minimum(labels, classes - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_labels_were_drawn_with_is_found(temperature):
    probabilities, labels = drawn(temperature)
    found = fit_temperature(probabilities, labels)
    assert found == pytest.approx(temperature, rel=0.1)
    grid = [negative_log_likelihood(tempered(probabilities, t), labels) for t in found * _GRID]
    assert np.argmin(grid) == len(_GRID) // 2


_GRID = np.array([0.8, 0.9, 0.99, 1, 1.01, 1.1, 1.2])


def test_tempering_divides_logits():
    logits = np.random.default_rng(0).normal(size=(50, 4)) * 10
    expected = special.softmax(logits / 1.7, axis=1)
    probabilities = special.softmax(logits, axis=1)
    np.testing.assert_allclose(tempered(probabilities, 1.7), expected, rtol=1e-12)
    found = tempered(jnp.asarray(probabilities, jnp.float32), 1.7)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert (np.argmax(found, 1) == probabilities.argmax(1)).all()


def test_a_probability_of_zero_stays_finite():
    certain = np.eye(3)[[0, 1]]
    assert np.isfinite(tempered(certain, 3.0)).all()
    assert np.isfinite(negative_log_likelihood(certain, np.array([1, 1])))


def test_a_split_without_an_error_teaches_no_temperature():
    probabilities, _ = drawn(1.0, count=30)
    assert fit_temperature(probabilities, probabilities.argmax(axis=1)) == 1.0
