"""A trained model: predicting, and explaining what it predicts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, UInt8

from hqnn_jax import keys
from hqnn_jax.backbones.checkpoint_layout import ImageNormalization
from hqnn_jax.config import ModelConfig
from hqnn_jax.config.names import TaskName
from hqnn_jax.data.decoding import decode_image
from hqnn_jax.evaluation import interpretability
from hqnn_jax.evaluation.answers import answered, confidence
from hqnn_jax.evaluation.calibration import tempered, tempered_labels
from hqnn_jax.evaluation.conformal import prediction_sets
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.trained.layout import COVERAGE, RISK
from hqnn_jax.trained.pictures import as_stored, read_batches
from hqnn_jax.trained.record import ModelRecord
from hqnn_jax.trained.structure import build_structure
from hqnn_jax.trained.validation import ValidationScores
from hqnn_jax.training.prediction import Predictor, averaged_over_views
from hqnn_jax.training.step import Preprocessing

BATCH_SIZE = 256
BETWEEN = " | "
"""Between names of classes, which have commas."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of some images."""

    probabilities: Float32[np.ndarray, "images classes"]
    """Calibrated."""
    class_names: tuple[str, ...]
    answers: Bool[np.ndarray, "images classes"]
    """Which classes are predicted: one, or any number of labels."""
    confidence: Float32[np.ndarray, " images"]
    """The probability of that class; of several labels, of the least sure answer."""
    sets: Bool[np.ndarray, "images classes"]
    """Which classes belong to the conformal set of each image."""
    rejected: Bool[np.ndarray, " images"]
    """Whether the confidence is too low for the chosen risk."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.probabilities)

    @property
    def labels(self) -> Int[np.ndarray, " images"]:
        """The number of the most probable class of each image."""
        return self.probabilities.argmax(axis=1)

    @property
    def names(self) -> tuple[str, ...]:
        """The name of what is predicted; of several labels, with ` | ` between them."""
        return tuple(map(BETWEEN.join, self._named(self.answers)))

    @property
    def set_names(self) -> tuple[tuple[str, ...], ...]:
        """The names of the classes in each set."""
        return self._named(self.sets)

    def _named(self, chosen: np.ndarray) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(np.compress(row, self.class_names).tolist()) for row in chosen)


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A trained model with all that is needed to predict; `hqnn_jax.load` returns one.

    Attributes:
        record: what it is; see `ModelRecord`.
        network: its static structure, which `variables` belong to. A frozen backbone is part of it.
        variables: its arrays.
        validation: scores of the validation images, which thresholds are chosen by.
    """

    record: ModelRecord
    network: Model
    variables: Variables
    validation: ValidationScores

    def __repr__(self) -> str:
        """Return in one line what it is."""
        data = self.record.trained_on
        kind = ", synthetic" if data.synthetic else ""
        return f"<TrainedModel of {data.name}{kind}: {', '.join(self.class_names)}>"

    @property
    def config(self) -> ModelConfig:
        """Its section of the configuration."""
        return self.record.model

    @property
    def class_names(self) -> tuple[str, ...]:
        """The name of class k at position k."""
        return self.record.class_names

    @property
    def task(self) -> TaskName:
        """What is predicted for each image: one class (`multiclass`, in an order `ordinal`), or any
        number of labels (`multilabel`)."""
        return self.record.task

    @property
    def resolution(self) -> int:
        """Side in pixels of the uint8 images that `function` takes."""
        return self.record.images.resolution

    @property
    def channels(self) -> int:
        """Their channels: 1 for grey, 3 for RGB."""
        return self.record.images.channels

    @property
    def file_mode(self) -> str:
        """The Pillow mode of files like those it was trained on: L or RGB."""
        return "L" if self.channels == 1 else "RGB"

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return self.record.temperature

    @property
    def preprocessing(self) -> Preprocessing:
        """From uint8 images to what the network takes."""
        images = self.record.images
        normalization = ImageNormalization(images.mean, images.deviation)
        return Preprocessing(
            self.config.backbone.image_size, images.network_channels, normalization
        )

    def function(
        self,
    ) -> Callable[
        [Variables, UInt8[Array, "batch height width channels"]], Float[Array, "batch classes"]
    ]:
        """Return `f(variables, images)`: from stored uint8 images to calibrated probabilities.

        It is pure and can be compiled, differentiated or exported: preprocessing, backbone,
        circuit, classifier, average over views, temperature.
        """
        shots, preprocessing = self.record.shots, self.preprocessing
        # The same draws for every batch, so that an image has one answer.
        key = () if shots is None else (keys.evaluation(self.record.origin.seed, 0),)
        several = self.task == "multilabel"
        activation, scale = (
            (jax.nn.sigmoid, tempered_labels) if several else (jax.nn.softmax, tempered)
        )

        def probabilities(variables: Variables, images: jax.Array, *key: jax.Array) -> jax.Array:
            return activation(self.network.apply(variables, preprocessing(images), *key))

        averaged = averaged_over_views(probabilities, self.record.views)

        def calibrated(variables: Variables, images: jax.Array) -> jax.Array:
            return jnp.asarray(scale(averaged(variables, images, *key), self.temperature))

        return calibrated

    @functools.cached_property
    def _compiled(self) -> Callable[[Variables, jax.Array], jax.Array]:
        return jax.jit(self.function())

    def predict(
        self,
        images: Any,
        *,
        risk: float = RISK,
        coverage: float = COVERAGE,
        crop: float | None = None,
        batch_size: int = BATCH_SIZE,
    ) -> Prediction:
        """Predict the classes of images.

        Args:
            images: an array uint8[images, height, width, channels] of grey, RGB or RGBA images, or
                the path of an image file, or several paths. Other sizes and channels than those of
                the training set are converted as its files were.
            risk: largest share of wrong classes among predictions that are not rejected; see
                `hqnn_jax.evaluation.selective`.
            coverage: share of images whose set holds the true class, or all true labels; see
                `hqnn_jax.evaluation.conformal`.
            crop: share of the shorter side of which only the square in the middle is used, as where
                the training set shows its objects closer; None for whole images.
            batch_size: images at once. Each batch size is compiled once; fewer images are filled
                up to a power of two.

        Raises:
            DataError: for a file that cannot be read, or an array that holds no such images.
        """
        if isinstance(images, str | Path):
            images = [images]
        named = isinstance(images, Sequence) and all(isinstance(one, str | Path) for one in images)
        if not named:
            images = self.stored(images, crop)
        size = min(batch_size, 1 << max(len(images) - 1, 0).bit_length())
        found = self._of_files(images, crop, size) if named else self.probabilities(images, size)
        return self.judged(found, risk=risk, coverage=coverage)

    def _of_files(
        self, files: Sequence[str | Path], crop: float | None, batch_size: int
    ) -> np.ndarray:
        parts = [np.zeros((0, len(self.class_names)), np.float32)]
        read = functools.partial(self.read, crop=crop)
        for batch in read_batches(list(map(Path, files)), read, batch_size):
            if batch.unreadable:
                raise batch.unreadable[0]
            parts.append(self.probabilities(batch.images, batch_size))
        return np.concatenate(parts)

    def judged(
        self, probabilities: Float32[np.ndarray, "images classes"], *, risk: float, coverage: float
    ) -> Prediction:
        """Return calibrated probabilities with sets and rejections; arguments as in `predict`."""
        threshold = self.validation.confidence_threshold(risk)
        least = self.validation.least_probability(coverage)
        answers = answered(probabilities, self.task)
        sure = confidence(probabilities, self.task)
        return Prediction(
            probabilities=probabilities,
            class_names=self.class_names,
            answers=answers,
            confidence=sure,
            sets=prediction_sets(probabilities, answers, least),
            rejected=np.ones(len(sure), bool) if threshold is None else sure < threshold,
        )

    def probabilities(
        self, images: UInt8[np.ndarray, "images height width channels"], batch_size: int
    ) -> Float32[np.ndarray, "images classes"]:
        """Return the calibrated probabilities of images as `stored` and `read` return them.

        They are computed `batch_size` at a time, for which the model is compiled once; the last
        ones are filled up.
        """
        if not len(images):
            return np.zeros((0, len(self.class_names)), np.float32)
        return Predictor(self._compiled, batch_size)(self.variables, images)

    def read(
        self, path: Path, crop: float | None = None
    ) -> UInt8[np.ndarray, "resolution resolution channels"]:
        """Return an image file as files of the training set were read; `crop` as in `predict`.

        Raises:
            DataError: as `decode_image`.
        """
        if crop is None:
            return decode_image(path, file_mode=self.file_mode, resolution=self.resolution)[0]
        whole, _ = decode_image(path, file_mode=self.file_mode, resolution=None)
        return self.stored(whole[None], crop)[0]

    def stored(
        self, images: Any, crop: float | None = None
    ) -> UInt8[np.ndarray, "images resolution resolution channels"]:
        """Return an array in the training set's size and channels; `crop` as in `predict`.

        Raises:
            DataError: if it is no uint8 array of grey, RGB or RGBA images.
        """
        return as_stored(images, file_mode=self.file_mode, resolution=self.resolution, crop=crop)

    def explain(
        self,
        images: UInt8[np.ndarray, "images resolution resolution channels"],
        labels: Int[np.ndarray, " images"],
        *,
        steps: int = interpretability.INTEGRATION_STEPS,
    ) -> interpretability.Explanations:
        """Return Grad-CAM and integrated gradients of one class per image.

        Args:
            images: as `stored` and `read` return them.
            labels: the class that is explained; usually the predicted one.
            steps: see `interpretability.integrated_gradients`.
        """
        prepared = self._prepare(jnp.asarray(images))
        return interpretability.explain(self.cut, prepared, jnp.asarray(labels), steps=steps)

    @functools.cached_property
    def _prepare(self) -> Callable[[jax.Array], jax.Array]:
        return jax.jit(self.preprocessing)

    @functools.cached_property
    def cut(self) -> interpretability.Classifier:
        """The network cut at the feature maps of its backbone, its circuit evaluated exactly."""
        # A finite number of shots has no gradient.
        exact = build_structure(self.record, shots=None)[0] if self.record.shots else self.network
        return interpretability.cut_at_maps(exact, self.variables)
