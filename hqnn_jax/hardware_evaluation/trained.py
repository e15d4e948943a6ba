"""A trained circuit with what is around it: the angles it is given, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from hqnn_jax.circuits import Circuit

Classify = Callable[[Float[Array, "batch outputs"]], Float[Array, "batch classes"]]
"""From a circuit's outputs to logits: pure, and differentiable by JAX."""


@dataclass(frozen=True, eq=False)
class Samples:
    """What a circuit is given for some images.

    Attributes:
        features: angles in radians, float64; a leading axis for the views of each image, whose
            class probabilities are averaged (one view without test-time augmentation).
        labels: true classes.
        positions: of the images in their split.
    """

    features: Float[np.ndarray, "views images features"]
    labels: Int[np.ndarray, " images"]
    positions: Int[np.ndarray, " images"]

    @property
    def flat(self) -> Float[np.ndarray, "samples features"]:
        """All views of all images, those of the first view first."""
        return self.features.reshape(-1, self.features.shape[-1])


@dataclass(frozen=True, eq=False)
class StoredPredictions:
    """What a run predicted for the images when it was evaluated.

    Attributes:
        name: what reports call it.
        description: the model, for people.
        probabilities: of the classes, float64.
        labels, positions: as in `Samples`.
        class_names: names of the classes.
        dataset: `name`, `fingerprint`, `split`, `synthetic`, `images` in the split.
    """

    name: str
    description: str
    probabilities: Float[np.ndarray, "images classes"]
    labels: Int[np.ndarray, " images"]
    positions: Int[np.ndarray, " images"]
    class_names: tuple[str, ...]
    dataset: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class TrainedCircuit:
    """A circuit that was trained in simulation, and its place in a classifier.

    Attributes:
        name: what reports call it.
        description: circuit and backbone, for people.
        circuit: the ideal circuit.
        weights: its trained weights, float64.
        classify: from its outputs to logits.
        evaluated: the images that are evaluated.
        training: images to fine-tune on; None where that is not asked for.
        class_names: names of the classes.
        dataset: as in `StoredPredictions`.
        stored: what the ideal circuit predicted when it was trained; None if that is not known.
    """

    name: str
    description: str
    circuit: Circuit
    weights: Float[np.ndarray, "..."]
    classify: Classify
    evaluated: Samples
    training: Samples | None
    class_names: tuple[str, ...]
    dataset: Mapping[str, Any]
    stored: StoredPredictions | None = None

    def probabilities(
        self, values: Float[np.ndarray, "samples outputs"]
    ) -> Float[np.ndarray, "images classes"]:
        """Class probabilities from the outputs of `evaluated.flat`, averaged over views."""
        views = self.evaluated.features.shape[0]
        logits = self.classify(jax.numpy.asarray(values, jax.numpy.float32))
        shares = np.asarray(jax.nn.softmax(logits), np.float64)
        return shares.reshape(views, -1, shares.shape[-1]).mean(axis=0)
