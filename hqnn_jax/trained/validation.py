"""What a trained model keeps of its validation split, to choose coverage and risk by later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Integer

from hqnn_jax.config.names import TaskName
from hqnn_jax.evaluation import answers
from hqnn_jax.evaluation.conformal import least_probability
from hqnn_jax.evaluation.selective import confidence_threshold


@dataclass(frozen=True, eq=False)
class ValidationScores:
    """Calibrated probabilities of the validation images, as far as thresholds depend on them."""

    true_probability: Float32[np.ndarray, " images"]
    """Of the true class; of several labels, of the least probable true one, 1 without any."""
    confidence: Float32[np.ndarray, " images"]
    """Of what is predicted; see `hqnn_jax.evaluation.answers`."""
    correct: Bool[np.ndarray, " images"]
    """Whether that is true; of several labels, all of it."""

    @classmethod
    def of(
        cls,
        probabilities: Float[np.ndarray, "images classes"],
        labels: Integer[np.ndarray, "images *labels"],
        task: TaskName,
    ) -> ValidationScores:
        """Return the scores of calibrated probabilities."""
        rounded = probabilities.astype(np.float32)
        true = answers.truth(labels, rounded.shape[1])
        return cls(
            np.where(true, rounded, np.float32(1)).min(axis=1),
            answers.confidence(rounded, task),
            (answers.answered(rounded, task) == true).all(axis=1),
        )

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
