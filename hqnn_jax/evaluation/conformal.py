"""Sets of classes that hold the true one with a chosen probability: split conformal prediction.

The score is 1 minus the probability of a class (LAC; Sadinle, Lei and Wasserman, 2019): among all
scores it gives the smallest sets on average, the same image always gets the same set, and one
number per held-out image is all that has to be kept. (APS, Romano et al., 2020, covers hard images
more evenly, with larger sets that depend on a random draw.)

The guarantee is marginal, over images drawn as the held-out ones were: an image from another
scanner, stain or population is not exchangeable with them, and then nothing is guaranteed.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float


def least_probability(true_probabilities: Float[np.ndarray, " samples"], coverage: float) -> float:
    """Return how probable a class must be to belong to a set.

    Args:
        true_probabilities: of the true class of each held-out image; of several labels, of the
            least probable true one.
        coverage: share of images whose set shall hold the true class, or all true labels.

    Returns:
        The ceil((n + 1) · coverage)-th largest of them; 0, so that every class belongs to every
        set, where there are too few images for this coverage.
    """
    count = len(true_probabilities)
    # Rounded, since 30 · 0.1 is a little more than 3.
    rank = math.ceil(round((count + 1) * coverage, 9))
    if rank > count:
        return 0.0
    return float(np.sort(true_probabilities)[count - rank])


def prediction_sets(
    probabilities: Float[np.ndarray, "samples classes"],
    answers: Bool[np.ndarray, "samples classes"],
    least: float,
) -> Bool[np.ndarray, "samples classes"]:
    """Return which classes belong to the set of each image.

    What is predicted always does, which only adds coverage: LAC's own sets are empty where no class
    is probable enough.

    Args:
        probabilities: of each image, scaled like those that `least` was computed from.
        answers: which classes are predicted.
        least: from `least_probability`.
    """
    return (probabilities >= least) | answers
