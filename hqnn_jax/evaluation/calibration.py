"""Probabilities that mean what they say: temperature scaling (Guo et al., 2017, section 4.2).

One number T, fitted on images the network was not trained on, divides the logits. It changes no
predicted class and no order of the classes of an image.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Array, Float, Integer
from scipy import optimize

_SMALLEST = float(np.finfo(np.float32).tiny)
_LARGEST_TEMPERATURE = 20.0


def tempered(
    probabilities: Float[Array | np.ndarray, "*samples classes"], temperature: float
) -> Float[Array | np.ndarray, "*samples classes"]:
    """Return softmax(log(probabilities) / temperature), in their dtype, of NumPy or JAX.

    The logarithm of a softmax is the logits but for a constant, so for the output of a softmax
    this is temperature scaling; it is defined for averages of several softmaxes, too.
    """
    numbers = probabilities.__array_namespace__()
    scores = numbers.log(numbers.maximum(probabilities, _SMALLEST)) / temperature
    powers = numbers.exp(scores - scores.max(axis=-1, keepdims=True))
    scaled: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return scaled


def tempered_labels(
    probabilities: Float[Array | np.ndarray, "samples labels"], temperature: float
) -> Float[Array | np.ndarray, "samples labels"]:
    """Return the same where each label is there or not: sigmoid(logit / temperature)."""
    numbers = probabilities.__array_namespace__()
    both = numbers.stack([1 - probabilities, probabilities], axis=-1)
    return tempered(both, temperature)[..., 1]


def negative_log_likelihood(
    probabilities: Float[np.ndarray, "samples classes"], labels: Integer[np.ndarray, " samples"]
) -> float:
    """Return the mean of -log of the true class's probability, in nats."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(true, _SMALLEST)).mean())


def fit_temperature(
    probabilities: Float[np.ndarray, "samples classes"], labels: Integer[np.ndarray, " samples"]
) -> float:
    """Return the temperature of least negative log-likelihood, between 1/20 and 20.

    Args:
        probabilities: of images the network was not trained on.
        labels: their true classes.

    Returns:
        1 where every image is classified rightly: the likelihood then has no maximum, and ever
        greater confidence would be taken from a split that has no error to learn it from.
    """
    if np.all(probabilities.argmax(axis=1) == labels):
        return 1.0
    exact = probabilities.astype(np.float64)

    def loss(log_temperature: float) -> float:
        scaled = np.asarray(tempered(exact, math.exp(log_temperature)))
        return negative_log_likelihood(scaled, labels)

    # Convex in 1/T, so that there is one minimum.
    bound = math.log(_LARGEST_TEMPERATURE)
    found = optimize.minimize_scalar(loss, bounds=(-bound, bound), options={"xatol": 1e-6})
    return math.exp(found.x)
