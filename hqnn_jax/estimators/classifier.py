"""A classifier of features or images with the interface of scikit-learn."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hqnn_jax.config import ModelConfig, TrainingConfig
from hqnn_jax.config.loading import validated
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.estimators.blueprint import Blueprint
from hqnn_jax.progress import Progress
from hqnn_jax.training.prediction import Predictor

_PREDICTORS: weakref.WeakKeyDictionary[HybridClassifier, Predictor] = weakref.WeakKeyDictionary()
"""What is compiled is no part of an estimator: it is neither copied nor pickled."""
_MOST_AT_ONCE = 256


class HybridClassifier(ClassifierMixin, BaseEstimator):
    """Backbone (for images) -> processor -> circuit -> classes, trained on arrays.

    Features `[samples, features]` are standardised and go to the processor. Images `[samples,
    height, width]` or `[samples, height, width, channels]`, uint8 or from 0 to 1, go through a
    backbone first. A part of the samples is held back, by which the best epoch is chosen.

    Args:
        circuit: name of a circuit of the library or `package.module:function` of one's own; or a
            mapping of the keys of `model.circuit`, for example `{"name": "composed", "embedding":
            "iqp"}`.
        num_qubits: of the circuit.
        num_layers: of the circuit.
        middle: the circuit (`quantum`) or what stands in its place; see `model.middle`.
        hidden: widths of the processor's layers.
        feature_scaling: how the processor's outputs become angles; see `model.feature_scaling`.
        backbone: of images; a name, or a mapping of the keys of `model.backbone`.
        epochs: number of epochs.
        batch_size: samples in a step; all of them where there are fewer.
        learning_rate: peak learning rate of AdamW.
        circuit_learning_rate: that of the circuit's weights; None for `learning_rate`.
        weight_decay: of AdamW, on matrices and kernels only.
        validation_fraction: share of the samples that is held back. Where that is less than one of
            each class, all are trained on, and the best epoch is chosen by them.
        random_state: of initial values, order and division; an integer for the same result again.
        verbose: whether progress is told on standard error.

    Attributes:
        classes_: the classes, in the order of the columns of `predict_proba`.
        n_features_in_: number of features, or the height of the images.
        history_: of each epoch losses and accuracies of training and of validation.
        best_epoch_: epochs trained up to the one that was kept.
        model_config_: the whole configuration of the network.
    """

    def __init__(
        self,
        circuit: str | Mapping[str, Any] = "radhi2025",
        *,
        num_qubits: int = 4,
        num_layers: int = 2,
        middle: str = "quantum",
        hidden: tuple[int, ...] = (16,),
        feature_scaling: str = "tanh",
        backbone: str | Mapping[str, Any] = "compact",
        epochs: int = 40,
        batch_size: int = 32,
        learning_rate: float = 1e-2,
        circuit_learning_rate: float | None = None,
        weight_decay: float = 1e-2,
        validation_fraction: float = 0.15,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        """Note the parameters; they are checked in `fit`."""
        self.circuit = circuit
        self.num_qubits = num_qubits
        self.num_layers = num_layers
        self.middle = middle
        self.hidden = hidden
        self.feature_scaling = feature_scaling
        self.backbone = backbone
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.circuit_learning_rate = circuit_learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> HybridClassifier:
        """Train a new network on samples and their classes, numbers or text.

        Raises:
            ValueError: for arrays that cannot be used, or samples of one class only.
            ConfigurationError: for parameters that cannot be used.
        """
        samples, y = self._checked(X, y)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"expected samples of at least two classes, got one class: {self.classes_}"
            )
        self._mean, self._deviation = _spread(samples)
        inputs = self._scaled(samples)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        train, validation = _divided(labels, self.validation_fraction, seed)
        self.model_config_ = self._model_config(inputs)
        blueprint = Blueprint(self.model_config_, inputs.shape[1:], len(self.classes_), seed)
        trained = blueprint.train(
            inputs,
            labels.astype(np.int32),
            train,
            validation,
            self._training_config(len(train)),
            Progress() if self.verbose else _Silent(),
        )
        self._blueprint = blueprint
        self._variables = trained.variables
        self.history_, self.best_epoch_ = trained.history, trained.best_epoch
        _PREDICTORS.pop(self, None)
        return self

    def predict(self, X: Any) -> Shaped[np.ndarray, " samples"]:
        """Return the most probable class of each sample."""
        probabilities = self.predict_proba(X)
        found: np.ndarray = self.classes_[probabilities.argmax(axis=1)]
        return found

    def predict_proba(self, X: Any) -> Float[np.ndarray, "samples classes"]:
        """Return the probability of each class for each sample, in the order of `classes_`."""
        check_is_fitted(self)
        inputs = self._scaled(self._checked(X))
        if self not in _PREDICTORS:
            _PREDICTORS[self] = self._blueprint.predictor(self._variables, inputs, _MOST_AT_ONCE)
        found = _PREDICTORS[self](self._variables, inputs).astype(np.float64)
        return found / found.sum(axis=1, keepdims=True)

    def _checked(self, X: Any, *y: Any) -> Any:
        """Return the samples, and the classes where they are given, as arrays."""
        images = np.asarray(X).ndim > 2
        options: dict[str, Any] = {"allow_nd": images, "reset": bool(y)}
        if images:
            options["dtype"] = None
        if y:
            samples, classes = validate_data(self, X, *y, ensure_min_samples=2, **options)
        else:
            samples = validate_data(self, X, **options)
        samples = _as_images(samples) if images else samples.astype(np.float64)
        if y:
            return samples, classes
        shape = self._blueprint.shape
        if samples.shape[1:] != shape:
            raise ValueError(
                f"X has samples of shape {samples.shape[1:]}; expected {shape}, as in fit"
            )
        return samples

    def _scaled(self, samples: np.ndarray) -> np.ndarray:
        """Return what the network takes: standardised features in float32, images as they are."""
        if samples.ndim > 2:
            return samples
        return ((samples - self._mean) / self._deviation).astype(np.float32)

    def _model_config(self, inputs: np.ndarray) -> ModelConfig:
        backbone = (
            {"name": self.backbone} if isinstance(self.backbone, str) else dict(self.backbone)
        )
        if inputs.ndim > 2:
            backbone.setdefault("image_size", inputs.shape[1])
        circuit = {"name": self.circuit} if isinstance(self.circuit, str) else dict(self.circuit)
        sizes = {"num_qubits": self.num_qubits, "num_layers": self.num_layers}
        model = {
            "backbone": backbone,
            "processor": {"widths": list(self.hidden)},
            "middle": self.middle,
            "circuit": {**sizes, **circuit},
            "feature_scaling": self.feature_scaling,
        }
        config = validated(model, (), ModelConfig, "HybridClassifier")
        if config.backbone.frozen or config.circuit.growth is not None:
            raise ConfigurationError(
                "HybridClassifier: neither a frozen backbone nor a circuit that grows; train those "
                "with `python -m experiment run`"
            )
        return config

    def _training_config(self, num_samples: int) -> TrainingConfig:
        rate = self.learning_rate
        circuit_rate = rate if self.circuit_learning_rate is None else self.circuit_learning_rate
        training = {
            "epochs": self.epochs,
            "batch_size": min(self.batch_size, num_samples),
            "learning_rate": {"backbone": rate, "circuit": circuit_rate, "classical": rate},
            "weight_decay": self.weight_decay,
        }
        return validated(training, (), TrainingConfig, "HybridClassifier")


class _Silent(Progress):
    """Tells nothing."""

    def __init__(self) -> None:
        super().__init__(terminal=False)

    def line(self, text: str) -> None:
        """Print nothing."""


def _as_images(samples: np.ndarray) -> np.ndarray:
    """Return images [samples, height, width, channels] as uint8."""
    if samples.ndim not in (3, 4):
        raise ValueError(
            f"X has {samples.ndim} dimensions; expected features [samples, features] or images "
            "[samples, height, width] or [samples, height, width, channels]"
        )
    images = samples[..., None] if samples.ndim == 3 else samples
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating) or images.min() < 0 or images.max() > 1:
        raise ValueError("X: expected images as uint8, or as floating-point numbers from 0 to 1")
    return np.rint(255 * images).astype(np.uint8)


def _spread(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation of each feature; 1 where a feature is constant."""
    axes = tuple(range(samples.ndim - 1)) if samples.ndim > 2 else (0,)
    deviation = samples.std(axis=axes)
    return samples.mean(axis=axes), np.where(deviation > 0, deviation, 1.0)


def _divided(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that are trained on, and those the epochs are compared by."""
    everything, counts = np.arange(len(labels)), np.bincount(labels)
    held = round(share * len(labels))
    if counts.min() < 2 or held < len(counts):
        return everything, everything
    train, validation = train_test_split(
        everything, test_size=held, stratify=labels, random_state=seed
    )
    return np.sort(train), np.sort(validation)
