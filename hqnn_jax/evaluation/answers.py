"""What probabilities say of an image: one class, or each of several labels that is above a half."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Integer

from hqnn_jax.config.names import TaskName


def answered(
    probabilities: Float[np.ndarray, "images classes"], task: TaskName
) -> Bool[np.ndarray, "images classes"]:
    """Return which classes each image is said to have."""
    if task == "multilabel":
        return probabilities > 0.5
    return np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]


def truth(labels: Integer[np.ndarray, "images *labels"], num_classes: int) -> np.ndarray:
    """Return which classes each image has, bool[images, classes]."""
    if labels.ndim == 2:
        return labels.astype(bool)
    return np.arange(num_classes) == labels[:, None]


def confidence(
    probabilities: Float[np.ndarray, "images classes"], task: TaskName
) -> Float[np.ndarray, " images"]:
    """Return how sure each answer is: of several labels as sure as the least sure one."""
    if task == "multilabel":
        return np.maximum(probabilities, 1 - probabilities).min(axis=1)
    return probabilities.max(axis=1)


def single_answers(
    probabilities: Float[np.ndarray, "images classes"],
    labels: Integer[np.ndarray, "images *labels"],
) -> tuple[Float[np.ndarray, "answers choices"], Integer[np.ndarray, " answers"]]:
    """Return each answer as a choice of one: of several labels an image, each is there or not."""
    if labels.ndim == 1:
        return probabilities, labels
    return np.stack([1 - probabilities, probabilities], axis=-1).reshape(-1, 2), labels.ravel()
