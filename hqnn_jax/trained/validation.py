"""What a trained model keeps of its validation split, to choose coverage and risk by later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Integer

from hqnn_jax.evaluation.conformal import least_probability
from hqnn_jax.evaluation.selective import confidence_threshold


@dataclass(frozen=True, eq=False)
class ValidationScores:
    """Calibrated probabilities of the validation images, as far as thresholds depend on them."""

    true_probability: Float32[np.ndarray, " images"]
    """Of the true class."""
    confidence: Float32[np.ndarray, " images"]
    """Of the predicted class."""
    correct: Bool[np.ndarray, " images"]
    """Whether that is the true one."""

    @classmethod
    def of(
        cls,
        probabilities: Float[np.ndarray, "images classes"],
        labels: Integer[np.ndarray, " images"],
    ) -> ValidationScores:
        """Return the scores of calibrated probabilities."""
        rounded = probabilities.astype(np.float32)
        true = rounded[np.arange(len(labels)), labels]
        return cls(true, rounded.max(axis=1), rounded.argmax(axis=1) == labels)

    def least_probability(self, coverage: float) -> float:
        """Return how probable a class must be to belong to the set of an image.

        Args:
            coverage: see `hqnn_jax.evaluation.conformal`.
        """
        return least_probability(self.true_probability, coverage)

    def confidence_threshold(self, risk: float) -> float | None:
        """Return the confidence below which a prediction is rejected; None: all are.

        Args:
            risk: see `hqnn_jax.evaluation.selective`.
        """
        return confidence_threshold(self.confidence, self.correct, risk)
